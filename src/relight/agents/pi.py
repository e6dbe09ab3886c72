"""Pi: a provider in `models.json`, chosen in `settings.json`. The smallest prompt of the interactive agents."""

from __future__ import annotations

from relight.agents.profile import PATIENCE_MS, Asked, Profile
from relight.agents.wiring import Edit, Format, Member, Scope, Setting, Wiring


def _models(asked: Asked) -> Edit:
    endpoint = asked.endpoint
    provider = ("providers", "relight")
    model = (*provider, "models", Member("id", endpoint.model))
    settings = [
        Setting((*provider, "baseUrl"), asked.v1),
        Setting((*provider, "api"), "openai-completions"),
        Setting((*provider, "apiKey"), asked.key("{}"), asked.why_key),
        Setting((*model, "name"), endpoint.model),
        Setting((*model, "maxTokens"), asked.output, "by default it asks for 16,384"),
    ]
    if endpoint.context:
        settings.append(Setting((*model, "contextWindow"), endpoint.context, "it takes 128,000 for granted otherwise"))
    return Edit("~/.pi/agent/models.json", Format.JSON, tuple(settings))


def _settings(asked: Asked) -> Edit:
    endpoint = asked.endpoint
    settings = [
        Setting(("defaultProvider",), "relight"),
        Setting(("defaultModel",), endpoint.model),
        Setting(("retry", "provider", "timeoutMs"), PATIENCE_MS, "the model may have to wake, and to read a long prompt"),
        Setting(("enableInstallTelemetry",), value=False, why="it reports installs and updates otherwise"),
    ]
    if endpoint.context and endpoint.context < 65_536:
        why = "by default 16,384 tokens are kept free and 20,000 kept as they are: more than a small context has"
        settings += [
            Setting(("compaction", "reserveTokens"), min(16_384, asked.output + 1024), why),
            Setting(("compaction", "keepRecentTokens"), min(20_000, endpoint.context // 4)),
        ]
    return Edit("~/.pi/agent/settings.json", Format.JSON, tuple(settings))


# Without a screen it takes such an error out of the conversation, shortens that, and shows nothing when it did not help.
_SAYS_WHY = """\
// Written by `relight connect pi`; `relight connect pi --undo` takes it away.
export default function (pi) {
  let last;
  pi.on("message_end", async (event, ctx) => {
    if (event.message.role === "assistant") last = ctx.hasUI ? undefined : event.message;
  });
  pi.on("session_shutdown", async () => {
    if (last?.stopReason === "error" && /context length|too long/i.test(last.errorMessage ?? "")) {
      console.error(last.errorMessage);
      process.exitCode = 1;
    }
  });
}
"""


def _extension() -> Edit:
    why = "without a screen it ends without a word where a prompt stays too long: this has it say why"
    return Edit("~/.pi/agent/extensions/relight.js", Format.TEXT, (Setting(("text",), _SAYS_WHY, why),))


def lay(asked: Asked) -> Wiring:
    """Both files, and a small extension."""
    return Wiring(
        edits=(_models(asked), _settings(asked), _extension()),
        environment={"PI_OFFLINE": "1"},
        start="pi",
        notes=("an error in the middle of an answer ends its run: ask again",),
    )


PI = Profile(
    slug="pi",
    name="Pi",
    dialect="chat",
    tested=("0.73",),
    version_command=("pi", "--version"),
    scopes=(Scope.USER,),
    context_need=1_400,
    slim_need=None,
    lay=lay,
)

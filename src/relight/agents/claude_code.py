"""Claude Code, by itself and through Claude Code Router. By itself is better: the router leaves out messages."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from relight.agents.profile import BRIEF_PROMPT, NO_KEY, PATIENCE_MS, Asked, Profile
from relight.agents.wiring import Edit, Format, Json, Member, Scope, Setting, Wiring

# One name for each family that it asks for by itself: titles, summaries and side tasks go to the same model.
FAMILIES = ("HAIKU", "SONNET", "OPUS", "FABLE")

# What it does to be told by its makers, or for them.
QUIET = (
    ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1", "updates, error reports, statistics and news are not asked for or sent"),
    (
        "CLAUDE_CODE_ATTRIBUTION_HEADER",
        "0",
        "a line about the program before all else; whatever changes in it has the whole prompt read anew",
    ),
)


def _environment(asked: Asked) -> list[tuple[str, str, str]]:
    endpoint = asked.endpoint
    patience = str(PATIENCE_MS)
    pairs = [
        ("ANTHROPIC_BASE_URL", asked.url, ""),
        ("ANTHROPIC_MODEL", endpoint.model, ""),
        *(
            (f"ANTHROPIC_DEFAULT_{family}_MODEL", endpoint.model, "what it asks of its other models goes to this one")
            for family in FAMILIES
        ),
        ("CLAUDE_CODE_SUBAGENT_MODEL", endpoint.model, ""),
        ("API_TIMEOUT_MS", patience, "the model may have to wake; by default ten minutes"),
        ("CLAUDE_STREAM_IDLE_TIMEOUT_MS", patience, "a long prompt is read in silence; by default five minutes"),
        ("CLAUDE_CODE_MAX_OUTPUT_TOKENS", str(asked.output), "by default it asks for 32,000"),
        *QUIET,
    ]
    if endpoint.context:
        pairs.append(
            (
                "CLAUDE_CODE_MAX_CONTEXT_TOKENS",
                str(endpoint.context),
                "it takes 200,000 for granted otherwise, and compacts too late",
            )
        )
    if asked.is_slim:
        pairs += [
            ("CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS", "1", "fields and tools that a small model has no use for"),
            ("MAX_THINKING_TOKENS", "0", "no thinking that nobody reads"),
        ]
    return pairs


def lay(asked: Asked) -> Wiring:
    """The `env` of settings.json, and a helper that prints the key."""
    variable = asked.endpoint.key_variable
    settings = [Setting(("env", name), value, why) for name, value, why in _environment(asked)]
    if variable:
        settings.append(
            Setting(
                ("apiKeyHelper",), f"printenv {variable}", "asked for the key at each start; the key stays in the environment"
            )
        )
    else:
        settings.append(Setting(("env", "ANTHROPIC_AUTH_TOKEN"), NO_KEY, "it wants to log in otherwise"))
    path = asked.at("~/.claude/settings.json", ".claude/settings.local.json")
    return Wiring(
        edits=(Edit(path, Format.JSON, tuple(settings)),),
        start=f"claude --bare --settings {path} --tools Bash,Edit,Read,Write --system-prompt {shlex.quote(BRIEF_PROMPT)}"
        if asked.is_slim
        else "claude",
        notes=tuple(_notes(asked)),
    )


def _notes(asked: Asked) -> Iterator[str]:
    yield "a wrong key looks like a hang: it asks ten times, for more than two minutes"
    if asked.is_slim:
        yield "--bare leaves out CLAUDE.md, hooks, skills and MCP servers; started as plain `claude` it is the stock one"
    if asked.scope is Scope.PROJECT:
        yield "the project's settings count once you have told Claude Code that you trust the folder"


def lay_router(asked: Asked) -> Wiring:
    """The router's config.json: one provider, and every route to it."""
    endpoint = asked.endpoint
    provider = ("Providers", Member("name", "relight"))
    routes: list[Setting] = [
        Setting(
            ("Router", route),
            f"relight,{endpoint.model}",
            "every kind of request goes to this model" if route == "default" else "",
        )
        for route in ("default", "background", "think", "longContext", "webSearch")
    ]
    models: list[Json] = [endpoint.model]
    limit: list[Json] = [["maxtoken", {"max_tokens": asked.output}]]
    settings = (
        Setting((*provider, "api_base_url"), f"{asked.v1}/chat/completions"),
        Setting((*provider, "api_key"), asked.key("${}"), asked.why_key),
        Setting((*provider, "models"), models),
        Setting((*provider, "transformer", "use"), limit, "it asks for 128,000 tokens otherwise"),
        Setting(("API_TIMEOUT_MS",), PATIENCE_MS),
        *routes,
    )
    return Wiring(
        edits=(Edit("~/.claude-code-router/config.json", Format.JSON, settings),),
        environment=_beside_router(asked),
        start="ccr code",
        notes=(
            "prefer claude-code: the router drops system messages in the middle of a conversation, a fifth of all that is said",
            "its client gives up after five minutes of silence whatever it is told; claude-code waits longer",
            "run `ccr restart` after a change: it reads its file once",
        ),
    )


def _beside_router(asked: Asked) -> dict[str, str]:
    """What Claude Code itself is to know when the router starts it."""
    known = {name: value for name, value, _ in QUIET}
    known["API_TIMEOUT_MS"] = str(PATIENCE_MS)
    known["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] = str(asked.output)
    if asked.endpoint.context:
        known["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] = str(asked.endpoint.context)
    return known


CLAUDE_CODE = Profile(
    slug="claude-code",
    name="Claude Code",
    dialect="messages",
    tested=("2.1",),
    version_command=("claude", "--version"),
    scopes=(Scope.USER, Scope.PROJECT),
    context_need=12_800,
    slim_need=1_200,
    lay=lay,
)

CLAUDE_CODE_ROUTER = Profile(
    slug="claude-code-router",
    name="Claude Code Router",
    dialect="chat",
    tested=("2.0",),
    version_command=("ccr", "version"),
    scopes=(Scope.USER,),
    context_need=10_500,
    slim_need=None,
    lay=lay_router,
)

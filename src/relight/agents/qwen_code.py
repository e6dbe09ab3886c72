"""Qwen Code: `settings.json`. What is not said in a model's own entry of `modelProviders.openai` does not count for it."""

from __future__ import annotations

import shlex

from relight.agents.profile import BRIEF_PROMPT, NO_KEY, PATIENCE_MS, Asked, Profile
from relight.agents.wiring import Edit, Format, Json, Member, Scope, Setting, Wiring

# What a small model can do without, as each is read before the first word. Left are read, write, edit, glob, grep and shell.
# Hiding `tool_search` alone would bring out the tools that it holds back, so these are hidden too.
SPARE_TOOLS: list[Json] = [
    *(
        "agent",
        "ask_user_question",
        "cron_create",
        "cron_delete",
        "cron_list",
        "enter_plan_mode",
        "enter_worktree",
        "exit_plan_mode",
    ),
    *("exit_worktree", "get_goal", "list_agents", "loop_wakeup", "monitor", "notebook_edit", "propose_goal", "read_mcp_resource"),
    *("record_artifact", "report_findings", "send_message", "skill", "task_stop", "todo_write", "tool_call", "tool_search"),
    *("update_goal", "web_fetch", "zoom_image"),
]

KEYLESS = "OPENAI_API_KEY"
"""The variable that it insists on where the service asks for no key."""

BACKGROUND = "one more request with the whole conversation, behind your back"


def _model(asked: Asked) -> list[Setting]:
    endpoint = asked.endpoint
    model = ("modelProviders", "openai", Member("id", endpoint.model))
    generation = (*model, "generationConfig")
    settings = [
        Setting((*model, "name"), f"{endpoint.model} (Relight)"),
        Setting((*model, "baseUrl"), asked.v1),
        Setting((*model, "envKey"), endpoint.key_variable or KEYLESS, asked.why_key),
        Setting((*generation, "timeout"), PATIENCE_MS, "the model may have to wake; by default it gives up after two minutes"),
        Setting(
            (*generation, "streamIdleTimeoutMs"), PATIENCE_MS, "a long prompt may be read in silence; by default four minutes"
        ),
        Setting(
            (*generation, "samplingParams", "max_tokens"),
            asked.output,
            "by default it asks for 32,000, and for 64,000 after that",
        ),
    ]
    if endpoint.context:
        settings.append(Setting((*generation, "contextWindowSize"), endpoint.context, "it compacts before this is full"))
    return settings


def _general(asked: Asked) -> list[Setting]:
    return [
        Setting(("security", "auth", "selectedType"), "openai"),
        Setting(("model", "name"), asked.endpoint.model),
        Setting(
            ("env", "QWEN_STREAM_MAX_LIFETIME_MS"), "0", "it ends every answer after fifteen minutes otherwise, waiting included"
        ),
        Setting(("ui", "enableFollowupSuggestions"), value=False, why=BACKGROUND),
        Setting(("memory", "enableManagedAutoMemory"), value=False, why=BACKGROUND),
        Setting(("memory", "enableManagedAutoDream"), value=False),
        Setting(("memory", "enableAutoSkill"), value=False),
        Setting(("privacy", "usageStatisticsEnabled"), value=False, why="it reports usage to its makers otherwise"),
    ]


def _slim() -> list[Setting]:
    levels: list[Json] = ["bundled"]
    return [
        Setting(("tools", "disabled"), SPARE_TOOLS, "fewer tools, fewer tokens to read"),
        Setting(("skills", "disabledLevels"), levels, "a page of skills that it tells the model of"),
    ]


def lay(asked: Asked) -> Wiring:
    """One model, chosen; nothing that asks a second time or phones home."""
    settings = [*_model(asked), *_general(asked), *(_slim() if asked.is_slim else [])]
    notes = ["a prompt that is too long it shows as the service's own words, and does not shorten by itself: /compress does"]
    if asked.is_slim:
        notes.append("not --bare: that leaves out these settings, and reports usage again")
    return Wiring(
        edits=(Edit(asked.at("~/.qwen/settings.json", ".qwen/settings.json"), Format.JSON, tuple(settings)),),
        environment={} if asked.endpoint.key_variable else {KEYLESS: NO_KEY},
        start=f"qwen --system-prompt {shlex.quote(BRIEF_PROMPT)}" if asked.is_slim else "qwen",
        notes=tuple(notes),
    )


QWEN_CODE = Profile(
    slug="qwen-code",
    name="Qwen Code",
    dialect="chat",
    tested=("0.24",),
    version_command=("qwen", "--version"),
    scopes=(Scope.USER, Scope.PROJECT),
    context_need=18_900,
    slim_need=4_500,
    lay=lay,
)

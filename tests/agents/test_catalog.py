"""The catalogue: what each agent is told, as text; that it is told of model, address and limits, and that no key gets in."""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relight.agents.catalog import AGENTS
from relight.agents.editing import Document
from relight.agents.profile import PATIENCE_MS, Profile
from relight.agents.wiring import Agent, Endpoint, Scope, Setting, Wiring
from relight.errors import UsageError

GOLDEN = Path(__file__).parent / "golden"
HOME = Endpoint("http://127.0.0.1:8080", "qwen3-8b", context=32_768, output=4_096, key_variable="RELIGHT_KEY")
OPEN = replace(HOME, key_variable=None)
BARE = Endpoint("https://portfolio.example", "smol")

CASES = [
    (agent.slug, scope, is_slim)
    for agent in AGENTS.values()
    for scope in agent.scopes
    for is_slim in ((False, True) if agent.slim_need else (False,))
]
IDS = [f"{slug}-{scope.value}{'-slim' * is_slim}" for slug, scope, is_slim in CASES]
every_case = pytest.mark.parametrize(("slug", "scope", "is_slim"), CASES, ids=IDS)
every_agent = pytest.mark.parametrize("agent", AGENTS.values(), ids=list(AGENTS))


def wired(agent: Agent, endpoint: Endpoint = HOME) -> Wiring:
    return agent.wire(endpoint, agent.scopes[0], is_slim=False)


def files(wiring: Wiring) -> dict[str, str]:
    """Every file as it is where there was none."""
    found = {}
    for edit in wiring.edits:
        document = Document(edit.path, edit.format, b"")
        for setting in edit.settings:
            document.put(setting)
        found[edit.path] = document.text
    return found


def page(wiring: Wiring) -> str:
    """All of a wiring, to be read by people."""
    parts = [f"## {path}\n{text}" for path, text in files(wiring).items()]
    if wiring.environment:
        parts.append("## environment\n" + "".join(f"{name}={value}\n" for name, value in wiring.environment.items()))
    if wiring.start:
        parts.append(f"## start\n{wiring.start}\n")
    if wiring.notes:
        parts.append("## notes\n" + "".join(f"- {note}\n" for note in wiring.notes))
    if wiring.snippet:
        parts.append(f"## snippet\n{wiring.snippet}")
    return "\n".join(parts)


def settings(wiring: Wiring) -> Iterator[Setting]:
    for edit in wiring.edits:
        yield from edit.settings


def values(wiring: Wiring) -> dict[str, Any]:
    """Every setting by the last step of its place."""
    return {str(setting.at[-1]): setting.value for setting in settings(wiring)}


# --- as text


@every_case
def test_wiring_is_the_golden_one(slug: str, scope: Scope, is_slim: bool) -> None:
    text = page(AGENTS[slug].wire(HOME, scope, is_slim=is_slim))
    file = GOLDEN / f"{slug}-{scope.value}{'-slim' * is_slim}.txt"
    if "RELIGHT_GOLDEN" in os.environ:
        file.write_text(text)
    assert text == file.read_text()


def test_no_golden_file_is_left_over() -> None:
    assert {file.stem for file in GOLDEN.iterdir()} == set(IDS)


# --- what must be in it


def test_every_agent_that_was_asked_for_is_listed_by_its_slug() -> None:
    asked = """
        qwen-code opencode claude-code-router openhands claude-code codex aider cline continue kilo crush goose pi zed open-webui
        langchain llamaindex ai-sdk openai-python openai-node anthropic-python ollama-python
    """
    assert list(AGENTS) == asked.split()
    assert all(slug == agent.slug and re.fullmatch("[a-z0-9-]+", slug) for slug, agent in AGENTS.items())


@every_case
def test_wiring_names_the_model_the_address_and_the_variable_of_the_key(slug: str, scope: Scope, is_slim: bool) -> None:
    text = page(AGENTS[slug].wire(HOME, scope, is_slim=is_slim))
    for said in (HOME.model, HOME.url, "RELIGHT_KEY"):
        assert said in text


# Open WebUI cannot be told, and libraries do not count tokens (but for LlamaIndex).
NO_CONTEXT = {"open-webui", "langchain", "ai-sdk", "openai-python", "openai-node", "anthropic-python", "ollama-python"}
NO_OUTPUT = {"open-webui"}


@every_agent
def test_limits_are_told_to_every_agent_that_can_be_told(agent: Agent) -> None:
    small = page(wired(agent, replace(HOME, context=12_345, output=2_222)))
    numbers = set(re.findall(r"\d+", small))
    assert bool(numbers & {"12345", str(12_345 - 2_222)}) is (agent.slug not in NO_CONTEXT)
    assert bool(numbers & {"2222", str(12_345 - 2_222)}) is (agent.slug not in NO_OUTPUT)


@every_agent
def test_unknown_limits_and_no_key_leave_a_wiring_that_works(agent: Agent) -> None:
    text = page(wired(agent, BARE))
    assert "smol" in text
    assert "https://portfolio.example" in text
    assert "None" not in text
    assert "$None" not in text


@every_agent
def test_same_settings_come_out_each_time(agent: Agent) -> None:
    assert wired(agent) == wired(agent)


@every_agent
def test_every_file_takes_its_settings_twice_without_a_change(agent: Agent) -> None:
    wiring = wired(agent)
    for edit in wiring.edits:
        document = Document(edit.path, edit.format, b"")
        for setting in edit.settings:
            document.put(setting)
        assert all(document.holds(setting) for setting in edit.settings)
        again = Document(edit.path, edit.format, document.raw)
        for setting in edit.settings:
            again.put(setting)
        assert again.text == document.text


@every_agent
def test_no_two_settings_of_a_file_stand_at_one_place(agent: Agent) -> None:
    for edit in wired(agent).edits:
        places = [setting.at for setting in edit.settings]
        assert len(places) == len(set(places))


@every_agent
def test_a_second_model_stands_beside_the_first_or_replaces_it_whole(agent: Agent) -> None:
    first, second = (wired(agent, replace(HOME, model=name)) for name in ("first-model", "second-model"))
    for one, other in zip(first.edits, second.edits, strict=True):
        document = Document(one.path, one.format, b"")
        for setting in (*one.settings, *other.settings):
            document.put(setting)
        assert all(document.holds(setting) for setting in other.settings)


# --- keys


@every_agent
def test_key_is_a_reference_and_never_more(agent: Agent) -> None:
    """Another name of the variable changes that name, and nothing else."""
    one, other = page(wired(agent)), page(wired(agent, replace(HOME, key_variable="OTHER_NAME")))
    assert one.replace("RELIGHT_KEY", "OTHER_NAME") == other.replace("RELIGHT_KEY", "OTHER_NAME")
    assert one != other


@every_agent
@pytest.mark.parametrize("key", ["sk-relight-1234567890abcdef", "rk_live_9f8e7d", "abc def", "", "A" * 65])
def test_key_in_the_place_of_its_variable_is_refused_and_not_repeated(agent: Agent, key: str) -> None:
    with pytest.raises(UsageError, match="name of an environment variable") as caught:
        wired(agent, replace(HOME, key_variable=key))
    assert not key or key not in str(caught.value)


@every_agent
def test_service_that_asks_for_no_key_needs_no_variable_of_the_user(agent: Agent) -> None:
    """Whoever insists on a key gets a word that is none."""
    wiring = wired(agent, OPEN)
    mine = {"RELIGHT_KEY", "RELIGHT_API_KEY"}
    named = set(re.findall(r"\$\{?([A-Z_]+)", json.dumps(dict(wiring.environment)) + wiring.snippet))
    assert not named & mine
    for name in mine & set(wiring.environment):
        assert wiring.environment[name] == "none"


@pytest.mark.parametrize(
    "url",
    [
        "http://user:secret-part@127.0.0.1:8080",
        "https://portfolio.example/?key=secret-part",
        "https://portfolio.example/secret-part",
        "https://portfolio.example/#secret-part",
        "portfolio.example/secret-part",
        "ftp://portfolio.example",
        "http://",
    ],
)
@every_agent
def test_address_with_more_than_a_place_is_refused_and_not_repeated(agent: Agent, url: str) -> None:
    with pytest.raises(UsageError, match=r"^url: ") as caught:
        wired(agent, replace(HOME, url=url))
    assert "secret-part" not in str(caught.value)


@every_agent
def test_slash_at_the_end_of_the_address_is_left_out(agent: Agent) -> None:
    assert page(wired(agent, replace(HOME, url=f"{HOME.url}/"))) == page(wired(agent))


# --- what cannot work


@every_agent
def test_missing_dialect_is_named(agent: Agent) -> None:
    lacking = replace(HOME, dialects=HOME.dialects - {agent.dialect})
    with pytest.raises(UsageError) as caught:
        wired(agent, lacking)
    assert f'speaks the dialect "{agent.dialect}"' in str(caught.value)
    assert ", ".join(sorted(lacking.dialects)) in str(caught.value)


@every_agent
def test_own_dialect_is_enough(agent: Agent) -> None:
    assert wired(agent, replace(HOME, dialects=frozenset({agent.dialect}))) == wired(agent)


@every_agent
def test_model_without_tools_is_told_of_where_it_matters(agent: Agent) -> None:
    assert isinstance(agent, Profile)
    mute = [note for note in wired(agent, replace(HOME, has_tools=False)).notes if "not said to call tools" in note]
    assert len(mute) == agent.needs_tools
    assert not any("not said to call tools" in note for note in wired(agent).notes)


@pytest.mark.parametrize("slug", [agent.slug for agent in AGENTS.values() if len(agent.scopes) == 1])
def test_scope_that_an_agent_lacks_is_refused(slug: str) -> None:
    other = Scope.PROJECT if AGENTS[slug].scopes[0] is Scope.USER else Scope.USER
    with pytest.raises(UsageError, match=rf"^{slug}: cannot be set up per {other.value}"):
        AGENTS[slug].wire(HOME, other, is_slim=False)


@pytest.mark.parametrize("slug", [agent.slug for agent in AGENTS.values() if agent.slim_need is None])
def test_slim_profile_that_an_agent_lacks_is_refused(slug: str) -> None:
    with pytest.raises(UsageError, match=f"^{slug}: has no slim profile"):
        AGENTS[slug].wire(HOME, AGENTS[slug].scopes[0], is_slim=True)


@pytest.mark.parametrize("slug", [agent.slug for agent in AGENTS.values() if agent.slim_need])
def test_slim_profile_takes_less_and_leaves_the_rest_as_it_is(slug: str) -> None:
    agent = AGENTS[slug]
    assert agent.slim_need
    assert agent.slim_need < agent.context_need
    stock, slim = (agent.wire(HOME, agent.scopes[0], is_slim=is_slim) for is_slim in (False, True))
    assert {(each.at, json.dumps(each.value)) for each in settings(stock)} <= {
        (each.at, json.dumps(each.value)) for each in settings(slim)
    }
    assert slim != stock


# --- single agents


@every_agent
def test_every_path_is_at_home_or_in_the_project(agent: Agent) -> None:
    for scope in agent.scopes:
        for edit in agent.wire(HOME, scope, is_slim=False).edits:
            assert edit.path.startswith("~/") is (scope is Scope.USER)
            assert ".." not in edit.path
            assert not Path(edit.path).is_absolute()


# What survives a first byte that takes longer than the agent's own default; in seconds or milliseconds, as the agent counts.
PATIENCE = {
    "qwen-code": {"timeout", "streamIdleTimeoutMs"},
    "opencode": {"headerTimeout", "chunkTimeout"},
    "kilo": {"headerTimeout", "chunkTimeout"},
    "claude-code": {"API_TIMEOUT_MS", "CLAUDE_STREAM_IDLE_TIMEOUT_MS"},
    "claude-code-router": {"API_TIMEOUT_MS"},
    "codex": {"stream_idle_timeout_ms"},
    "openhands": {"timeout"},
    "aider": {"timeout"},
    "cline": {"timeout"},
    "continue": {"timeout"},
    "pi": {"timeoutMs"},
    "goose": {"timeout_seconds"},
}


@pytest.mark.parametrize("slug", PATIENCE)
def test_agent_is_told_to_wait_for_a_wake(slug: str) -> None:
    found = values(wired(AGENTS[slug]))
    for name in PATIENCE[slug]:
        assert int(found[name]) in {PATIENCE_MS, PATIENCE_MS // 1000}


def test_claude_code_is_told_nothing_that_it_takes_for_something_else() -> None:
    """A compaction window below 100,000 tokens it takes for 100,000 (2.1.330); the context itself it takes as it is."""
    found = values(wired(AGENTS["claude-code"]))
    assert "CLAUDE_CODE_AUTO_COMPACT_WINDOW" not in found
    assert found["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == str(HOME.context)


def test_openhands_reads_its_file_for_a_small_context_as_well() -> None:
    """Told of less than 16,384 tokens, and not that this is meant, it takes its file for broken (1.16)."""
    name = "ALLOW_SHORT_CONTEXT_WINDOWS"
    assert wired(AGENTS["openhands"], replace(HOME, context=16_384, output=4_096)).environment[name] == "true"
    for context in (20_480, None):
        assert name not in wired(AGENTS["openhands"], replace(HOME, context=context, output=4_096)).environment


def test_slim_codex_is_told_where_its_instructions_are() -> None:
    wiring = AGENTS["codex"].wire(HOME, Scope.USER, is_slim=True)
    (path,) = [setting.value for setting in settings(wiring) if setting.at == ("model_instructions_file",)]
    assert [edit.path for edit in wiring.edits] == ["~/.codex/config.toml", path]


def test_projects_file_of_kilo_reads_no_environment() -> None:
    """A project's kilo.json that does is skipped whole (7.7.7)."""
    assert "{env:" not in page(AGENTS["kilo"].wire(HOME, Scope.PROJECT, is_slim=False))


@pytest.mark.parametrize("slug", ["langchain", "llamaindex", "openai-python", "anthropic-python", "ollama-python"])
@pytest.mark.parametrize("endpoint", [HOME, OPEN, BARE, replace(HOME, model='odd "name"\\')])
def test_snippet_is_python_and_imports_what_it_uses(slug: str, endpoint: Endpoint) -> None:
    tree = ast.parse(wired(AGENTS[slug], endpoint).snippet)
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert ("os" in imported) is ("os" in used)
    assert endpoint.model in {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}


@every_agent
def test_library_has_a_snippet_and_an_agent_a_command(agent: Agent) -> None:
    wiring = wired(agent)
    assert bool(wiring.snippet) is not bool(wiring.start)
    assert bool(wiring.edits or wiring.environment) is bool(wiring.start)


def test_agents_cannot_be_added_to() -> None:
    assert not hasattr(AGENTS, "__setitem__")
    assert isinstance(AGENTS, Mapping)

"""Which model of a service an agent is pointed at, and what it is told of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relight.agents.discover import ALL, Candidate, choose, configured, endpoint, filled, listed
from relight.config.load import Loaded, load
from relight.errors import UsageError

CHAT = ["/api/chat", "/v1/chat/completions", "/v1/messages", "/v1/responses"]


def model(
    name: str, *, can: tuple[str, ...] = ("completion", "tools"), context: int | None = 8192, **facts: Any
) -> dict[str, Any]:
    """A model as our service lists it."""
    told: dict[str, Any] = {"id": name, "capabilities": list(can), "relight": {"paths": CHAT, "default": False, **facts}}
    return told if context is None else {**told, "context_length": context}


def loaded(folder: Path, text: str) -> Loaded:
    (folder / "relight.toml").write_text(text)
    return load(folder / "relight.toml", environ={})


def test_context_answer_tools_and_dialects_are_as_listed() -> None:
    (found,) = listed([model("smol", max_tokens=1024)])
    assert found == Candidate("smol", context=8192, output=1024, dialects=ALL)
    (found,) = listed([model("smol", can=("completion",), max_tokens=4096, paths=["/v1/chat/completions"])])
    assert (found.has_tools, found.output, found.dialects) == (False, 2048, frozenset({"chat"}))


def test_other_servers_are_believed_to_chat_and_to_know_all_dialects() -> None:
    chat, vectors = listed([{"id": "qwen"}, {"id": "nomic-embed-text"}])
    assert (chat.chats, chat.has_tools, chat.context, chat.dialects) == (True, True, None, ALL)
    assert not vectors.chats
    assert listed([{"object": "model"}]) == []


def test_list_of_models_has_the_smallest_context_of_its_members() -> None:
    found = listed([model("a", context=4096), model("b"), model("best", context=None, fallback=["a", "b"])])
    assert [one.context for one in found] == [4096, 8192, 4096]
    found = listed([model("a"), model("cloud", context=None), model("best", context=None, fallback=["a", "cloud"])])
    assert found[-1].context is None


def test_model_behind_the_assistant_is_chosen_and_not_the_assistant() -> None:
    models = [
        model("vectors", can=("embedding",), paths=["/v1/embeddings"]),
        model("first"),
        model("smol"),
        model("assistant", can=("completion",), default=True, model="smol"),
    ]
    assert choose(listed(models), None, "here").name == "smol"


def test_default_model_is_chosen_if_it_chats_else_the_first_that_calls_tools() -> None:
    assert choose(listed([model("a"), model("b", default=True)]), None, "here").name == "b"
    models = [model("vectors", can=("embedding",), paths=[], default=True), model("talks", can=("completion",)), model("acts")]
    assert choose(listed(models), None, "here").name == "acts"
    assert choose(listed(models[:2]), None, "here").name == "talks"
    assert choose(listed(models), "talks", "here").name == "talks"


@pytest.mark.parametrize(
    ("wanted", "said"),
    [("vectors", "vectors does not chat"), ("smoll", 'has no model "smoll"'), (None, "has no model that chats")],
)
def test_model_that_cannot_be_used_is_refused(wanted: str | None, said: str) -> None:
    models = [model("vectors", can=("embedding",), paths=[])] + ([model("smol")] if wanted else [])
    with pytest.raises(UsageError, match=said):
        choose(listed(models), wanted, "here")


def test_configuration_alone_tells_the_same(tmp_path: Path) -> None:
    found = configured(
        loaded(
            tmp_path,
            """
            [service]
            default_model = "best"
            [models.vectors]
            engine = "scripted"
            task = "embed"
            [models.smol]
            engine = "scripted"
            context = 32768
            max_tokens = 2048
            [models.cloud]
            url = "https://api.example.org/v1"
            [models.known]
            url = "https://api.example.org/v1"
            context = 128000
            [models.best]
            fallback = ["smol", "known"]
            """,
        )
    )
    assert [(one.name, one.chats, one.context, one.output, one.is_default) for one in found] == [
        ("vectors", False, 8192, 2048, False),
        ("smol", True, 32768, 2048, False),
        ("cloud", True, None, None, False),
        ("known", True, 128000, 32000, False),
        ("best", True, 32768, 8192, True),
    ]


def test_context_that_no_service_lists_is_taken_from_the_configuration() -> None:
    known = [Candidate("cloud", context=128000)]
    assert filled(Candidate("cloud"), known).context == 128000
    assert filled(Candidate("cloud", context=4096), known).context == 4096
    assert filled(Candidate("other"), known).context is None


def test_endpoint_carries_what_is_known() -> None:
    found = endpoint("http://x", Candidate("smol", has_tools=False, context=8192, output=2048), "MY_KEY")
    assert (found.url, found.model, found.context, found.output) == ("http://x", "smol", 8192, 2048)
    assert (found.has_tools, found.key_variable) == (False, "MY_KEY")

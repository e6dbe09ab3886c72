"""Ollama's client on the scripted engine: chats, prompts, tools, vectors and what it asks about models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ollama
import pytest

from tests.clients.scene import CALL, FUNCTION, PERSON, THOUGHT, TWO_CALLS, Person, says, script, user
from tests.serve.process import Served


@pytest.fixture(scope="module")
def client(scripted: Served) -> Iterator[ollama.Client]:
    client = ollama.Client(host=scripted.base)
    yield client
    client._client.close()


def ask(client: ollama.Client, text: str, **more: Any) -> Any:
    return client.chat(**{"model": "toy", "messages": user(text), **more})


def test_chat_whole_has_text_reason_and_counts(client: ollama.Client) -> None:
    answer = ask(client, says("Grüße aus 世界"), options={"temperature": 0})
    assert (answer.message.content, answer.done_reason, answer.eval_count) == ("Grüße aus 世界", "stop", 3)
    assert answer.prompt_eval_count > 0


def test_chat_stream_ends_with_the_counts(client: ollama.Client) -> None:
    parts = list(ask(client, script("unicode=1 chunk=1"), stream=True))
    assert "".join(part.message.content for part in parts).endswith("👩‍🚀 שלום")
    assert [part.done for part in parts].index(True) == len(parts) - 1
    assert parts[-1].eval_count > 0


@pytest.mark.parametrize("stream", [False, True])
def test_chat_thinking_is_told_apart(client: ollama.Client, stream: bool) -> None:
    answer = ask(client, script(THOUGHT), stream=stream, think=True)
    parts = list(answer) if stream else [answer]
    assert "".join(part.message.thinking or "" for part in parts) == "let me see"
    assert "".join(part.message.content or "" for part in parts) == "forty two"


@pytest.mark.parametrize("stream", [False, True])
def test_chat_parallel_calls_have_their_arguments_as_objects(client: ollama.Client, stream: bool) -> None:
    answer = ask(client, script(TWO_CALLS), stream=stream, tools=[FUNCTION])
    calls = [call for part in (answer if stream else [answer]) for call in part.message.tool_calls or []]
    assert [(call.function.name, call.function.arguments) for call in calls] == [
        ("weather", {"city": "Oslo"}),
        ("weather", {"city": "Rome"}),
    ]


def test_chat_goes_on_after_a_tool_has_answered(client: ollama.Client) -> None:
    def weather(city: str) -> str:
        """Tells the weather of a city."""
        return f"rain in {city}"

    messages = user(script(CALL))
    called = ask(client, "", messages=messages, tools=[weather]).message
    (call,) = called.tool_calls
    messages += [called, {"role": "tool", "tool_name": "weather", "content": weather(**call.function.arguments)}]
    assert ask(client, "", messages=messages, tools=[weather]).message.content == "The tool answered: rain in Oslo"


def test_chat_schema_fills_a_form(client: ollama.Client) -> None:
    answer = ask(client, says(PERSON), format=Person.model_json_schema())
    assert Person.model_validate_json(answer.message.content).name == "Ada"


@pytest.mark.parametrize("stream", [False, True])
def test_generate_completes_a_prompt(client: ollama.Client, stream: bool) -> None:
    generate: Any = client.generate
    answer = generate(model="toy", prompt=says("upon a time"), stream=stream)
    assert "".join(part.response for part in (answer if stream else [answer])) == "upon a time"


def test_vectors_are_unit_vectors(client: ollama.Client) -> None:
    answer = client.embed(model="vectors", input=["lamp light", "night"])
    first, second = answer.embeddings
    assert sum(x * x for x in first) == pytest.approx(1)
    assert first != second
    assert client.embeddings(model="vectors", prompt="lamp light").embedding == pytest.approx(first)


def test_models_are_listed_and_shown(client: ollama.Client) -> None:
    assert {"toy", "vectors"} <= {model.model for model in client.list().models}
    assert "tools" in (client.show("toy").capabilities or [])
    assert client.show("vectors").capabilities == ["embedding"]
    ask(client, says("up"))
    assert "toy" in {model.model for model in client.ps().models}


@pytest.mark.parametrize("stream", [False, True])
def test_asleep_model_is_waited_for(scripted: Served, client: ollama.Client, stream: bool) -> None:
    client.generate(model="dozer", keep_alive=0)
    assert scripted.get("/status")["models"]["dozer"]["state"] in ("asleep", "draining")
    answer = ask(client, says("awake now"), model="dozer", stream=stream)
    assert "".join(part.message.content for part in (answer if stream else [answer])) == "awake now"


def test_engine_that_dies_in_mid_stream_is_an_error(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="engine"):
        list(ask(client, script("tokens=9 drop=after:3"), model="dozer", stream=True))

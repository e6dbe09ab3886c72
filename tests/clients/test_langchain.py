"""LangChain's clients for OpenAI's and Anthropic's dialects on the scripted engine. Imported when used: it takes seconds."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from tests.clients.scene import CALL, PERSON, PLACE, THOUGHT, TWO_CALLS, Person, says, script
from tests.serve.process import Served

ADA = Person(name="Ada", age=36, tags=["first"])


pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def weather() -> Any:
    from langchain_core.tools import tool

    @tool
    def weather(city: str) -> str:
        """Tells the weather of a city."""
        return f"rain in {city}"

    return weather


@pytest.fixture(scope="module", params=["chat", "responses", "messages"])
def chat(scripted: Served, request: pytest.FixtureRequest) -> Any:
    """The same model, spoken to in each dialect."""
    return _chat(scripted, request.param)


def _chat(served: Served, dialect: str, **more: Any) -> Any:
    common: dict[str, Any] = {"model": "toy", "api_key": SecretStr("none"), "max_retries": 0, **more}
    if dialect == "messages":
        from langchain_anthropic import ChatAnthropic

        return ChatAnthropic(base_url=served.base, **common)
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(base_url=f"{served.base}/v1", use_responses_api=dialect == "responses", **common)


def test_invoke_has_text_and_usage(chat: Any) -> None:
    answer = chat.invoke(says("Grüße aus 世界"))
    assert answer.text == "Grüße aus 世界"
    assert answer.usage_metadata["output_tokens"] == 3


def test_stream_adds_up_to_the_text(chat: Any) -> None:
    parts = list(chat.stream(says("one two three four")))
    assert len([part for part in parts if part.text]) > 1
    assert "".join(part.text for part in parts) == "one two three four"


def test_parallel_calls_are_read_whole_and_streamed(chat: Any, weather: Any) -> None:
    bound = chat.bind_tools([weather])
    streamed = None
    for part in bound.stream(script(TWO_CALLS)):
        streamed = part if streamed is None else streamed + part
    assert streamed is not None
    for answer in (bound.invoke(script(TWO_CALLS)), streamed):
        assert [(call["name"], call["args"]) for call in answer.tool_calls] == [
            ("weather", {"city": "Oslo"}),
            ("weather", {"city": "Rome"}),
        ]


def test_forced_call_is_made(chat: Any, weather: Any) -> None:
    (call,) = chat.bind_tools([weather], tool_choice="weather").invoke(says(PLACE)).tool_calls
    assert (call["name"], call["args"]) == ("weather", {"city": "Oslo"})
    (call,) = chat.bind_tools([weather], tool_choice="any").invoke(says(PLACE)).tool_calls
    assert call["args"] == {"city": "Oslo"}


def test_conversation_goes_on_after_a_tool_has_answered(chat: Any, weather: Any) -> None:
    from langchain_core.messages import HumanMessage, ToolMessage

    bound = chat.bind_tools([weather])
    history: list[Any] = [HumanMessage(script(CALL))]
    history.append(bound.invoke(history))
    result = weather.invoke(history[-1].tool_calls[0])
    assert isinstance(result, ToolMessage)
    assert bound.invoke([*history, result]).text == "The tool answered: rain in Oslo"


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_form_is_filled_in(chat: Any, method: str) -> None:
    assert chat.with_structured_output(Person, method=method).invoke(says(PERSON)) == ADA


def test_thinking_is_told_apart(scripted: Served) -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    answer = _chat(scripted, "messages", max_tokens=2000, thinking=thinking).invoke(script(THOUGHT))
    assert [block["type"] for block in answer.content] == ["thinking", "text"]
    assert answer.text == "forty two"
    blocks = _chat(scripted, "responses").invoke(script(THOUGHT)).content_blocks
    assert [block["type"] for block in blocks if block["type"] != "non_standard"][-1] == "text"


def test_tokens_are_counted(scripted: Served) -> None:
    from langchain_core.messages import HumanMessage

    assert _chat(scripted, "messages").get_num_tokens_from_messages([HumanMessage("one two three")]) >= 3


def test_vectors_are_made_of_texts(scripted: Served) -> None:
    from langchain_openai import OpenAIEmbeddings

    # Its own counting of tokens would download a vocabulary first.
    vectors = OpenAIEmbeddings(
        model="vectors", base_url=f"{scripted.base}/v1", api_key=SecretStr("none"), check_embedding_ctx_length=False
    )
    first, second = vectors.embed_documents(["lamp light", "night"])
    assert vectors.embed_query("lamp light") == pytest.approx(first)
    assert first != second


def test_asleep_model_is_waited_for(scripted: Served, chat: Any) -> None:
    scripted.get("/models/dozer/sleep", "POST")
    patient = chat.model_copy(update={"model_name" if "model_name" in type(chat).model_fields else "model": "dozer"})
    assert "".join(part.text for part in patient.stream(says("awake now"))) == "awake now"

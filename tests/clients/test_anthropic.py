"""Anthropic's client on the scripted engine: messages, their streams, tools and the tool runner."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from tests.clients.scene import ABOUT, CALL, PERSON, PLACE, SCHEMA, THOUGHT, TWO_CALLS, Person, says, script, user
from tests.serve.process import Served

TOOL: Any = {"name": "weather", "description": ABOUT, "input_schema": SCHEMA}
OTHER: Any = {"name": "clock", "input_schema": {"type": "object", "properties": {}}}


@pytest.fixture(scope="module")
def client(scripted: Served) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=scripted.base, api_key="none", max_retries=0) as client:
        yield client


def ask(client: anthropic.Anthropic, text: str, **more: Any) -> Any:
    return client.messages.create(**{"model": "toy", "max_tokens": 1000, "messages": user(text), **more})


def final(client: anthropic.Anthropic, text: str, **more: Any) -> Any:
    """The message that the stream helper puts together."""
    with client.messages.stream(**{"model": "toy", "max_tokens": 1000, "messages": user(text), **more}) as stream:
        return stream.get_final_message()


EITHER = pytest.mark.parametrize("answer", [ask, final], ids=["whole", "stream"])


@EITHER
def test_message_has_text_ids_model_and_usage(client: anthropic.Anthropic, answer: Any) -> None:
    message = answer(client, says("Grüße aus 世界"), system="Be brief.")
    assert [(block.type, block.text) for block in message.content] == [("text", "Grüße aus 世界")]
    assert message.id.startswith("msg_")
    assert (message.model, message.stop_reason) == ("toy", "end_turn")
    assert (message.usage.output_tokens, message.usage.input_tokens > 0) == (3, True)


def test_tokens_read_from_the_cache_are_told_apart_from_the_input(client: anthropic.Anthropic) -> None:
    usage = ask(client, script('cached=4 text="as before"')).usage
    whole = ask(client, script('cached=0 text="as before"')).usage
    assert usage.cache_read_input_tokens == 4
    assert usage.input_tokens + 4 == whole.input_tokens


@EITHER
def test_thinking_is_a_block_of_its_own_and_may_come_back(client: anthropic.Anthropic, answer: Any) -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    message = answer(client, script(THOUGHT), thinking=thinking, max_tokens=2000)
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.content[0].thinking == "let me see"
    again = [*user("hello"), {"role": "assistant", "content": message.content}, *user(says("and on"))]
    assert ask(client, "", messages=again, thinking=thinking, max_tokens=2000).content[0].text == "and on"


@EITHER
def test_parallel_calls_come_with_ids_of_their_own(client: anthropic.Anthropic, answer: Any) -> None:
    message = answer(client, script(f'text="Let me look." {TWO_CALLS}'), tools=[TOOL])
    text, *calls = message.content
    assert (text.text, message.stop_reason) == ("Let me look.", "tool_use")
    assert [(call.name, call.input) for call in calls] == [("weather", {"city": "Oslo"}), ("weather", {"city": "Rome"})]
    assert len({call.id for call in calls}) == 2
    assert all(call.id.startswith("toolu_") for call in calls)


@EITHER
def test_forced_call_is_made(client: anthropic.Anthropic, answer: Any) -> None:
    named = answer(client, says(PLACE), tools=[TOOL, OTHER], tool_choice={"type": "tool", "name": "weather"})
    chosen = says(f'{{"name": "weather", "arguments": {PLACE}}}')
    free = answer(client, chosen, tools=[TOOL, OTHER], tool_choice={"type": "any", "disable_parallel_tool_use": True})
    for message in (named, free):
        assert message.stop_reason == "tool_use"
        assert [(block.name, block.input) for block in message.content] == [("weather", {"city": "Oslo"})]


@pytest.mark.parametrize("is_error", [False, True])
def test_conversation_goes_on_after_a_tool_has_answered(client: anthropic.Anthropic, is_error: bool) -> None:
    messages = user(script(f'reasoning="I should look" {CALL}'))
    called = ask(client, "", messages=messages, tools=[TOOL])
    result = {"type": "tool_result", "tool_use_id": called.content[-1].id, "content": "rain", "is_error": is_error}
    messages += [{"role": "assistant", "content": called.content}, {"role": "user", "content": [result]}]
    block = ask(client, "", messages=messages, tools=[TOOL]).content[-1]
    assert block.text == ("The tool answered: Error:\nrain" if is_error else "The tool answered: rain")


def test_tool_runner_runs_the_tool_and_gives_the_last_word(client: anthropic.Anthropic) -> None:
    asked_for: list[str] = []

    @anthropic.beta_tool
    def weather(city: str) -> str:
        """Tells the weather of a city."""
        asked_for.append(city)
        return "rain, 7 degrees"

    runner = client.beta.messages.tool_runner(model="toy", max_tokens=1000, tools=[weather], messages=user(script(CALL)))
    last: Any = runner.until_done()
    assert asked_for == ["Oslo"]
    assert last.content[0].text == "The tool answered: rain, 7 degrees"


def test_parse_helper_fills_a_form(client: anthropic.Anthropic) -> None:
    message = client.messages.parse(model="toy", max_tokens=1000, messages=user(says(PERSON)), output_format=Person)
    assert message.parsed_output == Person(name="Ada", age=36, tags=["first"])


def test_stop_reasons_tell_what_ended_the_answer(client: anthropic.Anthropic) -> None:
    assert ask(client, script("tokens=50"), max_tokens=3).stop_reason == "max_tokens"
    assert ask(client, says("one STOP two"), stop_sequences=["STOP"]).content[0].text.strip() == "one"


def test_tokens_are_counted_without_being_spent(client: anthropic.Anthropic) -> None:
    few = client.messages.count_tokens(model="toy", messages=user("one two three"))
    more = client.messages.count_tokens(model="toy", messages=user("one two three"), system="Be brief.", tools=[TOOL])
    assert 3 <= few.input_tokens < more.input_tokens


def test_models_are_listed_and_retrieved(client: anthropic.Anthropic) -> None:
    names = [model.id for model in client.models.list(limit=1000)]
    assert {"toy", "vectors", "dozer"} <= set(names)
    assert client.models.retrieve("toy").display_name == "toy"


@EITHER
def test_asleep_model_is_waited_for(scripted: Served, client: anthropic.Anthropic, answer: Any) -> None:
    scripted.get("/models/dozer/sleep", "POST")
    assert answer(client, says("awake now"), model="dozer").content[0].text == "awake now"


def test_engine_that_dies_in_mid_stream_is_an_error(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.APIStatusError) as caught:
        final(client, script("tokens=9 drop=after:3"), model="dozer")
    body: Any = caught.value.body
    assert (body["error"]["type"], body["error"]["code"]) == ("api_error", "engine_crashed")


async def test_async_client_reads_streams(scripted: Served) -> None:
    async with (
        anthropic.AsyncAnthropic(base_url=scripted.base, api_key="none", max_retries=0) as client,
        client.messages.stream(model="toy", max_tokens=100, messages=user(says("one two"))) as stream,
    ):
        assert "".join([text async for text in stream.text_stream]) == "one two"

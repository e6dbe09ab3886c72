"""Pydantic AI's agents on the scripted engine, in each dialect that they speak. Imported when used: it takes seconds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import pytest

from tests.clients.scene import CALL, PERSON, THOUGHT, TWO_CALLS, Person, says, script
from tests.serve.process import Served

pytestmark = pytest.mark.real

ADA = Person(name="Ada", age=36, tags=["first"])


@pytest.fixture(params=["chat", "responses", "messages"])
async def model(scripted: Served, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """The same model, spoken to in each dialect."""
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
    from pydantic_ai.profiles.anthropic import AnthropicModelProfile
    from pydantic_ai.providers.anthropic import AnthropicProvider
    from pydantic_ai.providers.openai import OpenAIProvider

    # Without TLS: reading the certificates takes longer than the test.
    if request.param == "messages":
        http = anthropic.DefaultAsyncHttpxClient(verify=False)
        async with anthropic.AsyncAnthropic(base_url=scripted.base, api_key="none", max_retries=0, http_client=http) as claude:
            # It knows by their names which models keep to a schema, and takes this one for one that does not.
            profile = AnthropicModelProfile(supports_json_schema_output=True)
            yield AnthropicModel("toy", provider=AnthropicProvider(anthropic_client=claude), profile=profile)
    else:
        url, plain = f"{scripted.base}/v1", openai.DefaultAsyncHttpxClient(verify=False)
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0, http_client=plain) as client:
            speaks = OpenAIChatModel if request.param == "chat" else OpenAIResponsesModel
            yield speaks("toy", provider=OpenAIProvider(openai_client=client))


def agent_of(model: Any, output: Any = str) -> Any:
    from pydantic_ai import Agent

    return Agent(model, output_type=output)


async def test_run_has_text_and_usage(model: Any) -> None:
    result = await agent_of(model).run(says("Grüße aus 世界"))
    assert result.output == "Grüße aus 世界"
    assert result.usage.output_tokens == 3


async def test_stream_adds_up_to_the_text(model: Any) -> None:
    async with agent_of(model).run_stream(says("one two three four")) as result:
        parts = [part async for part in result.stream_text(delta=True, debounce_by=None)]
    assert len(parts) > 1
    assert "".join(parts) == "one two three four"


@pytest.mark.parametrize(("calls", "cities"), [(CALL, ["Oslo"]), (TWO_CALLS, ["Oslo", "Rome"])], ids=["one", "parallel"])
async def test_agent_runs_its_tools_and_goes_on(model: Any, calls: str, cities: list[str]) -> None:
    agent = agent_of(model)
    asked_for: list[str] = []

    @agent.tool_plain  # type: ignore[untyped-decorator]
    def weather(city: str) -> str:
        """Tells the weather of a city."""
        asked_for.append(city)
        return f"rain in {city}"

    result = await agent.run(script(calls))
    assert sorted(asked_for) == cities
    assert result.output == f"The tool answered: rain in {cities[-1]}"


async def test_agent_streams_after_its_tool_has_answered(model: Any) -> None:
    agent = agent_of(model)

    @agent.tool_plain  # type: ignore[untyped-decorator]
    def weather(city: str) -> str:
        """Tells the weather of a city."""
        return f"rain in {city}"

    async with agent.run_stream(script(CALL)) as result:
        assert await result.get_output() == "The tool answered: rain in Oslo"


@pytest.mark.parametrize("by", ["tool", "schema"])
async def test_form_is_filled_in(model: Any, by: str) -> None:
    from pydantic_ai import NativeOutput

    form = Person if by == "tool" else NativeOutput(Person)
    assert (await agent_of(model, form).run(says(PERSON))).output == ADA


async def test_thoughts_are_kept_and_may_come_back(model: Any) -> None:
    agent = agent_of(model)
    first = await agent.run(script(THOUGHT))
    kinds = [part.part_kind for message in first.new_messages() for part in message.parts]
    assert first.output == "forty two"
    assert "thinking" in kinds
    assert (await agent.run(says("and on"), message_history=first.all_messages())).output == "and on"

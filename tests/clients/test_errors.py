"""What each client makes of a refusal: it should be the client's own exception, and one that programs can act upon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anthropic
import ollama
import openai
import pytest
from pydantic import SecretStr

from tests.clients.conftest import Locked
from tests.clients.scene import says, user
from tests.serve.process import Served

HELLO = says("hello")
TOO_LONG = "word " * 300


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as any client takes it."""

    base: str
    model: str = "toy"
    text: str = HELLO
    key: str = "none"


def _openai(asked: Asked) -> openai.OpenAI:
    # Without TLS: reading the certificates takes longer than the test.
    http = openai.DefaultHttpxClient(verify=False)
    return openai.OpenAI(base_url=f"{asked.base}/v1", api_key=asked.key, max_retries=0, http_client=http)


def by_openai(asked: Asked) -> Any:
    with _openai(asked) as client:
        return client.chat.completions.create(model=asked.model, messages=user(asked.text)).choices[0].message.content


def by_responses(asked: Asked) -> Any:
    with _openai(asked) as client:
        return client.responses.create(model=asked.model, input=asked.text).output_text


def by_anthropic(asked: Asked) -> Any:
    http = anthropic.DefaultHttpxClient(verify=False)
    with anthropic.Anthropic(base_url=asked.base, api_key=asked.key, max_retries=0, http_client=http) as client:
        block: Any = client.messages.create(model=asked.model, messages=user(asked.text), max_tokens=99).content[0]
        return block.text


def by_ollama(asked: Asked) -> Any:
    client = ollama.Client(host=asked.base, headers={"authorization": f"Bearer {asked.key}"})
    try:
        return client.chat(model=asked.model, messages=user(asked.text)).message.content
    finally:
        client._client.close()


def by_langchain(asked: Asked) -> Any:
    from langchain_openai import ChatOpenAI

    chat = ChatOpenAI(model=asked.model, base_url=f"{asked.base}/v1", api_key=SecretStr(asked.key), max_retries=0)
    return chat.invoke(asked.text).text


def by_langchain_anthropic(asked: Asked) -> Any:
    from langchain_anthropic import ChatAnthropic

    more: dict[str, Any] = {"model": asked.model, "base_url": asked.base, "api_key": SecretStr(asked.key)}
    return ChatAnthropic(max_retries=0, **more).invoke(asked.text).text


def by_pydantic(asked: Asked) -> Any:
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    async def run() -> str:
        async with openai.AsyncOpenAI(base_url=f"{asked.base}/v1", api_key=asked.key, max_retries=0) as client:
            return (
                await Agent(OpenAIChatModel(asked.model, provider=OpenAIProvider(openai_client=client))).run(asked.text)
            ).output

    return asyncio.run(run())


Ask = Callable[[Asked], Any]
# By status: what OpenAI's and Anthropic's clients call it, whose exceptions LangChain lets through.
OPENAI = {401: openai.AuthenticationError, 404: openai.NotFoundError, 429: openai.RateLimitError, 503: openai.InternalServerError}
ANTHROPIC = {
    401: anthropic.AuthenticationError,
    404: anthropic.NotFoundError,
    429: anthropic.RateLimitError,
    503: anthropic.ServiceUnavailableError,
}
CLIENTS: dict[str, tuple[Ask, Any]] = {
    "openai": (by_openai, OPENAI),
    "anthropic": (by_anthropic, ANTHROPIC),
    "ollama": (by_ollama, dict.fromkeys(OPENAI, ollama.ResponseError)),
    "langchain": (by_langchain, OPENAI),
    "pydantic": (by_pydantic, None),  # its exceptions are known once it is imported
}
SLOW = ("langchain", "pydantic")  # seconds to import
EVERY = pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.real] * (name in SLOW)) for name in CLIENTS])


def refused(name: str, status: int, asked: Asked) -> Any:
    """The exception that the client raises, its kind and status seen to."""
    ask, kinds = CLIENTS[name]
    if kinds is None:
        from pydantic_ai.exceptions import ModelHTTPError

        kinds = {status: ModelHTTPError}
    with pytest.raises(kinds[status]) as caught:
        ask(asked)
    error: Any = caught.value
    assert error.status_code == status
    return error


@EVERY
def test_unknown_model_is_not_found_and_the_known_ones_are_named(scripted: Served, name: str) -> None:
    assert "toy" in str(refused(name, 404, Asked(scripted.base, model="nonesuch")))


@EVERY
def test_wrong_key_is_told_at_once_and_a_right_one_answers_until_its_limit(locked: Locked, name: str) -> None:
    ask, _ = CLIENTS[name]
    refused(name, 401, Asked(locked.served.base, key="rl_wrong"))
    asked = Asked(locked.served.base, key=locked.keys[name])
    assert ask(asked) == "hello"
    error = refused(name, 429, asked)
    if response := getattr(error, "response", None):
        assert 1 <= int(response.headers["retry-after"]) <= 60


@EVERY
def test_model_that_does_not_wake_is_unavailable_and_says_when_to_come_again(scripted: Served, name: str) -> None:
    error = refused(name, 503, Asked(scripted.base, model="never"))
    if response := getattr(error, "response", None):
        assert int(response.headers["retry-after"]) >= 1


@pytest.mark.parametrize("ask", [by_openai, by_responses])
def test_overflow_is_known_to_openais_client_by_its_code(scripted: Served, ask: Ask) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(Asked(scripted.base, "tiny", TOO_LONG))
    assert caught.value.code == "context_length_exceeded"
    assert "maximum context length is 256 tokens. However, your messages resulted in 300 tokens" in caught.value.message


def test_overflow_is_known_to_anthropics_client_by_its_words(scripted: Served) -> None:
    with pytest.raises(anthropic.BadRequestError, match="prompt is too long: 300 tokens > 256 maximum"):
        by_anthropic(Asked(scripted.base, "tiny", TOO_LONG))


@pytest.mark.real
@pytest.mark.parametrize("ask", [by_langchain, by_langchain_anthropic])
def test_overflow_is_known_to_langchain_as_its_own_error(scripted: Served, ask: Ask) -> None:
    from langchain_core.exceptions import ContextOverflowError

    with pytest.raises(ContextOverflowError):
        ask(Asked(scripted.base, "tiny", TOO_LONG))


@pytest.mark.real
def test_overflow_is_known_to_pydantic_ai_as_its_own_error(scripted: Served) -> None:
    from pydantic_ai.exceptions import ModelContextWindowExceededError

    with pytest.raises(ModelContextWindowExceededError):
        by_pydantic(Asked(scripted.base, "tiny", TOO_LONG))


def test_overflow_is_told_to_ollamas_client_with_both_numbers(scripted: Served) -> None:
    with pytest.raises(ollama.ResponseError, match=r"300 tokens.*256 tokens") as caught:
        by_ollama(Asked(scripted.base, "tiny", TOO_LONG))
    assert caught.value.status_code == 400


def test_client_that_comes_again_when_it_is_told_to_gets_its_answer(scripted: Served) -> None:
    asked = Asked(scripted.base, "lame")
    refused("openai", 503, asked)  # the engine does not start the first time
    with openai.OpenAI(base_url=f"{scripted.base}/v1", api_key="none", max_retries=2) as client:
        answer = client.chat.completions.create(model="lame", messages=user(HELLO))
    assert answer.choices[0].message.content == "hello"


@pytest.mark.parametrize("status", [400, 404, 503])
def test_refusal_of_the_engine_says_that_it_is_the_engines(scripted: Served, status: int) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        by_openai(Asked(scripted.base, text=f"#script status={status}"))
    body: Any = caught.value.body
    assert (body["source"], caught.value.status_code) == ("engine", 503 if status == 503 else 400)

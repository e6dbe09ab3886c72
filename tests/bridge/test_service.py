"""The bridge in front of a real front door with a scripted engine: every dialect, asleep and awake, and clients as they are."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from relight.access.keys import create
from relight.cli.identity import Googles
from relight.clock import ManualClock
from tests.bridge.bridging import CHAT, MESSAGES, PATHS, Span, request_body, spanned, until
from tests.bridge.platform import AUDIENCE, NOT_YET, Platform, without_instance
from tests.cloud.fake.cloud import Cloud
from tests.cloud.fake.server import served
from tests.cloud.people import ACCOUNT, account, google_as
from tests.serve.process import Served, serve, write_config

pytestmark = pytest.mark.real

MODELS = """
parallel = 4
[models.dozer]
engine = "scripted"
args = ["--load", "300ms"]
[auth]
keys = {{ secret = "RELIGHT_KEYS" }}
"""
WORDS = "#script unicode=1 chunk=1"


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    found = Cloud()
    with served(found) as address:
        found.address = address
        yield found


@pytest.fixture(scope="module")
def key() -> tuple[str, Any]:
    return create("agent", "2026-11-22")


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, key: tuple[str, Any]) -> Iterator[Served]:
    config = write_config(tmp_path_factory.mktemp("served"), model=MODELS.replace("{{", "{").replace("}}", "}"))
    text = config.read_text().replace('name = "probe"', 'name = "probe"\ndefault_model = "dozer"')
    config.write_text(text.replace("port = 0", 'port = 0\nheartbeat = "50ms"'))
    with serve(config, env={"RELIGHT_KEYS": str(key[1])}) as found:
        yield found
        assert found.stop() == 0
        assert found.unbalanced() == set()


@pytest.fixture
async def platform(cloud: Cloud, front: Served) -> AsyncIterator[Platform]:
    async with Platform(cloud.identities, {ACCOUNT}, behind=front.base).running() as found:
        yield found


@pytest.fixture
async def span(platform: Platform, cloud: Cloud) -> AsyncIterator[Span]:
    async with spanned(platform, of_account(cloud)) as found:
        yield found


def of_account(cloud: Cloud) -> Googles:
    return Googles(AUDIENCE, google=google_as(cloud, account(cloud)))


def shown(key: tuple[str, Any]) -> dict[str, str]:
    return {"authorization": f"Bearer {key[0]}"}


# --- every dialect


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", PATHS)
async def test_answer_arrives_byte_for_byte(span: Span, platform: Platform, key: Any, path: str, stream: bool) -> None:
    heard = await span.client.ask(path, request_body(path, WORDS, stream=stream), **shown(key))

    (seen,) = platform.questions
    assert (heard.status, heard.body) == (200, seen.sent)
    assert heard.headers["x-relight-model"] == "toy"
    assert "שלום" in heard.body.decode() or "\\u05e9" in heard.body.decode()


@pytest.mark.parametrize("path", PATHS)
async def test_cold_start_with_refusals_ends_in_the_whole_answer(
    span: Span, platform: Platform, cloud: Cloud, key: Any, path: str
) -> None:
    platform.away = [without_instance(), without_instance(NOT_YET)]
    clock = ManualClock()
    async with spanned(platform, of_account(cloud), clock=clock) as cold:
        asking = asyncio.create_task(cold.client.ask(path, request_body(path, WORDS), **shown(key)))
        while not asking.done():
            await asyncio.sleep(0.001)
            await clock.advance(0.05)
        heard = await asking

    assert [one.status for one in platform.questions] == [429, 503, 200]
    assert platform.questions[-1].sent
    assert heard.body.endswith(platform.questions[-1].sent)
    assert len({one.body for one in platform.questions}) == 1


async def test_wrong_key_is_the_services_refusal_and_right_identity_stays(span: Span, platform: Platform) -> None:
    heard = await span.client.ask(MESSAGES, request_body(MESSAGES, "hello"), x_api_key="rl_nobody")

    assert (heard.status, heard.body) == (401, platform.questions[0].sent)
    assert heard.json()["error"]["message"].startswith("request:")
    assert len(platform.questions) == 1


async def test_leaving_frees_the_slot(span: Span, platform: Platform, front: Served, key: Any) -> None:
    before = len(front.records())
    async with span.client.open(CHAT, request_body(CHAT, "#script stall=after:1"), **shown(key)) as response:
        await response.content.readline()
        response.close()
    await platform.until(lambda: platform.questions[0].is_cut)
    await asyncio.to_thread(front.until, lambda: any(record.get("error") == "client_gone" for record in front.records()[before:]))


async def test_platform_that_cuts_at_its_limit_is_told_in_the_stream(platform: Platform, cloud: Cloud, key: Any) -> None:
    platform.timeout_s, platform.clock = 600, (clock := ManualClock())
    async with spanned(platform, of_account(cloud)) as span:
        asked = request_body(CHAT, "#script text=one prefill=60s")
        asking = asyncio.create_task(span.client.ask(CHAT, asked, **shown(key)))
        await platform.until(lambda: bool(platform.questions))
        await _until_sent(platform)
        await clock.advance(601)
        heard = await asking

    assert b"broke off" in heard.body
    assert heard.body.endswith(b"data: [DONE]\n\n")


async def test_large_request_arrives_whole(span: Span, platform: Platform, key: Any) -> None:
    asked = request_body(CHAT, "#script text=ok", stream=False, metadata={"fill": "x" * (6 << 20)})
    heard = await span.client.ask(CHAT, asked, **shown(key))

    assert heard.json()["choices"][0]["message"]["content"] == "ok"
    assert len(platform.questions[0].body) > 6 << 20


# --- waking


async def test_engine_is_awake_before_the_first_question(platform: Platform, cloud: Cloud, front: Served, key: Any) -> None:
    await asyncio.to_thread(_sleep, front, key[0])
    async with spanned(platform, of_account(cloud), wakes=True, key=key[0]):
        await platform.until(lambda: bool(platform.asked("/models/dozer/wake")))
        (woken,) = platform.asked("/models/dozer/wake")
        await platform.until(lambda: woken.status == 202)

    assert [(one.method, one.target) for one in platform.questions] == [
        ("GET", "/readyz"),
        ("GET", "/v1/models"),
        ("POST", "/models/dozer/wake"),
    ]


async def test_agent_that_comes_after_a_while_wakes_with_its_own_key(
    platform: Platform, cloud: Cloud, front: Served, key: Any
) -> None:
    clock = ManualClock()
    async with spanned(platform, of_account(cloud), wakes=True, clock=clock) as span:
        await platform.until(lambda: bool(platform.asked("/v1/models")))
        await until(lambda: span.bridge._waker._task is not None and span.bridge._waker._task.done())
        await asyncio.to_thread(_sleep, front, key[0])
        await span.client.ask("/api/hello", None, "HEAD", **shown(key))
        assert not platform.asked("/models/dozer/wake")  # it came at once
        await clock.advance(121)
        await span.client.ask("/api/hello", None, "HEAD", **shown(key))
        await platform.until(lambda: bool(platform.asked("/models/dozer/wake")))


async def test_question_wakes_by_itself(platform: Platform, cloud: Cloud, key: Any) -> None:
    clock = ManualClock()
    async with spanned(platform, of_account(cloud), wakes=True, clock=clock) as span:
        await platform.until(lambda: bool(platform.asked("/readyz")))
        await until(lambda: span.bridge._waker._task is not None and span.bridge._waker._task.done())
        before = len(platform.asked("/readyz"))
        await clock.advance(500)
        await span.client.ask(CHAT, request_body(CHAT, "#script text=ok"), **shown(key))
        assert len(platform.asked("/readyz")) == before


# --- clients as they are


async def test_clients_of_each_dialect_read_what_they_are_told_while_a_container_starts(
    platform: Platform, cloud: Cloud, key: Any
) -> None:
    """Openai's, Anthropic's and Ollama's own clients, in a cold start of a minute by the bridge's clock."""
    import anthropic
    import ollama
    import openai

    async def by_openai(base: str) -> str:
        async with openai.AsyncOpenAI(base_url=f"{base}/v1", api_key=key[0], max_retries=0) as client:
            chunks = await client.chat.completions.create(model="toy", messages=said, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices])

    async def by_responses(base: str) -> str:
        async with (
            openai.AsyncOpenAI(base_url=f"{base}/v1", api_key=key[0], max_retries=0) as client,
            client.responses.stream(model="toy", input="#script text=awake") as stream,
        ):
            return (await stream.get_final_response()).output_text

    async def by_anthropic(base: str) -> str:
        async with (
            anthropic.AsyncAnthropic(base_url=base, api_key=key[0], max_retries=0) as client,
            client.messages.stream(model="toy", max_tokens=50, messages=said) as stream,
        ):
            return await stream.get_final_text()

    async def by_ollama(base: str) -> str:
        client = ollama.AsyncClient(host=base, headers=shown(key))
        try:
            lines = [line async for line in await client.chat(model="toy", messages=said, stream=True)]
        finally:
            await client._client.aclose()
        return "".join(line.message.content or "" for line in lines)

    said: Any = [{"role": "user", "content": "#script text=awake"}]
    clock = ManualClock()
    async with spanned(platform, of_account(cloud), clock=clock) as span:
        for ask in (by_openai, by_responses, by_anthropic, by_ollama):
            platform.starting = asyncio.Event()
            before = len(platform.questions)
            asking = asyncio.create_task(ask(span.client.address))
            await platform.until(lambda: len(platform.questions) > before)  # noqa: B023 - waited for here
            for _ in range(60):
                await clock.advance(1)
                await asyncio.sleep(0)
            platform.starting.set()
            assert await asking == "awake", ask.__name__


def _sleep(front: Served, key: str) -> None:
    """Put the model to sleep, however often that has to be asked for while it finishes."""
    with front.connection() as connection:
        for _ in range(1000):
            connection.request("POST", "/models/dozer/sleep", headers={"authorization": f"Bearer {key}"})
            if json.loads(connection.getresponse().read())["state"] == "asleep":
                return
    raise AssertionError("it does not sleep")


async def _until_sent(platform: Platform) -> None:
    for _ in range(20_000):
        if platform.questions[0].sent:
            return
        await asyncio.sleep(0.001)
    raise AssertionError("nothing was sent")

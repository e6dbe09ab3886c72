"""An answer without a word is asked for again, once; what comes then is passed on, whatever it is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from relight.engines.base import Address
from relight.errors import EngineFailed
from relight.lifecycle.machine import Limits
from relight.lifecycle.runner import Runner
from relight.serve.front import Served
from tests.providers.stand_in import Act, End, StandIn
from tests.serve.client import CHAT, MESSAGES, RESPONSES, Call, Door, front_door
from tests.serve.cloud import LAST, begins, event, piece, says, streams
from tests.serve.process import PATIENCE_S

EMPTY = (piece(role="assistant", content=""), piece("stop"), LAST, event(b"[DONE]"))
WORDS = (piece(role="assistant", content=""), piece(content="a word"), piece("stop"), LAST, event(b"[DONE]"))
DIALECTS = (CHAT, MESSAGES, RESPONSES, "/api/chat")


class Peer:
    """An engine at the runner's seam: the stand-in of a provider, which keeps what it was sent."""

    def __init__(self, address: Address) -> None:
        self.socket = address

    async def ready(self) -> None:
        pass

    async def exited(self) -> EngineFailed:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    async def stop(self, grace_s: float) -> None:
        pass


@asynccontextmanager
async def engine(folder: Path, *script: Act) -> AsyncIterator[tuple[Door, StandIn]]:
    """A front door whose model answers what the script says."""
    async with StandIn(*script) as peer, front_door(folder) as door:
        old = door.app.front.models["toy"]

        async def launch() -> Peer:
            return Peer(("127.0.0.1", peer.port))

        runner = Runner("toy", Limits(), launch, door.clock, old.runner._observer)
        door.app.front.models = {"toy": Served("toy", runner, old.capabilities, old.context, "peer", old.speech)}
        yield door, peer
        assert not door.log.unbalanced()


def sent(peer: StandIn) -> list[dict[str, Any]]:
    return [json.loads(seen.body) for seen in peer.seen]


def contents(call: Call) -> str:
    chunks = [data for _, data in call.events if data != "[DONE]" and data["choices"]]
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


@pytest.mark.parametrize("path", DIALECTS)
@pytest.mark.parametrize("stream", [False, True])
async def test_empty_answer_is_asked_for_again_with_a_grammar(tmp_path: Path, path: str, stream: bool) -> None:
    script = (streams(*EMPTY), streams(*WORDS)) if stream else (says(""), says("a word"))
    async with engine(tmp_path, *script) as (door, peer):
        call = await door.ask(path=path, stream=stream).done()
    first, second = sent(peer)
    assert "grammar" not in first
    assert second["grammar"]
    assert {**first, "grammar": second["grammar"]} == second
    assert (call.status, call.is_complete) == (200, True)
    assert b"a word" in call.body
    assert "error" not in door.log.record()


async def test_stream_of_two_answers_reads_as_one(tmp_path: Path) -> None:
    async with engine(tmp_path, streams(*EMPTY), streams(*WORDS)) as (door, _):
        call = await door.ask(stream=True, stream_options={"include_usage": True}).done()
    chunks = [data for _, data in call.events if data != "[DONE]"]
    assert contents(call) == "a word"
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks if chunk["choices"]].count("stop") == 1
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert [
        chunk["choices"][0]["delta"]["role"] for chunk in chunks if chunk["choices"] and "role" in chunk["choices"][0]["delta"]
    ] == ["assistant"]
    assert call.body.count(b"[DONE]") == 1
    (usage,) = [chunk["usage"] for chunk in chunks if chunk.get("usage")]
    assert usage["completion_tokens"] == 400  # of both


@pytest.mark.parametrize("stream", [False, True])
async def test_second_answer_is_passed_on_also_when_it_is_empty(tmp_path: Path, stream: bool) -> None:
    script = [streams(*EMPTY)] * 2 if stream else [says("")] * 2
    async with engine(tmp_path, *script) as (door, peer):
        call = await door.ask(stream=stream).done()
    assert len(peer.seen) == 2
    assert (call.status, call.is_complete) == (200, True)
    if stream:
        assert (contents(call), call.events[-1][1]) == ("", "[DONE]")
    else:
        assert call.json()["choices"][0]["message"]["content"] == ""
    assert door.log.record()["finish"] == "stop"


@pytest.mark.parametrize(("path", "stream"), [(CHAT, False), *((path, True) for path in DIALECTS)])
async def test_scripted_engine_that_never_says_a_word_ends_in_order(tmp_path: Path, path: str, stream: bool) -> None:
    async with front_door(tmp_path) as door:
        call = await door.ask("empty=1", path=path, stream=stream).done()
    assert (call.status, call.is_complete) == (200, True)
    assert "error" not in door.log.record()


@pytest.mark.parametrize("stream", [False, True])
async def test_tools_are_told_not_to_be_called_the_second_time(tmp_path: Path, stream: bool) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    script = (streams(*EMPTY), streams(*WORDS)) if stream else (says(""), says("a word"))
    async with engine(tmp_path, *script) as (door, peer):
        await door.ask(stream=stream, tools=[tool]).done()
    first, second = sent(peer)
    assert (first.get("tool_choice"), second["tool_choice"], second["tools"]) == (None, "none", [tool])


@pytest.mark.parametrize(
    ("asked", "act"),
    [
        ({}, says("", "length")),
        ({"response_format": {"type": "json_object"}}, says("")),
        ({"grammar": 'root ::= "a"?'}, says("")),
    ],
    ids=["cut-off", "format", "grammar"],
)
async def test_what_cannot_be_asked_better_is_not_asked_again(tmp_path: Path, asked: dict[str, Any], act: Act) -> None:
    async with engine(tmp_path, act) as (door, peer):
        call = await door.ask(**asked).done()
    assert (call.status, len(peer.seen)) == (200, 1)
    assert call.json()["choices"][0]["message"]["content"] == ""


async def test_answer_with_words_passes_byte_for_byte_and_is_not_asked_for_again(tmp_path: Path) -> None:
    async with engine(tmp_path, streams(*WORDS)) as (door, peer):
        await door.awake()
        call = await door.ask(stream=True).done()
    assert call.body == b"".join(WORDS)
    assert len(peer.seen) == 1


async def test_client_hears_that_it_is_asked_again_for_as_long_as_that_takes(tmp_path: Path) -> None:
    is_asked_again = asyncio.Event()

    async def silent(end: End) -> None:
        is_asked_again.set()
        await begins()(end)

    async with engine(tmp_path, streams(*EMPTY), silent) as (door, _):
        every = float(door.app.front.config.server.heartbeat)
        call = door.ask(stream=True)
        async with asyncio.timeout(PATIENCE_S):
            await is_asked_again.wait()
        heard = len(call.parts)
        await door.advance(3 * every)
        assert len(call.parts) >= heard + 2
        assert b"[DONE]" not in call.body
        call.leave()
        await call.done()

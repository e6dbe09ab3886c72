"""The scripted engine over a real Unix socket, asked by hand."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relight.clock import ManualClock, SystemClock
from relight.engines.script import Script
from relight.engines.scripted_server import Server, Settings

CHAT = "/v1/chat/completions"


class Client:
    """One connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, method: str, path: str, body: bytes = b"", headers: str = "") -> None:
        head = f"{method} {path} HTTP/1.1\r\nHost: engine\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        self.writer.write(head.encode() + body)

    def ask(self, script: str, *, stream: bool = True, path: str = CHAT) -> None:
        self.send(
            "POST", path, json.dumps({"messages": [{"role": "user", "content": f"#script {script}"}], "stream": stream}).encode()
        )

    async def head(self) -> str:
        return (await self.reader.readuntil(b"\r\n\r\n")).decode()

    async def chunk(self) -> bytes:
        size = int(await self.reader.readline(), 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    async def chunks(self) -> list[bytes]:
        """All chunks up to the last one, which must come."""
        chunks = []
        while chunk := await self.chunk():
            chunks.append(chunk)
        return chunks

    async def answer(self) -> tuple[int, Any]:
        head = await self.head()
        length = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
        return int(head.split()[1]), json.loads(await self.reader.readexactly(length))

    async def rest(self) -> bytes:
        """What still comes before the connection ends; a reset counts as an end."""
        with contextlib.suppress(ConnectionResetError):
            return await self.reader.read()
        return b""

    async def leave(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


class House:
    """A running server and its clients."""

    def __init__(self, server: Server, path: Path) -> None:
        self.server, self.path = server, path
        self.clients: list[Client] = []

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_unix_connection(self.path))
        self.clients.append(client)
        return client

    async def get(self, path: str) -> tuple[int, Any]:
        client = await self.connect()
        client.send("GET", path)
        return await client.answer()

    async def post(self, path: str, body: object) -> tuple[int, Any]:
        client = await self.connect()
        client.send("POST", path, json.dumps(body).encode())
        return await client.answer()

    async def busy(self) -> list[bool]:
        _, slots = await self.get("/slots")
        return [slot["is_processing"] for slot in slots]

    async def until_busy(self, expected: list[bool]) -> None:
        """Ask until the slots are as expected; the test's own time limit ends it if they never are."""
        while await self.busy() != expected:  # noqa: ASYNC110 - over the wire there is no event to wait for
            await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def running(folder: Path, settings: Settings | None = None, clock: ManualClock | None = None) -> AsyncIterator[House]:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "e"))
    listener.listen()
    server = Server(settings or Settings(), clock or SystemClock())
    house = House(server, folder / "e")
    async with server.listen(listener):
        try:
            yield house
        finally:
            for client in house.clients:
                await client.leave()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with running(tmp_path) as house:
        yield house


def contents(chunks: list[bytes]) -> str:
    """The text in a chat stream."""
    events = [event for event in b"".join(chunks).decode().split("\n\n") if event.startswith("data: {")]
    choices = [choice for event in events for choice in json.loads(event[6:])["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


# --- what works


async def test_health_slots_props_and_models_are_described(house: House) -> None:
    assert await house.get("/health") == (200, {"status": "ok"})
    idle = {"n_ctx": 8192, "speculative": False, "is_processing": False}
    assert await house.get("/slots") == (200, [{"id": 0} | idle, {"id": 1} | idle])
    _, props = await house.get("/props")
    assert (props["default_generation_settings"]["n_ctx"], props["total_slots"]) == (8192, 2)
    _, models = await house.get("/v1/models")
    assert [model["id"] for model in models["data"]] == ["scripted"]


async def test_loading_engine_answers_everything_with_503_and_progress(house: House) -> None:
    house.server.progress = 0.3
    error = {"message": "Loading model", "type": "unavailable_error", "code": 503}
    assert await house.get("/health") == (503, {"error": error, "progress": 0.3})
    assert await house.post(CHAT, {"messages": []}) == (503, {"error": error, "progress": 0.3})


async def test_stream_comes_in_one_chunk_per_token_and_one_to_close(house: House) -> None:
    client = await house.connect()
    client.ask('text="one two three"')
    head = await client.head()
    assert head.startswith("HTTP/1.1 200 OK\r\n")
    assert "Content-Type: text/event-stream\r\n" in head
    chunks = await client.chunks()
    assert len(chunks) == 4
    assert contents(chunks) == "one two three"
    assert chunks[-1].endswith(b"data: [DONE]\n\n")


async def test_connection_is_kept_for_the_next_request(house: House) -> None:
    client = await house.connect()
    client.ask("tokens=2")
    await client.head()
    await client.chunks()
    client.ask('text="again"', stream=False)
    status, body = await client.answer()
    assert (status, body["choices"][0]["message"]["content"]) == (200, "again")


async def test_connection_closes_when_the_client_asks_for_it(house: House) -> None:
    client = await house.connect()
    client.send("GET", "/health", headers="Connection: close\r\n")
    assert await client.answer() == (200, {"status": "ok"})
    assert await client.rest() == b""


async def test_large_body_that_waits_for_permission_gets_it(house: House) -> None:
    client = await house.connect()
    client.writer.write(
        b"POST /v1/messages/count_tokens HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 55\r\n\r\n"
    )
    assert await client.head() == "HTTP/1.1 100 Continue\r\n\r\n"
    client.writer.write(json.dumps({"messages": [{"role": "user", "content": "one two"}]}).encode().ljust(55))
    assert await client.answer() == (200, {"input_tokens": 2})


async def test_embeddings_depend_on_the_words_alone(house: House) -> None:
    _, body = await house.post("/v1/embeddings", {"input": ["one two", "two one", "three"]})
    vectors = [item["embedding"] for item in body["data"]]
    assert vectors[0] == vectors[1] != vectors[2]
    assert body["usage"] == {"prompt_tokens": 5, "total_tokens": 5}


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/v1/embeddings", {"input": []}, '"input" must not be empty'),
        ("/v1/embeddings", {"input": ["a", ""]}, "Input content cannot be empty"),
        ("/v1/embeddings", {"input": [{"text": "a"}]}, '"input" must be a string, an array of strings, or an array of tokens'),
        ("/v1/embeddings", {}, '"input" must be a string, an array of strings, or an array of tokens'),
        ("/v1/rerank", {"documents": ["a"]}, '"query" must be provided'),
        ("/v1/rerank", {"query": "a", "documents": []}, '"documents" must be a non-empty string array'),
    ],
)
async def test_vectors_of_nothing_are_refused_in_llama_cpps_words(house: House, path: str, body: object, message: str) -> None:
    status, answer = await house.post(path, body)
    assert (status, answer["error"]["type"], answer["error"]["message"]) == (400, "invalid_request_error", message)


async def test_embeddings_take_token_numbers_for_texts(house: House) -> None:
    _, one = await house.post("/v1/embeddings", {"input": [7, 8]})
    _, several = await house.post("/v1/embeddings", {"input": [[8, 7], [9], "7 8"]})
    assert [item["index"] for item in several["data"]] == [0, 1, 2]
    vectors = [item["embedding"] for item in [*one["data"], *several["data"]]]
    assert vectors[0] == vectors[1] == vectors[3] != vectors[2]
    assert several["usage"]["prompt_tokens"] == 5


async def test_embeddings_in_base64_hold_the_same_numbers(house: House) -> None:
    _, plain = await house.post("/v1/embeddings", {"input": "one two"})
    _, coded = await house.post("/v1/embeddings", {"input": "one two", "encoding_format": "base64"})
    numbers = struct.unpack("<8f", base64.b64decode(coded["data"][0]["embedding"]))
    assert numbers == pytest.approx(plain["data"][0]["embedding"], abs=1e-6)


async def test_rerank_puts_the_document_that_says_the_same_first(house: House) -> None:
    documents = ["rain in spain", "my cat sleeps", "the cat"]
    _, body = await house.post("/v1/rerank", {"query": "the cat", "documents": documents})
    assert body["results"][0] == {"index": 2, "relevance_score": pytest.approx(1)}
    assert sorted(item["index"] for item in body["results"]) == [0, 1, 2]
    assert body["usage"] == {"prompt_tokens": 14, "total_tokens": 14}
    _, best = await house.post("/v1/rerank", {"query": "the cat", "documents": documents, "top_n": 1})
    assert best["results"] == body["results"][:1]


async def test_defaults_of_the_engine_hold_for_every_request(tmp_path: Path) -> None:
    async with running(tmp_path, Settings(script=Script(text="from the flags"))) as house:
        _, body = await house.post(CHAT, {"messages": [{"role": "user", "content": "hi"}]})
    assert body["choices"][0]["message"]["content"] == "from the flags"


# --- what is refused


async def test_prompt_beyond_the_context_is_refused_with_both_numbers(tmp_path: Path) -> None:
    async with running(tmp_path, Settings(context=4)) as house:
        answer = await house.post(CHAT, {"messages": [{"role": "user", "content": "one two three four five"}], "stream": True})
    message = "request (5 tokens) exceeds the available context size (4 tokens), try increasing it"
    error = {"code": 400, "message": message, "type": "exceed_context_size_error", "n_prompt_tokens": 5, "n_ctx": 4}
    assert answer == (400, {"error": error})


async def test_unknown_script_key_is_a_400_that_lists_the_keys(house: House) -> None:
    client = await house.connect()
    client.ask("bogus=1")
    status, body = await client.answer()
    assert status == 400
    assert "known keys: args, blind, cached, chunk" in body["error"]["message"]
    assert await client.rest() == b""


async def test_unknown_path_and_method_are_a_404(house: House) -> None:
    error = {"error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}}
    assert await house.get(CHAT) == (404, error)
    assert await house.post("/nope", {}) == (404, error)


@pytest.mark.parametrize("body", [b"{bad", b"[]", b"\xff"])
async def test_body_that_is_no_json_object_is_a_400(house: House, body: bytes) -> None:
    client = await house.connect()
    client.send("POST", CHAT, body)
    status, answer = await client.answer()
    assert (status, answer["error"]["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize(("status", "kind"), [(429, "rate_limit_error"), (500, "server_error"), (503, "unavailable_error")])
async def test_status_script_fails_with_that_status(house: House, status: int, kind: str) -> None:
    client = await house.connect()
    client.ask(f"status={status}")
    assert await client.answer() == (status, {"error": {"code": status, "message": f"scripted: status={status}", "type": kind}})


async def test_bytes_that_are_not_http_end_the_connection(house: House) -> None:
    client = await house.connect()
    client.writer.write(b"\x16\x03\x01 hello\r\n\r\n")
    assert await client.rest() == b""


# --- time


async def test_prefill_sends_the_head_then_comments_then_the_first_token(tmp_path: Path) -> None:
    clock = ManualClock()
    async with running(tmp_path, clock=clock) as house:
        client = await house.connect()
        client.ask("prefill=3s comments=1s delay=5s tokens=2")
        await client.head()
        for _ in range(2):
            await clock.advance(1)
            assert await client.chunk() == b":\n\n"
        await clock.advance(1)
        assert b'"role":"assistant"' in await client.chunk()
        await clock.advance(5)
        assert len(await client.chunks()) == 2


def progress(chunk: bytes) -> Any:
    event = json.loads(chunk.removeprefix(b"data: "))
    assert event["choices"] == [{"finish_reason": None, "index": 0, "delta": {"role": "assistant", "content": None}}]
    return event["prompt_progress"]


async def test_prefill_tells_its_progress_to_whom_asks_for_it(tmp_path: Path) -> None:
    clock = ManualClock()
    async with running(tmp_path, clock=clock) as house:
        client = await house.connect()
        body = {"messages": [{"role": "user", "content": "#script prefill=4s cached=2 tokens=1\n1 2 3 4 5 6"}], "stream": True}
        client.send("POST", CHAT, json.dumps(body | {"return_progress": True}).encode())
        await client.head()
        seen = [progress(await client.chunk())]
        for _ in range(4):
            await clock.advance(1)
            seen.append(progress(await client.chunk()))
        total = seen[0]["total"]
        assert [item["processed"] for item in seen] == [2, *(2 + (total - 2) * step // 4 for step in (1, 2, 3)), total]
        assert [item["time_ms"] for item in seen] == [0, 1000, 2000, 3000, 4000]
        assert {(item["total"], item["cache"]) for item in seen} == {(total, 2)}
        assert b"prompt_progress" not in b"".join(await client.chunks())


async def test_progress_of_a_prompt_that_takes_no_time_is_told_twice(house: House) -> None:
    client = await house.connect()
    body = {"messages": [{"role": "user", "content": "a b c"}], "stream": True, "return_progress": True}
    client.send("POST", CHAT, json.dumps(body).encode())
    await client.head()
    assert [progress(await client.chunk())["processed"] for _ in range(2)] == [0, 3]
    assert b"prompt_progress" not in await client.chunk()


async def test_first_holds_even_the_head_back(tmp_path: Path) -> None:
    clock = ManualClock()
    async with running(tmp_path, clock=clock) as house:
        client = await house.connect()
        client.ask("first=2s tokens=1")
        await house.until_busy([True, False])
        head = asyncio.create_task(client.head())
        await clock.advance(1)
        assert not head.done()
        await clock.advance(1)
        assert (await head).startswith("HTTP/1.1 200")


async def test_whole_answer_takes_as_long_as_its_tokens(tmp_path: Path) -> None:
    clock = ManualClock()
    async with running(tmp_path, clock=clock) as house:
        client = await house.connect()
        client.ask("prefill=1s delay=1s tokens=3", stream=False)
        await house.until_busy([True, False])
        answer = asyncio.create_task(client.answer())
        await clock.advance(2.5)
        assert not answer.done()
        await clock.advance(0.5)
        status, body = await answer
        assert (status, body["usage"]["completion_tokens"]) == (200, 3)


# --- slots


async def test_request_beyond_the_slots_waits_for_one(tmp_path: Path) -> None:
    async with running(tmp_path, Settings(parallel=1)) as house:
        first, second = await house.connect(), await house.connect()
        first.ask("stall=after:1")
        await first.head()
        second.ask("tokens=1")
        assert await house.busy() == [True]
        head = asyncio.create_task(second.head())
        await house.busy()
        assert not head.done()
        await first.leave()
        assert (await head).startswith("HTTP/1.1 200")
        assert len(await second.chunks()) == 2


async def ask_slot(house: House, slot: int, script: str = "stall=after:1") -> Client:
    client = await house.connect()
    body = {"messages": [{"role": "user", "content": f"#script {script}"}], "stream": True, "id_slot": slot}
    client.send("POST", CHAT, json.dumps(body).encode())
    return client


async def test_request_that_names_a_slot_gets_that_one(house: House) -> None:
    await (await ask_slot(house, 1)).head()
    assert await house.busy() == [False, True]


async def test_request_that_names_a_busy_slot_waits_for_it_and_lets_others_pass(house: House) -> None:
    first = await ask_slot(house, 1)
    await first.head()
    second = await ask_slot(house, 1, "tokens=1")
    third = await house.connect()
    third.ask("tokens=1")
    await third.head()
    await third.chunks()
    head = asyncio.create_task(second.head())
    assert await house.busy() == [False, True]
    assert not head.done()
    await first.leave()
    assert (await head).startswith("HTTP/1.1 200")


@pytest.mark.parametrize("slot", [-1, 7])
async def test_slot_that_does_not_exist_is_any(house: House, slot: int) -> None:
    await (await ask_slot(house, slot)).head()
    assert await house.busy() == [True, False]


async def test_client_that_leaves_mid_stream_frees_its_slot(house: House) -> None:
    client = await house.connect()
    client.ask("tokens=100 delay=10s")
    await client.head()
    await client.chunk()
    _, slots = await house.get("/slots")
    assert (slots[0]["is_processing"], slots[0]["next_token"]) == (True, [{"has_next_token": True, "n_decoded": 1}])
    await client.leave()
    await house.until_busy([False, False])


async def test_client_that_leaves_before_the_first_byte_frees_its_slot(house: House) -> None:
    client = await house.connect()
    client.ask("first=60s", stream=False)
    await house.until_busy([True, False])
    await client.leave()
    await house.until_busy([False, False])


async def test_client_that_leaves_the_queue_never_gets_a_slot(tmp_path: Path) -> None:
    async with running(tmp_path, Settings(parallel=1)) as house:
        first, second, third = [await house.connect() for _ in range(3)]
        first.ask("stall=after:1")
        await first.head()
        second.ask("stall=after:0")
        await house.busy()
        await second.leave()
        await first.leave()
        third.ask("tokens=1")
        await third.head()
        assert len(await third.chunks()) == 2


async def test_client_that_does_not_read_is_not_written_to_without_end(house: House) -> None:
    client = await house.connect()
    client.ask("tokens=4000 text=" + "x" * 500)
    await client.head()
    decoded = -1
    while True:  # the engine must come to a halt by itself
        before = decoded
        for _ in range(200):
            _, slots = await house.get("/slots")
        decoded = slots[0]["next_token"][0]["n_decoded"]
        if decoded == before:
            break
    assert 0 < decoded < 4000
    assert len(await client.chunks()) == 4001


# --- faults


async def test_stall_leaves_the_connection_open_and_silent(house: House) -> None:
    client = await house.connect()
    client.ask('text="a b c d" stall=after:2')
    await client.head()
    assert contents([await client.chunk(), await client.chunk()]) == "a b"
    silence = asyncio.create_task(client.reader.read(1))
    assert await house.busy() == [True, False]
    assert not silence.done()
    silence.cancel()


async def test_drop_ends_the_connection_in_the_middle_of_the_stream(house: House) -> None:
    client = await house.connect()
    client.ask('text="a b c d" drop=after:3')
    await client.head()
    rest = await client.rest()
    assert rest.count(b"data: ") == 4  # the role and three tokens
    assert not rest.endswith(b"0\r\n\r\n")
    assert await house.busy() == [False, False]


async def test_drop_of_a_whole_answer_ends_in_the_middle_of_its_body(house: House) -> None:
    client = await house.connect()
    client.ask("tokens=20 drop=after:3", stream=False)
    head = await client.head()
    length = int(head.split("Content-Length: ")[1].split("\r\n")[0])
    assert len(await client.rest()) == length // 2


async def test_drop_before_the_first_token_sends_nothing_of_a_whole_answer(house: House) -> None:
    client = await house.connect()
    client.ask("drop=after:0", stream=False)
    assert await client.rest() == b""


async def test_garbage_follows_the_tokens_and_is_no_chunk(house: House) -> None:
    client = await house.connect()
    client.ask('text="a b" garbage=after:1')
    await client.head()
    assert contents([await client.chunk()]) == "a"
    garbage = await client.rest()
    assert garbage.startswith(b"\x16\x03\x01")
    with pytest.raises(UnicodeDecodeError):
        garbage.decode()


async def test_garbage_instead_of_a_whole_answer_is_no_http(house: House) -> None:
    client = await house.connect()
    client.ask("garbage=after:0", stream=False)
    assert not (await client.rest()).startswith(b"HTTP")


async def test_fault_behind_the_last_token_never_happens(house: House) -> None:
    client = await house.connect()
    client.ask("tokens=2 drop=after:9")
    await client.head()
    assert len(await client.chunks()) == 3


async def test_chunk_script_writes_in_pieces_of_that_size(house: House) -> None:
    client = await house.connect()
    client.ask('text="a b" chunk=7')
    await client.head()
    chunks = await client.chunks()
    assert max(map(len, chunks)) == 7
    assert contents(chunks) == "a b"


async def test_unicode_script_cuts_characters_in_two(house: House) -> None:
    client = await house.connect()
    client.ask("unicode=1")
    await client.head()
    chunks = await client.chunks()
    assert contents(chunks).startswith("Grüße, 世界!")
    with pytest.raises(UnicodeDecodeError):
        chunks[0].decode()


async def test_two_hundred_streams_with_random_ends_leave_nothing_busy(tmp_path: Path) -> None:
    scripts = ["tokens=5", "stall=after:2", "drop=after:1", "garbage=after:2", "status=500", "tokens=50 delay=10s"]
    async with running(tmp_path, Settings(parallel=4)) as house:
        clients = [await house.connect() for _ in range(200)]
        for index, client in enumerate(clients):
            client.ask(scripts[index % len(scripts)])
        for client in clients:
            await client.leave()
        await house.until_busy([False] * 4)
    assert [task for task in asyncio.all_tasks() if "Connection" in repr(task)] == []

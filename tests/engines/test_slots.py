"""What is understood of a slot's answers. The engine is a socket that says what it is told to."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from relight.engines.slots import Slots


@asynccontextmanager
async def engine(folder: Path, message: dict[str, Any]) -> AsyncIterator[Slots]:
    """One that answers every chat with this message; a call in it gets an id by lot, as llama.cpp draws them."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        calls = [{**call, "id": secrets.token_hex(8)} for call in message.get("tool_calls", ())]
        said = {**message, **({"tool_calls": calls} if calls else {})}
        timings = {"prompt_n": 3, "prompt_ms": 12.0, "cache_n": 40}
        body = json.dumps({"choices": [{"message": said}], "timings": timings}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    path = folder / "e.sock"
    async with await asyncio.start_unix_server(answer, path):
        yield Slots(path)


async def test_answers_with_the_same_call_are_the_same(tmp_path: Path) -> None:
    call = {"type": "function", "function": {"name": "look", "arguments": "{}"}}
    async with engine(tmp_path, {"content": None, "tool_calls": [call]}) as slots:
        one, two = await slots.answer({}, 0), await slots.answer({}, 0)
    assert one == two
    assert "look" in one.text
    assert (one.prompt, one.cached, one.prefill_s) == (43, 40, 0.012)


async def test_answers_with_other_words_differ(tmp_path: Path) -> None:
    async with engine(tmp_path, {"content": "yes"}) as slots:
        yes = await slots.answer({}, 0)
    async with engine(tmp_path, {"content": None, "reasoning_content": "yes"}) as slots:
        assert await slots.answer({}, 0) != yes

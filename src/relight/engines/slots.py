"""llama.cpp's slots over its own HTTP: the tokens of a chat, reading them, saving what was read, and taking it back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Struct

from relight.decoding import NOT_JSON
from relight.engines.base import Address
from relight.engines.connection import Exchange, exchange
from relight.errors import EngineFailed, SnapshotError
from relight.wire import sse

_JSON: Final = [(b"content-type", b"application/json")]
_MOST_BYTES: Final = 64 << 20

Progress = Callable[[int, int], None]
"""Told how many tokens of how many are read."""


class Reading(Struct, frozen=True):
    """A prefix that a slot has read."""

    tokens: int
    cached: int
    """Of them, those that the slot knew already."""
    seconds: float


class Answer(Struct, frozen=True):
    """A short answer, and how much of its prompt the slot knew."""

    text: str
    prompt: int
    cached: int
    prefill_s: float


class _Timings(Struct, frozen=True):
    prompt_n: int
    prompt_ms: float
    cache_n: int = 0


class Slots:
    """The slots of one running engine. Everything raises `EngineCrashed` when it is gone, and `EngineFailed` when it says no."""

    def __init__(self, address: Address, progress: Progress | None = None) -> None:
        self._address = address
        self._progress = progress

    async def tokens(self, chat: dict[str, Any]) -> list[int]:
        """The tokens of a chat request as the engine itself makes them: its template, its tools, its vocabulary."""
        prompt = await self._ask("/apply-template", chat, "prompt", str)
        asked = {"content": prompt, "add_special": True, "parse_special": True}
        return list(await self._ask("/tokenize", asked, "tokens", list[int]))

    async def count(self, text: str) -> int:
        """How many tokens a text is, by itself."""
        return len(await self._ask("/tokenize", {"content": text, "add_special": False}, "tokens", list[int]))

    async def read(self, tokens: list[int], slot: int) -> Reading:
        """Have a slot hold exactly these tokens; what it knows of them is not read again."""
        asked = {"prompt": tokens, "n_predict": 0, "id_slot": slot, "stream": True, "return_progress": True}
        answer = await self._open("/completion", asked)
        events = sse.Events()
        timings: dict[str, Any] = {}
        try:
            while piece := await answer.piece():
                for payload in sse.payloads(events.feed(piece)):
                    timings = self._told(payload) or timings
        finally:
            answer.close()
        cached, spent_ms = int(timings.get("cache_n") or 0), float(timings.get("prompt_ms") or 0.0)
        return Reading(len(tokens), cached, spent_ms / 1000)

    async def save(self, slot: int, name: str) -> int:
        """Write what a slot holds into the file called `name` in the engine's folder; how many tokens that is."""
        return int(await self._ask(f"/slots/{slot}?action=save", {"filename": name}, "n_saved", int))

    async def restore(self, slot: int, name: str) -> int:
        """Have a slot hold what the file called `name` says; how many tokens that is.

        The engine trusts the file: a damaged one ends its process.
        """
        return int(await self._ask(f"/slots/{slot}?action=restore", {"filename": name}, "n_restored", int))

    async def erase(self, slot: int) -> None:
        """Have a slot hold nothing."""
        await self._ask(f"/slots/{slot}?action=erase", {}, "id_slot", int)

    async def answer(self, chat: dict[str, Any], slot: int) -> Answer:
        """Ask the chat itself; give it `temperature` and `max_tokens`."""
        asked = {**chat, "id_slot": slot, "stream": False}
        said = await self._whole("/v1/chat/completions", asked)
        try:
            timings, message = msgspec.convert(said["timings"], _Timings), said["choices"][0]["message"]
            calls = [call["function"] for call in message.get("tool_calls") or ()]  # without their ids: those are drawn by lot
            text = msgspec.json.encode([message.get("content"), message.get("reasoning_content"), calls])
        except (msgspec.ValidationError, KeyError, IndexError, TypeError, AttributeError):
            raise EngineFailed("engine: answered a chat with what is none") from None
        return Answer(text.decode(), timings.prompt_n + timings.cache_n, timings.cache_n, timings.prompt_ms / 1000)

    def _told(self, payload: bytes) -> dict[str, Any] | None:
        """The timings, if this event has them."""
        try:
            event = msgspec.json.decode(payload)
        except NOT_JSON:
            return None
        if "error" in event:
            raise EngineFailed(f"engine: {event['error'].get('message', 'failed')}")
        if self._progress is not None and (progress := event.get("prompt_progress")):
            self._progress(int(progress["processed"]), int(progress["total"]))
        found: dict[str, Any] | None = event.get("timings")
        return found

    async def _ask(self, path: str, body: dict[str, Any], key: str, kind: Any) -> Any:
        """What the answer says under `key`."""
        try:
            return msgspec.convert((await self._whole(path, body))[key], kind)
        except (msgspec.ValidationError, KeyError):
            raise EngineFailed(f"engine: answered {path.partition('?')[0]} without {key}") from None

    async def _whole(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self._open(path, body)
        try:
            said: dict[str, Any] = msgspec.json.decode(await answer.read(_MOST_BYTES), type=dict[str, Any])
        except (*NOT_JSON, msgspec.ValidationError):
            raise EngineFailed(f"engine: answered {path} with what is no JSON object") from None
        finally:
            answer.close()
        return said

    async def _open(self, path: str, body: dict[str, Any]) -> Exchange:
        asked = await exchange(self._address, "POST", path, _JSON, msgspec.json.encode(body))
        try:
            status = (await asked.head()).status
            if status == 200:
                return asked
            said = await asked.read()
        except BaseException:
            asked.close()
            raise
        asked.close()
        reason = _reason(said) or f"answered {path} with status {status}"
        raise SnapshotError(f"engine: {reason}") if path.startswith("/slots/") else EngineFailed(f"engine: {reason}")


def _reason(said: bytes) -> str | None:
    try:
        return str(msgspec.json.decode(said)["error"]["message"])
    except (*NOT_JSON, KeyError, TypeError):
        return None

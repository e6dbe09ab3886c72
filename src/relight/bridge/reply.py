"""One answer on its way to the client: its own head when there is one in time, signs of life until its first byte, an ending
in every case. Knows nothing of the service.

Bytes of the answer pass as they are. Only what stands before the first of them is the bridge's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import msgspec
from aiohttp import web

from relight.bridge.request import Asked
from relight.clock import Clock
from relight.errors import RelightError
from relight.wire import sse
from relight.wire.dialect import EventStream

BEGIN_AFTER_S: Final = 3.0
"""A stream without an answer is begun after this: until then a refusal can still be told by its status, and a service that is
awake has answered."""
HEARTBEAT_S: Final = 10.0
_JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Manner:
    """How a client is kept waiting. `hold_json_s`: after so long one that does not stream gets white space; None: never."""

    hold_json_s: float | None = None
    begin_after_s: float = BEGIN_AFTER_S
    heartbeat_s: float = HEARTBEAT_S


class Reply:
    """The answer to one request."""

    def __init__(self, request: web.Request, asked: Asked, clock: Clock, manner: Manner, answer_id: str) -> None:
        self._request, self._asked, self._clock, self._manner = request, asked, clock, manner
        self._id = answer_id
        self._dialect = asked.dialect
        self._is_sse = self._dialect.stream_type == EventStream.stream_type
        self._turn = asyncio.Lock()
        self._boundary = sse.Boundary()
        self._ends_line = True
        self._last_event = clock.now()
        self._pulse: asyncio.Task[None] | None = None
        self.response: web.StreamResponse | None = None
        self.is_early = False
        """Whether the head went out before there was an answer."""
        self.status = 0
        self.has_failed = False

    # --- while there is no answer

    @asynccontextmanager
    async def signs_of_life(self) -> AsyncIterator[None]:
        """While inside, and until the answer's first byte, the client hears something."""
        if self._asked.streams:
            self._pulse = asyncio.create_task(self._beat(self._manner.begin_after_s))
        elif self._manner.hold_json_s is not None and self._asked.asks:
            self._pulse = asyncio.create_task(self._beat(self._manner.hold_json_s))
        try:
            yield
        finally:
            await self._quiet()

    async def will_take_long(self) -> None:
        """It is known that there is no answer yet: a stream begins now."""
        if self._asked.streams:
            await self._sign()

    async def _beat(self, after_s: float) -> None:
        await self._clock.sleep(after_s)
        while True:
            await self._sign()
            await self._clock.sleep(self._manner.heartbeat_s)

    async def _sign(self) -> None:
        async with self._turn:
            is_first = self.response is None
            if is_first:
                self.is_early = True
                kind = self._dialect.stream_type.decode() if self._asked.streams else _JSON
                self._last_event = self._clock.now()
                await self._start(200, "OK", [("Content-Type", kind), ("Cache-Control", "no-cache")])
            await self._write(self._life(is_first=is_first))

    def _life(self, *, is_first: bool) -> bytes:
        if not self._asked.streams:
            return b" "
        now = self._clock.now()
        if self._is_sse and (is_first or now - self._last_event < self._dialect.comments_only_s):
            return sse.comment("waiting for the service")
        self._last_event = now
        return self._dialect.heartbeat(self._asked.model, self._id)

    async def _quiet(self) -> None:
        pulse, self._pulse = self._pulse, None
        if pulse is not None:
            pulse.cancel()
            await asyncio.wait({pulse})
            if not pulse.cancelled():
                pulse.exception()  # the client is gone: who sends the answer hears it as well

    # --- the answer

    async def head(self, status: int, reason: str, headers: Sequence[tuple[str, str]]) -> None:
        """Send the answer's own head; whoever has got one already gets none."""
        told = [(name.lower(), text) for name, text in headers]
        if not self.is_early and not self._is_stream(status, dict(told)):
            await self._quiet()  # nothing may stand before a body whose length is said, or that is no stream
        async with self._turn:
            if self.response is None:
                await self._start(status, reason, headers)

    def _is_stream(self, status: int, headers: Mapping[str, str]) -> bool:
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        is_plain = "content-length" not in headers and headers.get("content-encoding", "identity") == "identity"
        return status == 200 and is_plain and self._asked.streams and kind == self._dialect.stream_type.decode()

    async def chunk(self, data: bytes) -> None:
        """Pass on bytes of the answer. Waits while the client is slower than the service."""
        if self._pulse is not None:
            await self._quiet()
        await self._write(data)

    async def end(self) -> web.StreamResponse:
        """Close the answer."""
        await self._quiet()
        assert self.response is not None  # noqa: S101 - an answer has a head
        await self.response.write_eof()
        return self.response

    async def fail(self, error: RelightError) -> web.StreamResponse:
        """End with an error: as a response when nothing was sent yet, as an event where one can stand, else by breaking off."""
        await self._quiet()
        self.has_failed = True
        if self.response is None:
            return await self._refuse(error)
        if self._asked.streams and self.status == 200 and self._is_between_events():
            await self._write(self._dialect.error_event(error))
        elif not self._asked.streams and self.is_early:
            await self._write(msgspec.json.encode(self._dialect.error_body(error)))
        else:
            # Part of something is out: whatever followed would be read as its rest.
            self.break_off()
            return self.response
        return await self.end()

    def break_off(self) -> None:
        """Close the connection without the end that its framing has, so that nobody takes what is out for the whole."""
        if self._request.transport is not None:
            self._request.transport.close()

    async def _refuse(self, error: RelightError) -> web.StreamResponse:
        body = msgspec.json.encode(self._dialect.error_body(error))
        headers = [("Content-Type", _JSON), ("Content-Length", str(len(body)))]
        if error.retry_after_s is not None:
            headers.append(("Retry-After", str(max(1, round(error.retry_after_s)))))
        response = await self._start(error.http_status, None, headers)
        await response.write_eof(b"" if self._request.method == "HEAD" else body)
        return response

    async def _start(self, status: int, reason: str | None, headers: Iterable[tuple[str, str]]) -> web.StreamResponse:
        self.status = status
        response = web.StreamResponse(status=status, reason=reason, headers=list(headers))
        self.response = response
        await response.prepare(self._request)
        return response

    async def _write(self, data: bytes) -> None:
        assert self.response is not None  # noqa: S101 - the head goes first
        self._boundary.feed(data)
        self._ends_line = data.endswith(b"\n") if data else self._ends_line
        await self.response.write(data)

    def _is_between_events(self) -> bool:
        return self._boundary.is_between_events if self._is_sse else self._ends_line

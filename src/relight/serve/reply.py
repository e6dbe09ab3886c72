"""One answer on its way out: headers once, chunks in order, heartbeats between events, an ending in every case.

It owns the ASGI `send` of its request: nothing else may send, so that an event never lands inside another.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from typing import Final

import msgspec

from relight.errors import ClientGone, MethodNotAllowed, RelightError
from relight.serve.front import Front, timing_headers
from relight.serve.http import JSON, Request
from relight.serve.pulse import SignsOfLife
from relight.telemetry.interaction import Interaction
from relight.wire import sse
from relight.wire.dialect import Dialect, EventStream

_UNBUFFERED: Final = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]


class Reply:
    """The answer to one interaction."""

    def __init__(self, front: Front, request: Request, it: Interaction, dialect: Dialect) -> None:
        self._front = front
        self._request = request
        self._it = it
        self._dialect = dialect
        self._sign: asyncio.Event | None = None  # there while a sign of life is being sent
        self._boundary = sse.Boundary()
        self._now = front.clock.now
        self.last_life = self._last_event = self._now()
        """When the client last heard of it, by the clock."""
        self._has_comments = dialect.stream_type == EventStream.stream_type
        self._loop = asyncio.get_running_loop()
        self.sending_since: float | None = None
        """Loop time since when the client has been waited for; a `Watch` looks at it."""
        self.is_started = False
        self.is_ended = False
        self.is_told = False
        """Whether the last event is out, or on its way; the stream may stay open for a while behind it."""
        self.has_answer = False
        """Whether any of the answer itself is out: after that nobody else can give another."""
        self.tell_failure: Callable[[RelightError], bytes] = dialect.error_event
        """The events that end this stream with an error; who has begun to tell an answer knows better how it goes on."""

    def says_who(self, backend: str) -> None:
        """Name the model that answers in the headers, as long as they have not been sent."""
        self.header(b"x-relight-model", backend.encode())

    def header(self, name: bytes, value: bytes) -> None:
        """Set a header of the answer, as long as they have not been sent."""
        self._request.extra = [(key, said) for key, said in self._request.extra if key != name]
        self._request.extra.append((name, value))

    async def whole(self, status: int, body: bytes, content_type: bytes) -> None:
        """Send a complete answer; the record is written before its last byte leaves."""
        await self._sign_is_out()
        if self.is_started:  # held with white space: the status is out
            await self._write(body)
            await self._finish()
            return
        self._it.status = status
        self._it.bytes_out = len(body)
        self.is_started = True
        headers = [(b"content-type", content_type), *timing_headers(self._it)]
        self._close()
        await self._send(self._request.answer(status, body, headers))

    async def waking(self, model: str, eta_s: float) -> None:
        """Say that the model wakes, and how many seconds more; a dialect that cannot only begins."""
        await self._sign_is_out()
        await self._begin()
        if told := self._dialect.waking(model, eta_s):
            await self._write(told)

    async def chunk(self, data: bytes) -> None:
        """Pass on a piece of the stream. Waits while the client is slower than the engine."""
        if self._sign is not None:
            await self._sign_is_out()
        if not self.is_started:
            await self._begin()
        self._note_life(data)
        await self._write(data)

    def pass_on(self, data: bytes, through: Callable[[bytes], bytes]) -> bool:
        """As `chunk` what `through` makes of `data`, at once; false, with nothing done, where somebody would have to wait: the
        stream has not begun, its client does not keep up, or something else is being sent."""
        if self._sign is not None or not self.is_started or (lane := self._request.lane) is None:
            return False
        if out := through(data):
            self._note_life(out)
            lane.write(out)
            self._note_sent(out)
        return True

    def _note_life(self, data: bytes) -> None:
        if not (_is_comment(data) and self._boundary.is_between_events):
            self.last_life = self._last_event = self._now()
            self.has_answer = True

    async def end(self) -> None:
        """Close the stream: the record first, then the last byte."""
        await self._sign_is_out()
        await self._begin()
        await self._finish()

    async def fail(self, error: RelightError) -> None:
        """End with an error: as a response when nothing was sent yet, as an event in an open stream."""
        if self.is_ended:
            return
        self._it.fail(error) if self.is_started else self._front.refuse(self._it, error)
        if isinstance(error, ClientGone):
            self._it.status = error.http_status
            self._close()
            return
        try:
            async with asyncio.timeout(float(self._front.config.server.write_timeout)):
                await self._tell(error)
        except TimeoutError:
            pass  # it does not even read that: the connection ends without it

    async def _tell(self, error: RelightError) -> None:
        if not self.is_started or not self._it.stream:
            await self.whole_error(error)
            return
        await self._sign_is_out()
        if self._boundary.is_between_events:
            await self._write(self.tell_failure(error))
            await self._finish()
        else:
            # Half an event is out: whatever follows would be read as its rest. Closing the connection is honest.
            self._close()

    async def whole_error(self, error: RelightError) -> None:
        """An error as a complete response in the dialect's shape."""
        self._request.extra += error_headers(error)
        await self.whole(error.http_status, msgspec.json.encode(self._dialect.error_body(error)), JSON)

    def signs_of_life(self, model: str) -> AbstractAsyncContextManager[None]:
        """While inside, no silence of a stream is longer than `server.heartbeat`, and who waits for JSON gets white space if
        `server.hold_json` says so."""
        if self._it.stream:
            return SignsOfLife(self._front.pulse, self, model)
        hold = self._front.config.server.hold_json
        return nullcontext() if hold is None else self._held(float(hold))

    async def give_sign(self, model: str) -> None:
        """See `pulse.Audible`."""
        if self.sending_since is not None or self.is_ended:
            return  # the client has still to read what is there
        if self.is_told:
            return  # an event behind the last one is a fault to some clients
        with self._sending_a_sign():
            await self._begin()
            if self._boundary.is_between_events:
                self.last_life = self._now()
                await self._write(self._sign_of_life(model))

    @asynccontextmanager
    async def _held(self, after_s: float) -> AsyncIterator[None]:
        holding = asyncio.create_task(self._hold(after_s))
        try:
            yield
        finally:
            holding.cancel()
            await asyncio.wait({holding})
            if not holding.cancelled():
                holding.exception()  # the client is gone: who sends the answer hears it as well

    async def _hold(self, after_s: float) -> None:
        """White space before JSON is part of it: its client hears something, and reads the same."""
        await self._front.clock.sleep(after_s)
        while not self.is_ended:
            if self.sending_since is None:
                with self._sending_a_sign():
                    await self._begin()
                    await self._write(b" ")
            await self._front.clock.sleep(float(self._front.config.server.heartbeat))

    @contextmanager
    def _sending_a_sign(self) -> Iterator[None]:
        """Whoever answers waits meanwhile. To be entered only while nobody sends."""
        self._sign = asyncio.Event()
        try:
            yield
        finally:
            self._sign.set()
            self._sign = None

    async def _sign_is_out(self) -> None:
        if self._sign is not None:
            await self._sign.wait()

    def _sign_of_life(self, model: str) -> bytes:
        now = self._now()
        if self._has_comments and now - self._last_event < self._dialect.comments_only_s:
            return sse.comment("still here")
        self._last_event = now
        return self._dialect.heartbeat(model, self._it.id)

    async def _begin(self) -> None:
        if self.is_started:
            return
        self._it.status = 200
        kind = self._dialect.stream_type if self._it.stream else JSON
        headers = [(b"content-type", kind), *_UNBUFFERED, *timing_headers(self._it)]
        await self._send(self._request.start(200, headers))
        self.is_started = True

    async def _write(self, data: bytes) -> None:
        self.sending_since = self._loop.time()
        try:
            await self._request.piece(data)
        except OSError as error:
            raise _left(error) from error
        finally:
            self.sending_since = None
        self._note_sent(data)

    def _note_sent(self, data: bytes) -> None:
        if self._has_comments:
            self._boundary.feed(data)  # other framings are written by us alone, in whole events
        self._it.bytes_out += len(data)

    async def _finish(self) -> None:
        self._close()
        await self._send(self._request.end())

    def _close(self) -> None:
        """Close the record; whatever is still sent is the last."""
        self._front.close(self._it)
        self.is_ended = True

    async def _send(self, sending: Awaitable[None]) -> None:
        self.sending_since = self._loop.time()
        try:
            await sending
        except OSError as error:
            raise _left(error) from error
        finally:
            self.sending_since = None


def _left(error: OSError) -> ClientGone:
    """ASGI lets a server say so in this way; uvicorn's `send` does nothing and its `receive` says it."""
    return ClientGone(f"client: left before its answer was complete ({type(error).__name__})")


def _is_comment(data: bytes) -> bool:
    """Whether whole lines of `data` that begin an event are comments only; clients do not count those as life."""
    return data[:1] in b":\r\n" and all(line.startswith(b":") for line in data.splitlines() if line)


def error_headers(error: RelightError) -> list[tuple[bytes, bytes]]:
    """Headers that go with an error: when to come again, what is allowed."""
    headers = []
    if error.retry_after_s is not None:
        headers.append((b"retry-after", str(max(1, math.ceil(error.retry_after_s))).encode()))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", ", ".join(error.allow).encode()))
    return headers

"""A request to a model: wait for its engine, pass the bytes through, know what became of it. Changes no byte of an answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from relight.decoding import NOT_JSON
from relight.engines.connection import Exchange, exchange
from relight.errors import (
    ClientGone,
    ContextOverflow,
    EngineCrashed,
    EngineFailed,
    EngineRejected,
    InvalidRequest,
    NotSupported,
    RelightError,
    Stopping,
)
from relight.lifecycle.runner import Ticket
from relight.serve.admission import admit
from relight.serve.front import Front, Served
from relight.serve.http import JSON, Request
from relight.serve.reply import Reply
from relight.telemetry.interaction import Interaction, Phase
from relight.wire.dialect import Dialect, Tap


class Asked(msgspec.Struct, frozen=True):
    """The two fields of a request that the front door needs; all others are the engine's business."""

    model: str | None = None
    stream: bool | None = None


T = TypeVar("T")

_NEVER_STREAM: Final = frozenset({"/v1/messages/count_tokens", "/v1/embeddings"})
_TRIES: Final = 5
_TRY_AGAIN_S: Final = 0.2
_LAST_WORD_S: Final = 0.3


class _Unread(EngineCrashed):
    """The engine ended without reading the request.

    One that has just crashed looks awake, and for an instant even takes connections, until its process is seen to be gone.
    It has read nothing, so asking the runner again is safe: by then it knows, and wakes the next one.
    """


class Completions:
    """The POST route of one path of one dialect."""

    def __init__(self, front: Front, dialect: Dialect, path: str) -> None:
        self._front = front
        self._dialect = dialect
        self._path = path

    async def __call__(self, request: Request) -> None:
        """Answer one request; its record is closed exactly once, whatever happens."""
        it = self._front.open(request)
        it.dialect = self._dialect.name
        reply = Reply(self._front, request, it, self._dialect)
        try:
            await self._serve(request, it, reply)
        except RelightError as error:
            await reply.fail(error)
        except asyncio.CancelledError:
            if not self._front.is_stopping:
                it.fail(Stopping("the request was cancelled by the program that it runs in"))
                raise
            # The server's patience is over. This task ends here in any case, and its client may as well hear why, if it reads.
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORD_S):
                    await reply.fail(_stopped())
        except Exception as error:
            # The HTTP border: what nobody foresaw is told as our own fault, and the record says what it was.
            self._front.sink.note("ERROR", f"internal error in {it.id}: {_where(error)}")
            await reply.fail(RelightError("relight: internal error; it is in the log", hint=f"look for {it.id}"))
        finally:
            if not it.is_closed:
                self._front.close(it)

    async def _serve(self, request: Request, it: Interaction, reply: Reply) -> None:
        if self._front.is_stopping:
            raise Stopping("the server is stopping", retry_after_s=1.0)
        admit(request, self._front.config.server)
        body = await request.body(self._front.config.server.max_body)
        it.bytes_in = len(body)
        asked = _parse(body, Asked)
        served = self._front.model(asked.model)
        it.model, it.backend, it.stream = served.name, served.engine, bool(asked.stream) and self._path not in _NEVER_STREAM
        request.extra.append((b"x-relight-model", served.name.encode()))
        if self._path not in served.capabilities.paths:
            raise NotSupported(f'{self._path}: the engine of "{served.name}" ({served.engine}) does not speak it')
        if self._front.keeps_content:
            self._front.keep_content(it, request=_parse(body, dict))
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(while_client_stays(request, reply))
            if it.stream:
                await stack.enter_async_context(reply.heartbeats(served.name))
            await self._answer(served, it, reply, body)

    async def _answer(self, served: Served, it: Interaction, reply: Reply, body: bytes) -> None:
        try:
            for more_tries in reversed(range(_TRIES)):
                with served.runner.ask() as ticket:
                    try:
                        await _awake(ticket, served, it, reply)
                        return await self._relay(await _engine(ticket), it, reply, body)
                    except _Unread:
                        if not more_tries:
                            raise
                await self._front.clock.sleep(_TRY_AGAIN_S)
        except RelightError as error:
            if self._front.is_stopping and not isinstance(error, ClientGone):
                raise _stopped() from error
            raise

    async def _relay(self, socket: Path, it: Interaction, reply: Reply, body: bytes) -> None:
        asked: Exchange | None = None
        try:
            asked = await exchange(socket, "POST", self._path, [(b"content-type", JSON)], body)
            await asked.head()
        except EngineCrashed as error:
            raise _Unread(error.message) if isinstance(error.__cause__, OSError) else error from error.__cause__
        else:
            await self._pass_on(asked, it, reply)
        finally:
            if asked is not None:
                asked.close()

    async def _pass_on(self, asked: Exchange, it: Interaction, reply: Reply) -> None:
        head = await asked.head()
        if head.status >= 400:
            raise _engine_error(head.status, await asked.read())
        is_stream = (head.get(b"content-type") or b"").startswith(b"text/event-stream")
        tap = Tap(self._dialect, stream=is_stream, keep_text=self._front.keeps_content)
        if not is_stream:
            answer = await _collect(asked, tap)
            _note(tap, it, self._front)
            if not reply.is_started:
                await reply.whole(head.status, answer, head.get(b"content-type") or JSON)
                return
            raise EngineFailed("engine: was asked for a stream and sent something else")
        async for chunk in asked.chunks():
            tap.feed(chunk)
            if it.first_token_s is None and tap.first_event_seen:
                it.first_token()
            await reply.chunk(chunk)
        _note(tap, it, self._front)
        await reply.end()


async def _awake(ticket: Ticket, served: Served, it: Interaction, reply: Reply) -> None:
    """Wait until the engine answers, telling whoever streams."""
    if (eta_s := ticket.eta_s) is not None:
        it.enter(Phase.WAKE)
        if it.stream:
            await reply.comment(f"waking {served.name}, about {eta_s:.1f} s left")
        await _engine(ticket)
    it.enter(Phase.PREFILL)


async def _engine(ticket: Ticket) -> Path:
    try:
        return await ticket.engine()
    except EngineCrashed as error:
        raise _Unread(error.message) from error


async def _collect(asked: Exchange, tap: Tap) -> bytes:
    parts = []
    async for chunk in asked.chunks():
        tap.feed(chunk)
        parts.append(chunk)
    return b"".join(parts)


def _note(tap: Tap, it: Interaction, front: Front) -> None:
    usage = tap.finish()
    it.prompt_tokens, it.cached_tokens, it.completion_tokens = usage.prompt, usage.cached, usage.completion
    it.finish = usage.finish
    it.split_decode(usage.decode_s)
    if usage.error:
        it.fail(EngineFailed(f"engine: {usage.error}"))
    if front.keeps_content:
        front.keep_content(it, reply=tap.text)


def _parse(body: bytes, into: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=into)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"request: {error}") from error
    except NOT_JSON as error:
        raise InvalidRequest(f"request: the body is not JSON ({error})", hint="send a JSON object") from error


def _where(error: Exception) -> str:
    """Kind and place of an error; its text may quote what was said, and stays out of the log."""
    import traceback

    last = traceback.extract_tb(error.__traceback__)[-1:]
    return f"{type(error).__name__} at {last[0].name}:{last[0].lineno}" if last else type(error).__name__


def _stopped() -> Stopping:
    return Stopping("the server stopped before the answer was complete", retry_after_s=1.0)


def _engine_error(status: int, body: bytes) -> RelightError:
    """An engine's error response as one of ours. llama.cpp says an overflow with both numbers."""
    try:
        error: Any = msgspec.json.decode(body)["error"]
        message = str(error["message"])
    except (*NOT_JSON, KeyError, TypeError):
        return EngineFailed(f"engine: answered with status {status} and no reason")
    if error.get("type") == "exceed_context_size_error":
        return ContextOverflow(
            f"prompt: {message}", prompt_tokens=error.get("n_prompt_tokens"), context_tokens=error.get("n_ctx")
        )
    if status < 500:
        return EngineRejected(f"engine: {message}")
    return EngineFailed(f"engine: {message}")


@asynccontextmanager
async def while_client_stays(request: Request, reply: Reply) -> AsyncIterator[None]:
    """Cancel what is inside as soon as the client is gone, and raise `ClientGone` in its place.

    Servers say that a client is gone also when it has got everything: a reply that has ended is left alone.
    """
    inside = asyncio.current_task()
    is_gone = False

    async def watch() -> None:
        nonlocal is_gone
        while (await request.receive())["type"] != "http.disconnect":
            pass
        if inside is not None and not reply.is_ended:
            is_gone = True
            inside.cancel()

    watcher = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        if is_gone and inside is not None:
            inside.uncancel()
            raise ClientGone("client: left before its answer was complete") from None
        raise
    finally:
        watcher.cancel()

"""The scripted engine in a running event loop: its routes, its slots, and the playing of a script against the clock."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NoReturn

from relight.clock import Clock
from relight.engines.script import Fault, FaultKind, Script, find_script
from relight.engines.scripted_answer import Answer, Stamp, compose
from relight.engines.scripted_dialects import CHAT, COMPLETION, MESSAGES, Dialect, Json, Progress, cut, encode
from relight.engines.scripted_http import Connection, Request
from relight.engines.scripted_prompt import all_texts, count_words, read_chat
from relight.engines.scripted_responses import RESPONSES
from relight.engines.scripted_slots import Slot, Slots
from relight.engines.scripted_vectors import embed, rerank
from relight.errors import ContextOverflow, InvalidRequest

_DIALECTS: Final = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": COMPLETION,
    "/v1/messages": MESSAGES,
    "/v1/responses": RESPONSES,
}
_VECTORS: Final[dict[str, Callable[[Json, str], Json]]] = {"/v1/embeddings": embed, "/v1/rerank": rerank}
# A chat as text, and a text as tokens, of which each word is one.
_TEXTS: Final[dict[str, Callable[[Json], Json]]] = {
    "/apply-template": lambda body: {"prompt": " ".join(all_texts(body.get("messages")))},
    "/tokenize": lambda body: {"tokens": list(range(count_words(body.get("content"))))},
}
_GARBAGE: Final = b"\x16\x03\x01\xff\xfe\x00 this is not HTTP \x80\x81\r\n"
_PROGRESS_STEPS: Final = 4
_ERROR_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    501: "not_supported_error",
    503: "unavailable_error",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the engine claims to be. `context` is in tokens per request."""

    model: str = "scripted"
    context: int = 8192
    parallel: int = 2
    script: Script = field(default_factory=Script)
    once: Path | None = None  # a fault happens while this file is not there, and makes it


class Server:
    """The engine behind a listening socket. `progress` is set from 0 to 1 while loading and to `None` once loaded."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.progress: float | None = None
        self._settings = settings
        self._clock = clock
        self._slots = Slots(settings.parallel)

    @contextlib.asynccontextmanager
    async def listen(self, listener: socket.socket) -> AsyncIterator[None]:
        """Serve on a bound socket for the time of the block; afterwards no connection is left."""
        connections: set[Connection] = set()

        def connect() -> Connection:
            return Connection(self._respond, connections)

        loop = asyncio.get_running_loop()
        is_unix = listener.family == socket.AF_UNIX
        server = await (loop.create_unix_server if is_unix else loop.create_server)(connect, sock=listener)
        try:
            yield
        finally:
            server.close()
            await asyncio.gather(*(connection.gone() for connection in tuple(connections)))

    async def _respond(self, request: Request, out: Connection) -> None:
        try:
            await self._route(request, out)
        except ContextOverflow as error:
            numbers = {"n_prompt_tokens": error.prompt_tokens, "n_ctx": error.context_tokens}
            await self._refuse(out, 400, error.message, "exceed_context_size_error", **numbers)
        except InvalidRequest as error:
            await self._refuse(out, error.http_status, str(error))

    async def _route(self, request: Request, out: Connection) -> None:
        if self.progress is not None:
            error = {"message": "Loading model", "type": "unavailable_error", "code": 503}
            await out.send_json(503, encode({"error": error, "progress": self.progress}))
        elif request.method == "GET" and (value := self._describe(request.path)) is not None:
            await out.send_json(200, encode(value))
        elif request.method == "POST" and request.path in _DIALECTS:
            await self._generate(_DIALECTS[request.path], _read_json(request.body), out)
        elif request.method == "POST" and request.path == "/v1/messages/count_tokens":
            await out.send_json(200, encode({"input_tokens": read_chat(_read_json(request.body)).tokens}))
        elif request.method == "POST" and request.path in _TEXTS:
            await out.send_json(200, encode(_TEXTS[request.path](_read_json(request.body))))
        elif request.method == "POST" and request.path in _VECTORS:
            await out.send_json(200, encode(_VECTORS[request.path](_read_json(request.body), self._settings.model)))
        else:
            await self._refuse(out, 404, "File Not Found")

    async def _refuse(self, out: Connection, status: int, message: str, kind: str | None = None, **more: object) -> None:
        error = {"code": status, "message": message, "type": kind or _ERROR_TYPES.get(status, "server_error")}
        await out.send_json(status, encode({"error": error | more}))

    # --- what needs no slot

    def _describe(self, path: str) -> Json | list[Json] | None:
        match path:
            case "/health" | "/v1/health":
                return {"status": "ok"}
            case "/slots":
                return list(self._slots.describe(self._settings.context))
            case "/props":
                return self._props()
            case "/v1/models":
                return {"object": "list", "data": [self._model()]}
        return None

    def _model(self) -> Json:
        meta = {"n_ctx": self._settings.context}
        created = int(self._clock.wall())
        return {"id": self._settings.model, "object": "model", "created": created, "owned_by": "scripted", "meta": meta}

    def _props(self) -> Json:
        return {
            "default_generation_settings": {"params": {}, "n_ctx": self._settings.context},
            "total_slots": self._settings.parallel,
            "model_alias": self._settings.model,
            "model_path": self._settings.model,
            "modalities": {"vision": False, "video": False, "audio": False},
            "endpoint_slots": True,
            "chat_template": "",
            "build_info": "scripted",
            "is_sleeping": False,
        }

    # --- what is played

    async def _generate(self, dialect: Dialect, body: Json, out: Connection) -> None:
        prompt = dialect.read(body)
        script, user = find_script(prompt.user, self._settings.script)
        script = script.turn(len(prompt.results), has_tools=prompt.has_tools, is_answered=prompt.tool_result is not None)
        if self._settings.once is not None and self._settings.once.exists():
            script = replace(script, fault=None)
        if script.blind:
            prompt = replace(prompt, tokens=prompt.tokens - prompt.tool_tokens)
        stamp = Stamp(os.urandom(16).hex(), int(self._clock.wall()), self._settings.model)
        answer = compose(replace(prompt, user=user), script, stamp, self._settings.context)
        async with self._slots.take(prompt.tokens, prompt.slot) as slot:
            await self._pause(script.first)
            if script.status is not None:
                await self._refuse(out, script.status, f"scripted: status={script.status}")
            elif prompt.stream:
                out.start_stream()
                if prompt.progress and dialect.progress is not None:
                    await self._tell_progress(dialect.progress, answer, script, out)
                else:
                    await self._prefill(script, out)
                await self._play_stream(dialect, answer, script, slot, out)
            else:
                await self._play_body(dialect, answer, script, slot, out)

    async def _prefill(self, script: Script, out: Connection) -> None:
        """Silence, or comments like llama.cpp's, between the head and the first token."""
        left = script.prefill
        while script.comments and left > script.comments:
            await self._clock.sleep(script.comments)
            await out.send_chunk(b":\n\n")
            left -= script.comments
        await self._pause(left)

    async def _tell_progress(self, chunk: Progress, answer: Answer, script: Script, out: Connection) -> None:
        """An event at the beginning, after each part that was read and at the end, as llama.cpp sends them after each batch."""
        steps = _PROGRESS_STEPS if script.prefill else 1
        fresh = answer.prompt_tokens - answer.cached_tokens
        for step in range(steps + 1):
            if step:
                await self._pause(script.prefill / steps)
            spent_ms = round(1000 * script.prefill * step / steps)
            await out.send_chunk(chunk(answer, answer.cached_tokens + fresh * step // steps, spent_ms))

    async def _pause(self, seconds: float) -> None:
        if seconds > 0:
            await self._clock.sleep(seconds)

    async def _play_stream(self, dialect: Dialect, answer: Answer, script: Script, slot: Slot, out: Connection) -> None:
        for count, block in enumerate(dialect.blocks(answer)):
            if 0 < count < answer.tokens:
                await self._pause(script.delay)
            if script.fault is not None and script.fault.after == count:
                await self._break_off(script.fault, script, out)
                return
            for part in cut(block, script.chunk, inside_characters=script.unicode):
                await out.send_chunk(part)
            slot.decoded = min(count + 1, answer.tokens)
        await out.end_stream()

    async def _play_body(self, dialect: Dialect, answer: Answer, script: Script, slot: Slot, out: Connection) -> None:
        body = encode(dialect.body(answer))
        fault = script.fault if script.fault is not None and script.fault.after <= answer.tokens else None
        await self._pause(script.prefill)
        for count in range(fault.after if fault is not None else answer.tokens):
            if count:
                await self._pause(script.delay)
            slot.decoded = count + 1
        if fault is None:
            await out.send_json(200, body, list(cut(body, script.chunk, inside_characters=script.unicode)))
            return
        if fault.after and fault.kind is FaultKind.DROP:
            out.start_json(len(body))
            await out.send_raw(body[: len(body) // 2])
        await self._break_off(fault, script, out)

    async def _break_off(self, fault: Fault, script: Script, out: Connection) -> None:
        if self._settings.once is not None:
            self._settings.once.touch()
        match fault.kind:
            case FaultKind.STALL:
                await asyncio.Event().wait()  # until the client leaves, which cancels this task
            case FaultKind.DROP:
                out.drop()
            case FaultKind.GARBAGE:
                await out.send_raw(_GARBAGE)
                out.close()
            case FaultKind.CRASH:
                crash(script.exit, "as its script says")


def crash(code: int, reason: str) -> NoReturn:
    """End the process at once, as a crash would: no clean-up, only a line on standard error."""
    print(f"scripted engine: exits with code {code}, {reason}", file=sys.stderr, flush=True)
    os._exit(code)


def _read_json(body: bytes) -> Json:
    try:
        value: Any = json.loads(body)
    except ValueError as error:
        raise InvalidRequest(f"parse error: {error}") from error
    if not isinstance(value, dict):
        raise InvalidRequest(f"body: should be a JSON object, got {type(value).__name__}")
    return value

"""The front door as an ASGI app: its routes and what every request passes, in order, on one screen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from relight.errors import MethodNotAllowed, PathNotFound, RelightError
from relight.serve.admission import admit
from relight.serve.completions import Completions
from relight.serve.front import Front
from relight.serve.http import Receive, Request, Scope, Send
from relight.serve.ops import Ops
from relight.serve.page import Pages
from relight.serve.reply import error_headers
from relight.wire.anthropic import Messages
from relight.wire.dialect import Dialect
from relight.wire.openai import Chat, Responses

Handler = Callable[[Request], Awaitable[None]]
Methods = dict[str, Handler]

_OPEN: Final = ("/livez", "/readyz")


class App:
    """One service. Mount it anywhere, or let `relight serve` run it; its lifespan ends the engines."""

    def __init__(self, front: Front, stopped: Callable[[], None] | None = None) -> None:
        self.front = front
        self._stopped = stopped
        self._exact, self._prefixes = _routes(front)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http":
            await self._http(Request(scope, receive, send))
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    def announce_stop(self) -> None:
        """Say what the stop waits for."""
        running = sum(served.runner.status().running for served in self.front.models.values())
        grace = self.front.config.server.grace
        waits = f"; {running} running get up to {grace} more (Ctrl-C again ends them now)" if running else ""
        self.front.sink.note("INFO", f"stopping{waits}")

    async def stop(self) -> None:
        """Stop every engine: running answers get the grace, then end with an error. Returns when no process is left."""
        self.front.is_stopping = True
        await asyncio.gather(*(served.runner.stop() for served in self.front.models.values()))
        if self._stopped is not None:
            self._stopped()

    async def _http(self, request: Request) -> None:
        try:
            handler = self._find(request)
            if not isinstance(handler, Completions) and request.path not in _OPEN:
                admit(request, self.front.config.server)  # a completion does it itself, to have it in its record
            await handler(request)
        except RelightError as error:
            await request.json(error.http_status, _dialect_of(request.path).error_body(error), error_headers(error))

    def _find(self, request: Request) -> Handler:
        methods = self._exact.get(request.path)
        if methods is None:
            methods = next((found for prefix, found in self._prefixes if request.path.startswith(prefix)), None)
        if methods is None:
            raise PathNotFound(f"{request.path}: there is nothing here", hint="GET /v1/models lists the models")
        method = "GET" if request.method == "HEAD" and "HEAD" not in methods else request.method
        if method not in methods:
            allowed = tuple(methods)
            raise MethodNotAllowed(
                f"{request.path}: does not take {request.method}", allow=allowed, hint=f"use {' or '.join(allowed)}"
            )
        return methods[method]

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return


def _routes(front: Front) -> tuple[dict[str, Methods], list[tuple[str, Methods]]]:
    ops, pages = Ops(front), Pages()

    def model(dialect: Dialect, path: str) -> Methods:
        return {"POST": Completions(front, dialect, path)}

    exact: dict[str, Methods] = {
        "/v1/chat/completions": model(Chat(), "/v1/chat/completions"),
        "/v1/completions": model(Chat("completions", "text_completion"), "/v1/completions"),
        "/v1/responses": model(Responses(), "/v1/responses"),
        "/v1/messages": model(Messages(), "/v1/messages"),
        "/v1/messages/count_tokens": model(Messages(), "/v1/messages/count_tokens"),
        "/v1/models": {"GET": ops.models},
        "/livez": {"GET": ops.livez},
        "/readyz": {"GET": ops.readyz},
        "/status": {"GET": ops.status},
        "/metrics": {"GET": ops.metrics},
        "/": {"GET": pages.index},
    }
    prefixes: list[tuple[str, Methods]] = [
        ("/v1/models/", {"GET": ops.model}),
        ("/models/", {"POST": ops.move}),
        ("/assets/", {"GET": pages.asset}),
    ]
    return exact, prefixes


def _dialect_of(path: str) -> Dialect:
    return Messages() if path.startswith("/v1/messages") else Chat()

"""The front door as an ASGI app: its routes and what every request passes, in order, on one screen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from relight.config.schema import Content
from relight.errors import MethodNotAllowed, PathNotFound, RelightError
from relight.serve import translations as words
from relight.serve.assistant import AssistantRoutes
from relight.serve.completions import Completions
from relight.serve.front import Front, Served
from relight.serve.http import Receive, Request, Scope, Send
from relight.serve.ollama import Ollama
from relight.serve.ops import Ops
from relight.serve.page import Pages
from relight.serve.reply import error_headers
from relight.telemetry import redact
from relight.wire.anthropic import Messages
from relight.wire.dialect import Dialect
from relight.wire.ollama import OllamaChat, OllamaGenerate
from relight.wire.openai import Chat, Responses
from relight.wire.translation import Translation

Handler = Callable[[Request], Awaitable[None]]
Methods = dict[str, Handler]

_CORS: Final = [
    (b"access-control-allow-methods", b"GET, HEAD, POST, OPTIONS"),
    (b"access-control-allow-headers", b"*, authorization"),
    (b"access-control-max-age", b"86400"),
]
_EXPOSED: Final = b"x-relight-interaction, x-relight-model, x-relight-mode, x-relight-wake-ms, server-timing, retry-after"


class App:
    """One service. Mount it anywhere, or let `relight serve` run it; its lifespan ends the engines."""

    def __init__(
        self, front: Front, *, started: Callable[[], None] | None = None, stopped: Callable[[], None] | None = None
    ) -> None:
        self.front = front
        self._started = started
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
        running = self.front.elsewhere.running
        running += sum(served.runner.status().running for served in self.front.models.values())
        grace = self.front.config.server.grace
        waits = f"; {running} running get up to {grace} more (Ctrl-C again ends them now)" if running else ""
        self.front.sink.note("INFO", f"stopping{waits}")

    @asynccontextmanager
    async def lifespan(self, _outer: object = None) -> AsyncIterator[None]:
        """For an application that this one is mounted into, which is not told of the lifespan of what it mounts:
        `FastAPI(lifespan=app.lifespan)`."""
        await self.prepare()
        try:
            yield
        finally:
            await self.stop()

    async def prepare(self) -> None:
        """Load what the first request would have to wait for. Call it once the server listens; nothing fails without it."""
        if self._started is not None:
            self._started()
        await asyncio.to_thread(self.front.limiter.prepare)
        if self.front.config.log.content is Content.REDACTED:
            await asyncio.to_thread(redact.prepare)
        for provided in self.front.providers.values():
            await provided.provider.prepare()
        if self.front.desk is not None:
            self.front.desk.prepare()

    async def stop(self) -> None:
        """Stop every engine: running answers get the grace, then end with an error. Returns when no process is left."""
        self.front.is_stopping = True
        self.front.connections.close()
        await asyncio.gather(self._leave_providers(), *(self._stop_engine(served) for served in self.front.models.values()))
        if self.front.desk is not None:
            await self.front.desk.finish()
        await self.front.pulse.close()
        await self.front.limiter.close()  # last: answers are charged at their end
        if self._stopped is not None:
            self._stopped()

    async def _stop_engine(self, served: Served) -> None:
        if served.learner is not None:
            await served.learner.finish(float(self.front.config.server.grace) / 2)
        await served.runner.stop()

    async def _leave_providers(self) -> None:
        await self.front.elsewhere.finish(self.front.clock, self.front.config.server.grace)
        await asyncio.gather(*(provided.provider.close() for provided in self.front.providers.values()))

    async def _http(self, request: Request) -> None:
        if b"origin" in request.headers:
            _let_page_read(request)
        try:
            if request.method == "OPTIONS" and b"access-control-request-method" in request.headers:
                await self._preflight(request)
                return
            handler = self._find(request)
            if not isinstance(handler, Completions):  # a completion does it itself, to have it in its record
                self.front.gate.admit_to(request.path, request)
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

    async def _preflight(self, request: Request) -> None:
        """A browser asks whether a page may call. It sends no key with the question, so none is asked for."""
        if not self.front.gate.is_open_to_page(request):
            self.front.gate.admit(request)
        await request.answer(204, b"", _CORS)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.prepare()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return


def _let_page_read(request: Request) -> None:
    """Whoever is answered at all may read the answer: pages that may not call are refused, and read no more than that."""
    request.extra += [
        (b"access-control-allow-origin", request.headers[b"origin"]),
        (b"access-control-expose-headers", _EXPOSED),
        (b"vary", b"origin"),
    ]


def _routes(front: Front) -> tuple[dict[str, Methods], list[tuple[str, Methods]]]:
    ops, pages, ollama, assistant = Ops(front), Pages(_presented(front)), Ollama(front), AssistantRoutes(front)

    def model(dialect: Dialect, path: str, translation: Translation | None = None) -> Methods:
        return {"POST": Completions(front, dialect, path, translation)}

    exact: dict[str, Methods] = {
        "/v1/chat/completions": model(Chat(), "/v1/chat/completions"),
        "/v1/completions": model(Chat("completions", "text_completion"), "/v1/completions"),
        "/v1/embeddings": model(Chat("embeddings"), "/v1/embeddings"),
        "/v1/rerank": model(Chat("rerank"), "/v1/rerank"),
        "/v1/responses": model(Responses(), "/v1/responses", words.RESPONSES),
        "/v1/messages": model(Messages(), "/v1/messages", words.MESSAGES),
        "/v1/messages/count_tokens": model(Messages(), "/v1/messages/count_tokens"),
        "/chat": {"POST": Completions(front, front.desk.dialect, "/chat")} if front.desk else {"POST": assistant.none},
        "/feedback": {"POST": assistant.feedback},
        "/assistant": {"GET": assistant.about},
        "/assistant/wake": {"POST": assistant.wake},
        "/api/chat": model(OllamaChat(), "/api/chat", words.OLLAMA_CHAT),
        "/api/generate": model(OllamaGenerate(), "/api/generate", words.OLLAMA_GENERATE),
        "/api/embed": model(OllamaGenerate(), "/api/embed", words.OLLAMA_EMBED),
        "/api/embeddings": model(OllamaGenerate(), "/api/embeddings", words.OLLAMA_EMBEDDINGS),
        "/api/tags": {"GET": ollama.tags},
        "/api/ps": {"GET": ollama.ps},
        "/api/show": {"POST": ollama.show},
        "/api/version": {"GET": ollama.version},
        "/v1/models": {"GET": ops.models},
        "/livez": {"GET": ops.livez},
        "/readyz": {"GET": ops.readyz},
        "/status": {"GET": ops.status},
        "/metrics": {"GET": ops.metrics},
        "/": {"GET": pages.index},
        "/widget.js": {"GET": pages.widget},
    }
    prefixes: list[tuple[str, Methods]] = [
        ("/v1/models/", {"GET": ops.model}),
        ("/models/", {"POST": ops.move}),
        ("/assets/", {"GET": pages.asset}),
    ]
    return exact, prefixes


def _presented(front: Front) -> dict[str, object] | None:
    """What the page and the widget say of the assistant before they have asked."""
    if front.desk is None:
        return None
    page = front.desk.section.page
    title = page.title or front.config.service.name
    return {"title": title, "greeting": page.greeting, "suggestions": list(page.suggestions), "accent": page.accent}


def _dialect_of(path: str) -> Dialect:
    if path.startswith("/api/"):
        return OllamaChat()
    return Messages() if path.startswith("/v1/messages") else Chat()

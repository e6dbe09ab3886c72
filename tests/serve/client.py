"""An ASGI client of our own: sees each `send`, can read slowly, disconnect at any moment, and half-send a body."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from relight.clock import Clock, ManualClock
from relight.config.load import Loaded
from relight.config.schema import Config
from relight.engines.connection import exchange
from relight.serve.app import App
from relight.serve.compose import create_app
from relight.telemetry.interaction import Record
from relight.telemetry.sinks import JsonLines
from tests.serve.process import PATIENCE_S

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
RESPONSES = "/v1/responses"
PATHS = (CHAT, "/v1/completions", RESPONSES, MESSAGES)


class Log:
    """A sink that keeps every JSON line as it would be written, and counts."""

    def __init__(self) -> None:
        self.raw: list[bytes] = []
        self._json = JsonLines(self.raw.append)

    def opened(self, interaction: Any) -> None:
        self._json.opened(interaction)

    def closed(self, record: Record) -> None:
        self._json.closed(record)

    def note(self, severity: str, message: str, **fields: Any) -> None:
        self._json.note(severity, message, **fields)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in b"".join(self.raw).splitlines()]

    @property
    def records(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if "interaction" in line]

    def record(self) -> dict[str, Any]:
        """The only record's `interaction`."""
        (line,) = self.records
        interaction: dict[str, Any] = line["interaction"]
        return interaction

    def unbalanced(self) -> set[str]:
        """Ids that were not opened once and closed once."""
        opened = [line["opened"]["id"] for line in self.lines if "opened" in line]
        closed = [line["interaction"]["id"] for line in self.records]
        return {id_ for id_ in {*opened, *closed} if opened.count(id_) != 1 or closed.count(id_) != 1}

    def notes(self) -> list[str]:
        return [line["message"] for line in self.lines if "interaction" not in line and "opened" not in line]


@dataclass
class Call:
    """One request on its way. `sent` grows with every ASGI message; `allow` bounds how many are taken (None: all)."""

    sent: list[dict[str, Any]] = field(default_factory=list)
    task: asyncio.Task[None] | None = None
    is_stalled: bool = False
    _incoming: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _flowing: asyncio.Event = field(default_factory=asyncio.Event)
    is_gone: bool = False

    async def receive(self) -> dict[str, Any]:
        return await self._incoming.get()

    async def send(self, message: Any) -> None:
        # As uvicorn: nobody is told that the client is gone, and a client that does not read holds the sender.
        if self.is_stalled:
            await self._flowing.wait()
        if self.is_gone:  # may have come true meanwhile
            return
        assert not self.is_complete, "sent after the end"
        assert (message["type"] == "http.response.start") is (not self.sent), "start comes first, and once"
        self.sent.append(dict(message))
        self._news.set()
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self._incoming.put_nowait({"type": "http.disconnect"})  # as uvicorn does

    def feed(self, body: bytes, *, more: bool = False) -> None:
        self._incoming.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def leave(self) -> None:
        """The client is gone."""
        self.is_gone = True
        self._flowing.set()
        self._incoming.put_nowait({"type": "http.disconnect"})

    def stall(self) -> None:
        """Read no more."""
        self.is_stalled = True
        self._flowing.clear()

    def go_on(self) -> None:
        """Read again."""
        self.is_stalled = False
        self._flowing.set()

    async def until(self, condition: Callable[[Call], bool]) -> None:
        """Wait for the message that makes `condition` true; fails when the answer ends before."""
        assert self.task is not None
        while not condition(self):
            self._news.clear()
            waiting = asyncio.ensure_future(self._news.wait())
            await asyncio.wait({waiting, self.task}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            assert condition(self) or not self.task.done(), f"ended before: {self.body!r}"

    async def until_bytes(self, needle: bytes) -> None:
        """Wait until the body holds `needle`."""
        await self.until(lambda call: needle in call.body)

    async def done(self) -> Call:
        """Wait for the end of the request's task."""
        assert self.task is not None
        await self.task
        return self

    @property
    def is_complete(self) -> bool:
        return bool(self.sent) and self.sent[-1]["type"] == "http.response.body" and not self.sent[-1].get("more_body")

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def parts(self) -> list[bytes]:
        return [message["body"] for message in self.sent[1:]]

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[tuple[str, Any]]:
        """Name and decoded data of every event that is no comment."""
        found = []
        for block in self.body.decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            if "data" in fields:
                data = fields["data"]
                found.append((fields.get("event", ""), data if data == "[DONE]" else json.loads(data)))
        return found


class Door:
    """An app, its log and its clock."""

    def __init__(self, app: App, log: Log, clock: Clock, sockets: Callable[[], Path]) -> None:
        self.app, self.log, self.clock, self._socket = app, log, clock, sockets

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = b"",
        headers: Iterable[tuple[bytes, bytes]] = (),
        *,
        host: bytes = b"127.0.0.1",
        root_path: str = "",
        query: bytes = b"",
    ) -> Call:
        """Begin a request; `body=None` leaves it to `Call.feed`."""
        call = Call()
        if body is not None:
            call.feed(body)
        scope = {
            "type": "http",
            "method": method,
            "path": root_path + path,
            "root_path": root_path,
            "query_string": query,
            "headers": [(b"host", host), *headers],
            "client": ("127.0.0.1", 1),
        }
        call.task = asyncio.create_task(self.app(scope, call.receive, call.send))
        return call

    def ask(self, script: str = "", *, stream: bool = False, path: str = CHAT, **more: Any) -> Call:
        """Begin a generation, in the dialect of `path`."""
        headers = more.pop("headers", ())
        return self.call("POST", path, request_body(script, stream=stream, path=path, **more), headers)

    async def get(self, path: str, method: str = "GET") -> Call:
        return await self.call(method, path).done()

    async def status(self, model: str = "toy") -> dict[str, Any]:
        """What `/status` says of a model."""
        status: dict[str, Any] = (await self.get("/status")).json()["models"][model]
        return status

    async def state(self, model: str = "toy") -> str:
        state: str = (await self.get("/status")).json()["models"][model]["state"]
        return state

    async def awake(self) -> None:
        """Wake the engine by hand and wait."""
        self.app.front.models["toy"].runner.wake()
        await self.until_state("awake")

    async def until_state(self, *states: str) -> None:
        runner = self.app.front.models["toy"].runner
        while runner.status().state not in states:  # noqa: ASYNC110 - the runner has no event for onlookers
            await asyncio.sleep(0)

    @property
    def engine(self) -> Any:
        """The engine's process."""
        engine: Any = self.app.front.models["toy"].runner._engine
        assert engine is not None
        return getattr(engine, "started", engine)

    async def direct(self, script: str, *, stream: bool = True, path: str = CHAT) -> bytes:
        """What the engine itself answers, past the front door."""
        body = request_body(script, stream=stream, path=path)
        asked = await exchange(self._socket(), "POST", path, [(b"content-type", b"application/json")], body)
        try:
            return await asked.read()
        finally:
            asked.close()

    async def busy(self) -> int:
        """Slots at work, asked of the engine itself."""
        return len(await self.busy_slots())

    async def busy_slots(self) -> list[int]:
        """The numbers of the slots at work, asked of the engine itself."""
        return [slot["id"] for slot in await self._at_work()]

    async def decoded(self) -> list[int]:
        """Tokens that each slot at work has said so far, asked of the engine itself."""
        return [int(slot["next_token"][0]["n_decoded"]) for slot in await self._at_work()]

    async def _at_work(self) -> list[dict[str, Any]]:
        asked = await exchange(self._socket(), "GET", "/slots")
        try:
            return [slot for slot in json.loads(await asked.read()) if slot["is_processing"]]
        finally:
            asked.close()

    async def until_busy(self, count: int) -> None:
        """Ask the engine until so many of its slots are at work."""
        async with asyncio.timeout(PATIENCE_S):
            while await self.busy() != count:
                pass

    async def advance(self, seconds: float) -> None:
        assert isinstance(self.clock, ManualClock)
        await self.clock.advance(seconds)


def request_body(script: str, *, stream: bool = False, path: str = CHAT, **more: Any) -> bytes:
    """A request in the dialect of `path` whose last user message is the script."""
    text = f"#script {script}" if script else "hello"
    asked: dict[str, Any] = {"stream": stream, **more}
    if path == "/v1/completions":
        asked["prompt"] = text
    elif path == RESPONSES:
        asked["input"] = text
    else:
        asked["messages"] = [{"role": "user", "content": text}]
    if path == MESSAGES:
        asked.setdefault("max_tokens", 10_000_000)
    return json.dumps(asked).encode()


@asynccontextmanager
async def front_door(
    folder: Path,
    *,
    args: Sequence[str] = (),
    clock: Clock | None = None,
    models: Sequence[str] = ("toy",),
    server: dict[str, Any] | None = None,
    log: dict[str, Any] | None = None,
    native: Sequence[str] = (),
    sections: dict[str, Any] | None = None,
    others: dict[str, Any] | None = None,
    **model: Any,
) -> AsyncIterator[Door]:
    """An app on scripted engines, stopped at the end. By default time stands still, and what waits is told by the test.

    `models` are scripted ones, all alike; `others` are further models, and `sections` further sections, as a file has them.
    """
    each = {"engine": "scripted", "args": list(args), **model}
    raw = {
        "service": {"name": "test"},
        "models": {**dict.fromkeys(models, each), **(others or {})},
        "server": server or {},
        "log": log or {},
        "weights": {"dir": str(folder / "weights")},
        **(sections or {}),
    }
    config = msgspec.convert(raw, Config, dec_hook=_unit)
    sink = Log()
    the_clock = clock or ManualClock()
    app = create_app(Loaded(config, folder, {}, None), sink=sink, clock=the_clock)
    if native:
        speak_natively(app, frozenset(native))
    door = Door(app, sink, the_clock, lambda: door.engine.socket)
    try:
        yield door
    finally:
        stopping = asyncio.create_task(app.stop())
        while not stopping.done():
            if isinstance(the_clock, ManualClock):
                await the_clock.advance(1)  # nobody waits for a grace that stands still
            await asyncio.wait({stopping}, timeout=0.01)
        await stopping


def speak_natively(app: App, paths: frozenset[str]) -> None:
    """Let the engines answer these paths by themselves; the scripted one can, but counts as llama.cpp, which does it wrongly."""
    models = app.front.models
    speeches = {name: replace(one.speech, paths=one.speech.paths | paths) for name, one in models.items()}
    app.front.models = {name: replace(one, speech=speeches[name]) for name, one in models.items()}


def _unit(kind: type, value: object) -> object:
    parse = getattr(kind, "parse", None)
    return parse(value) if parse is not None and isinstance(value, str) else kind(value)

"""Google at the wire: one HTTP server on this machine that answers for all of its APIs, strict, stateful, and able to fail.

Time is the number of requests: what takes a while (an operation, a role that has to spread) is due after so many more of them,
and goes on whether or not anybody asks.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from google.protobuf import any_pb2, json_format
from google.protobuf.message import Message

M = TypeVar("M")
_ALWAYS = {"$alt", "alt", "prettyPrint"}


class Refused(Exception):
    """What Google refuses: the number of HTTP, its own status, its message."""

    def __init__(self, code: int, status: str, message: str) -> None:
        super().__init__(message)
        self.code, self.status, self.message = code, status, message


class Killed(BaseException):
    """Stands for the end of the process that deploys; nothing in between may catch it."""


@dataclass
class Request:
    """A request as a handler sees it."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def message(self, kind: type[M]) -> M:
        """The body as a message of Google's; a field that it does not know is refused, as Google does."""
        found = kind.pb()()  # type: ignore[attr-defined]  # proto-plus
        try:
            json_format.Parse(self.body or b"{}", found)
        except json_format.ParseError as error:
            raise Refused(400, "INVALID_ARGUMENT", f"Invalid JSON payload received. {error}") from None
        return kind.wrap(found)  # type: ignore[attr-defined, no-any-return]  # proto-plus

    def json(self) -> Any:
        return json.loads(self.body or b"{}")

    def only(self, *known: str) -> dict[str, str]:
        """The query; a parameter that is not `known` is refused."""
        if strange := set(self.query) - set(known) - _ALWAYS:
            raise Refused(400, "INVALID_ARGUMENT", f"Unknown name {sorted(strange)}: Cannot bind query parameter")
        return self.query


@dataclass
class Reply:
    """An answer that is not simply JSON."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


Answer: TypeAlias = Reply | Message | dict[str, Any]
Handler = Callable[..., Answer]
"""Takes the request and the named groups of its path; returns JSON (proto messages of protobuf, or a dict) or a whole reply."""
Route = tuple[str, str, Handler]


@dataclass
class Fault:
    """Something goes wrong with the next `times` calls that `when` says (`POST /v2/…`): `how` is a refusal, or the connection
    breaks, `after` the call took effect or before."""

    when: Callable[[str], bool]
    how: Refused | None = None
    after: bool = False
    times: int = 1


class Api:
    """One API: its routes, and its state in attributes. `fake` leads to the others."""

    def __init__(self, fake: Fake) -> None:
        self.fake = fake

    def routes(self) -> list[Route]:
        raise NotImplementedError


class Fake:
    """Every API that was given to it, behind one address."""

    def __init__(self, project: str = "my-project", number: str = "123456789012") -> None:
        self.project, self.number = project, number
        self.now = 0
        self.calls: list[str] = []
        """`POST /v2/…`, in order, without the query."""
        self.faults: list[Fault] = []
        self.tokens: set[str] = set()
        """What may stand in `Authorization`; empty: anything."""
        self._due: list[tuple[int, Callable[[], None]]] = []
        self._operations: dict[str, dict[str, Any]] = {}
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = []
        self._lock = threading.RLock()
        self.add(("GET", r"/v[12]/(?P<name>(?:projects/[^/]+/locations/[^/]+/)?operations/[^/:]+)", self._operation))

    def add(self, *routes: Route) -> None:
        self._routes += [(method, re.compile(path), handler) for method, path, handler in routes]

    def fail(self, when: str, how: Refused | None = None, *, after: bool = False, times: int = 1) -> None:
        """The next `times` calls whose `METHOD /path` matches the regular expression `when` fail; see `Fault`."""
        self.faults.append(Fault(lambda call: re.search(when, call) is not None, how, after, times))

    # --- what takes a while

    def later(self, requests: int, effect: Callable[[], None]) -> None:
        """Do `effect` when so many more requests were made."""
        self._due.append((self.now + requests, effect))

    def operation(
        self, prefix: str, *, requests: int = 2, metadata: Message | None = None, finish: Callable[[], Message | Refused]
    ) -> dict[str, Any]:
        """A long-running operation named `prefix/operations/N`; ends with what `finish` returns, `requests` requests from now."""
        name = f"{prefix}/operations/op-{len(self._operations) + 1}".lstrip("/")
        said: dict[str, Any] = {"name": name, "done": False}
        if metadata is not None:
            said["metadata"] = packed(metadata)
        self._operations[name] = said

        def end() -> None:
            found = finish()
            if isinstance(found, Refused):
                said["error"] = {"code": _RPC.get(found.status, 2), "message": found.message}
            else:
                said["response"] = packed(found)
            said["done"] = True

        self.later(requests, end)
        return dict(said)

    def _operation(self, request: Request, name: str) -> dict[str, Any]:
        if name not in self._operations:
            raise Refused(404, "NOT_FOUND", f"operation {name} not found")
        return self._operations[name]

    # --- answering

    def handle(self, request: Request) -> tuple[Reply, bool]:
        """The answer, and whether the connection breaks instead of carrying it."""
        with self._lock:
            self.now += 1
            due, self._due = [one for one in self._due if one[0] <= self.now], [one for one in self._due if one[0] > self.now]
            for _, effect in due:
                effect()
            call = f"{request.method} {request.path}"
            self.calls.append(call)
            fault = next((one for one in self.faults if one.times > 0 and one.when(call)), None)
            if fault is not None:
                fault.times -= 1
                if not fault.after:
                    return (Reply(), True) if fault.how is None else (_refusal(fault.how), False)
            try:
                reply = _reply(self._answer(request))
            except Refused as refusal:
                reply = _refusal(refusal)
            if fault is not None:
                return (Reply(), True) if fault.how is None else (_refusal(fault.how), False)
            return reply, False

    def _answer(self, request: Request) -> Answer:
        for method, path, handler in self._routes:
            match = path.fullmatch(request.path)
            if method == request.method and match:
                if self.tokens and request.path != "/token":
                    self._check(request)
                return handler(request, **match.groupdict())
        raise Refused(404, "NOT_FOUND", f"the fake has no {request.method} {request.path}")

    def _check(self, request: Request) -> None:
        sent = request.headers.get("authorization", "").removeprefix("Bearer ")
        if sent not in self.tokens:
            raise Refused(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")


def packed(message: Message) -> dict[str, Any]:
    """A message with its `@type`, as operations carry it."""
    wrapped = any_pb2.Any()
    wrapped.Pack(message)
    return dict(json_format.MessageToDict(wrapped))


def _reply(answer: Answer) -> Reply:
    if isinstance(answer, Reply):
        return answer
    body = json_format.MessageToDict(answer) if isinstance(answer, Message) else answer
    return Reply(json.dumps(body).encode(), headers={"content-type": "application/json"})


def _refusal(refusal: Refused) -> Reply:
    said = {"error": {"code": refusal.code, "status": refusal.status, "message": refusal.message}}
    return Reply(json.dumps(said).encode(), refusal.code, {"content-type": "application/json"})


_RPC = {
    "INVALID_ARGUMENT": 3,
    "DEADLINE_EXCEEDED": 4,
    "NOT_FOUND": 5,
    "ALREADY_EXISTS": 6,
    "PERMISSION_DENIED": 7,
    "RESOURCE_EXHAUSTED": 8,
    "FAILED_PRECONDITION": 9,
    "ABORTED": 10,
    "INTERNAL": 13,
    "UNAVAILABLE": 14,
}


@contextmanager
def served(fake: Fake) -> Iterator[str]:
    """The address of `fake`, while the context lasts."""

    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body go out apart; without this each answer waits 40 ms for the acknowledgement of its head.
        disable_nagle_algorithm = True

        def _do(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            parts = urlsplit(self.path)
            request = Request(
                method=self.command,
                path=parts.path,
                query=dict(parse_qsl(parts.query, keep_blank_values=True)),
                headers={name.lower(): text for name, text in self.headers.items()},
                body=self.rfile.read(length),
            )
            request.headers[":path"] = unquote(self.path)
            reply, breaks = fake.handle(request)
            if breaks:
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, text in reply.headers.items():
                self.send_header(name, text)
            self.send_header("content-length", str(len(reply.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(reply.body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _do  # noqa: N815 - names of the base class

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - of the base class
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            if not isinstance(sys.exception(), ConnectionError):  # a client that was killed
                super().handle_error(request, client_address)

    server = Server(("127.0.0.1", 0), Answering)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

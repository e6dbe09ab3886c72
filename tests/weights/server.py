"""A file server on loopback with the ugly paths of real ones: ranges, validators, redirects, refusals and broken transfers."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one request: an error status, or a body that breaks off after `truncate_at` bytes."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    truncate_at: int | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it arrived; header names in lower case."""

    path: str
    headers: Mapping[str, str]


class FileServer:
    """Serves `files`; each request takes one of the `faults` until there are none left."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.etags: dict[str, str] = {}
        self.redirects: dict[str, tuple[str, Mapping[str, str]]] = {}
        self.extra: dict[str, str] = {}
        self.faults: deque[Fault] = deque()
        self.seen: list[Seen] = []
        self.ranges = True
        self.gate: threading.Event | None = None
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._http.owner = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=lambda: self._http.serve_forever(poll_interval=0.01))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        return int(self._http.server_address[1])

    def paths(self) -> list[str]:
        return [seen.path for seen in self.seen]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body go out apart

    def do_GET(self) -> None:
        owner: FileServer = self.server.owner  # type: ignore[attr-defined]
        owner.seen.append(Seen(self.path, {name.lower(): value for name, value in self.headers.items()}))
        if owner.gate is not None:
            owner.gate.wait(30)
        fault = owner.faults.popleft() if owner.faults else Fault()
        if fault.status is not None:
            self._answer(fault.status, fault.headers)
        elif self.path in owner.redirects:
            target, headers = owner.redirects[self.path]
            self._answer(302, {"location": target, **headers})
        elif self.path not in owner.files:
            self._answer(404, {})
        else:
            self._file(owner, fault)

    def _file(self, owner: FileServer, fault: Fault) -> None:
        content, etag = owner.files[self.path], owner.etags.get(self.path)
        headers = {**owner.extra, **({"etag": etag} if etag else {})}
        start = self._start(owner, etag)
        if start is not None and start >= len(content):
            self._answer(416, {**headers, "content-range": f"bytes */{len(content)}"})
            return
        body = content[start or 0 :]
        if start is not None:
            headers["content-range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._answer(206 if start is not None else 200, headers, body, fault.truncate_at)

    def _start(self, owner: FileServer, etag: str | None) -> int | None:
        wanted, condition = self.headers.get("range"), self.headers.get("if-range")
        if not owner.ranges or wanted is None or (condition is not None and condition != etag):
            return None
        return int(wanted.removeprefix("bytes=").partition("-")[0])

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes = b"", truncate_at: int | None = None) -> None:
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), "connection": "close", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:truncate_at])
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        pass

"""A bucket and a metadata server on loopback, as Google's answer at the wire, with what goes wrong there."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from tests.weights.server import Seen

TOKEN = "ya29.s3cret"
ACCOUNT = "smol-serve@my-project.iam.gserviceaccount.com"


@dataclass(frozen=True, slots=True)
class Trouble:
    """What goes wrong with one answer: a status instead of it, a body cut off, another range than asked for, any headers, or
    that it comes only when somebody lets it."""

    status: int | None = None
    cut_at: int | None = None
    short_by: int = 0
    shift: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    wait: threading.Event | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """An object; its generation is what tells two of one name apart."""

    content: bytes
    generation: int = 1


class _Server:
    handler: type[BaseHTTPRequestHandler]

    def __init__(self) -> None:
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self.handler)
        self._http.daemon_threads = True
        self._http.owner = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=lambda: self._http.serve_forever(poll_interval=0.01))

    @property
    def host(self) -> str:
        """`127.0.0.1:PORT`, as both variables take it."""
        return f"127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle(self) -> None:
        with suppress(ConnectionError):  # whoever asked is gone: what the tests do on purpose
            super().handle()

    def seen(self) -> Seen:
        return Seen(self.path, {name.lower(): value for name, value in self.headers.items()})

    def reply(self, status: int, headers: Mapping[str, str], body: Any = b"", cut_at: int | None = None) -> None:
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:cut_at])
        if cut_at is not None:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        pass


class _BucketHandler(_Handler):
    def do_GET(self) -> None:
        owner: Bucket = self.server.owner  # type: ignore[attr-defined]
        seen = self.seen()
        with owner.guard:
            owner.seen.append(seen)
            owner.peers.add(self.client_address)
            trouble = owner.trouble(seen) or Trouble()
            stored, token = owner.objects.get(_object_of(self.path)), owner.token
        given = seen.headers.get("authorization")
        if trouble.wait is not None and not trouble.wait.wait(30):
            self.reply(418, {})  # final: whoever forgot to let it go on hears of it
        elif trouble.status is not None:
            self.reply(trouble.status, trouble.headers)
        elif token is not None and given != f"Bearer {token}":
            self.reply(401 if given is None or not owner.knows_us else 403, {})
        elif stored is None:
            self.reply(404, {})
        else:
            self._object(owner, stored, trouble)

    def _object(self, owner: Bucket, stored: Stored, trouble: Trouble) -> None:
        query = parse_qs(urlsplit(self.path).query, strict_parsing=True)
        if query.pop("alt") != ["media"] or set(query) - {"ifGenerationMatch"}:
            self.reply(400, {})
            return
        if query.get("ifGenerationMatch", [str(stored.generation)]) != [str(stored.generation)]:
            self.reply(412, {})
            return
        content, size = memoryview(stored.content), len(stored.content)
        headers = {"x-goog-generation": str(stored.generation), "etag": f"CJ{stored.generation}=", **trouble.headers}
        wanted = self.headers.get("range") if owner.ranges else None
        if wanted is None:
            self.reply(200, headers, content, trouble.cut_at)
            return
        first, last = (int(end) for end in wanted.removeprefix("bytes=").split("-"))
        if first >= size:
            self.reply(416, {**headers, "content-range": f"bytes */{size}"})
            return
        first, last = first + trouble.shift, min(last, size - 1) - trouble.short_by
        headers = {"content-range": f"bytes {first}-{last}/{size}", **headers}
        self.reply(206, headers, content[first : last + 1], trouble.cut_at)


class Bucket(_Server):
    """Serves `objects` (`BUCKET/OBJECT`) to whoever has the `token`; `trouble` says what goes wrong with a request."""

    handler = _BucketHandler

    def __init__(self) -> None:
        super().__init__()
        self.guard = threading.Lock()
        self.objects: dict[str, Stored] = {}
        self.token: str | None = TOKEN
        self.knows_us = True
        self.ranges = True
        self.seen: list[Seen] = []
        self.peers: set[tuple[str, int]] = set()
        self.trouble: Callable[[Seen], Trouble | None] = lambda seen: None

    def put(self, name: str, content: bytes) -> None:
        """Put an object there, as another version if there is one."""
        before = self.objects.get(name)
        self.objects[name] = Stored(content, before.generation + 1 if before else 1)

    def asked(self) -> list[tuple[int, int]]:
        """The ranges that were asked for, in order, without the first look."""
        found = [seen.headers["range"].removeprefix("bytes=").split("-") for seen in self.seen if "range" in seen.headers]
        return [(int(first), int(last)) for first, last in found if last != "0"]


class _MetadataHandler(_Handler):
    def do_GET(self) -> None:
        owner: Metadata = self.server.owner  # type: ignore[attr-defined]
        owner.seen.append(self.seen())
        google = {"metadata-flavor": "Google"} if owner.is_google else {}
        base = "/computeMetadata/v1/instance/service-accounts/default/"
        if self.headers.get("metadata-flavor") != "Google" or "x-forwarded-for" in self.headers:
            self.reply(403, {})
        elif owner.statuses:
            self.reply(owner.statuses.pop(0), google)
        elif self.path == f"{base}token":
            answer = {"access_token": owner.token, "expires_in": owner.expires_in, "token_type": "Bearer"}
            self.reply(200, {"content-type": "application/json", **google}, json.dumps(answer).encode())
        elif self.path == f"{base}email":
            self.reply(200, {"content-type": "application/text", **google}, ACCOUNT.encode())
        else:
            self.reply(404, google)


class Metadata(_Server):
    """Hands out `token`; takes one of `statuses` instead, until there are none left."""

    handler = _MetadataHandler

    def __init__(self) -> None:
        super().__init__()
        self.token = TOKEN
        self.expires_in = 3599
        self.is_google = True
        self.statuses: list[int] = []
        self.seen: list[Seen] = []


def _object_of(path: str) -> str:
    _, _, rest = urlsplit(path).path.partition("/storage/v1/b/")
    bucket, _, name = rest.partition("/o/")
    return f"{bucket}/{unquote(name)}"

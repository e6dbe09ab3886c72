"""The upstream that all gateways stand before: an OpenAI-shaped server that thinks nothing. Knows no gateway.

`python -m bench.gateways.mock [--port PORT] [--uds SOCKET] [--core N]` ignores any other flag, so that it can stand in for an
engine's program. What a request wants is said in its prompt, because that is what every gateway hands on unchanged:
`#mock chunks=50 pace_ms=20`. Without a pace all chunks leave at once. Each chunk carries the time when it was written.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import time
from pathlib import Path
from typing import Final, cast

import httptools
import uvloop

_WISH: Final = re.compile(rb"#mock chunks=(\d+) pace_ms=(\d+)")
_STREAM: Final = re.compile(rb'"stream"\s*:\s*true')
_JSON: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
_MISSING: Final = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
_STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)
_SHARED: Final = b'"id":"chatcmpl-mock","created":1700000000,"model":"m","object":"chat.completion'
_USAGE: Final = b'"usage":{"prompt_tokens":12,"completion_tokens":32,"total_tokens":44}'
_WHOLE: Final = (
    b"{%s" % _SHARED + b'","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"'
    b"%s" % (b"all work and no play " * 16) + b'"}}],%s}' % _USAGE
)
_EVENT: Final = b'data: {%s.chunk","choices":[{"index":0,"delta":%s,"finish_reason":%s}]%s}\n\n'
_FILLER: Final = b"word " * 9
_FINISH: Final = _EVENT % (_SHARED, b"{}", b'"stop"', b"")
_COUNTED: Final = b'data: {%s.chunk","choices":[],%s}\n\n' % (_SHARED, _USAGE)
_DONE: Final = b"data: [DONE]\n\n"
_PAGES: Final = {
    b"/health": b"{}",
    b"/version": b'{"version":"0.0.0"}',
    b"/v1/models": b'{"object":"list","data":[{"id":"m","object":"model","created":1700000000,"owned_by":"mock"}]}',
}


def content_chunk(now_ns: int) -> bytes:
    """One streamed event of some 230 bytes whose text begins with the time `t=NANOSECONDS;`."""
    return _EVENT % (_SHARED, b'{"content":"t=%d;%s"}' % (now_ns, _FILLER), b"null", b"")


class Upstream(asyncio.Protocol):
    """One kept-alive connection; requests on it come one after the other."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._body: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports do not inherit from asyncio's

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if self._transport is not None:
                self._transport.close()

    # --- httptools callbacks

    def on_message_begin(self) -> None:
        self._url, self._body = b"", []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        page = _PAGES.get(self._url)
        if page is not None:
            self._write(_JSON % (len(page), page))
        elif not self._url.endswith(b"/chat/completions"):
            self._write(_MISSING)
        else:
            self._answer(b"".join(self._body))

    # --- inside

    def _answer(self, body: bytes) -> None:
        if _STREAM.search(body) is None:
            self._write(_JSON % (len(_WHOLE), _WHOLE))
            return
        wish = _WISH.search(body)
        chunks, pace_ms = (int(wish[1]), int(wish[2])) if wish else (32, 0)
        self._write(_STREAM_HEAD)
        if pace_ms:
            self._pace(chunks, pace_ms / 1000, asyncio.get_running_loop().time())
            return
        for _ in range(chunks):
            self._write(framed(content_chunk(time.monotonic_ns())))
        self._end()

    def _pace(self, left: int, every_s: float, due: float) -> None:
        self._write(framed(content_chunk(time.monotonic_ns())))
        if left == 1:
            self._end()
            return
        due += every_s  # by the clock of the stream's beginning: a late chunk does not make the next one late
        self._timer = asyncio.get_running_loop().call_at(due, self._pace, left - 1, every_s, due)

    def _end(self) -> None:
        self._write(framed(_FINISH) + framed(_COUNTED) + framed(_DONE) + b"0\r\n\r\n")

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


def framed(event: bytes) -> bytes:
    """`event` in chunked transfer coding."""
    return b"%x\r\n%s\r\n" % (len(event), event)


async def serve(port: int | None, socket: Path | None) -> None:
    """Listen where asked, until cancelled."""
    loop = asyncio.get_running_loop()
    if port is not None:
        await loop.create_server(Upstream, "127.0.0.1", port, backlog=2048)
    if socket is not None:
        await loop.create_unix_server(Upstream, str(socket), backlog=2048)
    await loop.create_future()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--port", type=int)
    parser.add_argument("--uds", type=Path)
    parser.add_argument("--core", type=int)
    asked, _ = parser.parse_known_args()
    if asked.core is not None:
        os.sched_setaffinity(0, {asked.core})
    uvloop.run(serve(asked.port, asked.uds))


if __name__ == "__main__":
    main()

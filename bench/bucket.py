"""`python -m bench.bucket MIB MB_PER_S LATENCY_MS`: something like a bucket with one object, slow on every connection by itself.

A simulation: a real bucket's speed differs by region, hour and machine. Prints its port; ends with its standard input.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

_BLOCK: Final = 256 << 10
_RANGE: Final = re.compile(r"bytes=(\d+)-(\d+)")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    content = memoryview(b"")
    bytes_per_s = 0.0
    latency_s = 0.0

    def do_GET(self) -> None:
        size = len(self.content)
        match = _RANGE.fullmatch(self.headers.get("range", ""))
        first, last = (int(match[1]), min(int(match[2]), size - 1)) if match else (0, size - 1)
        time.sleep(self.latency_s)
        self.send_response(206 if match else 200)
        self.send_header("content-length", str(last + 1 - first))
        self.send_header("x-goog-generation", "1")
        if match:
            self.send_header("content-range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        began = time.perf_counter()
        for at in range(first, last + 1, _BLOCK):
            self.wfile.write(self.content[at : min(at + _BLOCK, last + 1)])
            if self.bytes_per_s:
                time.sleep(max(0.0, began + (at - first) / self.bytes_per_s - time.perf_counter()))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        pass


def main(size_mib: int, mb_per_s: float, latency_ms: float) -> None:
    """Serve until the standard input ends; 0 MB/s is no limit."""
    _Handler.content = memoryview(os.urandom(1 << 20) * size_mib)
    _Handler.bytes_per_s, _Handler.latency_s = mb_per_s * 1e6, latency_ms / 1000
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))

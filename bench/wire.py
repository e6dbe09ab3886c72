"""A client with nothing in it: raw sockets, so that what is measured is the server."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
EXAMPLE: Final = ROOT / "examples/portfolio/relight.toml"
# As after an installation: bytecode is there.
ENVIRONMENT: Final = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}

Address = str | tuple[str, int]


@dataclass(frozen=True, slots=True)
class Streamed:
    """One streamed answer; times in seconds from the request."""

    first_data_s: float
    total_s: float
    tokens: int
    body: bytes


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def connect(address: Address, patience_s: float = 10.0) -> socket.socket:
    """Connect as soon as somebody listens; raises `TimeoutError`."""
    end = time.perf_counter() + patience_s
    while time.perf_counter() < end:
        sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        try:
            sock.connect(address)
        except OSError:
            sock.close()
            time.sleep(0.0005)
            continue
        return sock
    raise TimeoutError(f"nobody listens at {address}")


def get(address: Address, path: str) -> bytes:
    """The whole answer to a GET."""
    with connect(address) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: sock.recv(65536), b""))


def post(address: Address, path: str, body: object) -> bytes:
    """The whole answer to a POST."""
    with connect(address) as sock:
        sock.sendall(request(path, body))
        return b"".join(iter(lambda: sock.recv(65536), b""))


def stream(address: Address, body: dict[str, object], path: str = "/v1/chat/completions") -> Streamed:
    """Stream one answer; the clock starts before the connection does."""
    began = time.perf_counter()
    first, parts = 0.0, []
    with connect(address) as sock:
        sock.sendall(request(path, {**body, "stream": True}))
        while chunk := sock.recv(65536):
            parts.append(chunk)
            if not first and b'"delta":{' in chunk:
                first = time.perf_counter() - began
    answer = b"".join(parts)
    return Streamed(first, time.perf_counter() - began, answer.count(b'"delta":{"content":"'), answer)


def request(path: str, body: object) -> bytes:
    """The bytes of a POST that closes its connection."""
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-type: application/json\r\n"
    return head.encode() + f"content-length: {len(data)}\r\n\r\n".encode() + data


@contextmanager
def front_door(config: Path, log: Path | None = None, **settings: str) -> Iterator[tuple[subprocess.Popen[bytes], Address]]:
    """`relight serve` on a free port, stopped at the end; `settings` become environment variables."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("relight")), "serve", "--config", str(config), "--port", str(port)]
    with tempfile.TemporaryFile() as nothing:
        output = log.open("wb") if log else nothing
        process = subprocess.Popen(
            [*command, "--log-format", "json"], stdout=output, stderr=nothing, env={**ENVIRONMENT, **settings}
        )
        try:
            yield process, ("127.0.0.1", port)
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(15)
            process.kill()


def engine_socket(front_door_pid: int) -> str:
    """The socket of the engine that a front door has started, from the engine's own command line."""
    for task in Path(f"/proc/{front_door_pid}/task").iterdir():
        for pid in (task / "children").read_text().split():
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            if found := [word.removeprefix("socket=") for word in words if word.endswith(".sock")]:
                return found[0]
    raise RuntimeError("the front door has no engine")


def rss_mib(pid: int) -> float:
    """Resident set size in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

"""From an instance's start to the first token of the request that it was started for, as a platform with a startup probe has it.

The platform is simulated: it asks `/readyz` at the start and then once a period, and lets the request through after a 200.
"""

from __future__ import annotations

import socket
import time
from typing import Final

from bench.report import Report
from bench.wire import EXAMPLE, Address, front_door, stream

RUNS: Final = 7
QUESTION: Final[dict[str, object]] = {
    "model": "smol",
    "max_tokens": 8,
    "messages": [{"role": "user", "content": "What is a lamp?"}],
}
# The example's own default is its assistant; here the model is asked by itself.
_MODEL_ALONE: Final = {"RELIGHT_SERVICE__DEFAULT_MODEL": "smol"}
WAYS: Final = {
    "woken by its start, probed every second": (1.0, {"K_REVISION": "bench-00001"}),
    "woken by the request, probed every second": (1.0, {}),
    "woken by the request, probed every two seconds": (2.0, {}),
}


def run() -> Report:
    """Measure the ways in turn, page cache warm."""
    found: dict[str, list[float]] = {name: [] for name in WAYS}
    for number in range(RUNS + 1):
        for name, (period_s, environment) in WAYS.items():
            took = _once(period_s, environment)
            if number:  # the first of each reads what the others find in the page cache
                found[name].append(took)
    report = Report("An instance's start: exec to first token of the request that it was started for, SmolLM2-135M")
    for name, samples in found.items():
        report.add(name, "s", samples)
    best, *others = found
    for name in others:
        report.add(f"{name}, compared with the first", "x", [a / b for a, b in zip(found[name], found[best], strict=True)])
    report.notes.append("the platform is simulated; what it needs itself before a container's start is not in it")
    return report


def _once(period_s: float, environment: dict[str, str]) -> float:
    began = time.perf_counter()
    with front_door(EXAMPLE, None, **_MODEL_ALONE, **environment) as (_, address):
        probed = 0
        while not _is_ready(address):
            probed += 1
            time.sleep(max(0.0, began + probed * period_s - time.perf_counter()))
        sent = time.perf_counter() - began
        return sent + stream(address, QUESTION).first_data_s


def _is_ready(address: Address) -> bool:
    assert not isinstance(address, str)
    try:
        with socket.create_connection(address, 1.0) as connection:
            connection.settimeout(1.0)
            connection.sendall(_probe("/readyz"))
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def _probe(path: str) -> bytes:
    """A GET of the probe's."""
    return f"GET {path} HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n".encode()

"""What the front door adds: to a request, and to the tokens of the real engine."""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.report import Report
from bench.wake import bare_engine
from bench.wire import EXAMPLE, Address, connect, cpu_seconds, engine_socket, front_door, get, post, request, stream
from relight.engines.cpu import available_cpus, engine_threads

RUNS = 5
REQUESTS = 300
STREAMS = 32
LONG: dict[str, object] = {
    "model": "smol",
    "max_tokens": 96,
    "temperature": 0,
    "messages": [{"role": "user", "content": "Tell me a long story about a lighthouse."}],
}


def run() -> Report:
    """Real tokens per second direct and through the door; CPU time of the door per request and per chunk."""
    report = Report("The stream path")
    direct, through = [], []
    with front_door(EXAMPLE) as (process, address), bare_engine(engine_threads(available_cpus())) as sock:
        for target in (address, sock):
            stream(target, LONG)
        for _ in range(RUNS):
            direct.append(_rate(sock))
            through.append(_rate(address))
        freed = [_until_slot_is_free(address, process.pid) for _ in range(RUNS)]
    report.add("real engine, direct", "tokens/s", direct)
    report.add("real engine, through the front door", "tokens/s", through)
    report.add("through / direct", "x", [a / b for a, b in zip(through, direct, strict=True)], ">= 0.97")
    report.add("client leaves in mid-stream, engine's slot free after", "ms", freed, "<= 1000")
    _scripted(report)
    return report


def _rate(target: str | tuple[str, int]) -> float:
    answer = stream(target, LONG)
    return answer.tokens / (answer.total_s - answer.first_data_s)


def _until_slot_is_free(address: Address, pid: int) -> float:
    """Leave after the first token; milliseconds until the engine says that none of its slots works."""
    with connect(address) as client:
        client.sendall(request("/v1/chat/completions", {**LONG, "max_tokens": 2000, "stream": True}))
        while b'"content":"' not in client.recv(65536):
            pass
    left = time.perf_counter()
    sock = engine_socket(pid)
    while b'"is_processing":true' in get(sock, "/slots"):
        time.sleep(0.005)
    return (time.perf_counter() - left) * 1000


def _scripted(report: Report) -> None:
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "relight.toml"
        config.write_text('[models.fake]\nengine = "scripted"\nparallel = 64\nidle_after = "10m"\n')
        with front_door(config) as (process, address):
            get(address, "/livez")
            short = {"messages": [{"role": "user", "content": "#script tokens=1"}]}
            post(address, "/v1/chat/completions", short)
            spent = []
            before = cpu_seconds(process.pid)
            for _ in range(REQUESTS):
                began = time.perf_counter()
                post(address, "/v1/chat/completions", short)
                spent.append((time.perf_counter() - began) * 1000)
            per_request = (cpu_seconds(process.pid) - before) / REQUESTS * 1e6
            report.add("request through the door to the scripted engine", "ms", spent)
            report.add("CPU of the door per request", "us", [per_request])
            body: dict[str, object] = {"messages": [{"role": "user", "content": "#script tokens=200 delay=10ms"}]}
            before, began = cpu_seconds(process.pid), time.perf_counter()
            with ThreadPoolExecutor(STREAMS) as pool:
                answers = list(pool.map(lambda _: stream(address, body), range(STREAMS)))
            wall = time.perf_counter() - began
            chunks = sum(answer.tokens for answer in answers)
            used = cpu_seconds(process.pid) - before
            report.add("CPU of the door per chunk", "us", [used / chunks * 1e6])
            report.add(f"share of a core, {STREAMS} streams", "%", [used / wall * 100])
            report.notes.append(f"{chunks} chunks in {wall:.1f} s; the scripted engine is the slower end of that pipe")

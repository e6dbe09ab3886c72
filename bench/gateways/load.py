"""The load generator: a process of its own that carries out jobs, one JSON object a line in, one result a line out.

It knows HTTP and the mock's chunks, and nothing of gateways: what it is pointed at is a host, a port and headers.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any, Final

import httptools

from bench.gateways.client import Connection, Crowd, Refused, Target, connections

_SENT: Final = re.compile(rb"t=(\d+);")
_LONGEST_STAMP: Final = 24


@dataclass(frozen=True, slots=True)
class Job:
    """What to do: `kind` is one of `KINDS`. A closed loop ends after `seconds`, once what is running is answered."""

    kind: str
    target: Target
    seconds: float = 1.0
    concurrency: int = 1
    prompt_bytes: int = 200
    chunks: int = 0
    """Content chunks of each answer; 0 asks for an answer in one piece."""
    pace_ms: int = 0

    def body(self) -> bytes:
        """The request's JSON."""
        wish = f"#mock chunks={self.chunks} pace_ms={self.pace_ms} " if self.chunks else ""
        prompt = (wish + "tell me more " * (self.prompt_bytes // 13 + 1))[: max(self.prompt_bytes, len(wish))]
        body = {"model": self.target.model, "messages": [{"role": "user", "content": prompt}], "stream": bool(self.chunks)}
        return json.dumps(body).encode()


def latency(job: Job) -> dict[str, float]:
    """One request after the other: the middle time, in microseconds."""
    request = job.target.request(job.body())
    spent: list[float] = []
    with connections(job.target, 1) as (connection,):
        end = time.perf_counter() + job.seconds
        while not spent or time.perf_counter() < end:
            began = time.perf_counter_ns()
            connection.ask(request)
            connection.finish()
            spent.append((time.perf_counter_ns() - began) / 1000)
    return {"p50_us": statistics.median(spent), "requests": len(spent)}


def throughput(job: Job) -> dict[str, float]:
    """A closed loop on many connections: answers, chunks, and the seconds it took. Raises `Refused` when chunks are missing."""
    request, crowd = job.target.request(job.body()), Crowd()
    done = running = 0
    began = time.perf_counter()
    with connections(job.target, job.concurrency) as members:
        try:
            for connection in members:
                crowd.ask(connection, request)
                running += 1
            while running:
                for connection in crowd.read():
                    if not connection.is_done:
                        continue
                    _check(b"".join(connection.body), job.chunks)
                    done += 1
                    if time.perf_counter() - began < job.seconds:
                        crowd.ask(connection, request)
                    else:
                        running -= 1
        finally:
            crowd.close()
    return {"requests": done, "chunks": done * job.chunks, "wall_s": time.perf_counter() - began}


def _check(body: bytes, chunks: int) -> None:
    found = len(_SENT.findall(body)) if chunks else body.count(b"all work and no play") // 16
    if found != (chunks or 1):
        raise Refused(f"sent {found} of {chunks} chunks" if chunks else f"sent something else: {body[:200]!r}")


class Stream:
    """One paced answer: when its chunks came, after the mock had written them."""

    def __init__(self, target: Target) -> None:
        self.connection = Connection(target, on_body=self._take)
        self.late_us: list[float] = []
        self.first_us = 0.0
        self._asked_ns = 0
        self._rest = b""

    def ask(self, crowd: Crowd, request: bytes) -> None:
        """Begin."""
        self._asked_ns = time.monotonic_ns()
        crowd.ask(self.connection, request)

    def _take(self, data: bytes) -> None:
        now = time.monotonic_ns()
        data = self._rest + data
        end = 0
        for found in _SENT.finditer(data):
            self.late_us.append((now - int(found[1])) / 1000)
            end = found.end()
        if self.late_us and not self.first_us:
            self.first_us = (now - self._asked_ns) / 1000
        self._rest = data[max(end, len(data) - _LONGEST_STAMP) :]


def paced(job: Job) -> dict[str, float]:
    """Many paced streams at once, begun one after the other within one pace, each once."""
    request, crowd = job.target.request(job.body()), Crowd()
    waiting = [Stream(job.target) for _ in range(job.concurrency)]
    started: list[Stream] = []
    every_s = job.pace_ms / 1000 / job.concurrency
    running, began = len(waiting), time.perf_counter()
    try:
        while running:
            now = time.perf_counter()
            while waiting and began + len(started) * every_s <= now:
                started.append(waiting.pop())
                started[-1].ask(crowd, request)
            wait_s = began + len(started) * every_s - now if waiting else 30.0
            running -= sum(connection.is_done for connection in crowd.read(wait_s))
    finally:
        crowd.close()
        for stream in started + waiting:
            stream.connection.close()
    late = [sample for stream in started for sample in stream.late_us]
    if len(late) != job.chunks * job.concurrency:
        raise Refused(f"sent {len(late)} of {job.chunks * job.concurrency} chunks")
    return {
        "chunk_p50_us": statistics.median(late),
        "chunk_p99_us": statistics.quantiles(late, n=100)[98],
        "first_p50_us": statistics.median(stream.first_us for stream in started),
        "chunks": len(late),
        "wall_s": time.perf_counter() - began,
    }


KINDS: Final = {"latency": latency, "throughput": throughput, "paced": paced}


def carry_out(job: Job) -> dict[str, Any]:
    """The job's result, or `{"error": …}`."""
    try:
        return {**KINDS[job.kind](job)}
    except (OSError, Refused, httptools.HttpParserError) as error:
        return {"error": str(error) or type(error).__name__}


def to_line(job: Job) -> bytes:
    """The job as the generator reads it."""
    return json.dumps(asdict(job)).encode() + b"\n"


def from_line(line: bytes) -> Job:
    """The job in a line."""
    fields = json.loads(line)
    return Job(**{**fields, "target": Target(**fields["target"])})


def main(core: str) -> None:
    """Carry out jobs from standard input until it ends."""
    os.sched_setaffinity(0, {int(core)})
    for line in sys.stdin.buffer:
        print(json.dumps(carry_out(from_line(line))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

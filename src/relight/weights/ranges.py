"""One file over several connections at once: each range is written at its place, and hashed as soon as all before it is there.

A server gives one connection so much and no more (a bucket some tens of MB/s); a container that starts waits for all of the file.
Must not know where the file ends up, nor which digest it should have.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import re
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path
from typing import Final

import msgspec

from relight.errors import NetworkError
from relight.weights import store
from relight.weights.bucket import VERSION_HEADER, pinned
from relight.weights.part import Notes, discard, fresh, joined, read_notes, write_notes
from relight.weights.patience import Busy, Patience, persistently
from relight.weights.progress import Phase, Report, Update
from relight.weights.web import Lines, Reply, Request, opened

STREAMS: Final = 8
"""Connections at once: six times as fast as one where each has 50 MB/s, 16 of them seven times (bench/parallel.py). Then it is
the processor that is full: TLS, copying and checking take 2.4 s of it for each GB."""
# Long enough that the wait for its first byte hardly counts; short enough that little is left to hash behind the last one.
LONGEST: Final = 32 << 20
_LEAST: Final = 8 << 20
_BLOCK: Final = 1 << 20
_HASH_AT_ONCE: Final = 8 << 20
_NOTE_EVERY: Final = 64 << 20
_TICK_S: Final = 0.05
_LAST_WAIT_S: Final = 1.0
_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class _Changed(Exception):
    """The server has another version of the file by now."""


class _Whole(Exception):
    """The server sends nothing but whole files."""


@dataclass(slots=True)
class _Range:
    """`[begin, end)` of the file; the bytes before `at` are here. One worker writes it, others only look."""

    begin: int
    end: int
    at: int


@dataclass(frozen=True, slots=True)
class RangeJob:
    """What to fetch, and where to: over `streams` connections at once, in ranges of `longest` bytes at most."""

    request: Request
    part: Path
    patience: Patience
    report: Report
    streams: int = STREAMS
    longest: int = LONGEST


def fetch_ranges(job: RangeJob) -> str | None:
    """Have the whole file at `job.part`, and return its SHA-256; `None` when this server takes no ranges.

    What an earlier run left is kept if it is of the same version. Raises `Busy` when the file changed meanwhile (what was there
    is gone then), `NetworkError` when the server gives up (what is there is kept), `WeightsError` when the disk is too small.
    """
    with Lines(job.streams) as lines:
        notes = _left(job) or _look(job, lines)
        if notes is None or notes.version is None or notes.size is None:
            return None
        try:
            return _Crew(job, notes, notes.version, notes.size, lines).work()
        except _Changed:
            discard(job.part)
            raise Busy(f"{job.request.label}: the file changed on the server; starting again") from None
        except _Whole:
            discard(job.part)
            return None


def _left(job: RangeJob) -> Notes | None:
    """The notes of what an earlier run left, if the part still has as much as they tell of."""
    notes = read_notes(job.part, job.request.label)
    if notes is None or notes.ranges is None or not job.part.is_file():
        return None
    return notes if job.part.stat().st_size >= max((end for _, end in notes.ranges), default=0) else None


def _look(job: RangeJob, lines: Lines) -> Notes | None:
    """Which version of which size there is, as the answer to a request for one byte says; `None` where it does not."""
    with opened(_ranged(job.request, 0, 1), job.patience, lines) as reply:
        size = _range_of(reply)[2]
        version = reply.headers.get(VERSION_HEADER, "")
        for _ in reply.blocks() if reply.status == 206 else ():
            pass  # so that the connection can be used again
    if reply.status != 206 or size is None or not version.isdecimal():
        return None
    store.need_space(job.part.parent, size)
    fresh(job.part)
    notes = Notes(job.request.label, version=version, size=size, ranges=())
    write_notes(job.part, notes)
    return notes


class _Crew:
    """Workers that fetch, and the caller who hashes, reports and takes notes."""

    def __init__(self, job: RangeJob, notes: Notes, version: str, size: int, lines: Lines) -> None:
        self._job, self._notes, self._size, self._lines = job, notes, size, lines
        self._version = version
        self._request = replace(job.request, url=pinned(job.request.url, version))
        self._ranges = list(_cut(size, notes.ranges or (), job))
        self._open = deque(one for one in self._ranges if one.at < one.end)
        self._news = threading.Event()
        self._said: queue.SimpleQueue[Update] = queue.SimpleQueue()
        self._failure: BaseException | None = None
        self._over = threading.Event()
        self._noted = self._done()

    def work(self) -> str:
        """The digest of the whole; blocks. However it ends, the notes say what is there."""
        store.need_space(self._job.part.parent, self._size - self._noted)
        # Daemons: a process that is told to end does not wait for an answer from a server.
        workers = [threading.Thread(target=self._worker, daemon=True) for _ in range(min(self._job.streams, len(self._open)))]
        try:
            for worker in workers:
                worker.start()
            return self._follow()
        finally:
            self._over.set()
            until = time.monotonic() + _LAST_WAIT_S
            for worker in workers:
                # One that waits for the server is left behind: it writes a last block at its place at most, into its own file.
                worker.join(max(0.0, until - time.monotonic()))
            self._take_notes()

    # --- the caller's side

    def _follow(self) -> str:
        hashed = hashlib.sha256()
        with self._job.part.open("rb", buffering=0) as file:
            while (at := file.tell()) < self._size:
                if at == (front := self._front()):
                    self._news.wait(_TICK_S)
                    self._news.clear()
                _absorb(file, hashed, min(front - at, _HASH_AT_ONCE))
                if self._failure is not None:
                    raise self._failure
                self._tell()
            os.fsync(file.fileno())
        return hashed.hexdigest()

    def _tell(self) -> None:
        """Say how far it is, and take notes now and then."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._job.report(self._said.get_nowait())
        done = self._done()
        self._job.report(Update(Phase.DOWNLOAD, done, self._size))
        if done - self._noted >= _NOTE_EVERY:
            self._take_notes()

    def _take_notes(self) -> None:
        ranges = joined((one.begin, one.at) for one in self._ranges)
        # What the notes tell of has to outlive a loss of power, for nobody reads it again before it is hashed.
        with self._job.part.open("rb") as file:
            os.fdatasync(file.fileno())
        write_notes(self._job.part, msgspec.structs.replace(self._notes, ranges=ranges))
        self._noted = sum(end - begin for begin, end in ranges)

    def _done(self) -> int:
        return sum(one.at - one.begin for one in self._ranges)

    def _front(self) -> int:
        """How many bytes from the beginning are there without a hole."""
        return next((one.at for one in self._ranges if one.at < one.end), self._size)

    # --- the workers' side

    def _worker(self) -> None:
        try:
            with self._job.part.open("r+b", buffering=0) as file:
                while not self._over.is_set() and (one := self._next()) is not None:
                    self._bring(one, file.fileno())
        except BaseException as error:  # it is raised where somebody waits for it
            self._failure = self._failure or error
        self._news.set()

    def _next(self) -> _Range | None:
        try:
            return self._open.popleft()
        except IndexError:
            return None

    def _bring(self, one: _Range, descriptor: int) -> None:
        persistently(
            lambda: self._attempt(one, descriptor), patience=self._job.patience, report=self._said.put, mark=lambda: one.at
        )
        self._news.set()

    def _attempt(self, one: _Range, descriptor: int) -> None:
        if self._over.is_set():
            return
        with opened(_ranged(self._request, one.at, one.end), self._job.patience, self._lines) as reply:
            last = self._check(reply, one)
            for block in reply.full_blocks(_BLOCK):
                if self._over.is_set():
                    return
                if one.at + len(block) > last + 1:
                    raise NetworkError(f"{reply.label}: the server sent more than it said")
                _write(descriptor, block, one.at)
                one.at += len(block)
        if one.at < one.end:
            raise Busy(f"{reply.label}: the server sent less than was asked for")

    def _check(self, reply: Reply, one: _Range) -> int:
        """The last byte that the reply has; raises unless it is of our file, from our place on."""
        if reply.status == 200:
            raise _Whole
        first, last, size = _range_of(reply)
        version = reply.headers.get(VERSION_HEADER, self._version)
        if reply.status != 206 or version != self._version or size != self._size:
            raise _Changed
        if first != one.at or last is None or last >= one.end:
            raise NetworkError(f"{reply.label}: the server sent another range than it was asked for")
        if (coding := reply.headers.get("content-encoding", "identity")) != "identity":
            raise NetworkError(f"{reply.label}: the server sends the file in {coding} coding, which cannot be put together")
        return last


def _write(descriptor: int, block: bytes, at: int) -> None:
    """All of `block` at its place: a disk that is nearly full takes a part of it, and says so in no other way."""
    left = memoryview(block)
    while left:
        done = os.pwrite(descriptor, left, at)
        left, at = left[done:], at + done


def _absorb(file: FileIO, hashed: hashlib._Hash, count: int) -> None:
    """Feed the next `count` bytes of a file to a running hash."""
    while count:
        block = file.read(min(count, _BLOCK))
        if not block:
            raise _Changed  # somebody cut the part short
        hashed.update(block)
        count -= len(block)


def _cut(size: int, there: tuple[tuple[int, int], ...], job: RangeJob) -> Iterator[_Range]:
    """All of the file in ranges: what is there, and between it what is not, in pieces that keep all streams busy."""
    length = min(job.longest, max(-(-size // job.streams), _LEAST))
    at = 0
    for begin, end in (*there, (size, size)):
        yield from (_Range(place, min(place + length, begin), place) for place in range(at, begin, length))
        if begin < end:
            yield _Range(begin, end, end)
        at = end


def _ranged(request: Request, begin: int, end: int) -> Request:
    return replace(request, headers={**request.headers, "range": f"bytes={begin}-{end - 1}"})


def _range_of(reply: Reply) -> tuple[int | None, int | None, int | None]:
    """First and last byte, and the size of the whole, of a `content-range`."""
    match = _CONTENT_RANGE.fullmatch(reply.headers.get("content-range", ""))
    return (int(match[1]), int(match[2]), int(match[3])) if match else (None, None, None)

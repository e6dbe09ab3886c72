"""One file from a server to this disk: goes on where it stopped, hashes while it writes. Must not know where the file ends up."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec

from relight.decoding import NOT_JSON
from relight.errors import NetworkError, WeightsError
from relight.weights import store
from relight.weights.progress import Phase, Report, Update
from relight.weights.registry import Remote
from relight.weights.web import Busy, Patience, Reply, opened, persistently

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_CONTENT_RANGE: Final = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


class _Start(msgspec.Struct, frozen=True):
    """What a part is a part of: with it, a later run can tell whether the server still has the same file."""

    label: str
    etag: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class _Job:
    remote: Remote
    part: Path
    patience: Patience
    report: Report

    @property
    def notes(self) -> Path:
        return store.beside(self.part, ".json")


def download(remote: Remote, part: Path, *, patience: Patience, report: Report) -> str:
    """Write the file to `part` and return its SHA-256.

    A `part` left by an earlier run is continued if the server still has the same file. Raises `WeightsError` when the
    digest that is expected of it, or said by the server, is another, and then removes the part; `NetworkError` when
    the server gives up, and then keeps it for the next run.
    """
    job = _Job(remote, part, patience, report)
    return persistently(lambda: _attempt(job), patience=patience, report=report, mark=lambda: _size(part))


def discard(part: Path) -> None:
    """Remove a part and its notes."""
    part.unlink(missing_ok=True)
    store.beside(part, ".json").unlink(missing_ok=True)


def mismatch(label: str, expected: str, got: str) -> WeightsError:
    """The error for a download that is not what it should be, with both digests."""
    return WeightsError(
        f"{label}: sha256 should be {expected}, got {got}; nothing was kept",
        hint="check models.NAME.sha256 and source: either one is wrong, or the file was changed where it comes from",
    )


def _attempt(job: _Job) -> str:
    start = _resumable(job)
    have = _size(job.part) if start else 0
    headers = dict(job.remote.request.headers)
    if start and have:
        headers["range"] = f"bytes={have}-"
        if start.etag:
            headers["if-range"] = start.etag
    with opened(replace(job.remote.request, headers=headers), job.patience) as reply:
        said = _Start(job.remote.request.label, _strong_etag(reply.headers), _linked_sha256(reply.headers))
        expected = _agreed(job.remote, said)
        if not have and reply.status != 200:
            raise NetworkError(f"{reply.label}: the server answered {reply.status} to a request for the whole file")
        if start and have and not _continues(job, reply, start, said):
            raise Busy(f"{job.remote.request.label}: the file changed on the server; starting again")
        got = _append(job, reply, 0, said) if reply.status == 200 else _append(job, reply, have)
    if expected is not None and got != expected:
        discard(job.part)
        raise mismatch(job.remote.request.label, expected, got)
    return got


def _resumable(job: _Job) -> _Start | None:
    """The notes of a part that can be continued: same reference, and something to recognise the file by."""
    try:
        start = msgspec.json.decode(job.notes.read_bytes(), type=_Start)
    except (OSError, *NOT_JSON):
        return None
    known = start.etag or start.sha256 or job.remote.sha256
    return start if known and start.label == job.remote.request.label else None


def _continues(job: _Job, reply: Reply, start: _Start, said: _Start) -> bool:
    """Whether the reply goes on with our part; if not, the part is removed. A 200 begins anew by itself."""
    if reply.status == 200:
        return True
    same = start.sha256 == said.sha256 and (start.etag is None or said.etag is None or start.etag == said.etag)
    first, total = _range(reply.headers)
    fits = first == _size(job.part) if reply.status == 206 else total == _size(job.part)
    if same and fits:
        return True
    discard(job.part)
    return False


def _append(job: _Job, reply: Reply, have: int, begin: _Start | None = None) -> str:
    """Write the body behind the first `have` bytes; returns the digest of the whole."""
    coding = reply.headers.get("content-encoding", "identity")
    if coding != "identity":
        raise NetworkError(f"{reply.label}: the server sends the file in {coding} coding, which cannot be checked or continued")
    length = None if reply.status == 416 else _length(reply.headers)
    total = job.remote.size if length is None else have + length
    store.need_space(job.part.parent, (total or have) - have)
    hashed = hashlib.sha256()
    if begin is not None:
        job.part.write_bytes(b"")
        job.notes.write_bytes(msgspec.json.encode(begin))
    else:
        store.absorb(job.part, hashed, job.report)
    done = have
    job.report(Update(Phase.DOWNLOAD, done, total))
    with job.part.open("ab") as file:
        for block in reply.blocks() if reply.status != 416 else ():
            file.write(block)
            hashed.update(block)
            done += len(block)
            job.report(Update(Phase.DOWNLOAD, done, total))
        file.flush()
        os.fsync(file.fileno())
    return hashed.hexdigest()


def _agreed(remote: Remote, said: _Start) -> str | None:
    """The digest the file must have. Raises before a byte is spent when the server has another file than the one wanted."""
    if remote.sha256 and said.sha256 and remote.sha256 != said.sha256:
        raise mismatch(remote.request.label, remote.sha256, said.sha256)
    return remote.sha256 or said.sha256


def _strong_etag(headers: Mapping[str, str]) -> str | None:
    """The ETag, unless it is weak: a weak one must not be used to continue a file."""
    etag = headers.get("etag")
    return etag if etag and not etag.startswith("W/") else None


def _linked_sha256(headers: Mapping[str, str]) -> str | None:
    """What Hugging Face says on the redirect to its large file storage."""
    etag = headers.get("x-linked-etag", "").strip('"')
    return etag if _SHA256.fullmatch(etag) else None


def _length(headers: Mapping[str, str]) -> int | None:
    text = headers.get("content-length", "")
    return int(text) if text.isdigit() else None


def _range(headers: Mapping[str, str]) -> tuple[int | None, int | None]:
    match = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
    if match is None:
        return None, None
    first, total = match.groups()
    return int(first) if first else None, int(total) if total and total != "*" else None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0

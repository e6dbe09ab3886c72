"""One file from a server to this disk: goes on where it stopped, hashes while it writes. Must not know where the file ends up.

A server that can be held to one version of a file is asked for several ranges of it at once (`ranges`), every other for all
of it in one stream. So is Hugging Face, although it knows ranges: each would be one more request to the Hub, which counts them,
for one more address at its storage; and what pulls from there is a laptop, once, not a container at every start.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from relight.errors import NetworkError, WeightsError
from relight.weights import store
from relight.weights.part import Notes, discard, fresh, held, read_notes, write_notes
from relight.weights.patience import Busy, Patience, persistently
from relight.weights.progress import Phase, Report, Update
from relight.weights.ranges import RangeJob, fetch_ranges
from relight.weights.registry import Remote
from relight.weights.web import Reply, opened

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_CONTENT_RANGE: Final = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


@dataclass(frozen=True, slots=True)
class _Job:
    remote: Remote
    part: Path
    patience: Patience
    report: Report


def download(remote: Remote, part: Path, *, patience: Patience, report: Report) -> str:
    """Write the file to `part` and return its SHA-256.

    A `part` left by an earlier run is continued if the server still has the same file. Raises `WeightsError` when the
    digest that is expected of it, or said by the server, is another, and then removes the part; `NetworkError` when
    the server gives up, and then keeps it for the next run.
    """
    job = _Job(remote, part, patience, report)
    return persistently(lambda: _attempt(job), patience=patience, report=report, mark=lambda: held(part) or 0)


def mismatch(label: str, expected: str, got: str) -> WeightsError:
    """The error for a download that is not what it should be, with both digests."""
    return WeightsError(
        f"{label}: sha256 should be {expected}, got {got}; nothing was kept",
        hint="check models.NAME.sha256 and source: either one is wrong, or the file was changed where it comes from",
    )


def _attempt(job: _Job) -> str:
    got = None
    if job.remote.has_versions:
        got = fetch_ranges(RangeJob(job.remote.request, job.part, job.patience, job.report))
    if got is None:
        return _stream(job)
    return _checked(job, got, job.remote.sha256)


def _stream(job: _Job) -> str:
    start = _resumable(job)
    have = _size(job.part) if start else 0
    headers = dict(job.remote.request.headers)
    if start and have:
        headers["range"] = f"bytes={have}-"
        if start.etag:
            headers["if-range"] = start.etag
    with opened(replace(job.remote.request, headers=headers), job.patience) as reply:
        said = Notes(job.remote.request.label, _strong_etag(reply.headers), _linked_sha256(reply.headers))
        expected = _agreed(job.remote, said)
        if not have and reply.status != 200:
            raise NetworkError(f"{reply.label}: the server answered {reply.status} to a request for the whole file")
        if start and have and not _continues(job, reply, start, said):
            raise Busy(f"{job.remote.request.label}: the file changed on the server; starting again")
        got = _append(job, reply, 0, said) if reply.status == 200 else _append(job, reply, have)
    return _checked(job, got, expected)


def _checked(job: _Job, got: str, expected: str | None) -> str:
    if expected is not None and got != expected:
        discard(job.part)
        raise mismatch(job.remote.request.label, expected, got)
    return got


def _resumable(job: _Job) -> Notes | None:
    """The notes of a part that can be continued: same reference, no holes, and something to recognise the file by."""
    start = read_notes(job.part, job.remote.request.label)
    if start is None or start.ranges is not None:
        return None
    return start if start.etag or start.sha256 or job.remote.sha256 else None


def _continues(job: _Job, reply: Reply, start: Notes, said: Notes) -> bool:
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


def _append(job: _Job, reply: Reply, have: int, begin: Notes | None = None) -> str:
    """Write the body behind the first `have` bytes; returns the digest of the whole."""
    coding = reply.headers.get("content-encoding", "identity")
    if coding != "identity":
        raise NetworkError(f"{reply.label}: the server sends the file in {coding} coding, which cannot be checked or continued")
    length = None if reply.status == 416 else _length(reply.headers)
    total = job.remote.size if length is None else have + length
    store.need_space(job.part.parent, (total or have) - have)
    hashed = hashlib.sha256()
    if begin is not None:
        fresh(job.part)
        write_notes(job.part, begin)
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


def _agreed(remote: Remote, said: Notes) -> str | None:
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

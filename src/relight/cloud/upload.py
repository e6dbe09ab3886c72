"""A file into a bucket, piece by piece: it goes on where the connection broke, and the object appears only when it is whole and
right. Knows nothing of what the file is for.

The session is the client's; the pieces are sent here, because the client repeats a lost piece without asking how much of it
arrived, waits by its own clock, and tells nobody how far it is.
Source: https://cloud.google.com/storage/docs/performing-resumable-uploads
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final

from relight.cloud.calls import FRESH_API, TIMEOUT_S, asked
from relight.errors import CloudError, CloudLost

if TYPE_CHECKING:
    from requests import Response

    from relight.cloud.google import Google
    from relight.cloud.work import Show

CHUNK: Final = 8 << 20
"""Bytes that are sent, and held, at once; pieces before the last have to be multiples of 256 KiB."""
_MOST_STUCK: Final = 4
_RECEIVED: Final = re.compile(r"bytes=0-(\d+)")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a file goes. `what` is the thing that is done, as errors say it, `label` how progress names it.

    With `sha256` the file has to have this digest, and an object that is there already is left as it is; without, it is replaced.
    """

    what: str
    label: str
    bucket: str
    name: str
    sha256: str | None = None
    content_type: str = "application/octet-stream"


def upload(google: Google, file: IO[bytes], target: Target, show: Show) -> int:
    """Send the whole of `file`, which can be sought in; blocks. Returns the generation of the object, 0 for one that was there.

    Raises `CloudError` when Google refuses it, when the file has another digest than it should or changes while it is read;
    `CloudLost` when the connection stays broken. In each case no object is there.
    """
    size = file.seek(0, os.SEEK_END)
    blob = google.storage.bucket(target.bucket).blob(target.name)
    blob.metadata = None if target.sha256 is None else {"sha256": target.sha256}
    try:
        session = google.call(
            target.what,
            blob.create_resumable_upload_session,
            settles=FRESH_API,
            content_type=target.content_type,
            size=size,
            checksum=None,
            if_generation_match=None if target.sha256 is None else 0,
        )
        return _Sending(google, file, size, target, str(session), show).run()
    except CloudError as error:
        if target.sha256 is None or not _is_taken(error):
            raise
        _need_same(google, target, size)
        return 0


@dataclass(slots=True)
class _Sending:
    """One session; the digests run along with what was read for the first time."""

    google: Google
    file: IO[bytes]
    size: int
    target: Target
    session: str
    show: Show
    digest: Any = field(default_factory=hashlib.sha256)
    checksum: Any = None
    read: int = 0
    generation: int = 0

    def run(self) -> int:
        import google_crc32c

        self.checksum = google_crc32c.Checksum()  # type: ignore[no-untyped-call]
        at, stuck = 0, 0
        while stuck <= _MOST_STUCK:
            self.show.sent(self.target.label, at, self.size)
            arrived = self._piece(at)
            if arrived is None:
                self.show.sent(self.target.label, self.size, self.size)
                return self.generation
            stuck = 0 if arrived > at else stuck + 1
            at = arrived
        raise CloudLost(
            f"cloud: could not {self.target.what}: it stays at {at} of {self.size} bytes", hint="run it again: it begins anew"
        )

    def _piece(self, at: int) -> int | None:
        """Send what stands at `at`; returns where the next piece begins, None after the last."""
        data = self._data(at)
        attempts = 0

        def send() -> Response:
            nonlocal attempts
            attempts += 1
            # Whoever lost an answer asks first what arrived.
            return self._put(at, data) if attempts == 1 else self._put(None, b"")

        reply = asked(self.target.what, send, sleep=self.google.sleep)
        if reply.status_code == 308:
            received = _RECEIVED.match(reply.headers.get("range", ""))
            return int(received[1]) + 1 if received else 0
        self._need_whole(reply.json())
        return None

    def _data(self, at: int) -> bytes:
        """The piece at `at`. Raises `CloudError` before the last is sent, when the file is not what it should be."""
        self.file.seek(at)
        data = self.file.read(min(CHUNK, self.size - at))
        if len(data) < min(CHUNK, self.size - at):
            raise self._given_up("it became shorter while it was read")
        fresh = data[max(0, self.read - at) :]
        self.digest.update(fresh)
        self.checksum.update(fresh)
        self.read = max(self.read, at + len(data))
        if at + len(data) == self.size and self.target.sha256 not in {None, self.digest.hexdigest()}:
            raise self._given_up(f"its SHA-256 should be {self.target.sha256}, got {self.digest.hexdigest()}")
        return data

    def _put(self, at: int | None, data: bytes) -> Response:
        """Send bytes, or with `at` None ask how many arrived."""
        from google.api_core.exceptions import from_http_response

        headers = {"content-range": f"bytes */{self.size}"}
        if at is not None and data:
            headers["content-range"] = f"bytes {at}-{at + len(data) - 1}/{self.size}"
            if at + len(data) == self.size:
                headers["x-goog-hash"] = f"crc32c={self._crc32c()}"  # compared before there is an object
        reply = self.google.session.put(self.session, data=data, headers=headers, timeout=TIMEOUT_S, allow_redirects=False)
        if reply.status_code not in {200, 201, 308}:
            raise from_http_response(reply)
        return reply

    def _need_whole(self, said: dict[str, Any]) -> None:
        if int(said.get("size", -1)) != self.size or said.get("crc32c") != self._crc32c():
            blob = self.google.storage.bucket(self.target.bucket).blob(self.target.name)
            self.google.call(f"remove what became of {self.target.name}", blob.delete)
            raise CloudError(
                f"cloud: could not {self.target.what}: what arrived is not what was sent", hint="it was removed; run it again"
            )
        self.generation = int(said.get("generation", 0))

    def _crc32c(self) -> str:
        return base64.b64encode(self.checksum.digest()).decode()

    def _given_up(self, why: str) -> CloudError:
        return CloudError(f"cloud: could not {self.target.what}: {why}", hint="nothing was put there; look at the file")


def _is_taken(error: CloudError) -> bool:
    return getattr(error.__cause__, "code", None) == 412


def _need_same(google: Google, target: Target, size: int) -> None:
    """An object was there before us: it counts as ours when it is the same."""
    bucket = google.storage.bucket(target.bucket)
    there = google.call(f"look at gs://{target.bucket}/{target.name}", bucket.get_blob, blob_name=target.name)
    if there is None:
        raise CloudLost(f"cloud: could not {target.what}: somebody else changed it at the same moment", hint="run it again")
    if there.size != size or (there.metadata or {}).get("sha256", target.sha256) != target.sha256:
        raise CloudError(
            f"cloud: could not {target.what}: gs://{target.bucket}/{target.name} is there and holds something else",
            hint="remove it, and run it again",
        )

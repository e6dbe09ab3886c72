"""What the last deployment from a folder left there: read again, and taken away with its service."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from relight.decoding import NOT_JSON


class Last(Struct, frozen=True):
    """What is read of a receipt."""

    project: str
    region: str
    service: str
    revision: str | None
    steps: int
    at: str


def last_receipt(folder: Path, project: str, region: str, service: str) -> Last | None:
    """The receipt of that service; None where there is none that can be read, or it is another one's."""
    from relight.cli.applying import RECEIPT

    try:
        found = msgspec.json.decode((folder / RECEIPT).read_bytes(), type=Last)
    except (OSError, *NOT_JSON):
        return None
    return found if (found.project, found.region, found.service) == (project, region, service) else None


def forget(folder: Path, project: str, region: str, service: str) -> bool:
    """Take the receipt of that service away; whether there was one."""
    from relight.cli.applying import RECEIPT

    if last_receipt(folder, project, region, service) is None:
        return False
    try:
        (folder / RECEIPT).unlink()
    except OSError:  # it says nothing true any more, and `status` sees that as well
        return False
    return True


__all__ = ["Last", "forget", "last_receipt"]

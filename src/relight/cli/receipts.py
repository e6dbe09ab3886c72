"""What the last deployment from a folder left there: kept, read again, and taken away with its service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from relight.cli.files import write_text
from relight.decoding import NOT_JSON

if TYPE_CHECKING:
    from relight.cloud.receipt import Receipt

RECEIPT: Final = ".relight/receipt.json"


class Last(Struct, frozen=True):
    """What is read of a receipt."""

    project: str
    region: str
    service: str
    revision: str | None
    steps: int
    at: str


def keep(found: Receipt, folder: Path) -> None:
    """Put the receipt beside the configuration."""
    write_text(folder / RECEIPT, msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n")


def last_receipt(folder: Path, project: str, region: str, service: str) -> Last | None:
    """The receipt of that service; None where there is none that can be read, or it is another one's."""
    try:
        found = msgspec.json.decode((folder / RECEIPT).read_bytes(), type=Last)
    except (OSError, *NOT_JSON):
        return None
    return found if (found.project, found.region, found.service) == (project, region, service) else None


def forget(folder: Path, project: str, region: str, service: str) -> bool:
    """Take the receipt of that service away; whether there was one."""
    if last_receipt(folder, project, region, service) is None:
        return False
    try:
        (folder / RECEIPT).unlink()
    except OSError:  # it says nothing true any more, and `status` sees that as well
        return False
    return True


__all__ = ["RECEIPT", "Last", "forget", "keep", "last_receipt"]

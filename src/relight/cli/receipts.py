"""What the last deployment from a folder left there, and which services this user has deployed: kept, read, taken away with them.

A folder may come from somebody else, and its receipt with it; what this user knows lies in their own state folder.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from relight.cli.files import write_text
from relight.decoding import NOT_JSON
from relight.errors import UsageError

if TYPE_CHECKING:
    from relight.cloud.receipt import Receipt

RECEIPT: Final = ".relight/receipt.json"
_SERVICES: Final = "services.json"


class Last(Struct, frozen=True):
    """What is read of a receipt."""

    project: str
    region: str
    service: str
    revision: str | None
    steps: int
    at: str


class Service(Struct, frozen=True):
    """A deployed service, and where it answers."""

    project: str
    region: str
    service: str
    url: str

    @property
    def place(self) -> tuple[str, str, str]:
        """Which one it is, wherever it answers."""
        return self.project, self.region, self.service


def keep(found: Receipt, folder: Path) -> None:
    """Put the receipt beside the configuration, and remember the service as this user's own."""
    write_text(folder / RECEIPT, msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n")
    if found.url:
        remember(Service(found.project, found.region, found.service, found.url))


def last_receipt(folder: Path, project: str, region: str, service: str) -> Last | None:
    """The receipt of that service; None where there is none that can be read, or it is another one's."""
    try:
        found = msgspec.json.decode((folder / RECEIPT).read_bytes(), type=Last)
    except (OSError, *NOT_JSON):
        return None
    return found if (found.project, found.region, found.service) == (project, region, service) else None


def forget(folder: Path, project: str, region: str, service: str) -> bool:
    """Take the receipt of that service away; whether there was one."""
    _put([one for one in _known() if one.place != (project, region, service)])
    if last_receipt(folder, project, region, service) is None:
        return False
    try:
        (folder / RECEIPT).unlink()
    except OSError:  # it says nothing true any more, and `status` sees that as well
        return False
    return True


def is_known(service: Service) -> bool:
    """Whether this user has deployed that service, or has said once that they know it."""
    return service in _known()


def remember(service: Service) -> None:
    """Take that service for known from now on."""
    _put([*(one for one in _known() if one.place != service.place), service])


def _known() -> list[Service]:
    try:
        return msgspec.json.decode(_file().read_bytes(), type=list[Service])
    except (OSError, *NOT_JSON):
        return []


def _put(services: list[Service]) -> None:
    if services != _known():
        with suppress(UsageError):  # what is not remembered is asked about again
            write_text(_file(), msgspec.json.format(msgspec.json.encode(services), indent=2).decode() + "\n")


def _file() -> Path:
    from relight.agents.receipt import places

    return places().state.parent / _SERVICES


__all__ = ["RECEIPT", "Last", "Service", "forget", "is_known", "keep", "last_receipt", "remember"]

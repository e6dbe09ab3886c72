"""What a deployment left behind: where it answers, what runs there, what it costs. Structs only."""

from __future__ import annotations

from msgspec import Struct

from relight.cloud.trial import Tried


class Receipt(Struct, frozen=True, kw_only=True):
    """A service as it stands after a deployment. USD; `image` with its digest; `steps` is what was done, 0 for nothing to do."""

    project: str
    region: str
    service: str
    url: str | None
    revision: str | None
    image: str
    steps: int
    seconds: float
    hour: float | None
    """Of one instance that works."""
    wake: float | None
    tail: float | None
    """From the last answer to the end of the instance."""
    kept: int
    """Instances that are kept awake, and paid for."""
    tested: Tried | None
    """None: nothing was tested in this run."""
    at: str
    """When, in UTC."""

"""What there is in the cloud, as plain structs that can be read from a JSON file. Knows no client and no wish.

None means "was not looked at" wherever a field can be None beside a thing that can be missing altogether.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from relight.decoding import NOT_JSON
from relight.deploy.desired import Grant
from relight.deploy.service import Settings, Template, Traffic
from relight.deploy.warm import Schedule
from relight.errors import UsageError


class Repository(Struct, frozen=True, kw_only=True):
    """A repository of images; `keeps` are the most recent images that its clean-up policy keeps, 0 without one."""

    keeps: int = 0
    labels: dict[str, str] = {}


class SecretState(Struct, frozen=True, kw_only=True):
    """A secret; `latest` is the highest version that it ever had, 0 without one.

    `matches`: whether that version is enabled and holds what is here as well; None where it cannot be compared.
    """

    latest: int = 0
    matches: bool | None = None


class BucketState(Struct, frozen=True, kw_only=True):
    """A bucket: its objects by name with their size in bytes; `is_mine` says that it belongs to the project."""

    region: str
    is_mine: bool = True
    objects: dict[str, int] = {}
    labels: dict[str, str] = {}


class Tested(Struct, frozen=True):
    """The revision that was tested last, and the percent of the traffic that it had then."""

    revision: str
    percent: int


class ServiceState(Struct, frozen=True, kw_only=True):
    """A service; a `latest_created` that is not the `latest_ready` failed to start, unless it is `reconciling`: still at it."""

    template: Template
    settings: Settings
    latest_created: str
    latest_ready: str | None = None
    traffic: tuple[Traffic, ...] = (Traffic(revision=None, percent=100),)
    tested: Tested | None = None
    invokers: tuple[str, ...] = ()
    uri: str | None = None
    is_off: bool = False
    reconciling: bool = False


class Refusal(Struct, frozen=True):
    """What a dry run of the server refused: the field, and the server's words."""

    field: str
    message: str


class Observed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A project as far as a service of ours is concerned. Every default is an empty project that nobody looked at closely."""

    principal: str | None = None
    """Who asks: the e-mail address of the credentials."""
    project_number: str | None = None
    billing_enabled: bool | None = None
    permissions: frozenset[str] | None = None
    """Those of the ones we asked for that the principal has."""
    quotas: dict[str, int] | None = None
    """By id, in the unit of each: the limit in the region; of GPUs less what other services of the project may take."""
    log_retention_days: int | None = None
    refusals: tuple[Refusal, ...] = ()
    apis: frozenset[str] = frozenset()
    repository: Repository | None = None
    images: dict[str, str] = {}
    """Digest by reference with tag."""
    accounts: frozenset[str] = frozenset()
    secrets: dict[str, SecretState] = {}
    buckets: dict[str, BucketState] = {}
    grants: frozenset[Grant] = frozenset()
    service: ServiceState | None = None
    schedules: dict[str, Schedule | None] = {}
    """Jobs of ours for warm windows by their names; None: not as we make them (paused, another target)."""


def read_observed(file: Path) -> Observed:
    """What a file says there is; raises `UsageError` when it cannot be read."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Observed)
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}", hint="name a JSON file of what is observed") from None
    except NOT_JSON as error:
        raise UsageError(f"{file}: is not what is observed of a project: {error}", hint="correct the file") from None

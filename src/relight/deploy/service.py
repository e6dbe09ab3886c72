"""A Cloud Run service as far as we send it, and what changes from one to another. Knows no client and no configuration.

Names and meanings are those of the Admin API v2. Every field is always there: what is left out of a request is not "as it was"
but the server's default, and some defaults cost money (`cpu_idle`, most instances) or a quota (zonal redundancy).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from relight.deploy import names

STARS: Final = "***"
OURS: Final = "relight-"
"""What the names of our volumes begin with."""


class SecretRef(Struct, frozen=True):
    """A version of a secret. Numbered, not `latest`: an instance that starts later must not be another service."""

    secret: str
    version: str


class Volume(Struct, frozen=True, kw_only=True):
    """A bucket as a folder."""

    bucket: str
    path: str
    read_only: bool = False


class Probe(Struct, frozen=True, kw_only=True):
    """When an instance counts as started: 200 at `path` within `period_s` × `failures`; each field has its own limit of 240 s."""

    path: str
    period_s: int
    timeout_s: int
    failures: int

    @property
    def budget_s(self) -> int:
        """Longest time that a start may take, in seconds."""
        return self.period_s * self.failures


class Template(Struct, frozen=True, kw_only=True):
    """What makes a revision: any change here is a new one. `memory` is like `8Gi`, `timeout_s` in seconds."""

    image: str
    service_account: str
    cpu: str
    memory: str
    startup_probe: Probe
    timeout_s: int
    concurrency: int
    max_instances: int
    cpu_idle: bool
    """True: billed by request. Proto3 does not send False, so False and unset are the same: billed by instance."""
    accelerator: str | None = None
    gpu: str | None = None
    gpu_zonal_redundancy_disabled: bool = True
    startup_cpu_boost: bool = True
    execution_environment: str = "EXECUTION_ENVIRONMENT_GEN2"
    min_instances: int = 0
    """Of this revision. Always 0: instances are kept by the service, or else old revisions would keep theirs."""
    port: int = 8080
    port_name: str = "http1"
    session_affinity: bool = False
    health_check_disabled: bool = False
    env: dict[str, str] = {}
    secrets: dict[str, SecretRef] = {}
    volumes: dict[str, Volume] = {}
    labels: dict[str, str] = {}


class Settings(Struct, frozen=True, kw_only=True):
    """What belongs to the service as a whole, and changes without a new revision."""

    ingress: str
    invoker_iam_disabled: bool
    """True: Google lets every request through, and the front door asks for its own keys."""
    min_instances: int
    max_instances: int
    labels: dict[str, str] = {}


class Traffic(Struct, frozen=True, kw_only=True):
    """A share of the traffic; `revision` None is whichever is the latest that is ready."""

    revision: str | None
    percent: int
    tag: str | None = None


class Change(Struct, frozen=True):
    """One field, what it was and what it becomes; None where there is nothing."""

    field: str
    old: Any
    new: Any


def merged(old: Template, new: Template, service: str) -> Template:
    """What a revision becomes: all of `new`, and of `old` what others put there (variables, secrets, volumes, labels).

    Ours are variables that begin with `RELIGHT_`, secrets that are called as ours are, and volumes that begin with `relight-`.
    """
    mine = {*new.env, *new.secrets}  # a name is a variable or a secret, never both
    env = {name: text for name, text in old.env.items() if name not in mine and not name.startswith("RELIGHT_")}
    secrets = {name: ref for name, ref in old.secrets.items() if name not in mine and ref.secret != names.secret(service, name)}
    return replace(
        new,
        env={**env, **new.env},
        secrets={**secrets, **new.secrets},
        volumes={**{name: volume for name, volume in old.volumes.items() if not name.startswith(OURS)}, **new.volumes},
        labels={**old.labels, **new.labels},
        # Sent, and kept, with a GPU only.
        gpu_zonal_redundancy_disabled=new.accelerator is None or new.gpu_zonal_redundancy_disabled,
    )


def merged_settings(old: Settings, new: Settings) -> Settings:
    """What a service becomes: all of `new`, and the labels of others."""
    return replace(new, labels={**old.labels, **new.labels})


def template_changes(old: Template | None, new: Template) -> tuple[Change, ...]:
    """The fields that differ. What a variable holds that is not of `new` is starred: somebody may have put a key there."""
    found = changes(old, new, prefix="template.")
    mine = {f"template.env.{name}" for name in new.env}
    return tuple(
        replace(change, old=change.old and STARS)
        if change.field.startswith("template.env.") and change.field not in mine
        else change
        for change in found
    )


def changes(old: Struct | None, new: Struct, *, prefix: str = "") -> tuple[Change, ...]:
    """The fields that differ, by name; against None all that `new` says."""
    before = {} if old is None else dict(_flat(msgspec.to_builtins(old)))
    after = dict(_flat(msgspec.to_builtins(new)))
    every = [*after, *(name for name in before if name not in after)]
    differing = (name for name in every if before.get(name) != after.get(name))
    return tuple(Change(f"{prefix}{name}", before.get(name), after.get(name)) for name in differing)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value

"""The words for podman and docker, and what they tell about layers. Phrases argument lists and reads answers; runs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from relight.decoding import NOT_JSON
from relight.deploy.dockerfile import PIP_SECRET
from relight.deploy.recipe import Layer, Part
from relight.errors import UsageError

BUILDERS: Final = ("podman", "docker")
GRACE_S: Final = 10
"""What platforms wait between SIGTERM and SIGKILL."""

_BUILDKIT: Final = "# buildkit"


class Building(Struct, frozen=True, kw_only=True):
    """How an image is built: on which base instead of the Dockerfile's, with which configuration of pip, and what the builder is
    told besides."""

    tag: str
    base: str | None = None
    pip_config: Path | None = None
    more: Sequence[str] = ()


class Running(Struct, frozen=True, kw_only=True):
    """How an image is run here as Cloud Run would: `memory` in bytes, `secrets` are names of variables, never values."""

    tag: str
    service: str
    port: int
    memory: int
    cpus: float
    is_guarded: bool
    """Whether the service itself asks who comes; else it is told that this machine alone can reach it."""
    secrets: tuple[str, ...] = ()
    environment: Mapping[str, str] = {}
    network: str | None = None


class Size(Struct, frozen=True):
    """Bytes of the layers that hold one part of an image."""

    part: Part
    bytes: int


def build_argv(builder: str, context: Path, building: Building) -> list[str]:
    """Build the Dockerfile in the folder `context`."""
    argv = [builder, "build", "--tag", building.tag, "--file", str(context / "Dockerfile")]
    if building.base is not None:
        argv += [f"--build-arg=BASE_IMAGE={building.base}"]
    if building.pip_config is not None:
        argv += [f"--secret=id={PIP_SECRET},src={building.pip_config}"]
    return [*argv, *building.more, str(context)]


def run_argv(builder: str, running: Running, more: Sequence[str] = ()) -> list[str]:
    """Run an image with nothing that it does not need: read-only, without capabilities, within its limits."""
    environment = {
        "PORT": str(running.port),
        "K_SERVICE": running.service,
        "K_REVISION": f"{running.service}-local",
        "K_CONFIGURATION": running.service,
        **running.environment,
    }
    argv = [builder, "run", "--rm", "--read-only", "--tmpfs=/tmp:rw,mode=1777", "--cap-drop=all"]
    argv += ["--security-opt=no-new-privileges", f"--memory={int(running.memory)}b", f"--cpus={running.cpus:g}"]
    argv += [f"--stop-timeout={GRACE_S}"]
    if running.network == "host":
        environment["RELIGHT_SERVER__HOST"] = "127.0.0.1"
    elif not running.is_guarded:
        # Published on the loopback only: whoever gets there is on this machine.
        environment["RELIGHT_SERVER__PUBLIC"] = "true"
    if running.network is None:
        argv += [f"--publish=127.0.0.1:{running.port}:{running.port}"]
    else:
        argv += [f"--network={running.network}"]
    argv += [f"--env={name}={value}" for name, value in environment.items()]
    argv += [f"--env={name}" for name in running.secrets]
    return [*argv, *more, running.tag]


def history_argv(builder: str, image: str) -> list[str]:
    """Ask for the layers of an image, as `sizes` reads them."""
    if builder == "podman":
        return [builder, "history", "--no-trunc", "--format=json", image]
    return [builder, "history", "--no-trunc", "--human=false", "--format={{json .}}", image]


def sizes(history: str, layers: Sequence[Layer]) -> list[Size]:
    """What the layers of an image take, part by part; what none of `layers` made is the base. Raises `UsageError`."""
    targets = {layer.target: layer.part for layer in layers}
    found = dict.fromkeys((Part.BASE, *(layer.part for layer in layers)), 0)
    for made_by, size in _steps(history):
        found[next((part for target, part in targets.items() if _is_copy_to(made_by, target)), Part.BASE)] += size
    return [Size(part, size) for part, size in found.items()]


def _steps(history: str) -> list[tuple[str, int]]:
    try:
        told = history if history.lstrip().startswith("[") else f"[{','.join(history.split(chr(10))).rstrip(',')}]"
        steps: list[dict[str, Any]] = msgspec.json.decode(told, type=list[dict[str, Any]])
        return [(str(step.get("CreatedBy", "")), int(step.get("size", step.get("Size", 0)))) for step in steps]
    except (*NOT_JSON, msgspec.ValidationError, ValueError) as error:
        raise UsageError(f"image: the builder's history cannot be read: {error}", hint="the image itself was built") from None


def _is_copy_to(made_by: str, target: str) -> bool:
    words = made_by.strip().removesuffix(_BUILDKIT).strip()
    return "COPY" in words and words.rstrip("/").endswith(f" {target.rstrip('/')}")

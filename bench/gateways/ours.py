"""Relight with all it does on: keys, limits, usage, metrics and the JSON log, over its own engine or before a provider."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.gateways.accounting import MOCK, running
from bench.gateways.client import Target
from bench.gateways.place import Door, LeftOut, Place
from bench.wire import ENVIRONMENT, ROOT, free_port
from relight import __version__

OWN: Final = "relight, own engine"
PROVIDER: Final = "relight, provider"
_COMMAND: Final = str(Path(sys.executable).with_name("relight"))
_SETTINGS: Final = """
[service]
name = "bench"

[auth]
keys = { secret = "RELIGHT_KEYS" }

[limits]
requests_per_minute = 1_000_000_000
tokens_per_day = 1_000_000_000_000

[models.m]
"""
_OWN_MODEL: Final = """
engine = "vllm"
source = "file:weights"
parallel = 64
idle_after = "1h"
"""
_PROVIDER_MODEL: Final = """
url = "{url}"
price = {{ input = 0.25, output = 2.0 }}
"""


@contextmanager
def own_engine(place: Place) -> Iterator[Door]:
    """With an engine of its own on a Unix socket: a stand-in `vllm` on the PATH that is the mock."""
    weights = place.folder / "weights"
    weights.mkdir()
    (weights / "config.json").write_text("{}")
    programs = place.folder / "bin"
    programs.mkdir()
    stand_in = programs / "vllm"
    mock = f'exec "{sys.executable}" -m {MOCK} --core {place.cores.rest} "$@"'
    stand_in.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}"\nexport PYTHONPATH\n{mock}\n')
    stand_in.chmod(0o755)
    with _serving(place, OWN, _OWN_MODEL, {"PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', '')}"}) as door:
        yield door


@contextmanager
def provider(place: Place) -> Iterator[Door]:
    """Before somebody else's URL: the mock's TCP port."""
    with _serving(place, PROVIDER, _PROVIDER_MODEL.format(url=place.upstream_url), {}) as door:
        yield door


@contextmanager
def _serving(place: Place, name: str, model: str, env: dict[str, str]) -> Iterator[Door]:
    config = place.folder / "relight.toml"
    config.write_text(_SETTINGS + model)
    clean = {key: value for key, value in ENVIRONMENT.items() if not key.startswith("RELIGHT_") and key != "PORT"}
    made = subprocess.run(
        [_COMMAND, "keys", "create", "bench", "--config", str(config)],
        capture_output=True, text=True, cwd=place.folder, env=clean, check=False,
    )  # fmt: skip
    if made.returncode:
        raise LeftOut(f"relight keys create: {made.stderr.strip()}")
    port = free_port()
    argv = [_COMMAND, "serve", "--config", str(config), "--port", str(port), "--log-format", "json"]
    with running(argv, core=place.cores.gateway, folder=place.folder, env={**clean, **env}) as process:
        target = Target("127.0.0.1", port, headers={"authorization": f"Bearer {made.stdout.strip()}"})
        yield Door(name, __version__, target, process.pid)

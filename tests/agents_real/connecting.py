"""A client set up by `relight connect`, as its user would: the files that it writes, and the start that it names."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass

from tests.agents_real.clients import Client, Place

_KEY = "RELIGHT_KEY"


@dataclass(frozen=True, slots=True)
class Connected:
    """How to start it now: what is exported, and what follows the program's name."""

    environment: dict[str, str]
    words: tuple[str, ...]


def connect(client: Client, place: Place) -> Connected:
    """Point it at the service, in the home of `place`."""
    home = {"HOME": str(place.home), "PATH": os.defpath, _KEY: place.key}
    command = [sys.executable, "-m", "relight", "connect", client.name, "--url", place.url, "--model", place.model]
    done = subprocess.run(
        [*command, "--stock", "--yes", "--json"],
        cwd=place.folder,
        env=home,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["model"], found["context"], found["key_variable"]) == (place.model, place.context, _KEY)
    told = {name: os.path.expandvars(value.replace(f"${_KEY}", place.key)) for name, value in found["environment"].items()}
    start = [word.replace("~", str(place.home), 1) if word.startswith("~/") else word for word in shlex.split(found["start"])]
    return Connected({**told, **client.alone(place), _KEY: place.key}, tuple(start[1:]))

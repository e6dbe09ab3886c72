"""What there is to say about a model's weights: size, digest, family. Reads a file's header once; knows no engine."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from msgspec import Struct

from relight.config.schema import Model
from relight.errors import RelightError
from relight.weights.gguf import Header, read_header


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
        header = header_of(path, facts.st_mtime)
    except (OSError, RelightError):
        return Description(digest=model.sha256 or "")
    return Description(
        size=facts.st_size,
        digest=model.sha256 or "",
        family=header.architecture,
        parameters=header.parameters,
        quantization=header.file_type,
        modified=datetime.fromtimestamp(facts.st_mtime, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
    )


@lru_cache(maxsize=64)
def header_of(path: Path, modified: float) -> Header:
    """The header of the file at `path` as it was at the time `modified`, read once; raises what `read_header` does."""
    return read_header(path)

"""Where a value came from, and what was wrong with it there. Knows no key."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from msgspec import Struct


class Layer(StrEnum):
    """The layers of the configuration, from weakest to strongest."""

    DEFAULT = "default"
    FILE = "file"
    ENVIRONMENT = "environment"
    FLAG = "flag"


# Structs, not dataclasses: see `keys`.
class Origin(Struct, frozen=True):
    """A place: the file (and line), the environment variable or the flag called `name`."""

    layer: Layer
    name: str = ""
    line: int | None = None

    def __str__(self) -> str:
        if self.layer is Layer.DEFAULT:
            return "default"
        if self.layer is Layer.FLAG:
            return "command line"
        return self.name if self.line is None else f"{self.name}:{self.line}"


DEFAULT: Final = Origin(Layer.DEFAULT)


class Problem(Struct, frozen=True):
    """What is wrong at one place, and what to do about it; `path` is the key's."""

    origin: Origin
    path: tuple[str, ...]
    text: str

    def __str__(self) -> str:
        where = "" if self.origin.layer is Layer.DEFAULT else str(self.origin)
        return ": ".join(part for part in (where, ".".join(self.path), self.text) if part)

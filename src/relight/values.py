"""Values with a unit, as the configuration writes them: durations, sizes and secrets. Knows no section and no key."""

from __future__ import annotations

import re
from typing import Final, Self

_DURATION_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTE_UNITS: Final = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]i?B|B)?")


class Duration(float):
    """Seconds, written like `"5m"`, `"90s"`, `"1h30m"`, `"250ms"`."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a duration; raises `ValueError` with the expected form."""
        parts = _PART.findall(text)
        if not parts or "".join(number + unit for number, unit in parts) != text:
            raise ValueError(f'should be a duration like "10m" or "90s", got "{text}"')
        return cls(sum(float(number) * _DURATION_UNITS[unit] for number, unit in parts))

    def __str__(self) -> str:
        return format_duration(self)


class Bytes(int):
    """A size in bytes, written like `"2GiB"` or `"500MB"`."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a size; raises `ValueError` with the expected form."""
        match = _SIZE.fullmatch(text.strip())
        if match is None:
            raise ValueError(f'should be a size like "2GiB" or "500MB", got "{text}"')
        return cls(float(match[1]) * _BYTE_UNITS[match[2] or "B"])

    def __str__(self) -> str:
        return format_bytes(self)


class Secret:
    """A value that must not be seen: only its name is ever printed. `reveal()` is the single way to the text."""

    __slots__ = ("_text", "name")

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self._text = text

    def reveal(self) -> str:
        """The secret text; call it at the wire, never on the way to a log."""
        return self._text

    def __repr__(self) -> str:
        return f"Secret({self.name!r}, ***)"

    __str__ = __repr__


def format_duration(seconds: float) -> str:
    """Shortest form that `Duration.parse` reads back, exact to the millisecond: `300.0` is `"5m"`, `5400` is `"1h30m"`.

    Below one second it is exact to the microsecond.
    """
    if seconds < 1:
        # Rounded first: `:g` writes what is smaller as "1e-05", which is no duration.
        millis = round(seconds * 1000, 3)
        return f"{millis:g}ms" if millis else "0s"
    rest, parts = round(seconds, 3), []
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        count, rest = divmod(rest, length)
        if count:
            parts.append(f"{int(count)}{unit}")
    if rest:
        parts.append(f"{rest:g}s")
    return "".join(parts)


def format_bytes(size: int) -> str:
    """Human form with a binary unit: `98362432` is `"93.8MiB"`."""
    amount, unit = float(size), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if amount < 1024 or unit == "TiB":
            break
        amount /= 1024
    return f"{amount:.0f}{unit}" if amount.is_integer() or amount >= 100 else f"{amount:.1f}{unit}"


def estimated_tokens(size: int) -> int:
    """Tokens of `size` bytes of English or code, about, where no vocabulary can be asked: four bytes each."""
    return size // 4


def counted(number: float, thing: str) -> str:
    """`1 step`, `20 CPUs`, `0.5 CPUs`; `thing` is the word for one, and takes an s."""
    return f"{number:g} {thing}{'' if number == 1 else 's'}"

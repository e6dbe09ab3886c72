"""One file of settings, whatever its format: what it says, and the settings put into it and taken out again.

Knows no disk. After each edit the text is read again: what it says is what was meant, or the edit is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

from relight.agents import dotenved, jsonc, texted, tomled, yamled
from relight.agents.place import MISSING, At, Path, named, reach, target, value_at, with_value, without
from relight.agents.unfit import Unfit
from relight.agents.wiring import Format, Member, Setting
from relight.errors import ConfigError

_FORMATS: Final[Mapping[Format, ModuleType]] = {
    Format.JSON: jsonc,
    Format.TOML: tomled,
    Format.YAML: yamled,
    Format.ENV: dotenved,
    Format.TEXT: texted,
}
_NAMES: Final = {
    Format.JSON: "JSON",
    Format.TOML: "TOML",
    Format.YAML: "YAML",
    Format.ENV: "a list of NAME=value",
    Format.TEXT: "text",
}
_MARK: Final = "\ufeff"


@dataclass(frozen=True, slots=True)
class Before:
    """What was at a setting's place: `value` when `is_there`; else how many of its steps were, and whether the next was null."""

    is_there: bool
    value: Any = None
    depth: int = 0
    was_null: bool = False


class Document:
    """The text of a file, edited setting by setting. `where` is how messages call it.

    Raises `ConfigError` with the line of what cannot be read, or where a setting finds no place.
    """

    def __init__(self, where: str, format_: Format, raw: bytes) -> None:
        self.where = where
        self._format, self._kind = format_, _FORMATS[format_]
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            raise ConfigError(f"{where}:{line}: is not UTF-8 text", hint="save the file as UTF-8") from None
        self._has_mark = text.startswith(_MARK)
        self.text = text.removeprefix(_MARK)
        try:
            self.data: Any = self._kind.read(self.text)
        except Unfit as unfit:
            raise self._error(unfit, f"is not {_NAMES[format_]}: ") from None
        if self.data is None:
            self.data = {}

    @property
    def raw(self) -> bytes:
        """The file's bytes."""
        return (_MARK * self._has_mark + self.text).encode("utf-8")

    def before(self, at: At) -> Before:
        """What is at this place now."""
        found = self._reach(at)
        if not found.rest:
            return Before(is_there=True, value=found.value)
        step = found.rest[0]
        was_null = isinstance(step, str) and isinstance(found.value, dict) and found.value.get(step, MISSING) is None
        return Before(is_there=False, depth=len(at) - len(found.rest), was_null=was_null)

    def holds(self, setting: Setting) -> bool:
        """Whether the setting's value is at its place; anything, for one that is only a default."""
        if setting.is_default:
            return value_at(self.data, setting.at) is not MISSING
        return self.is_at(setting.at, setting.value)

    def is_at(self, at: At, value: Any) -> bool:
        """Whether `value` is at this place, to the type: 1 is neither 1.0 nor true."""
        found = value_at(self.data, at)
        if found is MISSING:
            return False
        last = at[-1] if at else None
        if isinstance(last, Member) and isinstance(value, dict):
            value = {last.key: last.value, **value}
        return _same(found, self._said(value))

    def put(self, setting: Setting) -> None:
        """Put the setting in; nothing changes where it holds."""
        if self.holds(setting):
            return
        self._reach(setting.at)
        path, value = target(self.data, setting.at, self._said(setting.value))
        for at, each in _changes(self.data, path, value):
            self._edit(at, each, setting.at)

    def take_out(self, at: At, before: Before) -> None:
        """Put back what was at this place before; containers that came with the setting and hold nothing else go, too."""
        if before.is_there:
            self.put(Setting(at, before.value))
            return
        found = self._reach(at)
        if found.rest:
            return
        # The outermost first, in one edit: a TOML table that only holds others is not there without them.
        end, left = len(at), without(self.data, found.path)
        while end - 1 > before.depth and _is_left_over(left, at[: end - 1]):
            end -= 1
            left = without(left, reach(left, at[:end]).path)
        is_null = before.was_null and end == before.depth + 1
        self._edit(reach(self.data, at[:end]).path, None if is_null else MISSING, at)

    def _edit(self, path: Path, value: Any, at: At) -> None:
        wanted = without(self.data, path) if value is MISSING else with_value(self.data, path, value)
        try:
            text = self._kind.remove(self.text, path) if value is MISSING else self._kind.put(self.text, path, value)
            data = self._kind.read(text)
        except Unfit as unfit:
            raise self._misplaced(unfit, at) from None
        if not _same({} if data is None else data, wanted):
            raise self._misplaced(Unfit("cannot be edited without changing something else", path=path), at)
        self.text, self.data = text, wanted

    def _reach(self, at: At) -> Any:
        try:
            return reach(self.data, at)
        except Unfit as unfit:
            raise self._misplaced(unfit, at) from None

    def _said(self, value: Any) -> Any:
        return dotenved.said(value) if self._format is Format.ENV else value

    def _misplaced(self, unfit: Unfit, at: At) -> ConfigError:
        line = unfit.line or self._kind.line_of(self.text, unfit.path)
        return self._error(
            Unfit(unfit.what, line=line),
            f"{named(at)}: ",
            hint="change this place by hand, or see what belongs there with --print",
        )

    def _error(self, unfit: Unfit, what: str, *, hint: str = "correct the file, or move it away") -> ConfigError:
        place = "".join(f":{number}" for number in (unfit.line, unfit.column) if number)
        return ConfigError(f"{self.where}{place}: {what}{unfit.what}", hint=hint)


def _is_left_over(data: Any, at: At) -> bool:
    """Whether what is there holds nothing, or only the name by which it was found."""
    left, last = value_at(data, at), at[-1]
    return left in ({}, []) or (isinstance(last, Member) and left == {last.key: last.value})


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    # What is no number is like no other one, itself included.
    return type(one) is type(other) and bool(one == other or (one != one and other != other))  # noqa: PLR0124


def _changes(data: Any, path: Path, value: Any) -> list[tuple[Path, Any]]:
    """The smallest edits that bring `value` to `path`: a table that is there is changed key by key, so that comments stay."""
    old = data
    for step in path:
        there = step < len(old) if isinstance(step, int) and isinstance(old, list) else isinstance(old, dict) and step in old
        if not there:
            return [(path, value)]
        old = old[step]
    if not (isinstance(old, dict) and isinstance(value, dict) and old and value):
        return [(path, value)]
    changes: list[tuple[Path, Any]] = [((*path, key), MISSING) for key in old if key not in value]
    for key, each in value.items():
        if key not in old or not _same(old[key], each):
            changes += _changes(data, (*path, key), each)
    # What is put goes in before anything goes out: a table is never empty on the way.
    return sorted(changes, key=lambda change: change[1] is MISSING)

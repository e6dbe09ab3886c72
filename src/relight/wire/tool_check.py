"""Whether a call is one of the tools that a request offers, with arguments that fit its schema; must not know how it was written.

No I/O: a schema's references to other documents are not followed. The checker is imported with the first call that is found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import msgspec

from relight.wire.dialect import objects
from relight.wire.tool_cost import MOST as MOST_WORK
from relight.wire.tool_cost import work
from relight.wire.tool_json import Written
from relight.wire.tool_repair import loads, read
from relight.wire.translation import Json

if TYPE_CHECKING:
    from jsonschema_rs import ValidationError, Validator

_PREFIXES: Final = ("functions.", "function.", "tools.", "default_api.")
_WHOLE: Final = re.compile(r"-?(?:0|[1-9]\d{0,17})")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9]\d{0,17})(?:\.\d{1,17})?(?:[eE][+-]?\d{1,3})?")
_LITERALS: Final = {"true": True, "false": False, "null": None, "none": None}
_MOST_REPAIRS: Final = 12
_MOST_FAULTS: Final = 100
_MOST_BACKTRACKS: Final = 10_000
_MISSING: Final = object()


class Call(msgspec.Struct, frozen=True):
    """A call that may be passed on: the tool is offered, and the arguments fit."""

    name: str
    arguments: str
    """One JSON object."""


class Calls(msgspec.Struct, frozen=True):
    """The calls that stood in one place."""

    kind: str
    """What this kind of mending is called."""
    calls: list[Call]


@dataclass(slots=True)
class Toolset:
    """The tools that a request offers, by name."""

    schemas: dict[str, Any]
    _checkers: dict[str, Validator | None] = field(default_factory=dict)

    def named(self, name: str) -> str | None:
        """The tool that is meant by a name: that of the request, or the only one that differs from it in case and dashes."""
        for prefix in ("", *_PREFIXES):
            if name.startswith(prefix) and (bare := name[len(prefix) :]) in self.schemas:
                return bare
        alike = [known for known in self.schemas if _plain(known) == _plain(name)]
        return alike[0] if len(alike) == 1 else None

    def may_become(self, begun: str) -> bool:
        """Whether some tool's name, or a prefix of it that models write, begins so."""
        plain = _plain(begun)
        if any(prefix.startswith(begun) for prefix in _PREFIXES):
            return True
        begins = (plain, *(_plain(begun[len(prefix) :]) for prefix in _PREFIXES if begun.startswith(prefix)))
        return any(_plain(known).startswith(one) for known in self.schemas for one in begins)

    def properties(self, name: str) -> Json:
        """The properties of a tool's schema."""
        schema = self.schemas[name]
        found = schema.get("properties") if isinstance(schema, dict) else None
        return found if isinstance(found, dict) else {}

    def check(self, name: str, arguments: object) -> Call | None:
        """The call as it may be passed on; `None` for a tool that is not offered, and for arguments that do not fit.

        Arguments come as an object, or as text. What is repaired is what can be meant in one way only.
        """
        known = self.named(name)
        if known is None:
            return None
        try:
            fitted = self._fitted(known, _object(arguments, self.properties(known)))
            return None if fitted is None else Call(known, msgspec.json.encode(fitted).decode())
        except (ValueError, TypeError, OverflowError, RecursionError):
            return None  # JSON has no words for it, or not so many

    def _fitted(self, name: str, arguments: Json | None) -> Json | None:
        checker = self._checker(name)
        if checker is None or arguments is None or work(self.schemas[name], arguments) > MOST_WORK:
            return None
        for _ in range(_MOST_REPAIRS):
            if checker.is_valid(arguments):
                return arguments
            errors = list(islice(checker.iter_errors(arguments), _MOST_FAULTS))
            if len(errors) == _MOST_FAULTS:
                return None
            better = self._repaired(name, checker, arguments, errors)
            if better is None:
                return None
            arguments = better
        return None

    def _repaired(self, name: str, checker: Validator, arguments: Json, errors: list[ValidationError]) -> Json | None:
        """With one fault less, at the first place where that can be done in one way only."""
        for error in errors[:_MOST_REPAIRS]:
            tried = _variants(arguments, error, self.schemas[name])
            better = [one for one in tried if _count(checker, one) < len(errors)]
            if better and all(one == better[0] for one in better):
                return better[0]
        return None

    def _checker(self, name: str) -> Validator | None:
        """`None` for a schema that cannot be read: nobody could say that arguments fit it."""
        if name not in self._checkers:
            self._checkers[name] = _compiled(self.schemas[name])
        return self._checkers[name]


def toolset(tools: object, choice: object = None) -> Toolset:
    """The tools of a request that its `tool_choice` allows."""
    allowed = _allowed(choice)
    schemas: dict[str, Any] = {}
    for tool in objects(tools):
        function = tool.get("function")
        name = function.get("name") if isinstance(function, dict) else None
        if isinstance(function, dict) and isinstance(name, str) and name and (allowed is None or name in allowed):
            schemas[name] = function.get("parameters") or {}
    return Toolset(schemas)


def _allowed(choice: object) -> set[str] | None:
    if not isinstance(choice, dict):
        return None
    if choice.get("type") == "allowed_tools":
        inner = choice.get("allowed_tools", choice)
        listed = objects(inner.get("tools")) if isinstance(inner, dict) else []
    else:
        listed = [choice]
    functions = [one.get("function", one) for one in listed]
    return {one["name"] for one in functions if isinstance(one, dict) and isinstance(one.get("name"), str)} or None


def _compiled(schema: Any) -> Validator | None:
    from jsonschema_rs import Draft202012Validator, FancyRegexOptions, validator_for

    patterns = FancyRegexOptions(backtrack_limit=_MOST_BACKTRACKS)

    # Of a foreign `$schema` nothing is known; most are mistakes in an address.
    for build, one in ((validator_for, schema), (Draft202012Validator, _without(schema, "$schema"))):
        try:
            return build(one, offline=True, pattern_options=patterns)
        except ValueError:
            continue
    return None


def _object(arguments: object, properties: Json) -> Json | None:
    """Arguments as an object: out of text, and where the only one that there is came without its name."""
    if isinstance(arguments, str):
        text = arguments.strip()
        if not text:
            return {}
        try:
            arguments = read(text)
        except ValueError:
            arguments = text if text[:1] not in ("{", "[") else None
        if isinstance(arguments, str) and arguments[:1] == "{":  # encoded twice
            return _object(arguments, properties) if arguments != text else None
    if arguments is None or isinstance(arguments, dict):
        return arguments
    return {next(iter(properties)): arguments} if len(properties) == 1 else None


# --- repairs --------------------------------------------------------------------------------------------------------------


def _variants(arguments: Json, error: ValidationError, schema: Any) -> Iterator[Json]:
    """What else could have been meant at the place of a fault, one change each."""
    path = list(error.instance_path)
    if not path:
        yield from _renamed(arguments, schema)
        return
    value = _at(arguments, path)
    yield from (_changed(arguments, path, other) for other in _meant(value))
    yield from (_changed(arguments, path, other) for other in _alike(value, error))
    if value is None and isinstance(path[-1], str):
        yield _changed(arguments, path, _MISSING)  # nothing said of what need not be said


def _meant(value: object) -> Iterator[object]:
    """The same value in other types."""
    if isinstance(value, bool):
        yield "true" if value else "false"
    elif isinstance(value, int | float):
        yield from (msgspec.json.encode(value).decode(), [value])
    elif isinstance(value, str):
        yield from _read(value.strip()) or [[value]]


def _read(text: str) -> list[object]:
    """What text says as JSON, if that is no text."""
    if _WHOLE.fullmatch(text):
        return [int(text)]
    if _NUMBER.fullmatch(text):
        return [float(text)]
    if text.casefold() in _LITERALS:
        return [_LITERALS[text.casefold()]]
    if text[:1] not in ("{", "["):
        return []
    try:
        return [loads(text)]
    except ValueError:
        return []


def _alike(value: object, error: ValidationError) -> Iterator[object]:
    """The one of the values allowed that differs in case alone."""
    options = getattr(error.kind, "options", None)
    if isinstance(value, str) and isinstance(options, list):
        found = [one for one in options if isinstance(one, str) and _plain(one) == _plain(value.strip())]
        if len(found) == 1:
            yield found[0]


def _renamed(arguments: Json, schema: Any) -> Iterator[Json]:
    """With a key under the property's own name, where it differs in case, dashes and underscores alone."""
    known = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(known, dict):
        return
    for key in arguments:
        alike = [name for name in known if key not in known and name not in arguments and _plain(name) == _plain(key)]
        if len(alike) == 1:
            yield {alike[0] if name == key else name: value for name, value in arguments.items()}


def _count(checker: Validator, arguments: Json) -> int:
    return sum(1 for _ in checker.iter_errors(arguments))


def _at(value: Any, path: list[str | int]) -> Any:
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return _MISSING
    return value


def _changed(arguments: Json, path: list[str | int], value: object) -> Json:
    copy = deepcopy(arguments)
    holder = _at(copy, path[:-1])
    if value is _MISSING:
        if isinstance(holder, dict):
            del holder[path[-1]]
    else:
        holder[path[-1]] = value
    return copy


def _plain(name: str) -> str:
    return name.replace("-", "_").replace("_", "").casefold()


def _without(schema: Any, key: str) -> Any:
    return {name: value for name, value in schema.items() if name != key} if isinstance(schema, dict) else schema


def checked(written: list[Written], tools: Toolset, *, is_marked: bool = True) -> list[Call] | None:
    """All calls as they may be passed on, or `None` when one may not."""
    calls = [_checked(one, tools, is_marked=is_marked) for one in written]
    return None if not calls or None in calls else [call for call in calls if call is not None]


def _checked(written: Written, tools: Toolset, *, is_marked: bool) -> Call | None:
    name = tools.named(written.name)
    if name is None:
        return None
    if written.is_flat and isinstance(written.arguments, dict):
        known = tools.properties(name)
        if not set(written.arguments) <= set(known) or not (written.arguments or is_marked):
            return None
    return tools.check(name, written.arguments)

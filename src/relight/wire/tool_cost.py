"""How much work a JSON schema makes at most for one value; must not know what is checked, nor why. No I/O.

A schema of a thousand bytes may refer to itself, or twice to what refers twice, so that looking at ten bytes takes for ever.
Nobody can stop the checker once it runs, so what may take too long is not begun.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

MOST: Final = 1 << 18
"""Places of a schema that may be looked at for one value: some ten milliseconds."""
_MOST_COUNTED: Final = 20_000

_IN_PLACE: Final = ("not", "if", "then", "else", "allOf", "anyOf", "oneOf", "dependentSchemas", "dependencies", "$ref")
_INSIDE: Final = (
    "items", "additionalItems", "contains", "patternProperties", "additionalProperties", "propertyNames",
    "unevaluatedProperties", "unevaluatedItems",
)  # fmt: skip
_EACH_ITS_OWN: Final = ("properties", "prefixItems")
_FOREIGN: Final = ("$dynamicRef", "$recursiveRef")
_NAMED: Final = ("$id", "id")


def work(schema: Any, value: Any) -> int:
    """Places of `schema` that are looked at for `value` at most; more than `MOST` where that cannot be told."""
    depth, leaves = _extent(value)
    return min(_Work(schema).of(schema, depth), MOST + 1) * leaves


def _extent(value: Any) -> tuple[int, int]:
    """How deep a value is, and how many places it has."""
    rest, depth, places = [(value, 1)], 1, 0
    while rest:
        one, level = rest.pop()
        places, depth = places + 1, max(depth, level)
        inner = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        rest += [(each, level + 1) for each in inner]
    return depth, places


class _Work:
    """Counts for one schema; what was counted for a part of it and a depth is not counted again."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._known: dict[tuple[int, int], int] = {}
        self._open: set[tuple[int, int]] = set()

    def of(self, schema: Any, depth: int) -> int:
        """The places along one way into a value of so many levels."""
        if not isinstance(schema, dict):
            return 1
        at = id(schema), depth
        if at in self._known:
            return self._known[at]
        if at in self._open:
            return MOST + 1  # round in a circle at one place: each way through it counts, and there may be very many
        # What a part with a name of its own refers to would have to be looked for from there.
        is_named = schema is not self._root and any(isinstance(schema.get(name), str) for name in _NAMED)
        if is_named or any(name in schema for name in _FOREIGN) or len(self._known) > _MOST_COUNTED:
            return MOST + 1
        self._open.add(at)
        found = 1 + sum(self.of(one, depth) for one in self._parts(schema, _IN_PLACE))
        if depth > 0:
            found += sum(self.of(one, depth - 1) for one in self._parts(schema, _INSIDE))
            found += sum(
                max((self.of(one, depth - 1) for one in self._parts(schema, (name,))), default=0) for name in _EACH_ITS_OWN
            )
        self._open.discard(at)
        self._known[at] = found = min(found, MOST + 1)
        return found

    def _parts(self, schema: dict[str, Any], names: tuple[str, ...]) -> Iterator[Any]:
        for name in names:
            one = schema.get(name)
            if name == "$ref":
                if isinstance(one, str):
                    yield self._referred(one)
            elif isinstance(one, list):
                yield from one
            elif isinstance(one, dict) and name in ("properties", "patternProperties", "dependentSchemas", "dependencies"):
                yield from one.values()
            elif one is not None:
                yield one

    def _referred(self, reference: str) -> Any:
        """What a reference within the schema leads to; for another one, what nobody can count."""
        from urllib.parse import unquote

        if reference != "#" and not reference.startswith("#/"):
            return {"$dynamicRef": ""}
        found = self._root
        for step in unquote(reference[1:]).split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")  # noqa: PLW2901 - read as JSON pointers are
            if isinstance(found, dict) and step in found:
                found = found[step]
            elif isinstance(found, list) and step.isascii() and step.isdigit() and int(step) < len(found):
                found = found[int(step)]
            else:
                return True  # the checker does not read such a schema
        return found

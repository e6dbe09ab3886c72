"""What is generated from the schema: the annotated example, the JSON Schema and the reference page. Reads no file."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any, Final, get_origin

from relight.config.keys import NAME, Key, Path, Section, dotted, env_name, schema, sections
from relight.config.kinds import BELONGS, Kind
from relight.config.leaf import plain, written
from relight.values import Bytes, Duration

_WIDTH: Final = 100
DURATION_PATTERN: Final = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$"
BYTES_PATTERN: Final = r"^[0-9]+(\.[0-9]+)?\s*([KMGT]i?B|B)?$"

_EXAMPLE_HEAD: Final = """\
# Every key of relight.toml. Prose starts with "# "; a key behind a bare "#" is commented out and shows its default, or an
# example where there is none; a section behind a bare "#" is commented out with all of its keys."""

# --- example ------------------------------------------------------------------------------------------------------


def example() -> str:
    """A whole `relight.toml`: every section and key with its description; what may be left out is commented out (`#key = …`)."""
    parts = [part for section in sections(schema()) if _is_top(section) for part in _example_parts(section)]
    return "\n\n".join((_EXAMPLE_HEAD, *parts)) + "\n"


def _is_top(section: Section) -> bool:
    return bool(section.path) and NAME not in section.path[:-1]


def _example_parts(section: Section) -> Iterator[str]:
    if not section.is_named:
        yield "\n".join(_example_section(section, section.path, section.keys.values()))
        return
    if section.path[0] != "models":
        name = section.name.example if section.name else NAME
        yield "\n".join(_example_section(section, (*section.path[:-1], name), section.keys.values(), is_out=True))
        return
    # One model for each kind: no model can have all the keys.
    for kind, (name, title) in _EXAMPLE_MODELS.items():
        first = [key for key in section.keys.values() if _is_shown_at(kind, key.path[-1])]
        yield "\n".join(_example_section(section, (*section.path[:-1], name), first, title=title))
        for inner in section.sections.values():
            if _is_shown_at(kind, inner.path[-1]):
                path = (*section.path[:-1], name, inner.path[-1])
                yield "\n".join(_example_section(inner, path, inner.keys.values(), is_out=True))


# Each key stands at the first kind that it belongs to; only the first of these models is not commented out.
_EXAMPLE_MODELS: Final = {
    Kind.OURS: ("smol", ""),
    Kind.PROVIDER: ("cloud", "A provider's model."),
    Kind.LIST: ("best", "A list of models."),
}


def _is_shown_at(kind: Kind, name: str) -> bool:
    return kind is next(found for found in Kind if found in BELONGS[name])


def _example_section(
    section: Section, path: Path, keys: Iterable[Key], *, title: str = "", is_out: bool = False
) -> Iterator[str]:
    yield from _comment(title or section.description)
    yield f"{'#' if title or is_out else ''}[{dotted(path)}]"
    for key in keys:
        yield ""
        yield from _comment(key.description)
        yield f"{'' if _is_required(key) else '#'}{key.path[-1]} = {written(_sample(key))}"


def _is_required(key: Key) -> bool:
    """Whether the default is an empty text: there is no value that works for everybody."""
    return bool(key.default == "")


def _sample(key: Key) -> object:
    return key.example if key.default in (None, "", ()) else key.default


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, _WIDTH - 2, break_on_hyphens=False)]


# --- JSON Schema ----------------------------------------------------------------------------------------------------


def json_schema() -> dict[str, Any]:
    """The schema of `relight.toml` for editors and CI, JSON Schema draft 2020-12."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "relight.toml",
        **_table_schema(schema()),
    }


def _table_schema(section: Section) -> dict[str, Any]:
    properties = {name: _key_schema(key) for name, key in section.keys.items()}
    properties |= {name: _section_schema(inner) for name, inner in section.sections.items()}
    return {
        "type": "object",
        "description": section.description,
        "properties": properties,
        "additionalProperties": False,
    }


def _section_schema(section: Section) -> dict[str, Any]:
    table = _table_schema(section)
    if section.name is None:
        return table
    return {
        "type": "object",
        "description": section.description,
        "propertyNames": {"pattern": section.name.pattern},
        "additionalProperties": table,
    }


def _key_schema(key: Key) -> dict[str, Any]:
    # JSON Schema cannot compare texts: the bounds of a duration or a size go into its description.
    bounds = f" Bounds: {_bounds(key)}." if key.base in (Duration, Bytes) and _bounds(key) else ""
    said: dict[str, Any] = {"description": key.description + bounds, **_type_schema(key.base)}
    if key.pattern is not None:
        said["pattern"] = key.pattern
    if key.base in (int, float):
        said |= {word: bound for word, bound in (("minimum", key.at_least), ("maximum", key.at_most)) if bound is not None}
    if key.default is not None:
        said["default"] = plain(key.default)
    if key.example is not None:
        said["examples"] = [key.example]
    return said


def _type_schema(base: Any) -> dict[str, Any]:
    if get_origin(base) is tuple:
        return {"type": "array", "items": {"type": "string"}}
    if issubclass(base, Enum):
        return {"type": "string", "enum": [member.value for member in base]}
    if base is Duration:
        return {"type": "string", "pattern": DURATION_PATTERN}
    if base is Bytes:
        return {"type": "string", "pattern": BYTES_PATTERN}
    # bool is an int to Python, so it has to be looked up, not asked about.
    return {"type": {bool: "boolean", int: "integer", float: "number", str: "string"}[base]}


# --- reference page ---------------------------------------------------------------------------------------------------

_INTRODUCTION: Final = """\
# Configuration

One file, `relight.toml`, describes a service. Values come from the file, then from environment variables, then from flags; the
later wins. `PORT`, which platforms set, wins over `server.port` in the file and over its variable, but not over the flag.
An unknown key is an error.

- `relight init` writes a file to start with, `relight config example` prints one with every key.
- `relight config check` says what is wrong with a file, `relight config show` where each value comes from.
- `relight config schema` prints a JSON Schema for editors.

In a variable's name, whatever is not a letter or a digit becomes `_`: `RELIGHT_MODELS__QWEN_0_6B__CONTEXT` sets
`models.qwen-0.6b.context`. A variable's value is written without quotes, a list with commas or as in TOML: `a=1,b=2` or
`["a=1", "b=2"]`. An empty value unsets what has no default.

Durations are written like `"250ms"`, `"90s"`, `"5m"`, `"1h30m"`, `"2d"`, sizes like `"500MB"` (powers of 1000) and `"2GiB"`
(powers of 1024).
"""


def markdown() -> str:
    """The reference page: a heading for each section, a row for each key."""
    return "\n".join([_INTRODUCTION, *("\n".join(_page_section(part)) for part in sections(schema()) if part.path)])


def _page_section(section: Section) -> Iterator[str]:
    yield f"## `[{dotted(section.path)}]`\n\n{section.description}\n"
    if section.name is not None:
        yield f"`{section.path[-1]}` is a name of your choice, of the form {_code(section.name.pattern)}.\n"
        for kind in Kind if section.path[0] == "models" else ():
            yield f"- Keys of {kind.value}: {', '.join(_code(name) for name, kinds in BELONGS.items() if kind in kinds)}."
        yield ""
    yield "| key | type | default | bounds | what it does | environment variable |"
    yield "|---|---|---|---|---|---|"
    for key in section.keys.values():
        cells = (
            f"`{key.path[-1]}`",
            _type_name(key),
            "" if key.default in (None, "") else _code(written(key.default)),
            _bounds(key),
            key.description,
            f"`{env_name(key.path)}`",
        )
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    yield ""


def _type_name(key: Key) -> str:
    if get_origin(key.base) is tuple:
        return "list of texts"
    if issubclass(key.base, Enum):
        return ", ".join(_code(written(member)) for member in key.base)
    plain_names = {
        bool: "`true` or `false`",
        int: "whole number",
        float: "number",
        str: "text",
        Duration: "duration",
        Bytes: "size",
    }
    return plain_names[key.base]


def _bounds(key: Key) -> str:
    bounds = [_code(key.pattern)] if key.pattern else []
    bounds += [f"{sign} {bound}" for sign, bound in (("≥", key.at_least), ("≤", key.at_most)) if bound is not None]
    return ", ".join(bounds)


def _code(text: str | None) -> str:
    return f"`{text}`"

"""The schema as a tree of sections and keys, for whatever walks over all of them. Knows no file, no value and no layer."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Union, get_args, get_origin

from msgspec import NODEFAULT, Meta, Struct
from msgspec.structs import FieldInfo, fields, replace

from relight.config.schema import Config, SecretName

Path = tuple[str, ...]
PREFIX: Final = "RELIGHT_"
# Name of the secret that the service's own keys lie in, unless the file says otherwise.
KEYS_VARIABLE: Final = "RELIGHT_KEYS"
# Stands in a path where the file's author chooses the name: models.NAME.context.
NAME: Final = "NAME"


# Structs, not dataclasses: a dataclass writes and compiles its methods at import, a millisecond of every start of the server.
class Key(Struct, frozen=True, kw_only=True):
    """One key: its type as msgspec reads it (`type`), the bare type (`base`) and what may be said about it."""

    path: Path
    type: Any
    base: Any
    default: Any
    is_optional: bool
    description: str = ""
    example: Any = None
    pattern: str | None = None
    at_least: Any = None
    at_most: Any = None
    # What stands here by mistake may be a secret: no message may show it.
    is_hidden: bool = False


class Section(Struct, frozen=True, kw_only=True):
    """A table of keys and sections. When `is_named`, a table of such tables, each under a name the author chooses."""

    path: Path
    struct: type[Struct]
    is_named: bool
    keys: Mapping[str, Key]
    sections: Mapping[str, Section]
    name: Key | None = None

    @property
    def description(self) -> str:
        return (self.struct.__doc__ or "").strip()

    @property
    def is_secret_name(self) -> bool:
        """Whether the table names a secret (`{ secret = "NAME" }`)."""
        return self.struct is SecretName


@functools.cache
def schema() -> Section:
    """The whole `relight.toml` as a tree."""
    return _section(Config, ())


def sections(root: Section) -> Iterator[Section]:
    """`root` and every section below it, outer before inner."""
    yield root
    for inner in root.sections.values():
        yield from sections(inner)


def walk(section: Section, values: Any, path: Path = ()) -> Iterator[tuple[Path, Key, Any]]:
    """Path, key and value of everything in `values`, a struct of `section`."""
    for name, key in section.keys.items():
        yield (*path, name), key, getattr(values, name)
    for name, inner in section.sections.items():
        found, below = getattr(values, name), (*path, name)
        entries = [((*below, entry), value) for entry, value in found.items()] if inner.is_named else [(below, found)]
        for place, value in entries:
            yield from walk(inner, value, place)


def dotted(path: Path) -> str:
    """`models.smol.context`, as messages, flags and `relight config show` write it."""
    return ".".join(path)


def env_name(path: Path) -> str:
    """`RELIGHT_MODELS__SMOL__CONTEXT`: upper case, and whatever a variable's name cannot hold becomes `_`."""
    return PREFIX + "__".join("".join(c if c.isascii() and c.isalnum() else "_" for c in part.upper()) for part in path)


def _section(struct: type[Struct], path: Path, *, is_named: bool = False, name: Key | None = None) -> Section:
    keys: dict[str, Key] = {}
    inner: dict[str, Section] = {}
    for info in fields(struct):
        place = (*path, info.encode_name)
        base, _, _ = _unwrap(info.type)
        if isinstance(base, type) and issubclass(base, Struct):
            inner[info.name] = _section(base, place)
        elif get_origin(base) is dict:
            key_type, value_type = get_args(base)
            named = _key((*place, NAME), key_type)
            inner[info.name] = _section(value_type, named.path, is_named=True, name=named)
        else:
            keys[info.name] = _name_of_secret(place, info) if struct is SecretName else _key(place, info.type, info)
    return Section(path=path, struct=struct, is_named=is_named, keys=keys, sections=inner, name=name)


def _key(path: Path, annotated: Any, info: FieldInfo | None = None) -> Key:
    base, metas, is_optional = _unwrap(annotated)
    examples = _first(metas, "examples") or [None]
    return Key(
        path=path,
        type=annotated,
        base=base,
        default=None if info is None or info.default is NODEFAULT else info.default,
        is_optional=is_optional,
        description=_first(metas, "description") or "",
        example=examples[0],
        pattern=_first(metas, "pattern"),
        # msgspec bounds only plain numbers; durations and sizes carry theirs in `extra`.
        # A number with a fraction is an amount (a price, a temperature): never below zero.
        at_least=_first(metas, "ge", "at_least") if base is not float else _first(metas, "ge") or 0,
        at_most=_first(metas, "le", "at_most"),
    )


_SECRETS: Final = {"auth": KEYS_VARIABLE, "prefixes": "RELIGHT_PREFIXES_KEY", "assistant": "RELIGHT_ASSISTANT_KEY"}


def _name_of_secret(path: Path, info: FieldInfo) -> Key:
    """The key that names a secret. Upper case only: most real keys hold a small letter, so a pasted one is no name."""
    key = _key(path, info.type, info)
    example = _SECRETS.get(path[0], key.example)
    return replace(key, pattern="^[A-Z_][A-Z0-9_]*$", example=example, is_hidden=True)


def _unwrap(annotated: Any) -> tuple[Any, list[Meta], bool]:
    """The bare type below `Annotated` and `| None`, what was said about it (outermost first), and whether it may be None."""
    if get_origin(annotated) is Annotated:
        outer, *said = get_args(annotated)
        base, metas, is_optional = _unwrap(outer)
        return base, [meta for meta in said if isinstance(meta, Meta)] + metas, is_optional
    if get_origin(annotated) in (Union, types.UnionType):
        (member,) = (member for member in get_args(annotated) if member is not type(None))
        base, metas, _ = _unwrap(member)
        return base, metas, True
    return annotated, [], False


def _first(metas: list[Meta], attribute: str, extra: str | None = None) -> Any:
    for meta in metas:
        if (said := getattr(meta, attribute)) is not None:
            return said
        if extra is not None and (said := (meta.extra or {}).get(extra)) is not None:
            return said
    return None

"""A configuration in the making: layers go in one after another, the later winning; problems are gathered, not raised."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from relight.config.keys import NAME, PREFIX, Key, Path, Section, dotted, env_name, schema, sections, walk
from relight.config.leaf import read, read_text, shown, written
from relight.config.origin import DEFAULT, Layer, Origin, Problem
from relight.config.schema import Config


class Draft:
    """Values by path, each with its origin, and what was wrong with the others."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._values: dict[Path, object] = {}
        self._origins: dict[Path, Origin] = {}
        # The names chosen under a named section, in the order of the file: ("models",) -> {"smol": its origin}.
        self._names: dict[Path, dict[str, Origin]] = {}

    # --- layers ---------------------------------------------------------------------------------------------------

    def add_file(self, tables: Mapping[str, Any], file: str, lines: Mapping[Path, int]) -> None:
        """Take every value of a parsed TOML file."""
        self._add_table(schema(), tables, (), lambda path: Origin(Layer.FILE, file, lines.get(path)))

    def add_environment(self, environ: Mapping[str, str]) -> None:
        """Take `RELIGHT_SECTION__KEY` variables, then PORT, which platforms set and mean."""
        ours = sorted(name for name in environ if name.upper().startswith(PREFIX) and "__" in name[len(PREFIX) :])
        known = self._by_env_name() if ours else {}
        for name in ours:
            origin, found = Origin(Layer.ENVIRONMENT, name), known.get(name.upper(), [])
            if len(found) == 1:
                self._put(*found[0], environ[name], origin, read_text)
            elif found:
                both = " and ".join(dotted(path) for path, _ in found)
                self._note(origin, (), f"means both {both}; rename one of them")
            else:
                self._note(origin, (), f"sets no key; {_instead(name.upper(), known)}")
        if environ.get("PORT"):
            self._put(("server", "port"), schema().sections["server"].keys["port"], environ["PORT"], _env("PORT"), read_text)

    def add_flags(self, flags: Mapping[str, object]) -> None:
        """Take values by dotted key; None means that the flag was not given."""
        for name, value in flags.items():
            if value is None:
                continue
            origin, found = Origin(Layer.FLAG, name), self._by_dotted(name)
            if found is None:
                known = [dotted(path) for path, _, _ in walk(schema(), self.build())]
                self._note(origin, (), f"{name}: unknown key; {_instead(name, known)}")
            else:
                self._put(*found, value, origin, read)

    # --- results --------------------------------------------------------------------------------------------------

    def build(self) -> Config:
        """The configuration so far; what is missing or wrong has its default."""
        config: Config = self._struct(schema(), ())
        return config

    def origins(self, config: Config) -> dict[str, Origin]:
        """Where each value of `config` came from, by dotted key."""
        return {dotted(path): self._origins.get(path, DEFAULT) for path, _, _ in walk(schema(), config)}

    def origin(self, path: Path) -> Origin:
        """Where `path`, a key or a name, came from."""
        return self._origins.get(path) or self._names.get(path[:-1], {}).get(path[-1], DEFAULT)

    # --- one layer ------------------------------------------------------------------------------------------------

    def _add_table(self, section: Section, table: Mapping[str, Any], path: Path, at: Callable[[Path], Origin]) -> None:
        for name, raw in table.items():
            place = (*path, name)
            if name in section.keys:
                self._put(place, section.keys[name], raw, at(place), read)
            elif name not in section.sections:
                self._note(at(place), place, f"unknown key; {_elsewhere(section, name)}")
            elif not isinstance(raw, dict):
                self._note(at(place), place, _no_table(section.sections[name], place, raw))
            elif section.sections[name].is_named:
                self._add_named(section.sections[name], raw, place, at)
            else:
                self._add_table(section.sections[name], raw, place, at)

    def _add_named(self, section: Section, table: Mapping[str, Any], path: Path, at: Callable[[Path], Origin]) -> None:
        for name, raw in table.items():
            place = (*path, name)
            if not isinstance(raw, dict):
                self._note(at(place), place, f"should be a table, got {shown(raw)}; write [{dotted(place)}]")
            elif self._add_name(section, place, at(place)):
                self._add_table(section, raw, place, at)

    def _add_name(self, section: Section, path: Path, origin: Origin) -> bool:
        pattern = section.name.pattern if section.name else None
        if pattern is not None and not re.fullmatch(pattern, path[-1]):
            self._note(origin, path, f"is no name for one of the {path[-2]}; use letters, digits and . _ : / -")
            return False
        self._names.setdefault(path[:-1], {}).setdefault(path[-1], origin)
        return True

    def _put(self, path: Path, key: Key, raw: Any, origin: Origin, reader: Callable[[Key, Any], object]) -> None:
        try:
            self._values[path] = reader(key, raw)
        except ValueError as error:
            self._note(origin, path, str(error))
        else:
            self._origins[path] = origin

    def _note(self, origin: Origin, path: Path, text: str) -> None:
        self.problems.append(Problem(origin, path, text))

    # --- names to keys --------------------------------------------------------------------------------------------

    def _by_env_name(self) -> dict[str, list[tuple[Path, Key]]]:
        """Which keys each variable means: two models whose names differ only in `-` and `_` share theirs."""
        known: dict[str, list[tuple[Path, Key]]] = {}
        for path, key, _ in walk(schema(), self.build()):
            known.setdefault(env_name(path), []).append((path, key))
        return known

    def _by_dotted(self, name: str) -> tuple[Path, Key] | None:
        """The key called `name`; where the schema says NAME, any text may stand, dots included, and may be a new name."""
        prefix, _, last = name.rpartition(".")
        for section in sections(schema()):
            path = _filled(section.path, prefix) if last in section.keys else None
            if path is None:
                continue
            if NAME in section.path:
                end = section.path.index(NAME) + 1
                named = next(found for found in sections(schema()) if found.path == section.path[:end])
                if not self._add_name(named, path[:end], Origin(Layer.FLAG, name)):
                    return None
            return (*path, last), section.keys[last]
        return None

    def _struct(self, section: Section, path: Path) -> Any:
        parts: dict[str, Any] = {name: self._values[(*path, name)] for name in section.keys if (*path, name) in self._values}
        for name, inner in section.sections.items():
            place = (*path, name)
            if inner.is_named:
                parts[name] = {entry: self._struct(inner, (*place, entry)) for entry in self._names.get(place, {})}
            else:
                parts[name] = self._struct(inner, place)
        return section.struct(**parts)


def _filled(pattern: Path, text: str) -> Path | None:
    """`pattern` with NAME replaced so that it is written `text`, if it can be."""
    if NAME not in pattern:
        return pattern if dotted(pattern) == text else None
    at = pattern.index(NAME)
    head, tail = "".join(f"{part}." for part in pattern[:at]), "".join(f".{part}" for part in pattern[at + 1 :])
    name = text[len(head) : len(text) - len(tail)]
    return (*pattern[:at], name, *pattern[at + 1 :]) if name and text == head + name + tail else None


def _no_table(section: Section, path: Path, raw: object) -> str:
    """What to write instead of `raw`, which is not shown where it may well be the secret itself."""
    if section.is_secret_name:
        name = written(section.keys["secret"].example)
        return f"should be the name of a secret, never the secret itself; write {path[-1]} = {{ secret = {name} }}"
    return f"should be a table, got {shown(raw)}; write [{dotted(path)}]"


def _env(name: str) -> Origin:
    return Origin(Layer.ENVIRONMENT, name)


def _instead(word: str, known: Any) -> str:
    from relight.config.suggest import instead

    return instead(word, known)


def _elsewhere(section: Section, name: str) -> str:
    """Who is right when `name` is no key of `section`: a neighbour like it, or the section that has such a key."""
    from relight.config.suggest import instead, nearest

    known = [*section.keys, *section.sections]
    if nearest(name, known) is None:
        for other in sections(schema()):
            if name in other.keys or name in other.sections:
                return f"it belongs in [{dotted(other.path)}]" if other.path else "it belongs at the top level"
    return instead(name, known)

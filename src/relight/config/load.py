"""From `relight.toml`, the environment and flags to one frozen configuration that knows where each value came from.

On the way to every start of the server: imports nothing that a right configuration does not need.
"""

from __future__ import annotations

import os
import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from relight.config.checks import cross_checks
from relight.config.draft import Draft
from relight.config.lines import key_lines
from relight.config.origin import Layer, Origin, Problem
from relight.config.schema import Config
from relight.errors import ConfigError


class Loaded(Struct, frozen=True):
    """A configuration and where it came from; paths in it are relative to `folder`, `origins` is by dotted key."""

    config: Config
    folder: Path
    origins: Mapping[str, Origin]
    path: Path | None

    @property
    def weights_dir(self) -> Path:
        """The folder of the weights, and of what else is prepared once."""
        return self.folder / Path(self.config.weights.dir).expanduser()


def load(
    path: str | Path | None, *, environ: Mapping[str, str] | None = None, flags: Mapping[str, object] | None = None
) -> Loaded:
    """Read the file, then `RELIGHT_SECTION__KEY` variables and PORT, then flags; the later wins.

    `path` None reads no file; `environ` None is this process's; `flags` are by dotted key (`"server.port"`), and None among
    their values means not given. Raises `ConfigError` with every problem, one a line.
    """
    draft, file = Draft(), None if path is None else Path(path)
    if file is not None:
        text = _text(file)
        draft.add_file(_tables(file, text), str(file), key_lines(text))
    draft.add_environment(os.environ if environ is None else environ)
    draft.add_flags(flags or {})
    config = draft.build()
    _refuse(draft, config, file)
    folder = Path.cwd() if file is None else file.resolve().parent
    return Loaded(config, folder, draft.origins(config), file)


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except FileNotFoundError:
        hint = "make one with: relight init" if file.name == "relight.toml" else f"make one with: relight init {file}"
        raise ConfigError(f"{file}: no such file", hint=hint) from None
    except IsADirectoryError:
        raise ConfigError(f"{file}: is a folder", hint=f"name the file: {file / 'relight.toml'}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{file}:{line}: is not UTF-8 text", hint="save the file as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}", hint="check the path and its permissions") from None


def _tables(file: Path, text: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # The message ends in its place: "(at line 3, column 7)" or "(at end of document)".
        # It shows a table's name as Python would, ('models', 'smol').
        what, _, where = str(error).removesuffix(")").rpartition(" (at ")
        what = what.replace("('", "[").replace("', '", ".").replace("',)", "]").replace("')", "]")
        place = re.fullmatch(r"line (\d+), column (\d+)", where)
        line, column = place.groups() if place else (str(text.rstrip().count("\n") + 1), "end")
        said = what[:1].lower() + what[1:]
        raise ConfigError(
            f"{file}:{line}:{column}: is not TOML: {said}", hint=_syntax_hint(what, is_at_end=place is None)
        ) from None


def _syntax_hint(what: str, *, is_at_end: bool) -> str:
    if is_at_end:
        return "the file ends too early: is a bracket or a quote still open?"
    if what.startswith(("Cannot overwrite", "Cannot declare")):
        return "it is there already, earlier in the file; keep one of them"
    if what.startswith("Invalid value"):
        return 'text needs quotes, as in name = "text"'
    return 'a line should look like: key = "text", key = 5, key = true or [section]'


def _refuse(draft: Draft, config: Config, file: Path | None) -> None:
    wrong = [problem.path for problem in draft.problems]

    def origin(path: tuple[str, ...]) -> Origin:
        found = draft.origin(path)
        return Origin(Layer.FILE, str(file)) if found.layer is Layer.DEFAULT and file is not None else found

    # What could not be read has its default in `config`: what a cross-check says about it, or about what holds it, would mislead.
    across = [found for found in cross_checks(config, origin) if all(path[: len(found.path)] != found.path for path in wrong)]
    problems = [*draft.problems, *across]
    if problems:
        raise ConfigError("\n".join(str(problem) for problem in sorted(problems, key=_place)))


def _place(problem: Problem) -> tuple[bool, int]:
    # The file from top to bottom, what concerns all of it, then the other layers in the order they were read.
    return problem.origin.layer is not Layer.FILE, problem.origin.line or sys.maxsize

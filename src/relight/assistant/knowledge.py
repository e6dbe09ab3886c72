"""What the assistant knows: the documents that patterns of files name, and how they stand whole in a prompt. Looks nothing up."""

from __future__ import annotations

import glob
import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from relight.assistant.fence import fenced
from relight.assistant.reading import KINDS, read
from relight.config.suggest import nearest
from relight.errors import ConfigError

MAX_DOCUMENTS: Final = 2000

_KEY: Final = "assistant.knowledge"
_LOOKED_AT: Final = 2000


class Document(Struct, frozen=True):
    """One file of knowledge as Markdown-like text.

    `path` is how visitors see it: relative to the folder of relight.toml, or to what a pattern outside of it names; with `/`.
    `url` is where a visitor can read it, if it says so. Page n of a PDF begins at character `pages[n - 1]` of `text`.
    """

    path: str
    title: str
    text: str
    url: str | None = None
    pages: tuple[int, ...] = ()

    def page(self, place: int) -> int | None:
        """The page of the character at `place`, counted from 1; `None` where there are no pages."""
        return sum(start <= place for start in self.pages) or None


def documents(globs: Sequence[str], folder: Path) -> tuple[Document, ...]:
    """The documents that `globs` name, each file once, by their paths. Blocks; a page of PDF takes some 10 ms.

    Patterns are relative to `folder`, that of relight.toml; `**` is any number of folders, hidden files and folders are left out.
    They may begin with `/` or `~`, and lead out of the folder by `..` and symbolic links: whoever writes relight.toml may read
    what this process may. Files of other kinds (pictures …) that a pattern fits are left out.
    Raises `ConfigError` for a pattern that names no file we can read, and for a file that cannot be read as `reading.read` says.
    """
    named: dict[Path, str] = {}
    for pattern in globs:
        for path, name in _files(pattern, folder):
            named.setdefault(path.resolve(), name)
    if len(named) > MAX_DOCUMENTS:
        raise ConfigError(
            f"{_KEY}: names {len(named)} files, and may name {MAX_DOCUMENTS}", hint="name fewer, for example only one folder"
        )
    return tuple(_document(path, name) for path, name in sorted(named.items(), key=lambda item: (item[1], item[0])))


def whole(found: Iterable[Document]) -> str:
    """The documents as they stand in the prompt, all of them: the same text for the same documents, whatever is asked."""
    return "\n\n".join(fenced("document", document.text, title=document.title) for document in found)


def digest(found: Iterable[Document]) -> str:
    """SHA-256 of all that documents say, in hexadecimal: another one when any of them changed."""
    hashed = hashlib.sha256()
    for document in found:
        for said in (document.path, document.title, document.url or "", document.text):
            part = said.encode("utf-8", "surrogatepass")
            hashed.update(b"%d:" % len(part) + part)
    return hashed.hexdigest()


def _document(path: Path, name: str) -> Document:
    found = read(path, f'{_KEY}: "{name}"')
    return Document(name, found.title or Path(name).stem, found.text, found.url, found.pages)


def _files(pattern: str, folder: Path) -> Iterator[tuple[Path, str]]:
    """The files that `pattern` names, with their names for visitors."""
    meant = _at_home(pattern)
    literal = (folder / meant).is_file()
    paths = [folder / each for each in ([meant] if literal else glob.glob(str(meant), root_dir=folder, recursive=True))]  # noqa: PTH207
    files = sorted(path for path in paths if path.is_file())
    known = [path for path in files if path.suffix.lower() in KINDS]
    if not known:
        raise _nothing(pattern, folder, files, is_folder=bool(paths) and not files)
    base = folder / (meant if literal else _fixed(meant))
    for path in known:
        yield path, _name(path, folder, base)


def _at_home(pattern: str) -> Path:
    try:
        return Path(pattern).expanduser()
    except RuntimeError as error:
        raise ConfigError(f'{_KEY}: "{pattern}" is in the home folder of nobody here', hint="write the path from / on") from error


def _name(path: Path, folder: Path, base: Path) -> str:
    """A file's name for visitors, who are not told where it lies on this machine."""
    plainly, home = Path(os.path.normpath(path)), Path(os.path.normpath(folder))
    if plainly.is_relative_to(home):
        return plainly.relative_to(home).as_posix()
    above = Path(os.path.normpath(base)).parent
    return plainly.relative_to(above).as_posix() if plainly.is_relative_to(above) else plainly.name


def _fixed(pattern: Path) -> Path:
    """The leading folders of a pattern, up to the first with a wildcard."""
    return Path(*itertools.takewhile(lambda part: not glob.has_magic(part), pattern.parts))


def _nothing(pattern: str, folder: Path, files: Sequence[Path], *, is_folder: bool) -> ConfigError:
    kinds = ", ".join(KINDS)
    if files:
        got = f"{files[0].suffix or 'no suffix'} ({files[0].name})"
        return ConfigError(f'{_KEY}: "{pattern}" names no file of a kind that can be read, got {got}', hint=f"known are {kinds}")
    if is_folder:
        return ConfigError(f'{_KEY}: "{pattern}" is a folder', hint=f'name its files: "{pattern.rstrip("/")}/**/*.md"')
    there = list(itertools.islice(_readable(folder), _LOOKED_AT))
    near = nearest(pattern, there) or nearest(Path(pattern).name, there)
    hint = f'did you mean "{near}"?' if near else f"write such a file, or take it out; paths are relative to {folder}"
    return ConfigError(f'{_KEY}: "{pattern}" matches no file', hint=hint)


def _readable(folder: Path) -> Iterator[str]:
    """Files below `folder` that could be meant, relative to it."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(each for each in folders if not each.startswith(".") and each not in ("node_modules", "__pycache__"))
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in KINDS:
                yield (Path(place) / name).relative_to(folder).as_posix()

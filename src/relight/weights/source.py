"""Model references: what the text in `models.NAME.source` means. Knows no network and no file system."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import unquote, urlsplit

from relight.errors import ConfigError
from relight.loopback import is_loopback

FORMS: Final = (
    "pypi:PACKAGE[==VERSION]/FILE, hf:OWNER/REPO/FILE[@REVISION], ollama:NAME[:TAG], https://HOST/FILE, "
    "gs://BUCKET/OBJECT or file:PATH"
)

_PACKAGE = re.compile(
    r"(?P<package>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?:==(?P<version>[A-Za-z0-9.!+_-]+))?/(?P<file>.+)"
)
_HUB = re.compile(r"(?P<owner>[\w.-]+)/(?P<repo>[\w.-]+)/(?P<file>[^@]+)(?:@(?P<revision>[\w./-]+))?")
_OLLAMA = re.compile(r"(?:(?P<space>[\w.-]+)/)?(?P<name>[\w.-]+)(?::(?P<tag>[\w.-]+))?")
_BUCKET = re.compile(r"(?P<bucket>[a-z0-9][a-z0-9._-]{1,220}[a-z0-9])/(?P<object>.+)")
_SPLIT = re.compile(r"-\d{5}-of-(?P<count>\d{5})\.gguf$")
_HUB_PAGE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/(?:blob|resolve)/(?P<revision>[^/]+)/(?P<file>.+)")


class Kind(StrEnum):
    """Where a reference points."""

    PYPI = "pypi"
    HUGGING_FACE = "hf"
    OLLAMA = "ollama"
    WEB = "https"
    FILE = "file"
    BUCKET = "gs"


@dataclass(frozen=True, slots=True)
class Source:
    """A parsed reference.

    `place` is the package, `OWNER/REPO`, Ollama name with its namespace, host or bucket (empty for `file`); `item`
    the file inside it (the whole URL for `https`, empty for `ollama`); `version` the package version, revision or tag
    where one is named or implied. `text` is safe to print: the query of a URL is left out of it.
    """

    kind: Kind
    text: str
    place: str
    item: str
    version: str | None = None

    @property
    def file(self) -> str:
        """Base name that the weights get on this machine."""
        if self.kind is Kind.OLLAMA:
            return f"{self.place.rpartition('/')[2]}-{self.version}.gguf"
        path = urlsplit(self.item).path if self.kind is Kind.WEB else self.item
        return unquote(path).rpartition("/")[2]


def parse(reference: str, *, key: str = "source") -> Source:
    """Read a reference; raises `ConfigError` that names `key` and the accepted forms."""
    scheme, colon, rest = reference.partition(":")
    reader = _READERS.get(scheme) if colon else None
    try:
        if reader is None:
            raise ValueError("should say where the weights come from")
        source = reader(rest)
        _refuse_split(source)
    except ValueError as error:
        got = _without_secrets(reference)
        raise ConfigError(f'{key}: {error}, got "{got}"', hint=f"write {FORMS}") from None
    return source


def _pypi(rest: str) -> Source:
    match = _PACKAGE.fullmatch(rest)
    if match is None:
        raise ValueError("should be pypi:PACKAGE/FILE or pypi:PACKAGE==VERSION/FILE")
    package = re.sub(r"[-_.]+", "-", match["package"]).lower()
    return Source(Kind.PYPI, f"pypi:{rest}", package, _inside(match["file"]), match["version"])


def _hugging_face(rest: str) -> Source:
    match = _HUB.fullmatch(rest)
    if match is None:
        raise ValueError("should be hf:OWNER/REPO/FILE, with @REVISION behind it to stay on one commit")
    place = _inside(f"{match['owner']}/{match['repo']}")
    return Source(Kind.HUGGING_FACE, f"hf:{rest}", place, _inside(match["file"]), _inside(match["revision"] or "main"))


def _ollama(rest: str) -> Source:
    match = _OLLAMA.fullmatch(rest)
    if match is None:
        raise ValueError("should be ollama:NAME, ollama:NAME:TAG or ollama:USER/NAME:TAG of the Ollama library")
    place = _inside(f"{match['space'] or 'library'}/{match['name']}")
    return Source(Kind.OLLAMA, f"ollama:{rest}", place, "", _inside(match["tag"] or "latest"))


def _bucket(rest: str) -> Source:
    match = _BUCKET.fullmatch(rest.removeprefix("//"))
    if match is None or not rest.startswith("//"):
        raise ValueError("should be gs://BUCKET/OBJECT")
    return Source(Kind.BUCKET, f"gs:{rest}", match["bucket"], _inside(match["object"]))


def _file(rest: str) -> Source:
    if not rest or rest.endswith("/"):
        raise ValueError("should name a file")
    # Both file:PATH and the URL form with its empty host.
    path = rest.removeprefix("//") if rest.startswith("///") else rest
    if path.startswith("//"):
        raise ValueError("should name a file on this machine, without a host")
    return Source(Kind.FILE, f"file:{rest}", "", path)


def _web(scheme: str) -> Callable[[str], Source]:
    def read(rest: str) -> Source:
        url = f"{scheme}:{rest}"
        parts = urlsplit(url)
        if not parts.hostname or not parts.path.strip("/") or parts.path.endswith("/"):
            raise ValueError("should be a URL that ends in a file name")
        if parts.username is not None or parts.password is not None:
            raise ValueError("should hold no user name or password")
        if scheme == "http" and not is_loopback(parts.hostname):
            raise ValueError("should begin with https:// (http:// is taken from this machine only)")
        if parts.hostname == "huggingface.co" and (page := _HUB_PAGE.fullmatch(parts.path)):
            raise ValueError(f"should be hf:{page['repo']}/{page['file']}@{page['revision']}, which checks what it downloads")
        _inside(unquote(parts.path).removeprefix("/"))
        return Source(Kind.WEB, _without_secrets(url), parts.netloc.lower(), url)

    return read


_READERS: Final[dict[str, Callable[[str], Source]]] = {
    "pypi": _pypi,
    "hf": _hugging_face,
    "ollama": _ollama,
    "https": _web("https"),
    "http": _web("http"),
    "gs": _bucket,
    "file": _file,
}


def _inside(path: str) -> str:
    """`path` if it stays where it is put: the store makes folders of it."""
    if "\\" in path or "\0" in path or any(part in {"", ".", ".."} for part in path.split("/")):
        raise ValueError("should hold no empty, . or .. part")
    return path


def _refuse_split(source: Source) -> None:
    match = _SPLIT.search(source.file)
    # A local split model works: the engine finds the other files beside the first.
    if match and int(match["count"]) > 1 and source.kind is not Kind.FILE:
        raise ValueError(
            f"names one of {int(match['count'])} files of a split model, which can only be used with file: after downloading all"
        )


def _without_secrets(reference: str) -> str:
    """Drop what a URL may carry as a secret: the query, the fragment, the user."""
    if not reference.startswith(("https:", "http:")):
        return reference
    return re.sub(r"//[^/@]*@", "//***@", re.split(r"[?#]", reference, maxsplit=1)[0])

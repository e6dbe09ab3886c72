"""The versions that an image gets: those that are installed here, where the service was tried. Reads metadata; no network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from relight.errors import UsageError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

ENGINE: Final = "xllamacpp"
# What the marks of requirements are asked about, where it may differ from here. The version of Python is this one's.
_IMAGE: Final = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}

Find = Callable[[str], Distribution]


class Pins(Struct, frozen=True):
    """What is to be installed (`wanted`, as pip reads it), and every version that belongs to it, by name."""

    wanted: tuple[str, ...]
    versions: dict[str, str]

    def requirements(self) -> str:
        """The text of requirements.txt: what Relight asks for, without the engine, which has a layer of its own."""
        return "".join(f"{line}\n" for line in self.wanted)

    def constraints(self) -> str:
        """The text of constraints.txt."""
        return "".join(f"{name}=={version}\n" for name, version in sorted(self.versions.items()))


def pins(package: str, extras: Sequence[str], find: Find = distribution) -> Pins:
    """What `package` with these extras needs in an image. Raises `UsageError` for what is not installed here."""
    from packaging.utils import canonicalize_name

    direct = _needs(find(package), extras)
    versions: dict[str, str] = {}
    queue = list(direct)
    done: set[tuple[str, frozenset[str]]] = set()
    while queue:
        wanted = queue.pop()
        name, asked = canonicalize_name(wanted.name), frozenset(wanted.extras)
        if (name, asked) in done:
            continue
        done.add((name, asked))
        try:
            found = find(name)
        except PackageNotFoundError:
            raise UsageError(
                f"image: {wanted.name} is not installed here, so it is not known in which version the image should have it",
                hint=f"run: {_install(package, extras)}",
            ) from None
        versions[name] = found.version
        queue += _needs(found, asked)
    wanted_lines = sorted(_line(one) for one in direct if canonicalize_name(one.name) != ENGINE)
    return Pins(tuple(dict.fromkeys(wanted_lines)), versions)


def _needs(found: Distribution, extras: Iterable[str]) -> list[Requirement]:
    from packaging.requirements import Requirement

    asked = [Requirement(line) for line in found.requires or ()]
    contexts = [_IMAGE | {"extra": extra} for extra in ("", *extras)]
    return [one for one in asked if one.marker is None or any(one.marker.evaluate(context) for context in contexts)]


def _line(requirement: Requirement) -> str:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{requirement.specifier}"


def _install(package: str, extras: Sequence[str]) -> str:
    return f'pip install "{package}[{",".join(extras)}]"' if extras else f"pip install {package}"

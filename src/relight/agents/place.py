"""Where a setting belongs in what a file says: its place as a path, and what has to be put there. Pure; knows no format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from relight.agents.unfit import Unfit
from relight.agents.wiring import Member

At = tuple[str | Member, ...]
Path = tuple[str | int, ...]


class _Missing:
    """Stands for what is not there; JSON's null is there."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a place is there: the path of what is, and its value; `rest` is what is not."""

    path: Path
    value: Any
    rest: At


def reach(data: Any, at: At) -> Reach:
    """Follow `at` as far as it goes; null holds nothing, and may become anything. Raises `Unfit` where another shape is."""
    path: Path = ()
    for number, step in enumerate(at):
        found = _step(data, step)
        if found is MISSING:
            _need_room(data, step, path)
            return Reach(path, data, at[number:])
        if found[1] is None and number + 1 < len(at):
            return Reach(path, data, at[number:])
        path, data = (*path, found[0]), found[1]
    return Reach(path, data, ())


def value_at(data: Any, at: At) -> Any:
    """What is at this place, or `MISSING`; a place of another shape is missing, too."""
    try:
        found = reach(data, at)
    except Unfit:
        return MISSING
    return MISSING if found.rest else found.value


def target(data: Any, at: At, value: Any) -> tuple[Path, Any]:
    """What has to be put where, so that `value` is at `at`: the containers that are not there yet come with it."""
    found = reach(data, at)
    if not found.rest:
        last = at[-1] if at else None
        return found.path, {last.key: last.value, **value} if isinstance(last, Member) else value
    step, inner = found.rest[0], _wrapped(found.rest[1:], value)
    if isinstance(step, Member):
        return (*found.path, len(found.value)), {step.key: step.value, **inner}
    return (*found.path, step), inner


def with_value(data: Any, path: Path, value: Any) -> Any:
    """A copy of `data` with `value` at `path`."""
    if not path:
        return value
    step, *rest = path
    if isinstance(step, int):
        old = data[step] if step < len(data) else None
        return [*data[:step], with_value(old, tuple(rest), value), *data[step + 1 :]]
    return {**data, step: with_value(data.get(step), tuple(rest), value)}


def without(data: Any, path: Path) -> Any:
    """A copy of `data` without what is at `path`."""
    step, *rest = path
    if rest:
        return with_value(data, (step,), without(data[step], tuple(rest)))
    if isinstance(step, int):
        return [*data[:step], *data[step + 1 :]]
    return {key: value for key, value in data.items() if key != step}


def named(at: At) -> str:
    """`providers[name=relight].url`, as messages write a place."""
    said = ""
    for step in at:
        said += f"[{step.key}={step.value}]" if isinstance(step, Member) else f".{step}" if said else step
    return said or "the file"


def _step(data: Any, step: str | Member) -> Any:
    """The step in `data` and what is there, or `MISSING`."""
    if isinstance(step, str):
        return (step, data[step]) if isinstance(data, dict) and step in data else MISSING
    for number, element in enumerate(data if isinstance(data, list) else ()):
        if isinstance(element, dict) and element.get(step.key) == step.value:
            return number, element
    return MISSING


def _need_room(data: Any, step: str | Member, path: Path) -> None:
    wanted: type = list if isinstance(step, Member) else dict
    if not isinstance(data, wanted):
        where = ".".join(map(str, path)) or "the file"
        raise Unfit(f"{where} should be {_SHAPES[wanted]}, is {_SHAPES.get(type(data), 'something else')}", path=path)


_SHAPES: Final[dict[type, str]] = {
    list: "a list", dict: "a table", str: "text", bool: "true or false", int: "a number", float: "a number", type(None): "empty",
}  # fmt: skip


def _wrapped(rest: At, value: Any) -> Any:
    for step in reversed(rest):
        value = [{step.key: step.value, **value}] if isinstance(step, Member) else {step: value}
    return value

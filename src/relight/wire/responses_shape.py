"""Reads fields of a responses request and names the place of what does not fit. Knows no field by name."""

from __future__ import annotations

import msgspec

from relight.errors import InvalidRequest
from relight.wire.translation import Json

_LONGEST_QUOTE = 40


def refusal(place: str, expected: str, value: object) -> InvalidRequest:
    """The error for a value that is not what `expected` says."""
    error = InvalidRequest(f"{place}: should be {expected}, got {_shown(value)}")
    error.log_message = f"{place}: should be {expected}"
    return error


def text(value: object, place: str) -> str:
    """`value`, which has to be text."""
    if not isinstance(value, str):
        raise refusal(place, "text", value)
    return value


def an_object(value: object, place: str) -> Json:
    """`value`, which has to be an object."""
    if not isinstance(value, dict):
        raise refusal(place, "an object", value)
    return value


def optional_object(value: object, place: str) -> Json:
    """`value`, which has to be an object or null; nothing in it if null."""
    return {} if value is None else an_object(value, place)


def object_list(value: object, place: str) -> list[Json]:
    """`value`, which has to be a list of objects or null; empty if null."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise refusal(place, "a list", value)
    return [an_object(item, f"{place}.{index}") for index, item in enumerate(value)]


def number(value: object, place: str) -> float:
    """`value`, which has to be a number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise refusal(place, "a number", value)
    return value


def positive(value: object, place: str) -> int:
    """`value`, which has to be a whole number above zero."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise refusal(place, "a whole number above zero", value)
    return value


def truth(value: object, place: str) -> bool:
    """`value`, which has to be true or false."""
    if not isinstance(value, bool):
        raise refusal(place, "true or false", value)
    return value


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, str) and len(value) > _LONGEST_QUOTE:
        value = value[:_LONGEST_QUOTE] + "…"
    return msgspec.json.encode(value).decode()

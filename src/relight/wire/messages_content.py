"""The content of an Anthropic request as parts of a chat message. Knows blocks, not whose turn they belong to. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from relight.errors import InvalidRequest

Json = dict[str, Any]
T = TypeVar("T")

_KINDS: Final[dict[type, str]] = {
    str: "a string",
    bool: "true or false",
    int: "a whole number",
    list: "a list",
    dict: "an object",
}
_NUMBERS: Final = (int, float)
_LONGEST_QUOTE: Final = 40


def expect(value: object, kind: type[T], place: str) -> T:
    """`value`, which should be of that kind of JSON; raises `InvalidRequest` that names the place when it is not."""
    if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise InvalidRequest(f"{place}: should be {_KINDS[kind]}, got {_named(value)}")


def number(value: object, place: str) -> float:
    """`value`, which should be a number, whole or not."""
    if isinstance(value, _NUMBERS) and not isinstance(value, bool):
        return value
    raise InvalidRequest(f"{place}: should be a number, got {_named(value)}")


def one_of(value: object, known: tuple[str, ...], place: str) -> str:
    """`value`, which should be one of the `known` words."""
    if isinstance(value, str) and value in known:
        return value
    got = f'"{value[:_LONGEST_QUOTE]}"' if isinstance(value, str) else _named(value)
    raise InvalidRequest(f"{place}: should be {_listed(known)}, got {got}")


def blocks(content: object, place: str) -> list[tuple[str, Json]]:
    """The blocks of a content, each with its place; a string is one block of text."""
    if isinstance(content, str):
        return [(place, {"type": "text", "text": content})]
    if not isinstance(content, list):
        raise InvalidRequest(f"{place}: should be a string or a list of blocks, got {_named(content)}")
    return [(f"{place}.{n}", expect(block, dict, f"{place}.{n}")) for n, block in enumerate(content)]


def parts(block: Json, place: str, also: tuple[str, ...] = ()) -> list[Json]:
    """What a block says: parts of type `text` and `image_url`. `also` are further types that its place allows, for the error."""
    kind = one_of(block.get("type"), (*_TELLERS, *also), f"{place}.type")
    return _TELLERS[kind](block, place)


def text_part(text: str) -> Json:
    """A text as a part of a chat message."""
    return {"type": "text", "text": text}


def text_of(said: list[Json]) -> str:
    """The texts among parts, a line apart."""
    return "\n".join(part["text"] for part in said if part["type"] == "text")


def text_only(content: object, place: str) -> list[Json]:
    """The parts of a content in which nothing but text may stand."""
    said = []
    for at, block in blocks(content, place):
        one_of(block.get("type"), ("text",), f"{at}.type")
        said += _text(block, at)
    return said


def _text(block: Json, place: str) -> list[Json]:
    return [text_part(expect(block.get("text"), str, f"{place}.text"))]


def _image(block: Json, place: str) -> list[Json]:
    at = f"{place}.source"
    source = expect(block.get("source"), dict, at)
    if one_of(source.get("type"), ("base64", "url"), f"{at}.type") == "url":
        url = expect(source.get("url"), str, f"{at}.url")
        # Whoever fetches it is not the client: a path on the engine's machine is none of its business.
        if not url.startswith(("https://", "http://", "data:image/")):
            raise InvalidRequest(f"{at}.url: should begin with https://, http:// or data:image/")
    else:
        kind = expect(source.get("media_type"), str, f"{at}.media_type")
        url = f"data:{kind};base64,{expect(source.get('data'), str, f'{at}.data')}"
    return [{"type": "image_url", "image_url": {"url": url}}]


def _document(block: Json, place: str) -> list[Json]:
    at = f"{place}.source"
    source = expect(block.get("source"), dict, at)
    head = [text_part(value) for key in ("title", "context") if isinstance(value := block.get(key), str) and value]
    if source.get("type") == "text":
        return [*head, text_part(expect(source.get("data"), str, f"{at}.data"))]
    if source.get("type") == "content":
        return head + [part for at, one in blocks(source.get("content"), f"{at}.content") for part in _inside_document(one, at)]
    raise InvalidRequest(f"{at}.type: only text can be read here", hint="send the document's text, as a source of type text")


def _inside_document(block: Json, place: str) -> list[Json]:
    one_of(block.get("type"), ("text", "image"), f"{place}.type")
    return parts(block, place)


def _search_result(block: Json, place: str) -> list[Json]:
    head = [text_part(value) for key in ("title", "source") if isinstance(value := block.get(key), str) and value]
    return head + text_only(block.get("content"), f"{place}.content")


def _tool_reference(block: Json, place: str) -> list[Json]:
    # Tools whose loading was deferred are there from the start, so that the name is all that is to be known.
    return [text_part(expect(block.get("tool_name"), str, f"{place}.tool_name"))]


_TELLERS: Final[dict[str, Callable[[Json, str], list[Json]]]] = {
    "text": _text,
    "image": _image,
    "document": _document,
    "search_result": _search_result,
    "tool_reference": _tool_reference,
}


def _named(value: object) -> str:
    """What kind of JSON it is; never the value itself, which may be what somebody said."""
    if value is None:
        return "nothing"
    if isinstance(value, float):
        return "a fraction"
    return next(name for kind, name in _KINDS.items() if isinstance(value, kind))


def _listed(known: tuple[str, ...]) -> str:
    quoted = [f'"{word}"' for word in known]
    return " or ".join([", ".join(quoted[:-1]), quoted[-1]]) if len(quoted) > 1 else quoted[0]

"""Whether a model that is listed as one that makes vectors does, also in the form that OpenAI's clients ask for."""

from __future__ import annotations

import binascii
import struct
from base64 import b64decode
from typing import Final

from relight.check.http import Reply
from relight.check.question import Json, number, objs, text
from relight.check.unit import Layer, Session
from relight.check.verdict import Outcome, failed, passed, shown, skipped

_PATH: Final = "/v1/embeddings"
_TEXTS: Final = ("The harbour lies in the north.", "Bread is baked at night.")
_WORDS: Final = ("embedding", "embeddings")
_MOST: Final = 1 << 53
_NEAR: Final = 1e-3
"""Part of the largest number that single precision, or a rounding, may take."""


async def _vectors(session: Session) -> Outcome:
    name = _embedder(session)
    if name is None:
        return skipped("no model is listed that makes vectors")
    plain = await _ask(session, name, "float")
    if not plain.is_fine:
        return failed(f"{shown(name, 60)} is listed, and: {plain.came}")
    numbers = [_numbers(one.get("embedding")) for one in _data(plain)]
    if (why := _fault(plain, numbers)) is not None:
        return failed(f"{shown(name, 60)}: {why}")
    packed = await _ask(session, name, "base64")
    if not packed.is_fine:
        return failed(f"base64 is refused, which OpenAI's clients ask for: {packed.came}")
    if not _same(numbers, [_numbers(one.get("embedding")) for one in _data(packed)]):
        return failed("base64 gives other numbers than the same vectors as numbers")
    return passed(f"{shown(name, 60)}: {len(numbers[0])} numbers a text, also as base64")


def _embedder(session: Session) -> str | None:
    """The first that is listed, or that makes nothing else."""
    listed = [one for one in objs((session.models.json() or {}).get("data")) if _makes_vectors(one)]
    alone = [one for one in listed if "completion" not in _able(one)]
    return next((text(one.get("id")) for one in alone or listed), None)


def _makes_vectors(one: Json) -> bool:
    """By its capabilities; by its name, where none are told."""
    able = _able(one)
    return any(word in able for word in _WORDS) if able else "embed" in text(one.get("id")).lower()


def _able(one: Json) -> list[object]:
    able = one.get("capabilities")
    return able if isinstance(able, list) else []


async def _ask(session: Session, model: str, form: str) -> Reply:
    body = {"model": model, "input": list(_TEXTS), "encoding_format": form}
    return await session.post(_PATH, body, within_s=session.settings.timeout_s, what=f"(two texts, {form})")


def _data(reply: Reply) -> list[Json]:
    return objs((reply.json() or {}).get("data"))


def _numbers(embedding: object) -> list[float]:
    """A vector, as a list or as the bytes of its numbers; an empty one for what is none."""
    if isinstance(embedding, str):
        try:
            data = b64decode(embedding, validate=True)
            return list(struct.unpack(f"<{len(data) // 4}f", data))
        except (binascii.Error, ValueError, struct.error):
            return []
    given = embedding if isinstance(embedding, list) else []
    return [float(one) for one in given] if all(_is_number(one) for one in given) else []


def _is_number(value: object) -> bool:
    return isinstance(value, float) or (type(value) is int and abs(value) < _MOST)


def _fault(reply: Reply, vectors: list[list[float]]) -> str | None:
    """Why nobody could search with these."""
    places = [number(one.get("index")) for one in _data(reply)]
    if places != list(range(len(_TEXTS))):
        return f"{len(_TEXTS)} texts were sent, and vectors with these places came: {places}"
    if not all(vectors) or len({len(vector) for vector in vectors}) > 1:
        return "the vectors are no lists of numbers of one length"
    if not all(any(vector) for vector in vectors):
        return "a vector is nothing but zeros"
    return "two different texts have the same vector" if vectors[0] == vectors[1] else None


def _same(left: list[list[float]], right: list[list[float]]) -> bool:
    if [len(one) for one in left] != [len(one) for one in right]:
        return False
    largest = max(abs(value) for vector in left for value in vector)
    pairs = (pair for one, other in zip(left, right, strict=True) for pair in zip(one, other, strict=True))
    return all(abs(a - b) <= _NEAR * largest for a, b in pairs)


EMBEDDINGS: Final = Layer(
    "embeddings",
    "vectors are made",
    _vectors,
    "search in documents: Open WebUI, LangChain, LlamaIndex",
    "serve POST /v1/embeddings with that model, or do not list it as one that makes vectors",
    is_gate=False,
)

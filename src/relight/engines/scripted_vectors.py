"""Embeddings and rankings of the scripted engine: vectors that depend on the words alone. Pure."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any, Final

from relight.engines.scripted_prompt import count_words
from relight.errors import InvalidRequest

_DIMENSIONS: Final = 8

Json = dict[str, Any]


def embed(body: Json, model: str) -> Json:
    """The answer to `/v1/embeddings`; a text may be given as token numbers, each of which counts as a word.

    Raises `InvalidRequest` in llama.cpp's words.
    """
    texts = _inputs(body.get("input"))
    tokens = count_words(texts)
    is_base64 = body.get("encoding_format") == "base64"
    data = [_item(index, _vector(text), is_base64=is_base64) for index, text in enumerate(texts)]
    return {"model": model, "object": "list", "usage": _usage(tokens), "data": data}


def rerank(body: Json, model: str) -> Json:
    """The answer to `/v1/rerank`, best first: the score is the cosine between the words of query and document.

    Raises `InvalidRequest` in llama.cpp's words.
    """
    query, documents, most = body.get("query"), body.get("documents"), body.get("top_n")
    if not isinstance(query, str):
        raise InvalidRequest('"query" must be provided')
    if not isinstance(documents, list) or not documents or not all(isinstance(text, str) for text in documents):
        raise InvalidRequest('"documents" must be a non-empty string array')
    wanted = _vector(query)
    scores = [sum(a * b for a, b in zip(wanted, _vector(text), strict=True)) for text in documents]
    best = sorted(range(len(scores)), key=lambda index: (-scores[index], index))
    results = [{"index": index, "relevance_score": scores[index]} for index in best]
    tokens = len(documents) * count_words(query) + count_words(documents)
    return {"model": model, "object": "list", "usage": _usage(tokens), "results": results[: most if _is_count(most) else None]}


def _usage(tokens: int) -> Json:
    return {"prompt_tokens": tokens, "total_tokens": tokens}


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _inputs(given: object) -> list[str]:
    inputs = given if isinstance(given, list) and not (given and all(map(_is_count, given))) else [given]
    if not inputs:
        raise InvalidRequest('"input" must not be empty')
    return [_text(item) for item in inputs]


def _text(item: object) -> str:
    if isinstance(item, list) and all(map(_is_count, item)):
        item = " ".join(map(str, item))
    if not isinstance(item, str):
        raise InvalidRequest('"input" must be a string, an array of strings, or an array of tokens')
    if not item:
        raise InvalidRequest("Input content cannot be empty")
    return item


def _vector(text: str) -> list[float]:
    """Texts with the same words are equal, others differ."""
    vector = [0.0] * _DIMENSIONS
    for word in text.split():
        vector[zlib.crc32(word.encode()) % _DIMENSIONS] += 1.0
    length = sum(x * x for x in vector) ** 0.5 or 1.0
    return [x / length for x in vector]


def _item(index: int, vector: list[float], *, is_base64: bool) -> Json:
    result: Json = {"embedding": vector, "index": index, "object": "embedding"}
    if is_base64:
        packed = struct.pack(f"<{_DIMENSIONS}f", *vector)
        result |= {"embedding": base64.b64encode(packed).decode(), "encoding_format": "base64"}
    return result

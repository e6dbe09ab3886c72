"""Passages of knowledge: what was found for a question, how it stands in the prompt, and where it is from. Looks nothing up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from relight.assistant.fence import fenced
from relight.assistant.knowledge import Document


class Passage(Struct, frozen=True):
    """A piece of a document: the `headings` it stands under, outermost first; its `page` where the document has pages."""

    document: Document
    headings: tuple[str, ...]
    text: str
    page: int | None = None

    @property
    def title(self) -> str:
        """The document's title and the headings, as a path."""
        return " › ".join((self.document.title, *(each for each in self.headings if each != self.document.title)))


class Found(Struct, frozen=True):
    """A passage for a question: its fused `score`, and why: its ranks by words and by meaning from 1, and its cosine."""

    passage: Passage
    score: float
    by_words: int | None = None
    by_meaning: int | None = None
    cosine: float | None = None


def as_prompt(found: Sequence[Found]) -> str:
    """The passages as they stand in the prompt, numbered, best first; nothing for nothing. None of them can close its fence."""
    told = [
        fenced("passage", each.passage.text, number=str(number), title=each.passage.title) for number, each in enumerate(found, 1)
    ]
    return "\n\n".join(told)


def sources(found: Sequence[Found]) -> list[dict[str, Any]]:
    """Where the passages are from, best first, each document (of a PDF: each page) once: title, source; url and page if known."""
    told: dict[tuple[str, int | None], dict[str, Any]] = {}
    for each in found:
        document, page = each.passage.document, each.passage.page
        about: dict[str, Any] = {"title": document.title, "source": document.path}
        if document.url is not None:
            about["url"] = document.url
        if page is not None:
            about["page"] = page
        told.setdefault((document.path, page), about)
    return list(told.values())

"""From a configuration to the desk: prompts, hooks and signatures at once, knowledge and detector in the background."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from relight.access.budget import Budget, Daily
from relight.access.tickets import Tickets
from relight.assistant.embedding import need
from relight.assistant.hooks import Hooks
from relight.assistant.markdown import render
from relight.assistant.prompts import Prompts, load_prompts
from relight.clock import Clock
from relight.config.assistant import Assistant, DetectorKind
from relight.config.load import Loaded
from relight.config.secrets import resolve
from relight.errors import WeightsError
from relight.serve.desk import Desk, Equipment
from relight.values import estimated_tokens

if TYPE_CHECKING:
    from relight.assistant.embedding import Embedder
    from relight.assistant.knowledge import Document
    from relight.assistant.library import Library
    from relight.assistant.modes import Detector


def desk(loaded: Loaded, clock: Clock, note: Callable[[str], None]) -> Desk:
    """The assistant that `loaded` describes; raises `ConfigError` for prompts and hooks that are not there."""
    section, config = loaded.config.assistant, loaded.config
    need("linkify_it", "markdown_it", "minijinja", "nh3")
    prompts = load_prompts(section, loaded.folder, config.service.name)
    secret = resolve(section.key, loaded.folder, os.environ, key="assistant.key")
    budget = section.budget
    return Desk(
        section=section,
        model=model_of(loaded),
        equip=lambda: equipment(loaded, prompts, note),
        hooks=Hooks(section.hooks, loaded.folder, note),
        tickets=Tickets(None if secret is None else secret.reveal().encode(), where="assistant.key"),
        budget=Budget(
            Daily(budget.tokens_per_day, budget.usd_per_day),
            clock,
            store=config.limits.store,
            service=config.service.name,
            note=note,
        ),
        note=note,
    )


def model_of(loaded: Loaded) -> str:
    """Who answers where no mode says otherwise."""
    return loaded.config.assistant.model or next(iter(loaded.config.models))


def equipment(loaded: Loaded, prompts: Prompts, note: Callable[[str], None]) -> Equipment:
    """Everything that takes a while: reads knowledge, loads the detector. Raises `ConfigError`."""
    section = loaded.config.assistant
    embedder = _embedder(section, loaded.weights_dir, note)
    text, library = knowledge(loaded, embedder, note)
    render("")  # what it imports would hold up the first answer
    return Equipment(structs.replace(prompts, knowledge=text), _detector(loaded, embedder), library)


def knowledge(loaded: Loaded, embedder: Embedder | None, note: Callable[[str], None]) -> tuple[str, Library | None]:
    """What stands whole in the prompt, and where passages are looked up when it is too much for that."""
    section = loaded.config.assistant
    found, text, tokens = _known(loaded)
    fits = tokens <= section.knowledge_budget
    if not found or (fits and not section.quote):
        return text, None
    from relight.assistant.library import Library

    if not fits:
        note(
            f"assistant: its knowledge has about {tokens} tokens, more than assistant.knowledge_budget "
            f"({section.knowledge_budget}): {section.passages} passages are looked up for each question"
        )
    cache = loaded.weights_dir / "assistant"
    library = Library(found, _for_passages(embedder), cache=cache, paragraphs=section.quote, subject=section.subject)
    library.build()
    return text if fits else "", library


def whole_knowledge(loaded: Loaded) -> str:
    """What stands whole in every prompt: all of it, or nothing."""
    _, text, tokens = _known(loaded)
    return text if tokens <= loaded.config.assistant.knowledge_budget else ""


def _known(loaded: Loaded) -> tuple[tuple[Document, ...], str, int]:
    """The documents, all of them as one text, and about how many tokens that has: the budget is known before any engine is."""
    section = loaded.config.assistant
    if not section.knowledge:
        return (), "", 0
    from relight.assistant.knowledge import documents, whole

    found = documents(section.knowledge, loaded.folder)
    text = whole(found)
    return found, text, estimated_tokens(len(text.encode()))


def _for_passages(embedder: Embedder | None) -> Embedder | None:
    """Letters alone say nothing of meaning: passages are found by their words then."""
    from relight.assistant.detector import for_passages

    return None if embedder is None or embedder.kind == DetectorKind.NGRAM.value else for_passages(embedder)


def _embedder(section: Assistant, home: Path, note: Callable[[str], None]) -> Embedder | None:
    """What makes vectors of texts; where its files or libraries are missing, the next simpler one, and a note that says so."""
    from relight.assistant.detector import open_embedder

    needs_one = any(mode.examples for mode in section.modes.values()) or section.knowledge
    for kind in dict.fromkeys((section.detector, DetectorKind.NGRAM)) if needs_one else ():
        try:
            return open_embedder(kind, home)
        except WeightsError as error:
            note(f'assistant.detector: "{kind}" cannot be used: {error}')
    return None


def _detector(loaded: Loaded, embedder: Embedder | None) -> Detector | None:
    section = loaded.config.assistant
    if not section.modes:
        return None
    from relight.assistant.detector import build
    from relight.assistant.topics import taught

    modes = taught(section.modes, loaded.folder)
    threshold = section.threshold if embedder is None or embedder.kind == section.detector.value else None
    return build(
        modes,
        embedder,
        threshold=threshold,
        default=section.default_mode,
        subject=section.subject,
        weights_dir=loaded.weights_dir,
    )

"""What the chat template of a configured model shows of tools: by its text until its engine was asked, then as that says."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from relight.config.schema import EngineKind, Model
from relight.engines.base import Address
from relight.engines.template import given, shown_by, told
from relight.errors import RelightError
from relight.weights.description import header_of
from relight.weights.wanted import locate
from relight.wire.tool_prompt import TOOLS, Shown


class Way(StrEnum):
    """How a model comes to see the tools of a request."""

    TEMPLATE = "template"
    """Its template shows them."""
    PROMPT = "prompt"
    """They are told in the system message."""
    NONE = "none"
    """Not at all: a call can only be forced."""


def way(shown: Shown | None, mends: frozenset[str]) -> Way | None:
    """How tools are seen through a template that shows so much, where so much is mended; `None` where that is not known."""
    if shown is None:
        return None
    if shown.tools:
        return Way.TEMPLATE
    return Way.PROMPT if TOOLS in mends else Way.NONE


class Template:
    """The template of one model. Asking it starts nothing."""

    def __init__(self, name: str, model: Model, folder: Path, weights_dir: Path, note: Callable[[str], None]) -> None:
        self._name, self._model = name, model
        self._folder, self._weights_dir = folder, weights_dir
        self._note = note
        self._known: Shown | None = None

    def shown(self) -> Shown | None:
        """What it shows, as well as that is known by now."""
        if self._known is None:
            self._known = shown_of(self._name, self._model, self._folder, self._weights_dir)
        return self._known

    async def ask(self, address: Address) -> None:
        """Have the engine that has just woken say so."""
        # Where it is given none it uses none, whatever it says of the one that it has.
        if self._model.engine is not EngineKind.LLAMA_CPP or given(self._model.args) == "":
            return
        if (said := await told(address)) is None:
            return
        if (expected := self.shown()) is not None and said != expected:
            self._note(
                f"{self._name}: its template shows {_words(said)}, as the engine found out; by its text it was taken to show "
                f"{_words(expected)}: what was baked for it may not be found"
            )
        self._known = said


def shown_of(name: str, model: Model, folder: Path, weights_dir: Path) -> Shown | None:
    """What the model's template shows, by its text; `None` where that cannot be read (yet), and for engines that see to it."""
    if model.engine is not EngineKind.LLAMA_CPP:
        return None
    if (override := given(model.args)) is not None:
        return shown_by(override)
    with suppress(RelightError, OSError):
        if (path := locate(name, model, folder, weights_dir)) is not None:
            return shown_by(header_of(path, path.stat().st_mtime).chat_template or "")
    return None


def _words(shown: Shown) -> str:
    kinds = {"tools": shown.tools, "calls": shown.calls}
    return " and ".join(kind for kind, is_shown in kinds.items() if is_shown) or "neither tools nor calls"

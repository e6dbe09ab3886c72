"""What Ollama's clients ask about models: its listings. Its chats and vectors are completions like all others."""

from __future__ import annotations

from relight.config.assistant import ASSISTANT
from relight.lifecycle.machine import State
from relight.serve.front import Front
from relight.serve.http import Request
from relight.serve.ops import capabilities
from relight.wire import ollama as wire
from relight.wire.mending import fields


class Ollama:
    """What Ollama's clients ask about the models of one front door. Nothing of it wakes anything."""

    def __init__(self, front: Front) -> None:
        self._front = front

    async def tags(self, request: Request) -> None:
        """Every model, and the assistant as one more."""
        names = [*self._front.config.models, *([] if self._front.desk is None else [ASSISTANT])]
        await request.json(200, wire.tags(self._facts(name) for name in names))

    async def ps(self, request: Request) -> None:
        """The models that are awake."""
        awake = (name for name, served in self._front.models.items() if served.runner.status().state is State.AWAKE)
        await request.json(200, wire.ps(self._facts(name) for name in awake))

    async def show(self, request: Request) -> None:
        """One model."""
        asked = fields(await request.body(self._front.config.server.max_body))
        name = next((text for key in ("model", "name") if key in asked and (text := _text(asked[key]))), None)
        await request.json(200, wire.show(self._facts(self._front.name(name))))

    async def version(self, request: Request) -> None:
        """The version of the interface."""
        await request.json(200, wire.version())

    def _facts(self, name: str) -> wire.ModelFacts:
        desk = self._front.desk
        is_assistant = name not in self._front.config.models and desk is not None
        behind = desk.model if is_assistant and desk is not None else name
        first = self._front.backends(behind)[0]
        known = self._front.describe(behind)
        return wire.ModelFacts(
            name=name,
            context=first.speech.needs.context or 0,
            # It has a prompt of its own, and takes no tools of a client's.
            capabilities=("completion",) if is_assistant else tuple(capabilities(first)),
            size=known.size,
            digest=known.digest,
            family=known.family,
            parameter_size=known.parameters,
            quantization=known.quantization,
            modified=known.modified,
        )


def _text(raw: bytes) -> str:
    import msgspec

    try:
        return msgspec.json.decode(raw, type=str)
    except msgspec.ValidationError:
        return ""

"""What the front door itself asks of a model: a short answer, or how long a prompt is. Wakes an engine like any request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from relight.decoding import NOT_JSON
from relight.engines.slots import Slots
from relight.errors import EngineCrashed, EngineFailed, EngineRejected
from relight.lifecycle.turns import Claim
from relight.serve.front import Backend, Front, Served
from relight.serve.prepare import CHAT
from relight.values import estimated_tokens

_HEADERS: Final = [(b"content-type", b"application/json")]
_A_MESSAGE: Final = 4  # tokens that a template puts around each

Waiting = Callable[[], None]
"""Told when an engine has to be woken for the question."""


async def answer_of(front: Front, backend: Backend, chat: dict[str, Any], who: str) -> dict[str, Any]:
    """A chat's whole answer; raises what asking a backend raises."""
    body = msgspec.json.encode({**chat, "stream": False})
    if not isinstance(backend, Served):
        named = msgspec.json.encode({**chat, "stream": False, "model": backend.speech.needs.model or chat["model"]})
        provided = await backend.provider.ask(CHAT, named, stream=False)
        try:
            return _object(await provided.read())
        finally:
            provided.close()
    with backend.runner.ask(Claim(who, len(body))) as ticket:
        turn = await ticket.turn()
        answer = await front.connections.post(turn.address, CHAT, _HEADERS, body)
        try:
            said = await answer.read()
        finally:
            answer.close()
        if answer.status >= 400:
            raise EngineRejected(f"engine: refused a question of the assistant (status {answer.status})")
        return _object(said)


async def tokens_of(backend: Backend, chat: dict[str, Any], waiting: Waiting) -> int:
    """Tokens of a chat's prompt: exact where the engine is ours and can say, else an estimate from its length."""
    if not isinstance(backend, Served) or not backend.capabilities.slots:
        return estimate(chat)
    with backend.runner.ask(None) as ticket:
        if ticket.eta_s is not None:
            waiting()
        turn = await ticket.turn()
        try:
            return len(await Slots(turn.address).tokens({"messages": chat["messages"]}))
        except (EngineCrashed, EngineFailed):
            return estimate(chat)  # the request itself is asked again, and this is no reason to refuse it


def estimate(chat: dict[str, Any]) -> int:
    """Tokens of a prompt by its length: four bytes each, and what a template adds."""
    return sum(_A_MESSAGE + estimated_tokens(len(str(one["content"]).encode())) for one in chat["messages"])


def at_most(chat: dict[str, Any]) -> int:
    """More tokens than the prompt can have: no vocabulary in use makes two tokens of one byte."""
    return sum(8 + len(str(one["content"]).encode()) for one in chat["messages"]) + 16


def _object(said: bytes) -> dict[str, Any]:
    try:
        return dict(msgspec.json.decode(said, type=dict[str, Any]))
    except (*NOT_JSON, msgspec.ValidationError):
        raise EngineFailed("engine: answered a question of the assistant with what is no JSON object") from None

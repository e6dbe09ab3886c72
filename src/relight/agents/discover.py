"""Which model an agent is pointed at, and what is known of it, from what a service lists or a configuration says. No network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from relight.agents.wiring import Endpoint
from relight.config.kinds import Kind, kind
from relight.config.load import Loaded
from relight.config.origin import Layer
from relight.config.schema import Model, Task
from relight.config.suggest import instead
from relight.errors import UsageError

_DIALECTS: Final = {
    "/v1/chat/completions": "chat",
    "/v1/responses": "responses",
    "/v1/messages": "messages",
    "/api/chat": "ollama",
}
ALL: Final = frozenset(_DIALECTS.values())
_PART: Final = 4
"""An agent is told that an answer takes at most this part of the context: it sets as much aside, and forgets beyond the rest."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that a service has. `context` and `output` in tokens; None where nobody says."""

    name: str
    chats: bool = True
    has_tools: bool = True
    tells_tools: bool = False
    """Its template shows no tools, so that Relight tells it of them in words."""
    context: int | None = None
    output: int | None = None
    dialects: frozenset[str] = ALL
    is_default: bool = False


def listed(models: Sequence[Mapping[str, Any]]) -> list[Candidate]:
    """The models of `GET /v1/models`, of our service or of any other, of which less is known."""
    found = [_listed(model) for model in models if isinstance(model.get("id"), str)]
    contexts = {one.name: one.context for one in found}
    for number, model in enumerate(found):
        behind = _facts(models, model.name).get("fallback")
        if model.context is None and isinstance(behind, list):
            found[number] = _with_context(model, _least(contexts.get(name) for name in behind))
    behind_default = {_facts(models, one.name).get("model") for one in found if one.is_default}
    # The assistant is no model for an agent: it has a system prompt of its own, and no tools. The one behind it is.
    return [_as_default(one) if one.name in behind_default else one for one in found]


def configured(loaded: Loaded) -> list[Candidate]:
    """The models of a configuration, as the service would list them; engines are not asked what they really allocate."""
    config, default = loaded.config, loaded.config.answering_model()
    found = []
    for name, model in config.models.items():
        chats = model.task is Task.CHAT
        context = _context(name, loaded)
        output = _output(context, model.max_tokens if kind(model) is Kind.OURS else None)
        found.append(Candidate(name, chats=chats, has_tools=chats, context=context, output=output, is_default=name == default))
    return found


def choose(candidates: Sequence[Candidate], wanted: str | None, where: str) -> Candidate:
    """The model that is wanted, else the default one if it chats and calls tools, else the first that does, else that chats.

    Raises `UsageError` for one that is not there, or makes embeddings, and when there is none; `where` is who has the models.
    """
    chatting = [one for one in candidates if one.chats]
    names = [one.name for one in chatting]
    if wanted is not None:
        found = next((one for one in candidates if one.name == wanted), None)
        if found is None:
            raise UsageError(f'--model: {where} has no model "{wanted}"', hint=instead(wanted, names))
        if not found.chats:
            raise UsageError(f"--model: {wanted} does not chat", hint=f"these do: {', '.join(names) or 'none'}")
        return found
    able = [one for one in chatting if one.has_tools] or chatting
    if not able:
        raise UsageError(f"{where}: has no model that chats", hint="configure one: relight config example shows how")
    return next((one for one in able if one.is_default), able[0])


def filled(model: Candidate, others: Sequence[Candidate]) -> Candidate:
    """`model` with what only the configuration knows: a provider's context, which no service lists."""
    known = next((one for one in others if one.name == model.name), None)
    if known is None or model.context is not None:
        return model
    return _with_context(model, known.context)


def endpoint(url: str, model: Candidate, key_variable: str | None) -> Endpoint:
    """The endpoint as an agent's settings need it."""
    return Endpoint(
        url=url,
        model=model.name,
        context=model.context,
        output=model.output,
        has_tools=model.has_tools,
        key_variable=key_variable,
        dialects=model.dialects,
    )


def _listed(model: Mapping[str, Any]) -> Candidate:
    facts = model.get("relight")
    facts = facts if isinstance(facts, dict) else {}
    can = model.get("capabilities")
    said = (model.get("context_length"), model.get("max_model_len"), facts.get("context"))
    context = next((number for number in said if isinstance(number, int) and number > 0), None)
    most, paths = facts.get("max_tokens"), facts.get("paths")
    return Candidate(
        model["id"],
        # Another server's capabilities may be written in another way; then its list is believed.
        chats="completion" in can if isinstance(can, list) and facts else not _sounds_like_embeddings(model["id"]),
        has_tools="tools" in can if isinstance(can, list) and facts else True,
        tells_tools=facts.get("tools") == "prompt",
        context=context,
        output=_output(context, most if isinstance(most, int) else None),
        dialects=frozenset(_DIALECTS[path] for path in paths if path in _DIALECTS) if isinstance(paths, list) else ALL,
        is_default=bool(facts.get("default")),
    )


def _sounds_like_embeddings(name: str) -> bool:
    return any(word in name.lower() for word in ("embed", "rerank"))


def _facts(models: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    facts = next((model.get("relight") for model in models if model.get("id") == name), None)
    return facts if isinstance(facts, dict) else {}


def _context(name: str, loaded: Loaded) -> int | None:
    model: Model | None = loaded.config.models.get(name)
    if model is None:
        return None
    if kind(model) is Kind.LIST:
        return _least(_context(each, loaded) for each in model.fallback)
    origin = loaded.origins.get(f"models.{name}.context")
    is_said = kind(model) is Kind.OURS or (origin is not None and origin.layer is not Layer.DEFAULT)
    return model.context if is_said else None


def _least(contexts: Any) -> int | None:
    """Of models that stand in for each other, the smallest context is what can be relied on; None when one is not known."""
    found = list(contexts)
    return min(found) if found and None not in found else None


def _output(context: int | None, most: int | None) -> int | None:
    if context is None:
        return most
    return max(1, min(context // _PART, most or context))


def _with_context(model: Candidate, context: int | None) -> Candidate:
    return replace(model, context=context, output=_output(context, model.output))


def _as_default(model: Candidate) -> Candidate:
    return replace(model, is_default=True)

"""The list of models: read by every client, the model that is asked, and how large its context is. Knows no dialect."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from relight.check.http import Auth, Reply
from relight.check.question import Json, number, obj, objs, text
from relight.check.unit import Layer, Session
from relight.check.verdict import Outcome, failed, passed, shown, skipped, unsupported, unsure
from relight.values import counted


async def _models(session: Session) -> Outcome:
    reply = session.models
    listed = objs((reply.json() or {}).get("data")) if reply.status == 200 else await _ollama_models(session)
    if not listed:
        return _unlisted(session, reply)
    names = [text(one.get("id")) for one in listed]
    session.model = session.model or _default(listed)
    session.facts = next((one for one in listed if one.get("id") == session.model), {})
    if not session.facts and not session.model.startswith(tuple(f"{name}:" for name in names)):
        return failed(
            f"{shown(session.model, 60)} is not listed; there is {shown(', '.join(names), 120)}", "name one of them with --model"
        )
    await _sizes(session)
    return passed(f"{counted(len(names), 'model')}: {shown(', '.join(names), 100)}")


def _unlisted(session: Session, reply: Reply) -> Outcome:
    if session.model and reply.status in (404, 405, 501):
        session.context = session.settings.context
        return unsupported("no list of models; the one that was named is asked")
    if reply.status == 200 and reply.json() is not None:
        return failed("the list has no models in data", "answer with OpenAI's form; until then name one with --model")
    return failed(f"no list of models: {reply.came}", "serve GET /v1/models; until then name one with --model")


async def _ollama_models(session: Session) -> list[Json]:
    """The list of a server that speaks nothing but Ollama's dialect."""
    reply = await session.line.ask("GET", "/api/tags", within_s=session.settings.request_s)
    names = [text(one.get("model")) or text(one.get("name")) for one in objs((reply.json() or {}).get("models"))]
    return [{"id": name} for name in names if name]


def _default(listed: list[Json]) -> str:
    """The model that is asked when nobody names one: the server's own choice, else the first that chats."""
    chatting = [one for one in listed if _chats(one.get("capabilities"))]
    own = [one for one in chatting if obj(one.get("relight")).get("default")]
    found = (own or chatting or listed)[0]
    # Relight's assistant is no model for an agent: the one behind it is.
    return text(obj(found.get("relight")).get("model")) or text(found.get("id"))


def _chats(capabilities: object) -> bool:
    """Whether a listed model chats; a server that does not say so in a list is taken at its word."""
    return not isinstance(capabilities, list) or "completion" in capabilities


_CONTEXT: Final = ("context_length", "max_model_len", "context_window", "max_context_length")


async def _sizes(session: Session) -> None:
    """Tokens that a request may use, and requests that are answered at once, as the list or llama.cpp says."""
    facts = session.facts
    said = [number(facts.get(name)) for name in _CONTEXT] + [number(obj(facts.get("meta")).get("n_ctx"))]
    session.slots = number(obj(facts.get("relight")).get("parallel"))
    if "relight" not in facts:
        props = await _props(session)
        said.append(number(obj(props.get("default_generation_settings")).get("n_ctx")))
        session.slots = number(props.get("total_slots"))
    session.context = session.settings.context or next((count for count in said if count), None)


async def _props(session: Session) -> Json:
    """What llama.cpp tells of itself. Others need not know the path, which is no evidence of anything."""
    reply = await session.line.ask("GET", "/props", within_s=session.settings.request_s)
    session.line.log.pop()
    return reply.json() or {}


async def _union(session: Session) -> Outcome:
    listed = session.models.json() or {}
    first = next(iter(objs(listed.get("data"))), None)
    if first is None:
        return skipped("no list in OpenAI's form")
    lacking = [name for name in ("type", "display_name", "created_at") if name not in first]
    lacking += [name for name in ("has_more", "first_id", "last_id") if name not in listed]
    if lacking:
        return failed(f"Anthropic's clients miss {', '.join(lacking)}")
    return passed("both OpenAI's and Anthropic's clients read it")


async def _one(session: Session) -> Outcome:
    path = f"/v1/models/{quote(session.model, safe='')}"
    reply = await session.line.ask("GET", path, within_s=session.settings.request_s)
    if reply.status in (404, 405, 501):
        return unsupported("a model alone cannot be asked for")
    return passed("by its name") if text((reply.json() or {}).get("id")) == session.model else failed(f"not told: {reply.came}")


async def _hello(session: Session) -> Outcome:
    for method, path in (("HEAD", "/api/hello"), ("HEAD", "/")):
        reply = await session.line.ask(method, path, within_s=session.settings.request_s, auth=Auth.NONE)
        if reply.status is None:  # some answer it with a body, which is left unread by clients that ask so
            return unsure(f"{method} {path}: {reply.came}")
        if reply.status >= 500:
            return failed(f"{method} {path}: {reply.came}")
    return passed("nobody stumbles")


LISTED: Final = Layer("models", "models are listed", _models, "agents and their set-up ask for the list", "serve GET /v1/models")
BESIDE: Final = (
    Layer(
        "models.union",
        "the list suits Anthropic's clients too",
        _union,
        "Claude Code's list of models",
        "add their fields",
        is_gate=False,
    ),
    Layer("models.one", "one model is told", _one, "official clients", "serve GET /v1/models/NAME", is_gate=False),
    Layer("hello", "first greetings do no harm", _hello, "Claude Code sends HEAD /api/hello", "answer 404", is_gate=False),
)

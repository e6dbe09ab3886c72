"""Request bodies in files, whose beginnings are worth a snapshot: read in any dialect, and put as the engine will be asked."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import msgspec.structs

from relight.config.kinds import Kind, kind
from relight.config.load import Loaded
from relight.config.schema import Model
from relight.decoding import NOT_JSON
from relight.engines.kinds import engine_for
from relight.errors import RelightError, UsageError
from relight.prefixes.key import Chain, chain
from relight.serve import translations as words
from relight.serve.front import engine_speech
from relight.serve.prepare import CHAT, Question, prepare
from relight.serve.template import shown_of
from relight.wire.mending import fields
from relight.wire.translation import About, Translation

_ANYBODY: Final = [{"role": "user", "content": "Hello"}]
_DIALECTS: Final[dict[str, Translation | None]] = {
    CHAT: None,
    "/v1/messages": words.MESSAGES,
    "/v1/responses": words.RESPONSES,
}


class Recorded(msgspec.Struct, frozen=True):
    """A request whose beginning shall be saved."""

    name: str
    model: str | None
    """The model that it names."""
    body: dict[str, Any]


def read(file: Path) -> Recorded:
    """The request in `file`; raises `UsageError` when it holds none."""
    try:
        body = msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}", hint="name a file with the body of a request") from None
    except (*NOT_JSON, msgspec.ValidationError) as error:
        raise UsageError(f"{file}: is no request ({error})", hint="it should hold the JSON body of one request") from None
    model = body.get("model")
    return Recorded(file.stem, model if isinstance(model, str) else None, body)


def of_modes(loaded: Loaded) -> list[Recorded]:
    """What the assistant's prompts begin with, one for each mode; none where there is no assistant. Raises `ConfigError`."""
    section = loaded.config.assistant
    if not section.is_there:
        return []
    from relight.assistant.conversation import Conversation
    from relight.assistant.draft import Draft
    from relight.assistant.prompts import load_prompts
    from relight.config.assistant import ASSISTANT, Mode
    from relight.serve.equip import model_of, whole_knowledge

    prompts = load_prompts(section, loaded.folder, loaded.config.service.name)
    knowledge = whole_knowledge(loaded)
    modes: dict[str | None, Mode] = {name: mode for name, mode in section.modes.items() if mode.reply is None}
    if not section.modes:
        modes[None] = Mode()
    recorded = []
    for name, mode in modes.items():
        model = mode.model or model_of(loaded)
        # A model that quotes does not read all there is to know.
        known = "" if section.quote and has_grammar(loaded.config.models[model]) else knowledge
        prompts = msgspec.structs.replace(prompts, knowledge=known)
        draft = Draft(mode, prompts.system(name), Conversation("Hello"), (), {}, model)
        if draft.system:
            called = f"{ASSISTANT}:{name}" if name else ASSISTANT
            recorded.append(Recorded(called, model, draft.chat(prompts.schemas.get(name or ""), 0)))
    return recorded


def has_grammar(model: Model) -> bool:
    """Whether its engine can be held to a grammar."""
    return kind(model) is Kind.OURS and engine_for(model.engine, model.task).capabilities.grammar


def as_asked(recorded: Recorded, name: str, loaded: Loaded) -> tuple[dict[str, Any], Chain]:
    """The chat that the engine of the model `name` is asked for this request, and its keys; raises `UsageError`."""
    config, model = loaded.config, loaded.config.models[name]
    body = dict(recorded.body)
    path = _dialect(body)
    if not body.get("messages") and path != "/v1/responses":
        body["messages"] = _ANYBODY
    if path == "/v1/responses":
        body.setdefault("input", "Hello")
    can = engine_for(model.engine, model.task).capabilities
    text = msgspec.json.encode(body)
    question = Question(path, text, fields(text), About(model=name, id="bake", created=0), _DIALECTS[path])
    shown = partial(shown_of, name, model, loaded.folder, loaded.weights_dir)
    try:
        asked = prepare(question, engine_speech(name, can, model, config.prefixes, shown=shown)).body
    except RelightError as error:
        raise UsageError(f"{recorded.name}: {error.message}", hint=error.hint) from None
    found = chain(asked)
    if found.prefix is None:
        raise UsageError(f"{recorded.name}: has neither a system message nor tools", hint="there is nothing that requests share")
    return msgspec.json.decode(asked), found


def _dialect(body: dict[str, Any]) -> str:
    tools = body.get("tools")
    if "input" in body or "instructions" in body:
        return "/v1/responses"
    is_anthropic = isinstance(tools, list) and any(isinstance(tool, dict) and "input_schema" in tool for tool in tools)
    return "/v1/messages" if "system" in body or is_anthropic else CHAT

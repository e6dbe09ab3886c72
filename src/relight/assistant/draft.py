"""A chat request in the making: mode, prompt, conversation and what goes with the question, put together. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct, structs

from relight.assistant.conversation import Conversation
from relight.assistant.fence import inert
from relight.assistant.naming import about
from relight.assistant.prompts import KNOWLEDGE, Part, asked, joined
from relight.config.assistant import Mode

Json = dict[str, Any]

# What a client may say of its request; how the model is sampled is the mode's to say.
_KEPT: Final = ("stream", "stream_options", "stop", "seed", "user")
_LIMITS: Final = ("max_tokens", "max_completion_tokens")


class Draft(Struct, frozen=True):
    """All that a prompt is made of."""

    mode: Mode
    system: Sequence[Part]
    talk: Conversation
    context: Sequence[str]
    request: Json
    model: str
    grammar: str | None = None
    """What the answer keeps to, where the engine takes one."""

    def quoting(self, grammar: str, subject: str | None) -> Draft:
        """The same for a model that chooses sentences for this question: what else it would read is only in its way."""
        message = self.talk.message if subject is None else about(self.talk.message, subject)
        talk = Conversation(message, (), self.talk.dropped + len(self.talk.history))
        system = [part for part in self.system if part.name != KNOWLEDGE]
        return structs.replace(self, system=system, talk=talk, grammar=grammar)

    def chat(self, schema: Mapping[str, Any] | None, dropped: int) -> Json:
        """The chat request, without the `dropped` oldest messages."""
        system = joined(self.system)
        messages = [{"role": "system", "content": system}] if system else []
        messages += [{"role": said.role, "content": inert(said.text)} for said in self.talk.history[dropped:]]
        messages.append({"role": "user", "content": asked(self.context, inert(self.talk.message))})
        kept: Json = {name: self.request[name] for name in _KEPT if name in self.request}
        if self.grammar is not None:
            kept["grammar"] = self.grammar
        return {**kept, **_sampling(self.mode, self.request, schema), "model": self.model, "messages": messages}


def _sampling(mode: Mode, request: Json, schema: Mapping[str, Any] | None) -> Json:
    """What the mode says of its answers; a client may only want them shorter."""
    said: Json = {}
    wanted = [value for name in _LIMITS if isinstance(value := request.get(name), int) and value > 0]
    if limits := [*wanted, *([mode.max_tokens] if mode.max_tokens else [])]:
        said["max_tokens"] = min(limits)
    if mode.temperature is not None:
        said["temperature"] = mode.temperature
    if mode.top_p is not None:
        said["top_p"] = mode.top_p
    if schema is not None:
        said["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
    return said

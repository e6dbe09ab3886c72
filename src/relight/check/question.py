"""What is asked and what came, whatever the dialect: the two forms that every check speaks in. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Protocol

from relight.check.events import Chunk, json_object

Json = dict[str, Any]


class Finish(StrEnum):
    """Why an answer ended."""

    STOP = "stop"
    LENGTH = "length"
    TOOLS = "tools"


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call."""

    name: str
    description: str
    schema: Json


@dataclass(frozen=True, slots=True)
class Call:
    """A call, its arguments as text: what a model wrote need not be JSON. `id` is None where there is none."""

    id: str | None
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One message: of the system, the user or the assistant, or what a tool answered to the call `answers`."""

    role: str
    text: str | None = None
    calls: tuple[Call, ...] = ()
    answers: str | None = None
    picture: str | None = None
    """A PNG file in base64, which the text is about."""

    @property
    def data_url(self) -> str:
        """The picture as an address that holds it."""
        return f"data:image/png;base64,{self.picture}"


@dataclass(frozen=True, slots=True)
class Question:
    """A request. `choice` is auto, none, required, or the name of a tool; None leaves it out."""

    turns: tuple[Turn, ...]
    max_tokens: int | None = 48
    stream: bool = False
    tools: tuple[Tool, ...] = ()
    choice: str | None = None
    schema: Json | None = None
    as_parts: bool = False
    """Every content as a list of parts, and none where there is none."""
    more: Mapping[str, object] = field(default_factory=dict)
    """Fields of the dialect itself."""

    @property
    def gist(self) -> str:
        """What is special about it, in a few words."""
        found = ["streamed"] if self.stream else []
        found += [f"{len(self.turns)} messages"] if len(self.turns) > 1 else []
        found += [f"tools {', '.join(tool.name for tool in self.tools)}"] if self.tools else []
        found += [f"tool_choice {self.choice}"] if self.choice else []
        found += ["JSON schema"] if self.schema else []
        found += ["a picture"] if any(turn.picture for turn in self.turns) else []
        found += ["content as parts"] if self.as_parts else []
        found += [f"at most {self.max_tokens} tokens"] if self.max_tokens is not None else []
        return ", ".join([*found, *self.more])


@dataclass(slots=True)
class Answer:
    """An answer, read. `faults` are what is wrong with its form; a client may break on each."""

    text: str = ""
    calls: list[Call] = field(default_factory=list)
    finish: str | None = None
    """One of `Finish`, else the server's own word."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What is not as it should be, though no client that is known breaks on it."""
    error: str | None = None
    """What the server says went wrong after it had begun."""
    has_thought: bool = False

    @property
    def is_empty(self) -> bool:
        """Neither a word nor a call; thinking alone is no answer, but no empty one."""
        return not (self.text.strip() or self.calls or self.has_thought)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error body. `faults` are what is wrong with its form."""

    message: str
    code: str
    faults: tuple[str, ...] = ()


class Tongue(Protocol):
    """One dialect, from the client's side."""

    name: str
    path: str
    has_choice: bool
    """Whether a request can demand or forbid a tool call."""

    def body(self, question: Question, model: str) -> Json:
        """The request."""
        ...

    def whole(self, body: Json) -> Answer:
        """An answer in one piece."""
        ...

    def told(self, chunks: Sequence[Chunk]) -> Answer:
        """A stream."""
        ...

    def has_begun(self, chunks: Sequence[Chunk]) -> bool:
        """Whether a word, a thought or a call is among what came."""
        ...

    def refusal(self, body: bytes) -> Refusal:
        """The body of an error."""
        ...


def obj(value: object) -> Json:
    """An object; an empty one for what is none."""
    return value if isinstance(value, dict) else {}


def objs(value: object) -> list[Json]:
    """The objects of a list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def text(value: object) -> str:
    """A text; an empty one for what is none."""
    return value if isinstance(value, str) else ""


def number(value: object) -> int | None:
    """A whole number."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def user(words: str) -> Turn:
    """What the user says."""
    return Turn("user", words)


def misfit(arguments: str, schema: Json) -> str | None:
    """Why call arguments do not fit the flat schema of one of our tools; `None` when they do."""
    value = json_object(arguments.encode())
    if value is None:
        return f"the arguments are no JSON object: {arguments[:60]!r}"
    properties: Json = schema.get("properties", {})
    if missing := [name for name in schema.get("required", ()) if name not in value]:
        return f"the arguments lack {', '.join(missing)}"
    if unknown := [name for name in value if name not in properties]:
        return f"the arguments have {', '.join(unknown)[:60]!r}, which the schema does not allow"
    wrong = [name for name, said in value.items() if not _fits(said, properties[name])]
    return f"{', '.join(wrong)} does not fit its schema" if wrong else None


_KINDS: Final[dict[str, type | tuple[type, ...]]] = {"string": str, "integer": int, "boolean": bool}


def _fits(value: object, schema: Json) -> bool:
    if "enum" in schema and value not in schema["enum"]:
        return False
    return isinstance(value, _KINDS.get(schema.get("type", ""), object))

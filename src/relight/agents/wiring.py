"""What pointing an agent at a service means, as plain data: which files get which settings, and what to set and to run.

Pure: who reads and writes the files is `connect`; what each agent wants is said in its own module and listed in `catalog`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


class Format(Enum):
    """How a file of settings is written."""

    JSON = "json"  # with comments and trailing commas where they are
    TOML = "toml"
    YAML = "yaml"
    ENV = "env"  # NAME=value, one a line
    TEXT = "text"  # whole: its one setting, at ("text",), is all that is in it


class Scope(Enum):
    """Whose set-up is changed."""

    USER = "user"
    PROJECT = "project"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The service, as an agent needs to know it."""

    url: str  # of the front door, no path: "http://127.0.0.1:8080"
    model: str
    context: int | None = None  # tokens that one request may use, answer included; None: not known
    output: int | None = None  # tokens of an answer
    has_tools: bool = True
    key_variable: str | None = None  # the environment variable that holds the key; None: the service asks for none
    dialects: frozenset[str] = frozenset({"chat", "responses", "messages", "ollama"})


@dataclass(frozen=True, slots=True)
class Member:
    """A step of a setting's place: the element of a list of objects whose `key` is `value`; appended when there is none."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Setting:
    """One value in a file; what stands beside it stays."""

    at: tuple[str | Member, ...]
    value: Json
    why: str = ""  # shown to the user; empty where it explains itself
    is_default: bool = False  # put only where nothing is: what the file needs, and the user may have chosen otherwise


@dataclass(frozen=True, slots=True)
class Edit:
    """The settings of one file: `path` begins with "~/" (the user's home) or is relative to the project."""

    path: str
    format: Format
    settings: tuple[Setting, ...]
    is_private: bool = False  # holds a secret: readable by its owner alone


@dataclass(frozen=True, slots=True)
class Wiring:
    """All that points an agent at an endpoint."""

    edits: tuple[Edit, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)  # to export; values may name others: "$RELIGHT_KEY"
    start: str = ""  # the command that starts the agent with it
    notes: tuple[str, ...] = ()  # what a user should know: limits, time-outs, what still phones home
    snippet: str = ""  # source text to paste, for libraries that have no file of settings


class Agent(Protocol):
    """What is known of one agent."""

    slug: str  # "qwen-code": the name in commands
    name: str  # "Qwen Code"
    dialect: str  # chat | responses | messages | ollama: what it speaks to us
    tested: tuple[str, ...]  # versions that these settings were written for
    version_command: tuple[str, ...]  # argv that prints its version; empty: it has none
    scopes: tuple[Scope, ...]
    context_need: int  # tokens of its first request, with its stock prompt and tools
    slim_need: int | None  # the same with its slim profile; None: it has none

    def wire(self, endpoint: Endpoint, scope: Scope, *, is_slim: bool) -> Wiring:
        """The settings for this endpoint."""

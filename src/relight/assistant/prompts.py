"""The prompt of the assistant, from files: who it is, what it knows, how it answers in each mode. Asks no model.

The order is persona, knowledge, mode. Nothing in it changes from request to request, so what modes and turns share is the
longest beginning there can be, and every mode's prompt has one prefix snapshot. What belongs to one question alone (passages
that were looked up, facts of a hook) goes with the question, behind the conversation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from relight.config.assistant import Assistant
from relight.decoding import NOT_JSON
from relight.errors import ConfigError

KNOWLEDGE: Final = "knowledge"
_MARKS: Final = ("{{", "{%", "{#")
_LARGEST: Final = 1 << 20  # bytes; a prompt is read by a model, word by word


class Part(Struct, frozen=True):
    """A section of a prompt under its name: persona, knowledge or mode."""

    name: str
    text: str


class Prompts(Struct, frozen=True):
    """All prompts of an assistant, rendered."""

    persona: str
    modes: Mapping[str, str]
    schemas: Mapping[str, dict[str, Any]]
    """The JSON Schema that a mode's answers keep to."""
    knowledge: str = ""
    """What stands whole in every prompt."""

    def system(self, mode: str | None) -> list[Part]:
        """The sections of the system message, in their order; empty ones are left out."""
        parts = [Part("persona", self.persona), Part(KNOWLEDGE, self.knowledge), Part("mode", self.modes.get(mode or "", ""))]
        return [part for part in parts if part.text]


def joined(parts: Sequence[Part]) -> str:
    """The sections as one text."""
    return "\n\n".join(part.text for part in parts)


def asked(context: Sequence[str], message: str) -> str:
    """What the model is told as the user's message: what belongs to the question, then the question."""
    return "\n\n".join([*(text for text in context if text), message])


def load_prompts(section: Assistant, folder: Path, service: str) -> Prompts:
    """Read and render the prompts that the configuration names; paths are relative to `folder`.

    A prompt is Markdown and may be a template (Jinja's syntax): `service`, `title`, `modes` (each with `name` and `about`), in a
    mode's own prompt `mode`, and `{% include "FILE" %}` are known there; an undefined name is an error. Raises `ConfigError`.
    """
    known: dict[str, Any] = {
        "service": service,
        "title": section.page.title or service,
        "modes": [{"name": name, "about": mode.about or ""} for name, mode in section.modes.items()],
    }
    modes = {
        name: _prompt(f"assistant.modes.{name}.prompt", mode.prompt, folder, {**known, "mode": name})
        for name, mode in section.modes.items()
        if mode.prompt is not None
    }
    schemas = {
        name: _schema(f"assistant.modes.{name}.json_schema", folder / mode.json_schema)
        for name, mode in section.modes.items()
        if mode.json_schema is not None
    }
    persona = "" if section.persona is None else _prompt("assistant.persona", section.persona, folder, known)
    return Prompts(persona, modes, schemas)


def _prompt(key: str, name: str, folder: Path, known: Mapping[str, Any]) -> str:
    text = text_of(key, folder / Path(name).expanduser())
    if any(mark in text for mark in _MARKS):
        text = _rendered(key, name, text, folder, known)
    return text.strip()


def text_of(key: str, file: Path) -> str:
    """The text of a file that `key` of the configuration names; raises `ConfigError`, naming both."""
    try:
        if file.stat().st_size > _LARGEST:
            raise ConfigError(f"{key}: {file} is larger than 1 MiB, and a model reads all of it", hint="is it the right file?")
        return file.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{key}: {file} is not UTF-8 (byte {error.start})", hint="save it as UTF-8") from error
    except OSError as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else error.strerror or "cannot be read"
        raise ConfigError(f"{key}: {file}: {reason}", hint="paths are relative to the folder of relight.toml") from error


def _rendered(key: str, name: str, text: str, folder: Path, known: Mapping[str, Any]) -> str:
    from minijinja import Environment, TemplateError

    templates = Environment(
        loader=lambda other: text_of(key, folder / other),
        undefined_behavior="strict",
        auto_escape_callback=lambda _: False,
        keep_trailing_newline=True,
    )
    try:
        return templates.render_str(text, name, **known)
    except TemplateError as error:
        if isinstance(error.__cause__, ConfigError):
            raise error.__cause__ from None
        names = ", ".join(known)
        raise ConfigError(
            f"{key}: {folder / (error.name or name)}, line {error.line}: {error.detail or error.kind}",
            hint=f"a prompt knows: {names}; {{% raw %}} … {{% endraw %}} keeps braces as they are",
        ) from error


def _schema(key: str, file: Path) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(text_of(key, file))
    except NOT_JSON as error:
        raise ConfigError(f"{key}: {file} is not JSON: {error}", hint="write a JSON Schema") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{key}: {file} should hold a JSON Schema, an object", hint='like {"type": "object", …}')
    return found

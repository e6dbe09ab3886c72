"""What the clients are asked to do in these tests: a tool and its answer, a form to fill in, and the words of a script."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

PLACE = '{"city": "Oslo"}'
CALL = f"tool=weather args={PLACE}"
TWO_CALLS = f'{CALL} tool=weather args={{"city": "Rome"}}'
PERSON = '{"name": "Ada", "age": 36, "tags": ["first"]}'
THOUGHT = 'reasoning="let me see" text="forty two"'
ABOUT = "Tells the weather of a city."
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}},
    "required": ["city"],
    "additionalProperties": False,
}
FUNCTION: Any = {"type": "function", "function": {"name": "weather", "description": ABOUT, "parameters": SCHEMA}}
CLOCK: Any = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}}}


class Person(BaseModel):
    """Somebody."""

    name: str
    age: int
    tags: list[str]


def script(text: str) -> str:
    """What a user says who wants the scripted engine to do that."""
    return f"#script {text}"


def user(text: str) -> Any:
    """A conversation of one message, in the shape of any client."""
    return [{"role": "user", "content": text}]


def says(text: str) -> str:
    """The script of an answer with this text, which may hold quotation marks."""
    import json

    return script(f"text={json.dumps(text)}")

"""What a configured model's template shows: its text, its arguments, and the engine, which has the last word."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from relight.config.mendings import chosen
from relight.config.schema import EngineKind, Model
from relight.serve.template import Template, Way, shown_of, way
from relight.wire.tool_prompt import Shown
from tests.weights.files import gguf

ALL, NOTHING = Shown(), Shown(tools=False, calls=False)
SHOWS = "{% if tools %}{{ tools }}{% endif %}{{ messages[0].tool_calls }}"


def model(folder: Path, template: str | None = "{{ messages }}", *args: str, engine: EngineKind = EngineKind.LLAMA_CPP) -> Model:
    (folder / "m.gguf").write_bytes(gguf({"tokenizer.chat_template": template}))
    return Model(source="file:m.gguf", args=args, engine=engine)


@asynccontextmanager
async def engine(folder: Path, body: object) -> AsyncIterator[Path]:
    """Something that answers every request with `body`."""
    said = json.dumps(body).encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (len(said), said))
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(answer, folder / "e.sock")
    async with server:
        yield folder / "e.sock"


def caps(*, tools: bool, calls: bool) -> dict[str, object]:
    return {
        "chat_template": "x",
        "chat_template_caps": {"supports_tools": tools, "supports_tool_calls": calls, "supports_new": 1},
    }


def test_text_in_the_weights_says_what_it_shows(tmp_path: Path) -> None:
    assert shown_of("m", model(tmp_path), tmp_path, tmp_path) == NOTHING
    (tmp_path / "other").mkdir()
    other = tmp_path / "other"
    assert shown_of("m", model(other, SHOWS), other, other) == ALL


def test_weights_without_a_template_are_shown_as_the_engine_does(tmp_path: Path) -> None:
    assert shown_of("m", model(tmp_path, None), tmp_path, tmp_path) == NOTHING


def test_template_in_the_arguments_counts(tmp_path: Path) -> None:
    assert shown_of("m", model(tmp_path, "{{ messages }}", f"--chat-template={SHOWS}"), tmp_path, tmp_path) == ALL


def test_nothing_is_known_of_weights_that_are_not_there_and_of_other_engines(tmp_path: Path) -> None:
    assert shown_of("m", Model(source="file:none.gguf"), tmp_path, tmp_path) is None
    assert shown_of("m", model(tmp_path, engine=EngineKind.OLLAMA), tmp_path, tmp_path) is None


async def test_engine_has_the_last_word_and_it_is_noted_once(tmp_path: Path) -> None:
    notes: list[str] = []
    template = Template("m", model(tmp_path), tmp_path, tmp_path, notes.append)
    assert template.shown() == NOTHING
    async with engine(tmp_path, caps(tools=True, calls=False)) as address:
        await template.ask(address)
        await template.ask(address)
    assert template.shown() == Shown(tools=True, calls=False)
    (note,) = notes
    assert note.startswith("m: its template shows tools, as the engine found out; by its text it was taken to show neither")


@pytest.mark.parametrize("body", [{}, [], {"chat_template_caps": {}}, {"chat_template_caps": {"supports_tools": 1}}], ids=str)
async def test_engine_that_says_nothing_of_it_changes_nothing(tmp_path: Path, body: object) -> None:
    notes: list[str] = []
    template = Template("m", model(tmp_path), tmp_path, tmp_path, notes.append)
    async with engine(tmp_path, body) as address:
        await template.ask(address)
    await template.ask(tmp_path / "nobody.sock")
    assert (template.shown(), notes) == (NOTHING, [])


@pytest.mark.parametrize(
    ("shown", "mend", "how"),
    [
        (ALL, None, Way.TEMPLATE),
        (NOTHING, None, Way.PROMPT),
        (NOTHING, ("calls",), Way.PROMPT),
        (NOTHING, ("-tools_in_prompt",), Way.NONE),
        (NOTHING, ("history",), Way.NONE),
        (None, None, None),
    ],
)
def test_how_tools_are_seen(shown: Shown | None, mend: tuple[str, ...] | None, how: Way | None) -> None:
    assert way(shown, chosen(mend, by_default=True)) is how


async def test_engine_that_uses_no_template_is_not_asked_about_the_one_that_it_has(tmp_path: Path) -> None:
    model = Model(source="file:none.gguf", args=("--no-jinja",))
    template = Template("smol", model, tmp_path, tmp_path, print)
    await template.ask(tmp_path / "nobody.sock")
    assert template.shown() == Shown(tools=False, calls=False)

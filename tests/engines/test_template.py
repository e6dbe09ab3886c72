"""What templates show of tools: by their text, and as the real engine says of the very same ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from relight.cli.trial import running
from relight.clock import SystemClock
from relight.config.schema import Model
from relight.engines.kinds import engine_for, spec_for
from relight.engines.slots import Slots
from relight.engines.template import given, shown_by, told
from relight.serve.front import engine_speech
from relight.serve.prepare import CHAT, Question, prepare
from relight.wire.mending import fields
from relight.wire.tool_prompt import Shown
from relight.wire.translation import About
from tests.serve.process import weights_of
from tests.serve.test_snapshots import EXAMPLE

# Written for this, in the manners of those that are about.
MESSAGES = "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
ALTERNATING = (
    "{% for message in messages %}{% if message.role not in ['user', 'assistant', 'system'] %}"
    "{{ raise_exception('no') }}{% endif %}{{ message.content }}{% endfor %}"
)
CALLS = (
    "{% for message in messages %}{{ message.content }}"
    "{% for call in message['tool_calls'] or [] %}{{ call.function.name }}{% endfor %}{% endfor %}"
)
TOOLS = "{%- if tools %}{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}{% endif -%}"
TEMPLATES: dict[str, tuple[str, Shown]] = {
    "messages alone": (MESSAGES, Shown(tools=False, calls=False)),
    "in turn": (ALTERNATING, Shown(tools=False, calls=False)),
    "tools and calls": (TOOLS + CALLS, Shown(tools=True, calls=True)),
    "tools alone": (TOOLS + MESSAGES, Shown(tools=True, calls=False)),
    "calls alone": (CALLS, Shown(tools=False, calls=True)),
    "the word alone": ("{# tools, tool_calls #}You have no tools.{{ ' tools }} ' }}" + MESSAGES, Shown(tools=False, calls=False)),
    "somebody's tools": ("{% set mine = namespace(tools=1) %}{{ mine.tools }}" + MESSAGES, Shown(tools=False, calls=False)),
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_text_of_a_template_tells_what_it_shows(name: str) -> None:
    template, shown = TEMPLATES[name]
    assert shown_by(template) == shown


def test_engines_own_template_shows_messages_alone() -> None:
    assert shown_by("") == Shown(tools=False, calls=False)


def test_arguments_name_another_template(tmp_path: Path) -> None:
    (tmp_path / "t.jinja").write_text(TOOLS, encoding="utf-8")
    assert given(("--threads=2",)) is None
    assert given(("--chat-template=a=b",)) == "a=b"
    assert given((f"--chat-template-file={tmp_path}/t.jinja",)) == TOOLS
    assert given((f"--chat-template-file={tmp_path}/none",)) is None
    assert given(("--chat-template=a", "--no-jinja")) == ""


# --- the real engine

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "look", "description": "Look something up.", "parameters": {"type": "object", "properties": {}}},
}


@pytest.mark.real
@pytest.mark.parametrize("name", TEMPLATES)
async def test_engine_says_the_same(name: str, tmp_path: Path) -> None:
    template, shown = TEMPLATES[name]
    model, weights = _model(f"--chat-template={template}")
    async with running(model, spec_for("smol", model, weights, tmp_path / "s.sock"), model.wake_timeout, SystemClock()) as engine:
        assert await told(engine.address) == shown


@pytest.mark.real
async def test_prompt_of_a_model_whose_template_hides_tools_holds_them(tmp_path: Path) -> None:
    model, weights = _model()
    history = [
        {"role": "user", "content": "Look."},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "look"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "a bird"},
    ]
    body = msgspec.json.encode({"messages": history, "tools": [TOOL]})
    async with running(model, spec_for("smol", model, weights, tmp_path / "s.sock"), model.wake_timeout, SystemClock()) as engine:
        shown = await told(engine.address)
        can = engine_for(model.engine, model.task).capabilities
        question = Question(CHAT, body, fields(body), About(model="smol", id="x", created=0))
        asked = prepare(question, engine_speech("smol", can, model, shown=lambda: shown)).body
        # Mended as always, but for the tools: this is what the engine itself makes of them.
        plain = engine_speech("smol", can, replace(model, mend=("-tools_in_prompt",)), shown=lambda: shown)
        hidden = await Slots(engine.address)._ask("/apply-template", json.loads(prepare(question, plain).body), "prompt", str)
        prompt = await Slots(engine.address)._ask("/apply-template", json.loads(asked), "prompt", str)
    assert "look" not in hidden
    assert '<tools>\n{"name": "look"' in prompt
    assert '<|im_start|>assistant\n<tool_call>\n{"name": "look", "arguments": {}}\n</tool_call><|im_end|>' in prompt
    assert "<|im_start|>user\n<tool_response>\na bird\n</tool_response><|im_end|>" in prompt


def _model(*args: str) -> tuple[Model, Path]:
    weights = weights_of(EXAMPLE)
    return Model(source=f"file:{weights}", context=2048, parallel=1, args=args), weights

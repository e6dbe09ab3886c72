from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relight.assistant.prompts import asked, joined, load_prompts
from relight.config.assistant import Assistant, Mode, Page
from relight.errors import ConfigError


def section(**said: Any) -> Assistant:
    return Assistant(model="demo", **said)


def wrote(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.md").write_text(text, encoding="utf-8")
    return folder


def test_parts_stand_in_an_order_that_modes_share(tmp_path: Path) -> None:
    wrote(tmp_path, persona="I am Mira.\n", a="Answer as A.", b="Answer as B.")
    modes = {"a": Mode(prompt="a.md"), "b": Mode(prompt="b.md"), "c": Mode()}
    prompts = load_prompts(section(persona="persona.md", modes=modes), tmp_path, "portfolio")
    assert [(part.name, part.text) for part in prompts.system("a")] == [("persona", "I am Mira."), ("mode", "Answer as A.")]
    assert joined(prompts.system("b")) == "I am Mira.\n\nAnswer as B."
    assert joined(prompts.system("c")) == joined(prompts.system(None)) == "I am Mira."


def test_what_belongs_to_the_question_goes_before_it() -> None:
    assert asked([], "why?") == "why?"
    assert asked(["Facts.", ""], "why?") == "Facts.\n\nwhy?"


def test_template_knows_service_title_modes_and_mode(tmp_path: Path) -> None:
    text = "{{ service }}/{{ title }}:{% for mode in modes %} {{ mode.name }} ({{ mode.about }}){% endfor %}"
    wrote(tmp_path, persona=text, a="{{ mode }} {% include 'tail.md' %}", tail="& <tail>")
    said = section(persona="persona.md", modes={"a": Mode(prompt="a.md", about="first"), "b": Mode()}, page=Page(title="Ask"))
    prompts = load_prompts(said, tmp_path, "portfolio")
    assert prompts.persona == "portfolio/Ask: a (first) b ()"
    assert prompts.modes["a"] == "a & <tail>"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("one\ntwo {{ nmae }}", r"assistant.persona: .*persona.md, line 2: `nmae` is undefined"),
        ("{% if %}", r"assistant.persona: .*persona.md, line 1: unexpected end of block"),
        ("{% include 'gone.md' %}", r"gone.md"),
    ],
)
def test_broken_template_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_prompts(section(persona="persona.md"), wrote(tmp_path, persona=text), "portfolio")


def test_braces_of_plain_markdown_are_no_template(tmp_path: Path) -> None:
    wrote(tmp_path, persona="Say {hello} and 50 %.")
    assert load_prompts(section(persona="persona.md"), tmp_path, "x").persona == "Say {hello} and 50 %."


def test_missing_or_unreadable_prompt_names_key_and_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"assistant.persona: .*gone.md: there is no such file"):
        load_prompts(section(persona="gone.md"), tmp_path, "x")
    (tmp_path / "bad.md").write_bytes(b"abc\xff")
    with pytest.raises(ConfigError, match=r"assistant.modes.a.prompt: .*bad.md is not UTF-8 \(byte 3\)"):
        load_prompts(section(modes={"a": Mode(prompt="bad.md")}), tmp_path, "x")
    (tmp_path / "large.md").write_bytes(b"a" * ((1 << 20) + 1))
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        load_prompts(section(persona="large.md"), tmp_path, "x")


def test_schema_of_a_mode_is_read_and_has_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('{"type": "object"}', encoding="utf-8")
    assert load_prompts(section(modes={"a": Mode(json_schema="s.json")}), tmp_path, "x").schemas == {"a": {"type": "object"}}
    (tmp_path / "s.json").write_text("[]", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"assistant.modes.a.json_schema: .* should hold a JSON Schema"):
        load_prompts(section(modes={"a": Mode(json_schema="s.json")}), tmp_path, "x")
    (tmp_path / "s.json").write_text("{", encoding="utf-8")
    with pytest.raises(ConfigError, match="is not JSON"):
        load_prompts(section(modes={"a": Mode(json_schema="s.json")}), tmp_path, "x")

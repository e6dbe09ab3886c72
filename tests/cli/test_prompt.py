from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from relight.cli.main import run
from relight.cli.recorded import as_asked, of_modes
from relight.cli.rehearsal import assistant_check
from relight.config.load import load

CONFIG = """
[models.cloud]
url = "http://127.0.0.1:9/v1"
[models.smol]
source = "file:smol.gguf"
[weights]
dir = "weights"
[assistant]
model = "cloud"
persona = "persona.md"
knowledge = ["facts.md"]
detector = "ngram"
default_mode = "rest"
[assistant.modes.work]
about = "things that Mira built, projects and tools"
examples = ["what have you built?", "show me your projects"]
prompt = "work.md"
max_tokens = 90
[assistant.modes.own]
keywords = ["own"]
model = "smol"
[assistant.modes.rest]
reply = "Ask me about Mira."
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    texts = {
        "persona.md": "I am Mira's assistant.",
        "work.md": "Talk about {{ mode }}.",
        "facts.md": "# Facts\n\nA tide clock.\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    file = tmp_path / "relight.toml"
    file.write_text(CONFIG, encoding="utf-8")
    return file


def shown(config: Path, capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, Any]:
    assert run(["prompt", "show", "--config", str(config), "--json", *args]) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_prompt_is_shown_as_it_is_sent_with_tokens_by_section(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history = config.parent / "history.json"
    history.write_text('[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]', encoding="utf-8")
    found = shown(config, capsys, "--mode", "work", "--history", str(history), "why a clock?")
    assert [section["name"] for section in found["sections"]] == ["persona", "knowledge", "mode", "user", "assistant", "question"]
    assert found["sections"][2]["text"] == "Talk about work."
    assert (found["mode"], found["by"], found["exact"]) == ("work", "explicit", False)
    messages = found["request"]["messages"]
    assert messages[0]["content"] == "\n\n".join(section["text"] for section in found["sections"][:3])
    assert messages[-1] == {"role": "user", "content": "why a clock?"}
    assert found["request"]["max_tokens"] == 90
    assert found["total"] > sum(section["tokens"] for section in found["sections"])


def test_mode_is_detected_when_none_is_given(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = shown(config, capsys, "show me your projects please")
    assert (found["mode"], found["by"]) == ("work", "classifier")


def test_ready_answer_is_shown_in_place_of_a_prompt(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["prompt", "show", "--config", str(config), "--mode", "rest", "hello"]) == 0
    assert "no model is asked; the answer is\n\nAsk me about Mira." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--mode", "wrk", "x"], 'there is no "wrk"'),
        (["--history", "gone.json", "x"], "cannot be read"),
        ([""], "message: is empty"),
    ],
)
def test_wrong_use_is_told(config: Path, capsys: pytest.CaptureFixture[str], args: list[str], said: str) -> None:
    assert run(["prompt", "show", "--config", str(config), *args]) != 0
    assert said in capsys.readouterr().err


def test_service_without_an_assistant_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "relight.toml").write_text('[models.toy]\nengine = "scripted"\n', encoding="utf-8")
    assert run(["prompt", "show", "--config", str(tmp_path / "relight.toml"), "x"]) == 2
    assert "has no assistant" in capsys.readouterr().err


def test_each_mode_that_asks_a_model_has_a_prefix_to_bake(config: Path) -> None:
    loaded = load(config)
    found = of_modes(loaded)
    assert [(mode.name, mode.model) for mode in found] == [("assistant:work", "cloud"), ("assistant:own", "smol")]
    chat, chain = as_asked(found[1], "smol", loaded)
    assert chat["messages"][0]["content"].startswith("I am Mira's assistant.\n\n")
    assert "tide clock" in chat["messages"][0]["content"]
    assert chain.prefix is not None


def test_model_that_quotes_has_no_knowledge_in_its_prefix(config: Path) -> None:
    config.write_text(
        config.read_text(encoding="utf-8").replace("[assistant]\n", "[assistant]\nquote = true\n"), encoding="utf-8"
    )
    work, own = of_modes(load(config))
    assert "tide clock" in str(work.body)
    assert "tide clock" not in str(own.body)


def test_doctor_loads_the_assistant_once(config: Path) -> None:
    check = assistant_check(load(config))
    assert check is not None
    assert (check.result, check.check) == ("PASS", "assistant")
    assert check.seen.startswith("3 modes, prompts of up to about")


def test_doctor_says_what_the_assistant_lacks(config: Path) -> None:
    config.write_text(config.read_text(encoding="utf-8").replace('"ngram"', '"minilm"'), encoding="utf-8")
    check = assistant_check(load(config))
    assert check is not None
    assert check.result == "WARN"
    assert '"minilm" cannot be used' in check.seen
    (config.parent / "persona.md").unlink()
    check = assistant_check(load(config))
    assert check is not None
    assert check.result == "FAIL"
    assert "persona.md: there is no such file" in check.seen

from __future__ import annotations

import re
from pathlib import Path

import pytest

from relight.config.load import load
from relight.errors import ConfigError

MODELS = """
[models.demo]
engine = "scripted"
[models.other]
engine = "scripted"
[models.vectors]
engine = "scripted"
task = "embed"
"""


def problems(folder: Path, text: str) -> list[str]:
    file = folder / "relight.toml"
    file.write_text(MODELS + text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(file, environ={})
    return [re.sub(r"^[^:]*(:\d+)?: ", "", line.removeprefix(f"{folder}/")) for line in str(caught.value).splitlines()]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[assistant]\npersona = "p.md"', "assistant.model: missing: there are several models; name the one that answers"),
        ('[assistant]\nmodel = "demmo"', 'assistant.model: no model is called "demmo"; did you mean "demo"?'),
        ('[assistant]\nmodel = "vectors"', 'assistant.model: names "vectors", which has task = "embed"; name one that chats'),
        ('[assistant]\nmodel = "demo"\ndecider = "x"', 'assistant.decider: no model is called "x"'),
        ('[assistant]\nmodel = "demo"\ndefault_mode = "x"', 'assistant.default_mode: no mode is called "x"; there is no mode'),
        (
            '[assistant]\nmodel = "demo"\ndefault_mode = "a"\n[assistant.modes.b]\nabout = "b"',
            'assistant.default_mode: no mode is called "a"',
        ),
        (
            '[assistant]\nmodel = "demo"\n[assistant.modes.b]\nmodel = "othr"',
            'assistant.modes.b.model: no model is called "othr"; did you mean "other"?',
        ),
        (
            '[assistant]\nmodel = "demo"\n[assistant.modes.b]\npatterns = ["("]',
            'assistant.modes.b.patterns: "(" is no regular expression',
        ),
        ('[assistant]\nmodel = "demo"\n[assistant.modes."B b"]', "assistant.modes.B b: is no name for one of the modes"),
        (
            '[assistant]\nmodel = "demo"\norigins = ["mira.example"]',
            'assistant.origins: should be a site like "https://mira.example"',
        ),
        ('[assistant]\nmodel = "demo"\norigins = ["https://a.example/x"]', "assistant.origins: should be a site"),
        ('[assistant]\nmodel = "demo"\n[assistant.hooks]\ndetect = "x"', "assistant.hooks.detect: should be MODULE:FUNCTION"),
        ('[assistant]\nmodel = "demo"\n[assistant.page]\naccent = "red"', "assistant.page.accent: should be text of the form"),
        (
            '[assistant]\nmodel = "demo"\n[service]\ndefault_model = "assistant:x"',
            'service.default_model: no model is called "assistant:x"',
        ),
        (
            '[assistant]\nmodel = "demo"\n[models.assistant]\nengine = "scripted"',
            'models.assistant: "assistant" is what clients call the assistant; give this model another name',
        ),
    ],
)
def test_wrong_assistant_is_refused_at_its_key(tmp_path: Path, text: str, said: str) -> None:
    (problem,) = problems(tmp_path, text)
    assert problem.startswith(said)


def test_assistant_answers_whoever_names_no_model(tmp_path: Path) -> None:
    file = tmp_path / "relight.toml"
    file.write_text(MODELS + '[assistant]\nmodel = "demo"\n', encoding="utf-8")
    assert load(file, environ={}).config.default_model() == "assistant"
    file.write_text(MODELS + '[service]\ndefault_model = "other"\n[assistant]\nmodel = "demo"\n', encoding="utf-8")
    assert load(file, environ={}).config.default_model() == "other"


def test_public_assistant_may_listen_to_other_machines_without_opening_the_models(tmp_path: Path) -> None:
    file = tmp_path / "relight.toml"
    file.write_text(MODELS + '[server]\nhost = "0.0.0.0"\n[assistant]\nmodel = "demo"\npublic = true\n', encoding="utf-8")
    config = load(file, environ={}).config
    assert (config.assistant.public, config.server.public) == (True, False)

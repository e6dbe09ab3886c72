from __future__ import annotations

from pathlib import Path

import pytest

from relight.config.schema import SecretName
from relight.config.secrets import resolve
from relight.errors import ConfigError
from relight.values import Secret

NAME = SecretName(secret="OPENAI_API_KEY")
KEY = "models.cloud.api_key"


def revealed(secret: Secret | None) -> str:
    assert secret is not None
    return secret.reveal()


def test_no_name_is_no_secret(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("not even = valid = 'x\n")
    assert resolve(SecretName(), tmp_path, {"OPENAI_API_KEY": "x"}, key=KEY) is None


def test_secret_is_read_from_the_environment_first(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OPENAI_API_KEY=of-the-file\n")
    found = resolve(NAME, tmp_path, {"OPENAI_API_KEY": "of-the-environment"}, key=KEY)
    assert revealed(found) == "of-the-environment"
    assert found is not None
    assert found.name == "OPENAI_API_KEY"
    assert "of-the" not in repr(found)


@pytest.mark.parametrize("environ", [{}, {"OPENAI_API_KEY": ""}, {"OPENAI_API_KEY": " "}])
def test_secret_that_the_environment_does_not_have_is_read_from_the_file(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / ".env").write_text("OPENAI_API_KEY=of-the-file\n")
    assert revealed(resolve(NAME, tmp_path, environ, key=KEY)) == "of-the-file"


def test_line_break_that_a_secret_store_left_at_the_end_is_dropped(tmp_path: Path) -> None:
    assert revealed(resolve(NAME, tmp_path, {"OPENAI_API_KEY": "sk-1\n"}, key=KEY)) == "sk-1"


def test_secret_that_is_nowhere_is_refused_by_its_place_in_the_configuration(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OTHER=x\nOPENAI_API_KEY=\n")
    with pytest.raises(ConfigError) as caught:
        resolve(NAME, tmp_path, {}, key=KEY)
    assert str(caught.value) == (
        f"models.cloud.api_key: no secret called OPENAI_API_KEY: neither the environment nor {tmp_path}/.env has it; "
        "set it in the environment, or add a line OPENAI_API_KEY=VALUE to that file"
    )

"""What `relight bake` bakes when no file is named: where it looks, and what it says when nothing is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from relight.cli.bake import bake
from relight.cli.recording import to_bake
from relight.config.load import load
from relight.errors import UsageError

CONFIG = """
[models.smol]
source = "file:m.gguf"
{prefixes}
"""


def configured(folder: Path, prefixes: str = "") -> Path:
    """A configuration, a file where such files are written, and one elsewhere."""
    for name in ("prefixes/one.json", "kept/two.json"):
        (folder / name).parent.mkdir()
        (folder / name).write_text('{"messages": [{"role": "system", "content": "Be brief."}]}')
    (folder / "relight.toml").write_text(CONFIG.format(prefixes=prefixes))
    return folder / "relight.toml"


@pytest.mark.parametrize(
    ("prefixes", "names"),
    [
        ("", ["one"]),
        ('[prefixes]\nbake = ["kept/*.json"]', ["two"]),
        ('[prefixes]\nbake = ["*/*.json"]', ["one", "two"]),
        ("[prefixes]\nbake = []", []),
    ],
)
def test_files_are_those_that_the_configuration_names_else_where_they_are_written(
    tmp_path: Path, prefixes: str, names: list[str]
) -> None:
    assert sorted(file.stem for file in to_bake(load(configured(tmp_path, prefixes)))) == names


def test_where_it_looked_is_said_when_nothing_is_there(tmp_path: Path) -> None:
    file = configured(tmp_path)
    (tmp_path / "prefixes/one.json").unlink()
    with pytest.raises(UsageError, match=r"no prefixes/\*\.json in .*, and there is no assistant") as refused:
        CliRunner().invoke(bake, ["-c", str(file)], catch_exceptions=False)
    assert str(tmp_path) in str(refused.value)
    assert "relight prefixes record" in str(refused.value)


def test_file_that_is_found_is_taken(tmp_path: Path) -> None:
    """As far as its weights, which are not here."""
    done = CliRunner().invoke(bake, ["-c", str(configured(tmp_path))])
    assert "m.gguf" in str(done.exception)

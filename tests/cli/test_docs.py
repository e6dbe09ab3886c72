from __future__ import annotations

from pathlib import Path

import click
import pytest

from relight.cli.docs import PAGES, commands
from relight.cli.main import relight, run
from relight.config.reference import markdown

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_committed_page_is_what_is_generated(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name](relight), "run: make docs"


def test_docs_prints_the_configuration_reference(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["docs"]) == 0
    assert capsys.readouterr().out == markdown()


def test_docs_writes_every_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["docs", "--write", str(tmp_path / "out")]) == 0
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["commands.md", "configuration.md", "relight.schema.json"]
    assert capsys.readouterr().out.count("wrote ") == 3


def group() -> click.Group:
    @click.group()
    def tool() -> None:
        """A tool."""

    @tool.command()
    @click.argument("name", nargs=-1)
    @click.option("--depth", "-d", default=3, help="How deep | far.")
    @click.option("--loud", is_flag=True, help="Say so.")
    def dig() -> None:
        """Dig a hole.

        \b
        one:   1
        two:   2
        """

    return tool


def test_command_page_lists_every_command_with_its_options() -> None:
    page = commands(group())
    assert "## `relight dig`\n\nDig a hole.\n\n```\none:   1\ntwo:   2\n```\n" in page
    assert "relight dig [OPTIONS] [NAME]..." in page
    assert "| `--depth`, `-d` `INTEGER` | How deep \\| far. | `3` |" in page
    assert "| `--loud` | Say so. |  |" in page


def test_command_page_covers_the_whole_tree() -> None:
    page = commands(relight)
    for path in ("config show", "config check", "init", "docs", "completion"):
        assert f"## `relight {path}`" in page

"""The page of the clients."""

from __future__ import annotations

import json
from pathlib import Path

from tests.agents_real.matrix import Matrix, own_prompts


def test_row_says_what_was_played_and_how_it_went() -> None:
    matrix = Matrix()
    row = matrix.row("codex", "1.0", "responses")
    row.passed.update({"asleep": True, "crash": False})
    row.wake_s, row.first_token_s, row.request_bytes = 20, 20.44, 39_800
    page = "\n".join(matrix.lines(["it stumbles"]))
    assert "| codex | 1.0 | responses | yes | **no** | – | – | 20.4 s, of which 20 s loading | 40 kB | – |" in page
    assert page.endswith("\n- it stumbles")


def test_own_prompts_are_those_that_the_bench_measured(tmp_path: Path) -> None:
    figures = [{"name": f"codex 1.0: {what}", "median": value} for what, value in {"prefix": 900.0, "read": 9.5}.items()]
    (tmp_path / "agents.json").write_text(json.dumps({"figures": figures}))
    assert own_prompts(tmp_path / "agents.json") == {"codex 1.0": {"prefix": 900.0, "read": 9.5}}
    assert own_prompts(tmp_path / "none.json") == {}


def test_row_of_a_client_is_one() -> None:
    matrix = Matrix()
    assert matrix.row("codex", "1.0", "responses") is matrix.row("codex", "1.0", "responses")

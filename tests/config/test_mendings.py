"""Which mendings a list of names stands for, and what it says of names that there are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from relight.config.load import load
from relight.config.mendings import CALLS, HISTORY, PROMPT, chosen, faults
from relight.errors import ConfigError
from relight.wire.history import MENDINGS
from relight.wire.tool_prompt import TOOLS
from relight.wire.tool_text import CALLS as FOUND

EVERYTHING = {*CALLS, *PROMPT, *HISTORY}


@pytest.mark.parametrize(
    ("mend", "found"),
    [
        (("all",), EVERYTHING),
        ((), set()),
        (("calls",), {*CALLS, *PROMPT}),
        (("history",), set(HISTORY)),
        (("-bare_calls",), EVERYTHING - {"bare_calls"}),
        (("-calls", "-call_ids"), set(HISTORY) - {"call_ids"}),
        (("history", "-call_ids", "bare_calls"), {*HISTORY, "bare_calls"} - {"call_ids"}),
        (("call_ids", "call_ids"), {"call_ids"}),
        (("all", "-all"), set()),
    ],
)
def test_list_stands_for_mendings(mend: tuple[str, ...], found: set[str]) -> None:
    assert chosen(mend, by_default=True) == chosen(mend, by_default=False) == found


def test_nothing_said_is_all_or_nothing() -> None:
    assert chosen(None, by_default=True) == EVERYTHING
    assert not chosen(None, by_default=False)


def test_every_name_is_a_mending_that_is_made() -> None:
    assert set(CALLS) == FOUND
    assert set(PROMPT) == {TOOLS}
    assert {*MENDINGS, "template_roles"} == set(HISTORY)


def test_unknown_name_is_told_with_the_nearest() -> None:
    assert list(faults(("calls", "-bare_call", "x"))) == [
        'has no mending "-bare_call"; did you mean "bare_calls"?',
        f'has no mending "x"; known here: {", ".join(sorted((*EVERYTHING, "all", "calls", "history")))}',
    ]


def test_unknown_name_in_a_file_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "relight.toml"
    file.write_text('[models.toy]\nengine = "scripted"\nmend = ["cals"]\n')
    with pytest.raises(ConfigError, match=r'models\.toy\.mend: has no mending "cals"; did you mean "calls"\?'):
        load(file)


def test_mendings_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "relight.toml"
    file.write_text('[models.toy]\nengine = "scripted"\n')
    assert load(file).config.models["toy"].mend is None
    monkeypatch.setenv("RELIGHT_MODELS__TOY__MEND", "all,-bare_calls")
    assert load(file).config.models["toy"].mend == ("all", "-bare_calls")

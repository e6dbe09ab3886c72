"""How a connection is shown: diffs that give no key away, and lines that a shell reads back."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relight.agents.disk import Change
from relight.agents.wiring import Endpoint
from relight.cli.wired import described, diff, exports, quoted, starred, state_of


def change(before: str | None, after: str | None) -> Change:
    old, new = (None if text is None else text.encode() for text in (before, after))
    return Change("~/x.json", Path("/x.json"), old, new, 0o644)


def test_diff_shows_line_ends_and_the_missing_last_one() -> None:
    assert list(diff(change("a\r\nb", "a\r\nc\n"))) == [
        "--- ~/x.json", "+++ ~/x.json", "@@ -1,2 +1,2 @@", " a", "-b", "\\ No newline at end of file", "+c",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "word"), [(None, "a", "created"), ("a", "b", "changed"), ("a", None, "removed"), ("a", "a", "unchanged")]
)
def test_state_in_a_word(before: str | None, after: str | None, word: str) -> None:
    assert state_of(change(before, after)) == word


def test_diff_moves_no_cursor() -> None:
    assert not any("\x1b" in line for line in diff(change("", "a\x1b[2Jb\n")))


@pytest.mark.parametrize(
    "text",
    [
        '"apiKey": "sk-ant-0123456789abcdef"',
        "api_key = 'hunter2hunter2'",
        "OPENAI_API_KEY=abcdef0123456789",
        "  token: ghp_0123456789abcdefghij",
        'url = "https://x/?k=sk-0123456789abcdef0123"',
        '"Authorization": "Bearer abcdefghijkl"',
        "password: correct horse battery",
    ],
)
def test_what_looks_like_a_key_is_starred(text: str) -> None:
    found = starred(text)
    assert "***" in found
    assert not any(part in found for part in ("sk-", "hunter", "abcdef", "ghp_", "horse", "battery"))


@pytest.mark.parametrize(
    "text",
    [
        '"apiKey": "{env:RELIGHT_KEY}"',
        'env_key = "RELIGHT_KEY"',
        '"envKey": "RELIGHT_KEY",',
        "api_key: ${RELIGHT_KEY}",
        '"max_tokens": 320000',
        '"apiKey": "none"',
        "ANTHROPIC_AUTH_TOKEN=$RELIGHT_KEY",
    ],
)
def test_what_only_refers_to_a_key_is_shown(text: str) -> None:
    assert starred(text) == text


def test_reference_to_a_variable_is_left_to_the_shell() -> None:
    assert exports({"A": "$RELIGHT_KEY", "B": "it's", "C": "plain"}) == [
        'export A="$RELIGHT_KEY"', "export B='it'\"'\"'s'", "export C=plain",
    ]  # fmt: skip


@settings(max_examples=30)
@given(text=st.text(alphabet=" \"'\\`$(){}!*;\n", max_size=12), name=st.sampled_from(["", "$RELIGHT_KEY", "${RELIGHT_KEY}"]))
def test_shell_reads_back_what_was_quoted(text: str, name: str) -> None:
    said = quoted(f"{name}|{text}")
    shell = subprocess.run(
        ["/bin/sh", "-c", f"printf %s {said}"], capture_output=True, text=True, check=True, env={"RELIGHT_KEY": "rl_1"}
    )
    assert shell.stdout == ("rl_1|" if name else "|") + text


def test_endpoint_in_a_line() -> None:
    assert described(Endpoint("http://x", "smol")) == "smol at http://x"
    assert (
        described(Endpoint("http://x", "smol", 8192, 2048))
        == "smol at http://x (8,192 tokens, at most 2,048 of them for an answer)"
    )

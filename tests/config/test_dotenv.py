from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relight.config.dotenv import put_env, read_env
from relight.errors import ConfigError


def written(folder: Path, text: str) -> Path:
    path = folder / ".env"
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("A = b ", "b"),
        ("  export A=b", "b"),
        ("export\tA=b", "b"),
        ("A=", ""),
        ("A= # nothing", ""),
        ("A=b # a comment", "b"),
        ("A=b#c", "b#c"),
        ("A=#c", "#c"),
        ("A=b c  d # e", "b c  d"),
        ("A=b=c==", "b=c=="),
        ("A=it's", "it's"),
        ("A='b # c'", "b # c"),
        ("A='b' # c", "b"),
        ('A="b # c"', "b # c"),
        (r'A="b\nc\t\"d\"\\"', 'b\nc\t"d"\\'),
        (r"A='b\nc'", r"b\nc"),
        ("A=$HOME", "$HOME"),
        ("A=''", ""),
    ],
)
def test_value_is_read_as_shells_and_containers_read_it(tmp_path: Path, line: str, value: str) -> None:
    assert read_env(written(tmp_path, f"# first\n\n{line}\nZ=1")) == {"A": value, "Z": "1"}


def test_last_of_a_name_wins(tmp_path: Path) -> None:
    assert read_env(written(tmp_path, "A=1\nA=2\n")) == {"A": "2"}


def test_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    assert read_env(written(tmp_path, "\ufeffA=1\r\nB=2\r\n")) == {"A": "1", "B": "2"}


def test_missing_file_holds_nothing(tmp_path: Path) -> None:
    assert read_env(tmp_path / ".env") == {}


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("hush", "is not NAME=VALUE"),
        ("1A=hush", "is not NAME=VALUE"),
        ("a b=hush", "is not NAME=VALUE"),
        ("=hush", "is not NAME=VALUE"),
        ("A='hush", "A: quotes do not fit"),
        ('A="hush', "A: quotes do not fit"),
        ("A='hush' hush", "A: quotes do not fit"),
        ('A="hush\\"', "A: quotes do not fit"),
    ],
)
def test_nonsense_is_refused_at_its_line_and_not_shown(tmp_path: Path, line: str, fault: str) -> None:
    path = written(tmp_path, f"B=1\n{line}\n")
    with pytest.raises(ConfigError) as caught:
        read_env(path)
    assert caught.value.message == f"{path}:2: {fault}"
    assert "hush" not in str(caught.value)


def test_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"A=\xff\n")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        read_env(tmp_path / ".env")


def test_folder_instead_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_env(tmp_path)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "K=new\n"),
        ("A=1\n", "A=1\nK=new\n"),
        ("A=1", "A=1\nK=new\n"),
        ("# c\nK=old # d\n\nA=1\n", "# c\nK=new\n\nA=1\n"),
        ("K=1\nA=1\nexport K='2'\n", "A=1\nK=new\n"),
    ],
)
def test_variable_is_put_and_the_other_lines_stay(tmp_path: Path, before: str, after: str) -> None:
    assert put_env(written(tmp_path, before), "K", "new") == after


def test_variable_is_taken_out_and_the_other_lines_stay(tmp_path: Path) -> None:
    assert put_env(written(tmp_path, "# c\nK=1\nA=1\nK=2\n"), "K", None) == "# c\nA=1\n"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(st.from_regex(r"[A-JL-Z_][A-Z0-9_]{0,3}", fullmatch=True), st.from_regex(r"[!-~]{0,8}", fullmatch=True)))
def test_put_changes_no_other_variable(tmp_path: Path, variables: dict[str, str]) -> None:
    quoted = {name: value.replace("'", "") for name, value in variables.items()}
    path = written(tmp_path, "".join(f"{name}='{value}'\n" for name, value in quoted.items()))
    path.write_text(put_env(path, "K", "new"))
    assert read_env(path) == {**quoted, "K": "new"}

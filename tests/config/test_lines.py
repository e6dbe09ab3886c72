from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.config.lines import key_lines

TEXT = '''\
# a comment
top = 1

[server]   # a header with a comment
port = 8080
args = [
  "a",     # with [brackets] and a = sign
  "b",
]
inline = { deep = { x = 1 } }
dotted.key = 2

[models."qwen.0-6b"]
text = """
[not.a.table]
nor = "a key"
"""
after = 1
literal = \'\'\'
[x]
\'\'\'
last = 2
[models."qwen.0-6b".sub]
"quoted key" = 3

[[list]]
first = 1
[[list]]
first = 2
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2),
        (("server",), 4),
        (("server", "port"), 5),
        (("server", "args"), 6),
        (("server", "inline", "deep", "x"), 10),
        (("server", "dotted", "key"), 11),
        (("models", "qwen.0-6b"), 13),
        (("models", "qwen.0-6b", "text"), 14),
        (("models", "qwen.0-6b", "after"), 18),
        (("models", "qwen.0-6b", "last"), 22),
        (("models", "qwen.0-6b", "sub", "quoted key"), 24),
        (("list",), 26),
        (("list", "first"), 27),
    ],
)
def test_line_of_a_key_is_where_its_statement_begins(path: tuple[str, ...], line: int) -> None:
    assert key_lines(TEXT)[path] == line


def test_line_finder_sees_no_keys_inside_strings_and_comments() -> None:
    found = key_lines(TEXT)
    assert not any(part in {"not", "nor", "x]", "a"} for path in found for part in path)


def test_line_finder_ignores_other_line_separators_inside_strings() -> None:
    assert key_lines('a = "x\u2028y\x85z"\nb = 1\n') == {("a",): 1, ("b",): 2}


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["1", '"x"', "[1,\n2]", '"""\n\n"""', "'''\nk = 1'''"])), max_size=12)
)
def test_line_of_every_key_is_found_however_the_file_is_spaced(statements: list[tuple[int, str]]) -> None:
    text, wanted = "", {}
    for number, (blank, value) in enumerate(statements):
        text += "\n" * blank
        wanted[(f"k{number}",)] = text.count("\n") + 1
        text += f"k{number} = {value}\n"
    assert key_lines(text) == wanted

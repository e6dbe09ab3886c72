"""JSON with comments: an edit changes what it has to, and every other byte stays."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relight.agents.jsonc import line_of, put, read, remove
from relight.agents.place import with_value, without
from relight.agents.unfit import Unfit

COMMENTED = """\
// who reads this
{
    // one
    "a": 1, // first
    "b": {"x":1,"y":[1,2]}, /* b */
    "c": [
        "u", // u
        "v" // v
    ] // c

    // the end
}
"""

GAPS = st.sampled_from(["", " ", "\n", "\n  ", "\t", " /* c */ ", " // c }]\n", "\r\n  ", '/* " */'])
NAMES = st.sampled_from(["a", "b", "c d", "é", '"', "\\", "//", "", "😀"])
PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(), st.just("/*{[,:")
)
VALUES = st.recursive(
    PLAIN, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)), max_leaves=8
)
CONTAINERS = st.one_of(st.dictionaries(NAMES, VALUES, max_size=4), st.lists(VALUES, max_size=4))


@st.composite
def texts(draw: st.DrawFn) -> str:
    """JSON as somebody may have laid it out."""

    is_ascii, has_commas = draw(st.tuples(st.booleans(), st.booleans()))

    def laid(value: Any) -> str:
        if not isinstance(value, dict | list):
            return json.dumps(value, ensure_ascii=is_ascii)
        said = [
            draw(GAPS) + (json.dumps(name) + draw(GAPS) + ":" + draw(GAPS) if name is not None else "") + laid(each) + draw(GAPS)
            for name, each in (value.items() if isinstance(value, dict) else ((None, each) for each in value))
        ]
        brackets = "{}" if isinstance(value, dict) else "[]"
        comma = "," + draw(GAPS) if said and has_commas else ""
        return brackets[0] + (",".join(said) + comma or draw(GAPS)) + brackets[1]

    return draw(GAPS) + laid(draw(CONTAINERS)) + draw(GAPS)


def places(data: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every place in `data` that can be written: what is there, and one more in each container."""
    found: list[tuple[str | int, ...]] = []
    if isinstance(data, dict):
        found.append((*path, "new"))
        for name, each in data.items():
            found += [(*path, name), *places(each, (*path, name))]
    elif isinstance(data, list):
        found.append((*path, len(data)))
        for number, each in enumerate(data):
            found += [(*path, number), *places(each, (*path, number))]
    return found


def is_there(data: Any, path: tuple[str | int, ...]) -> bool:
    for step in path:
        if not (step in data if isinstance(step, str) else step < len(data)):
            return False
        data = data[step]
    return True


def middles(before: str, after: str) -> tuple[str, str]:
    """What is left of both without what they begin and end with alike."""
    start = 0
    while start < min(len(before), len(after)) and before[start] == after[start]:
        start += 1
    end = 0
    while end < min(len(before), len(after)) - start and before[-1 - end] == after[-1 - end]:
        end += 1
    return before[start : len(before) - end], after[start : len(after) - end]


@settings(max_examples=50)
@given(text=texts(), value=VALUES, data=st.data())
def test_edited_text_says_what_the_edited_data_would(text: str, value: Any, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(places(read(text))))
    assert read(put(text, path, value)) == with_value(read(text), path, value)


@settings(max_examples=50)
@given(text=texts(), value=VALUES, data=st.data())
def test_inserting_only_inserts(text: str, value: Any, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from([path for path in places(read(text)) if not is_there(read(text), path)]))
    # At most two pieces: the comma behind the last, and the new one; blanks in front of a closing bracket may move.
    before, after = middles(text, put(text, path, value))
    assert before.rstrip() in after


@settings(max_examples=50)
@given(text=texts(), value=VALUES, data=st.data())
def test_replacing_leaves_everything_before_and_behind(text: str, value: Any, data: st.DataObject) -> None:
    there = [path for path in places(read(text)) if is_there(read(text), path)]
    if not there:
        return
    path = data.draw(st.sampled_from(there))
    old = read(text)
    for step in path:
        old = old[step]
    after = put(text, path, value)
    if not isinstance(old, dict | list):
        before, _ = middles(text, after)
        assert before in json.dumps(old) or before in json.dumps(old, ensure_ascii=False)
    assert read(put(after, path, old)) == read(text)


@settings(max_examples=50)
@given(text=texts(), data=st.data())
def test_text_from_which_something_is_removed_says_the_rest(text: str, data: st.DataObject) -> None:
    there = [path for path in places(read(text)) if is_there(read(text), path)]
    if not there:
        return
    path = data.draw(st.sampled_from(there))
    assert read(remove(text, path)) == without(read(text), path)


@settings(max_examples=50)
@given(text=texts(), value=VALUES, data=st.data())
def test_what_was_inserted_is_removed_without_a_trace(text: str, value: Any, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from([path for path in places(read(text)) if not is_there(read(text), path)]))
    after = remove(put(text, path, value), path)
    assert "".join(after.split()) == "".join(text.split())
    assert read(after) == read(text)


@settings(max_examples=50)
@given(text=st.text(alphabet='{}[]",:/*\n \\u0a1e-.tfn'))
def test_any_text_is_read_or_refused_with_its_place(text: str) -> None:
    unfit = None
    try:
        found = read(text)
    except Unfit as error:
        unfit = error
    if unfit is None:
        assert found is None or json.dumps(found)
    else:
        assert unfit.line in range(1, text.count("\n") + 2)


@settings(max_examples=50)
@given(value=VALUES)
def test_plain_json_is_read_as_everybody_reads_it(value: Any) -> None:
    assert read(json.dumps(value)) == value


def test_new_member_is_laid_out_like_its_siblings_and_comments_stay() -> None:
    after = put(COMMENTED, ("d",), {"k": {"z": ["p", "q"]}})
    assert after == COMMENTED.replace(
        "    ] // c\n", '    ], // c\n    "d": {\n        "k": {\n            "z": ["p", "q"]\n        }\n    }\n'
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", '{\n  "n": 1\n}\n'),
        ("// mine", '// mine\n{\n  "n": 1\n}\n'),
        ("{}", '{\n  "n": 1\n}'),
        ('{"a":1}', '{"a":1,"n":1}'),
        ('{"a": 1,}', '{"a": 1, "n": 1,}'),
        ('{ "a": 1 }', '{ "a": 1, "n": 1 }'),
        ('{\r\n\t"a": 1\r\n}\r\n', '{\r\n\t"a": 1,\r\n\t"n": 1\r\n}\r\n'),
        ("{\n  // nothing yet\n}", '{\n  // nothing yet\n  "n": 1\n}'),
        ('{\n  "a": 1, // one\n}', '{\n  "a": 1, // one\n  "n": 1,\n}'),
        ('{ "a": 1 // one\n}', '{ "a": 1, // one\n  "n": 1\n}'),
        ('{"a":1 /* one */}', '{"a":1, /* one */"n":1}'),
    ],
)
def test_place_of_a_new_member(before: str, after: str) -> None:
    assert put(before, ("n",), 1) == after


def test_removing_takes_the_line_and_the_comma_and_leaves_comments() -> None:
    assert (
        remove(COMMENTED, ("c",))
        == """\
// who reads this
{
    // one
    "a": 1, // first
    "b": {"x":1,"y":[1,2]} /* b */
    // c

    // the end
}
"""
    )
    assert remove(COMMENTED, ("b", "x")).count('"b": {"y":[1,2]}, /* b */') == 1
    assert remove('{\n  "a": 1,\n  "b": 2\n}', ("b",)) == '{\n  "a": 1\n}'


def test_of_two_members_of_a_name_the_last_counts_and_both_are_removed() -> None:
    text = '{"a": 1, "b": 0, "a": 2}'
    assert read(text) == {"a": 2, "b": 0}
    assert put(text, ("a",), 3) == '{"a": 1, "b": 0, "a": 3}'
    assert remove(text, ("a",)) == '{"b": 0}'


def test_line_of_a_place_is_that_of_its_name() -> None:
    assert [line_of(COMMENTED, path) for path in ((), ("a",), ("b", "y", 1), ("c", 1), ("c", 7))] == [1, 4, 5, 8, 6]


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ('{"a": 1', (1, 8), "a comma or }"),
        ('{\n  "a" 1}', (2, 7), "a colon"),
        ("{'a': 1}", (1, 2), "a name in double quotes"),
        ('{"a": 1}\n}', (2, 1), "has more"),
        ('{"a": "x\n"}', (1, 7), "not closed"),
        ('{"a": nope}', (1, 7), "a value"),
        ("{} /* open", (1, 4), "not closed"),
        ('{"a": NaN}', (1, 7), "a value"),
        ('{"a": ' + "9" * 5000 + "}", (1, 7), "too long"),
        ("[" * 5000, (1, 102), "levels deep"),
    ],
)
def test_what_is_no_json_is_refused_with_its_place(text: str, place: tuple[int, int], what: str) -> None:
    with pytest.raises(Unfit, match=what) as refused:
        read(text)
    assert (refused.value.line, refused.value.column) == place


def test_refusal_quotes_nothing_but_one_character() -> None:
    with pytest.raises(Unfit) as refused:
        read('{"key": sk-secret}')
    assert "sk-secret" not in refused.value.what

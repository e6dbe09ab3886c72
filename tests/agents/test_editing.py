"""Settings put into files of every format and taken out again: comments, order, line ends and marks stay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relight.agents.editing import Document
from relight.agents.place import MISSING, value_at
from relight.agents.wiring import Format, Json, Member, Setting
from relight.errors import ConfigError, ExitCode

TEXTS = {
    Format.JSON: """\
// mine
{
  "theme": "dark", // at night
  "providers": [
    { "name": "other", "url": "http://other" } /* stays */
  ],
  "nested": { "deep": { "on": true } },
  "nothing": null,
}
""",
    Format.TOML: """\
# mine
theme = "dark"   # at night
nothing = ""

[[providers]]
name = "other"
url = 'http://other' # stays

[nested.deep]
on = true
""",
    Format.YAML: """\
# mine
theme: dark   # at night
providers:
  - name: other   # stays
    url: http://other
  # behind it

nested: {deep: {on: true}}
nothing:
# the end
""",
}
SETTINGS = (
    Setting(("theme",), "light"),
    Setting(("model",), "smol"),
    Setting(("providers", Member("name", "relight"), "url"), "http://127.0.0.1:8080"),
    Setting(("providers", Member("name", "relight"), "options", "timeout"), 1_800_000),
    Setting(("providers", Member("name", "other"), "tags"), ["a", "b"]),
    Setting(("nested", "deep", "on"), value=False),
    Setting(("nested", "also", "here"), "x: # y"),
    Setting(("more", "models"), [{"id": "smol", "limit": {"context": 8192}}]),
)
NAMES = st.sampled_from(["a", "b", "c d", "e.f", "true", "1", "-", "é", "name"])
STEPS = st.one_of(NAMES, st.builds(Member, st.just("name"), st.sampled_from(["x", "y z"])))
TRICKY = ["", "a", "yes", "null", "1e3", " x ", "a: b # c", "é\n'\"\\", "~", "\x7f"]
PLAIN = st.one_of(st.booleans(), st.integers(-(2**40), 2**40), st.sampled_from(TRICKY))
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.one_of(st.lists(PLAIN, max_size=3), st.dictionaries(NAMES, inner, min_size=1, max_size=3)),
    max_leaves=5,
)


def document(format_: Format, text: str, *, mark: bytes = b"") -> Document:
    return Document("~/settings", format_, mark + text.encode())


def put_in(found: Document, wanted: tuple[Setting, ...]) -> Iterator[Any]:
    """What was before each, after all are put in."""
    before = [found.before(setting.at) for setting in wanted]
    for setting in wanted:
        found.put(setting)
    return iter(before)


def taken_out(found: Document, wanted: tuple[Setting, ...], before: Iterator[Any]) -> None:
    for setting, was in sorted(zip(wanted, before, strict=True), key=lambda pair: pair[1].depth, reverse=True):
        found.take_out(setting.at, was)


@pytest.mark.parametrize("format_", TEXTS)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("is_closed", [True, False])
def test_settings_go_in_and_out_and_all_else_stays(format_: Format, newline: str, mark: bytes, is_closed: bool) -> None:
    text = (TEXTS[format_] if is_closed else TEXTS[format_].rstrip()).replace("\n", newline)
    found = document(format_, text, mark=mark)
    raw, before = found.raw, put_in(found, SETTINGS)
    again = Document("~/settings", format_, found.raw)
    assert all(again.holds(setting) for setting in SETTINGS)
    lines = again.raw.decode().split("\n")
    for comment in ("mine", "at night", "stays"):
        assert sum(comment in line for line in lines) == 1
    assert all(line.endswith("\r") == (newline == "\r\n") for line in lines[:-1])
    assert again.raw.startswith(mark)
    assert again.raw.endswith(b"\n") == is_closed

    taken_out(again, SETTINGS, before)
    assert again.data == document(format_, text).data
    assert "".join(again.raw.decode().split()) == "".join(raw.decode().split())


@pytest.mark.parametrize("format_", TEXTS)
def test_settings_that_hold_change_nothing(format_: Format) -> None:
    found = document(format_, TEXTS[format_])
    put_in(found, SETTINGS)
    again = Document("~/settings", format_, found.raw)
    put_in(again, SETTINGS)
    assert again.raw == found.raw


@pytest.mark.parametrize("format_", TEXTS)
@pytest.mark.parametrize("text", ["", "\n", "# mine\n"])
def test_file_that_says_nothing_is_begun(format_: Format, text: str) -> None:
    text = text.replace("#", "//") if format_ is Format.JSON else text
    found = document(format_, text)
    put_in(found, SETTINGS[1:3])
    again = Document("~/settings", format_, found.raw)
    assert again.data == {"model": "smol", "providers": [{"name": "relight", "url": "http://127.0.0.1:8080"}]}
    assert found.text.startswith(text.strip())
    assert found.text.endswith("\n")


@settings(max_examples=40)
@given(
    format_=st.sampled_from(list(TEXTS)), wanted=st.lists(st.tuples(st.lists(NAMES, min_size=1, max_size=3), VALUES), max_size=5)
)
def test_every_edit_says_what_it_should(format_: Format, wanted: list[tuple[list[str], Json]]) -> None:
    found = document(format_, TEXTS[format_])
    for at, value in wanted:
        setting = Setting(tuple(at), value)
        try:
            found.put(setting)
        except ConfigError:
            assert any(not isinstance(value_at(found.data, tuple(at[:end])), dict) for end in range(1, len(at)))
            continue
        assert Document("~/settings", format_, found.raw).holds(setting)
    assert all(comment in found.text for comment in ("mine", "at night", "stays"))


@settings(max_examples=40)
@given(format_=st.sampled_from(list(TEXTS)), at=st.lists(STEPS, min_size=1, max_size=4), value=PLAIN)
def test_what_came_with_a_setting_goes_with_it(format_: Format, at: list[str | Member], value: Json) -> None:
    # A list is called something, and an element by its name, which is nothing else besides.
    at = [each for step in at for each in (("list", step) if isinstance(step, Member) else (step,))]
    at = [f"{step}s" if step == "name" else step for step in at]
    if isinstance(at[-1], Member):
        at = [*at, "value"]
    found = document(format_, TEXTS[format_])
    data, before = found.data, found.before(tuple(at))
    found.put(Setting(tuple(at), value))
    assert value_at(found.data, tuple(at)) == value
    found.take_out(tuple(at), before)
    assert found.data == data
    assert "".join(found.text.split()) == "".join(TEXTS[format_].split())


@pytest.mark.parametrize("format_", TEXTS)
def test_users_later_entries_keep_what_we_brought(format_: Format) -> None:
    found = document(format_, TEXTS[format_])
    setting = Setting(("providers", Member("name", "relight"), "options", "url"), "http://here")
    before = found.before(setting.at)
    found.put(setting)
    found.put(Setting(("providers", Member("name", "relight"), "mine"), 1))
    found.take_out(setting.at, before)
    assert value_at(found.data, ("providers", Member("name", "relight"))) == {"name": "relight", "mine": 1}
    assert value_at(found.data, setting.at) is MISSING


def test_null_holds_nothing_and_comes_back() -> None:
    for format_ in (Format.JSON, Format.YAML):
        found = document(format_, TEXTS[format_])
        setting = Setting(("nothing", "else"), "x")
        before = found.before(setting.at)
        found.put(setting)
        assert value_at(found.data, setting.at) == "x"
        found.take_out(setting.at, before)
        assert found.data == document(format_, TEXTS[format_]).data


def test_table_is_changed_key_by_key_so_that_its_comments_stay() -> None:
    found = document(Format.JSON, '{\n  "a": {\n    // why\n    "b": 1,\n    "c": 2 // two\n  }\n}\n')
    found.put(Setting(("a",), {"b": 3, "d": 4}))
    assert found.text == '{\n  "a": {\n    // why\n    "b": 3,\n    // two\n    "d": 4\n  }\n}\n'


def test_one_is_neither_true_nor_one_point_nought() -> None:
    found = document(Format.JSON, '{"a": 1}')
    assert [found.is_at(("a",), value) for value in (1, True, 1.0, "1")] == [True, False, False, False]


@pytest.mark.parametrize(
    ("format_", "text", "said"),
    [
        (Format.JSON, '{\n  "a" 1\n}', "~/settings:2:7: is not JSON: should be a colon"),
        (Format.TOML, "a = 1\nb = = 2\n", "~/settings:2:5: is not TOML: "),
        (Format.TOML, "a = 1\na = 2\n", "~/settings:2:6: is not TOML: cannot overwrite"),
        (Format.YAML, "a: 1\nb: [\n", "~/settings:3:1: is not YAML: "),
        (Format.YAML, "a: 1\na: 2\n", "~/settings:2:1: is not YAML: found duplicate key"),
        (Format.YAML, "a: 1\n---\nb: 1\n", "~/settings:2:1: is not YAML: "),
        (Format.ENV, "A=1\nnot so\n", "~/settings:2: is not a list of NAME=value: "),
        (Format.ENV, "A='1\n", "~/settings:1: is not a list of NAME=value: A: quotes do not fit"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(format_: Format, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        document(format_, text)
    assert refused.value.message.startswith(said)
    assert refused.value.exit_code == ExitCode.CONFIG
    assert refused.value.hint is not None


def test_bytes_that_are_no_text_are_refused_with_their_line() -> None:
    with pytest.raises(ConfigError, match="~/settings:2: is not UTF-8"):
        Document("~/settings", Format.JSON, b'{\n"\xff": 1}')


@pytest.mark.parametrize("format_", TEXTS)
@pytest.mark.parametrize(
    ("at", "said"),
    [
        (("theme", "name"), "theme should be a table, is text"),
        (("theme", Member("name", "x"), "y"), "theme should be a list, is text"),
        (("providers", "x"), "providers should be a table, is a list"),
        ((Member("name", "x"), "y"), "the file should be a list, is a table"),
    ],
)
def test_place_of_another_shape_is_refused_with_its_line(format_: Format, at: tuple[str | Member, ...], said: str) -> None:
    found = document(format_, TEXTS[format_])
    with pytest.raises(ConfigError) as refused:
        found.put(Setting(at, 1))
    assert said in refused.value.message
    assert refused.value.message.startswith("~/settings:")
    assert found.text == TEXTS[format_]


def test_yaml_alias_is_not_edited_behind_its_owners_back() -> None:
    text = "base: &b\n  url: x\nuse: *b\nlast: *b\n"
    found = document(Format.YAML, text)
    for at in (("use", "url"), ("base", "url")):
        with pytest.raises(ConfigError, match=r"alias|something else"):
            found.put(Setting(at, "y"))
    assert found.text == text
    found.put(Setting(("new",), 1))
    assert found.text == text + "new: 1\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "A=1\n"),
        ("B=2", "B=2\nA=1\n"),
        ("# c\r\nB=2\r\n", "# c\r\nB=2\r\nA=1\r\n"),
        ("A=0\nexport A=old # mine\nB=2\n", "A=0\nexport A=1\nB=2\n"),
    ],
)
def test_variable_is_set_in_its_line_or_at_the_end(before: str, after: str) -> None:
    found = document(Format.ENV, before)
    found.put(Setting(("A",), 1))
    assert found.text == after


@given(value=st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12))
def test_variable_says_what_was_put_in(value: str) -> None:
    found = document(Format.ENV, "B=2\n")
    found.put(Setting(("A",), value))
    assert document(Format.ENV, found.text).data == {"B": "2", "A": value}
    found.take_out(("A",), document(Format.ENV, "B=2\n").before(("A",)))
    assert found.text == "B=2\n"


def test_new_tables_stand_apart_and_keys_of_the_top_stay_at_the_top() -> None:
    found = document(Format.TOML, "# mine\na = 1 # one\n\n[t]\nb = nan\n")
    for setting in (
        Setting(("model",), "smol"),
        Setting(("providers", "relight", "url"), "http://x"),
        Setting(("profiles", Member("name", "p"), "n"), 1),
    ):
        found.put(setting)
    assert (
        found.text
        == """\
# mine
a = 1 # one
model = "smol"

[t]
b = nan

[providers.relight]
url = "http://x"

[[profiles]]
name = "p"
n = 1
"""
    )


def test_new_entries_of_yaml_stand_where_their_siblings_do() -> None:
    found = document(Format.YAML, TEXTS[Format.YAML])
    put_in(found, SETTINGS[:4])
    assert (
        found.text
        == """\
# mine
theme: light   # at night
providers:
  - name: other   # stays
    url: http://other
  - name: relight
    url: "http://127.0.0.1:8080"
    options:
      timeout: 1800000
  # behind it

nested: {deep: {on: true}}
nothing:
model: smol
# the end
"""
    )


@pytest.mark.parametrize(
    ("before", "at", "value", "after"),
    [
        ("a: 1 # one\n", ("a",), "x", "a: x # one\n"),
        ("a: 1", ("a",), {"k": "v"}, "a:\n  k: v"),
        ("a: null # c\nb: 2\n", ("a",), {"k": "v"}, "a: # c\n  k: v\nb: 2\n"),
        ("a:\n  k: v\n  l: 1\nb: 2\n", ("a",), "x", "a: x\nb: 2\n"),
        ("a: |\n  some\n  text\nb: 2\n", ("a",), "x", "a: x\nb: 2\n"),
        ("a: |\n  some\n  text\n", ("a",), {"k": 1}, "a:\n  k: 1\n"),
        ("a: |\n  text\n", ("b",), 1, "a: |\n  text\nb: 1\n"),
        ("a:\n- x\n- y\nb: 1\n", ("a",), ["z"], "a: [z]\nb: 1\n"),
        ("{a: 1, b: 2}", ("c",), {"k": ["v"]}, "{a: 1, b: 2, c: {k: [v]}}"),
        ("{}\n", ("a",), 1, "{a: 1}\n"),
        ("---\na: 1\n...\n", ("b",), 2, "---\na: 1\nb: 2\n...\n"),
        ("a:\n    b: 1 # deep\n", ("a", "c", "d"), "no", 'a:\n    b: 1 # deep\n    c:\n        d: "no"\n'),
        ("l:\n- name: x\n  v: 1\n", ("l", Member("name", "z"), "v"), 2, "l:\n- name: x\n  v: 1\n- name: z\n  v: 2\n"),
        ("l: [{name: x}]\n", ("l", Member("name", "x"), "v"), 2, "l: [{name: x, v: 2}]\n"),
        ("l:\n  -\n    name: x\n", ("l", Member("name", "x"), "v"), 2, "l:\n  -\n    name: x\n    v: 2\n"),
        ("a: &n\n  k: 1\nb: *n # same\n", ("c",), 1, "a: &n\n  k: 1\nb: *n # same\nc: 1\n"),
        ("base: &n {k: 1}\na:\n  <<: *n\n", ("a", "k"), 2, "base: &n {k: 1}\na:\n  <<: *n\n  k: 2\n"),
        ("'a': \"1\"\r\n", ("a",), "x", "'a': x\r\n"),
    ],
)
def test_yaml_is_edited_in_its_own_layout(before: str, at: tuple[str | Member, ...], value: Json, after: str) -> None:
    found = document(Format.YAML, before)
    found.put(Setting(at, value))
    assert found.text == after


def test_layout_that_we_do_not_know_is_left_alone() -> None:
    text = "? a\n: 1\n"
    found = document(Format.YAML, text)
    with pytest.raises(ConfigError, match="by hand"):
        found.put(Setting(("b",), 2))
    assert found.text == text
    assert found.data == {"a": 1}


@settings(max_examples=40)
@given(
    format_=st.sampled_from(list(TEXTS)),
    ours=st.lists(st.lists(st.sampled_from(["a", "b", "nested", "more"]), min_size=1, max_size=3), min_size=1, max_size=4),
    theirs=st.lists(st.lists(st.sampled_from(["a", "b", "nested", "more"]), max_size=2), max_size=3),
)
def test_taking_out_ours_leaves_theirs(format_: Format, ours: list[list[str]], theirs: list[list[str]]) -> None:
    wanted = {Setting((*at, "ours"), number): at for number, at in enumerate(ours)}
    edits = [Setting((*at, "theirs"), number) for number, at in enumerate(theirs)]
    found, alone = document(format_, TEXTS[format_]), document(format_, TEXTS[format_])
    before = [found.before(setting.at) for setting in wanted]
    for setting in (*wanted, *edits):
        found.put(setting)
    last = {setting.at: (setting, was) for setting, was in zip(wanted, before, strict=True)}
    taken_out(found, tuple(setting for setting, _ in last.values()), iter([was for _, was in last.values()]))
    for setting in edits:
        alone.put(setting)
    assert found.data == alone.data

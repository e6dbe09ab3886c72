from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.access.keys import Key, Keys, create, presented
from relight.errors import ConfigError, UsageError

DAY = "2026-11-22"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_new_key_is_its_prefix_and_256_random_bits() -> None:
    first, entry = create("laptop", DAY)
    second, _ = create("laptop", DAY)
    assert first.startswith("rl_")
    assert len(first) == 3 + 43
    assert first != second
    assert str(entry) == f"laptop:{DAY}:{digest(first)}"
    assert first[3:] not in str(entry)


@pytest.mark.parametrize("name", ["", "Laptop", "my laptop", "a:b", "a,b", "-a", ".a", "a\n", "é"])
def test_name_that_could_not_be_read_back_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is no name for a key"):
        create(name, DAY)


def test_key_is_found_by_its_text_alone() -> None:
    made = {name: create(name, DAY) for name in ("laptop", "ci", "phone.2")}
    keys = Keys.parse(",".join(str(entry) for _, entry in made.values()))
    assert len(keys) == 3
    for name, (text, entry) in made.items():
        assert keys.find(text) == entry == keys.named(name)
    text, entry = made["laptop"]
    for wrong in ("", text[:-1], text + "x", text.upper(), entry.digest.hex(), str(entry), "laptop", "ключ", "\udcff"):
        assert keys.find(wrong) is None


def test_no_key_is_found_where_there_are_none() -> None:
    assert Keys().find("") is None
    assert len(Keys.parse("")) == len(Keys.parse(" \n,")) == 0


@pytest.mark.parametrize("between", [",", ", ", " ", "\n", "\r\n", ",\n", " , "])
def test_entries_may_stand_between_commas_spaces_or_lines(between: str) -> None:
    entries = [f"a:{digest('1')}", f"b:{DAY}:{digest('2').upper()}"]
    keys = Keys.parse(f"\n{between.join(entries)}{between}")
    assert [(key.name, key.created) for key in keys] == [("a", None), ("b", DAY)]
    assert keys.find("2") == keys.named("b")


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ("rl_" + "x" * 43, "entry 2 is a key itself, not the entry of one"),
        ("laptop", "entry 2 is not NAME:SHA256 or NAME:DATE:SHA256"),
        ("Laptop:" + "0" * 64, "entry 2 is not NAME:SHA256 or NAME:DATE:SHA256"),
        ("laptop:" + "0" * 63, "entry 2 is not NAME:SHA256 or NAME:DATE:SHA256"),
        ("laptop:today:" + "0" * 64, "entry 2 is not NAME:SHA256 or NAME:DATE:SHA256"),
        ("a:" + "0" * 64, 'entry 2 is a second one called "a"'),
    ],
)
def test_entry_that_is_none_is_named_by_its_position_and_not_shown(entry: str, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Keys.parse(f"a:{'1' * 64},{entry},c:{'2' * 64}", where="MY_KEYS")
    assert caught.value.message == f"MY_KEYS: {what}"
    assert entry not in str(caught.value)


def test_keys_are_added_and_taken_out_by_name() -> None:
    keys = Keys.parse(f"a:{'1' * 64}").with_key(Key("b", b"\x02" * 32, DAY))
    assert str(keys) == f"a:{'1' * 64},b:{DAY}:{'02' * 32}"
    assert str(keys.without("a")) == f"b:{DAY}:{'02' * 32}"
    assert str(keys.without("c")) == str(keys)


ENTRIES = st.lists(
    st.builds(
        Key,
        st.from_regex(r"[a-z0-9][a-z0-9._-]{0,8}", fullmatch=True),
        st.binary(min_size=32, max_size=32),
        st.none() | st.dates().map(str),
    ),
    unique_by=lambda key: key.name,
)


@given(ENTRIES)
def test_entries_survive_being_written_and_read(entries: list[Key]) -> None:
    assert list(Keys.parse(str(Keys(tuple(entries))))) == entries


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({b"authorization": b"Bearer rl_1"}, "rl_1"),
        ({b"authorization": b"bearer  rl_1 "}, "rl_1"),
        ({b"authorization": b"BEARER rl_1"}, "rl_1"),
        ({b"x-api-key": b"rl_1"}, "rl_1"),
        ({b"x-api-key": b" rl_1 "}, "rl_1"),
        ({b"authorization": b"Bearer rl_1", b"x-api-key": b"rl_2"}, "rl_1"),
        ({b"authorization": b"Basic dTpw", b"x-api-key": b"rl_2"}, "rl_2"),
        ({b"authorization": b"Basic dTpw"}, None),
        ({b"authorization": b"rl_1"}, None),
        ({b"authorization": b"Bearer "}, None),
        ({b"authorization": b"Bearer"}, None),
        ({b"x-api-key": b""}, None),
        ({}, None),
    ],
)
def test_key_is_presented_as_bearer_or_by_its_own_header(headers: dict[bytes, bytes], key: str | None) -> None:
    assert presented(headers) == key


@given(st.binary())
def test_whatever_bytes_a_header_holds_can_be_looked_up(value: bytes) -> None:
    text = presented({b"x-api-key": value})
    assert text is None or Keys.parse(f"a:{'1' * 64}").find(text) is None

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.config.keys import Key, schema, sections
from relight.config.leaf import read, read_text, shown, written
from relight.config.schema import EngineKind
from relight.values import Bytes, Duration

MODEL = schema().sections["models"].keys
SERVER = schema().sections["server"].keys
SERVICE = schema().sections["service"].keys


@pytest.mark.parametrize(
    ("key", "raw", "message"),
    [
        (SERVER["port"], "8080", 'should be a whole number from 0 to 65535, got "8080"; write it without quotes'),
        (SERVER["port"], 70000, "should be a whole number from 0 to 65535, got 70000"),
        (SERVER["port"], True, "should be a whole number from 0 to 65535, got true"),
        (SERVER["port"], 80.5, "should be a whole number from 0 to 65535, got 80.5"),
        (SERVER["public"], "true", 'should be true or false, got "true"; write it without quotes'),
        (SERVER["public"], 1, "should be true or false, got 1"),
        (SERVER["host"], 127, 'should be text, like "127.0.0.1", got 127'),
        (SERVER["max_body"], 8388608, 'should be a size like "8MiB", got 8388608; write 8388608 as "8388608B"'),
        (SERVER["heartbeat"], "0s", 'should be at least "10ms", got "0s"'),
        (MODEL["idle_after"], 300, 'should be a duration like "5m", got 300; write 300 as "300s"'),
        (MODEL["idle_after"], "10 mins", 'should be a duration like "10m" or "90s", got "10 mins"'),
        (MODEL["idle_after"], True, 'should be a duration like "5m", got true'),
        (MODEL["idle_after"], {}, 'should be a duration like "5m", got a table'),
        (MODEL["context"], 5, "should be a whole number of at least 256, got 5"),
        (MODEL["engine"], "lama.cpp", 'should be "llama.cpp" or "scripted", got "lama.cpp"; did you mean "llama.cpp"?'),
        (MODEL["args"], ["a", 3], 'should be a list of texts, like ["--cache-type-k=q8_0"], got ["a", 3]'),
        (MODEL["args"], "a=b", 'should be a list of texts, like ["--cache-type-k=q8_0"], got "a=b"'),
    ],
)
def test_value_that_does_not_fit_is_refused_in_words(key: Key, raw: object, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        read(key, raw)
    assert str(caught.value) == message


@pytest.mark.parametrize("text", ["Portfolio", "a_b", "-a", "a-", "portfolio\n", ""])
def test_text_that_does_not_match_its_pattern_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="should be text of the form"):
        read(SERVICE["name"], text)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        (SERVER["port"], "9000", 9000),
        (SERVER["public"], "true", True),
        (SERVER["public"], "Yes", True),
        (SERVER["public"], "1", True),
        (SERVER["public"], "off", False),
        (SERVER["host"], "::1", "::1"),
        (SERVER["max_body"], "2KiB", Bytes(2048)),
        (MODEL["idle_after"], "30s", Duration(30)),
        (MODEL["engine"], "scripted", EngineKind.SCRIPTED),
        (MODEL["args"], "a=1, b=2", ("a=1", "b=2")),
        (MODEL["args"], '["a=1,2"]', ("a=1,2",)),
        (MODEL["args"], "", ()),
        (MODEL["sha256"], "", None),
    ],
)
def test_text_of_a_variable_is_read_by_the_type_of_its_key(key: Key, text: str, value: object) -> None:
    found = read_text(key, text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(("key", "text"), [(SERVER["port"], "abc"), (SERVER["public"], "maybe"), (MODEL["args"], "[oops")])
def test_text_of_a_variable_that_does_not_fit_is_refused(key: Key, text: str) -> None:
    with pytest.raises(ValueError, match="should be"):
        read_text(key, text)


def test_values_of_their_own_type_pass_unchanged() -> None:
    assert read(MODEL["idle_after"], Duration(7)) == Duration(7)
    assert read(MODEL["engine"], EngineKind.SCRIPTED) is EngineKind.SCRIPTED
    assert read(MODEL["args"], ("a",)) == ("a",)


@given(st.text())
def test_text_survives_being_written_as_toml(text: str) -> None:
    assert tomllib.loads(f"value = {written(text)}")["value"] == text


@given(st.integers(min_value=0, max_value=2**53).map(Bytes))
def test_size_survives_being_written_exactly(size: Bytes) -> None:
    assert Bytes.parse(tomllib.loads(f"value = {written(size)}")["value"]) == size


def test_every_default_survives_being_written_and_read() -> None:
    keys = [key for section in sections(schema()) for key in section.keys.values() if key.default is not None]
    assert keys
    for key in keys:
        assert read(key, tomllib.loads(f"value = {written(key.default)}")["value"]) == key.default


def test_long_value_is_cut_in_a_message() -> None:
    assert shown("x" * 500) == '"' + "x" * 59 + "…"

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
PRICE = schema().sections["models"].sections["price"].keys
API_KEY = schema().sections["models"].sections["api_key"].keys
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
        (
            MODEL["engine"],
            "lama.cpp",
            'should be "llama.cpp" or "ollama" or "vllm" or "scripted", got "lama.cpp"; did you mean "llama.cpp"?',
        ),
        (PRICE["input"], -0.25, "should be a number of at least 0, got -0.25"),
        (PRICE["input"], True, "should be a number of at least 0, got true"),
        (PRICE["input"], "0.25", 'should be a number of at least 0, got "0.25"; write it without quotes'),
        (PRICE["input"], "a dollar", 'should be a number of at least 0, got "a dollar"'),
        (PRICE["input"], float("nan"), "should be a number of at least 0, got nan"),
        (PRICE["input"], float("inf"), "should be a number of at least 0, got inf"),
        (PRICE["input"], {}, "should be a number of at least 0, got a table"),
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
        (PRICE["input"], "0.25", 0.25),
        (PRICE["input"], "2", 2.0),
        (PRICE["input"], "", None),
        (API_KEY["secret"], "OPENAI_API_KEY", "OPENAI_API_KEY"),
    ],
)
def test_text_of_a_variable_is_read_by_the_type_of_its_key(key: Key, text: str, value: object) -> None:
    found = read_text(key, text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("key", "text"), [(SERVER["port"], "abc"), (SERVER["public"], "maybe"), (MODEL["args"], "[oops"), (PRICE["input"], "nan")]
)
def test_text_of_a_variable_that_does_not_fit_is_refused(key: Key, text: str) -> None:
    with pytest.raises(ValueError, match="should be"):
        read_text(key, text)


def test_values_of_their_own_type_pass_unchanged() -> None:
    assert read(MODEL["idle_after"], Duration(7)) == Duration(7)
    assert read(MODEL["engine"], EngineKind.SCRIPTED) is EngineKind.SCRIPTED
    assert read(MODEL["args"], ("a",)) == ("a",)


@pytest.mark.parametrize("number", [0, 1, 2.5, 10**15])
def test_whole_number_is_taken_where_a_fraction_may_stand(number: float) -> None:
    found = read(PRICE["input"], number)
    assert found == number
    assert type(found) is float


def test_number_too_large_to_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="should be a number of at least 0, got 1000"):
        read(PRICE["input"], 10**400)


@pytest.mark.parametrize("text", ["sk-1234", "gsk_a1b2c3", "rl_x-y", "sk_live\n", "A B", "", "1A"])
def test_what_may_be_a_secret_instead_of_its_name_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        read(API_KEY["secret"], text)
    assert str(caught.value) == (
        'should be the name of an environment variable in upper case, like "OPENAI_API_KEY", '
        "got something that is not shown, in case it is the secret itself"
    )


@given(st.floats(min_value=0, allow_infinity=False, allow_nan=False))
def test_number_survives_being_written_and_read(number: float) -> None:
    assert read(PRICE["input"], tomllib.loads(f"value = {written(number)}")["value"]) == number


@pytest.mark.parametrize("number", [float("inf"), float("-inf")])
def test_infinity_is_written_as_toml_writes_it(number: float) -> None:
    assert tomllib.loads(f"value = {written(number)}")["value"] == number


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

"""Where requests go, and what is refused before any is sent."""

from __future__ import annotations

import pytest

from relight.config.schema import Model
from relight.errors import ConfigError
from relight.providers.target import Target
from relight.values import Duration, Secret


def at(url: str, key: Secret | None = None) -> Target:
    return Target(model="cloud", url=url, name="big-1", key=key)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://api.example.com/v1", "https://api.example.com/v1/chat/completions"),
        ("https://api.example.com/v1/", "https://api.example.com/v1/chat/completions"),
        ("https://api.example.com/v1beta/openai/", "https://api.example.com/v1beta/openai/chat/completions"),
        (
            "https://api.example.com/openai/x?api-version=1&a=%2F",
            "https://api.example.com/openai/x/chat/completions?api-version=1&a=%2F",
        ),
        ("http://localhost:11434", "http://localhost:11434/v1/chat/completions"),
        ("http://localhost:11434/", "http://localhost:11434/v1/chat/completions"),
        ("http://localhost:8000?k=1", "http://localhost:8000/v1/chat/completions?k=1"),
        ("http://[::1]:8000/v1#part", "http://[::1]:8000/v1/chat/completions"),
    ],
)
def test_path_is_put_after_the_address(url: str, address: str) -> None:
    assert at(url).address("/v1/chat/completions") == address


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.example.com/v1",
        "ftp://x/v1",
        "https:///v1",
        "http://x:99999/v1",
        "http://[::1/v1",
        "http://x y/v1",
        "http://x/\nv1",
    ],
)
def test_address_that_is_none_is_refused_with_its_key(url: str) -> None:
    with pytest.raises(ConfigError, match=r"models\.cloud\.url"):
        at(url)


def test_user_in_an_address_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        at("https://me:hunter22@api.example.com/v1")
    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize("text", ["", " \n", "two words", "line\nbreak", "schlüssel", "nul\x00"])
def test_key_that_cannot_be_sent_is_refused_by_its_name(text: str) -> None:
    with pytest.raises(ConfigError, match="MY_KEY") as caught:
        at("https://api.example.com/v1", Secret("MY_KEY", text))
    assert not text.strip() or text not in str(caught.value)


def test_line_end_after_a_key_is_not_sent() -> None:
    headers = at("https://api.example.com/v1", Secret("MY_KEY", "abc\n")).headers(stream=True)
    assert headers["authorization"] == "Bearer abc"
    assert headers["accept"] == "text/event-stream"


def test_no_key_sends_none() -> None:
    assert "authorization" not in at("https://api.example.com/v1").headers(stream=False)


def test_place_and_repr_hide_what_may_be_secret() -> None:
    target = at("https://api.example.com:8443/v1/?token=abc", Secret("MY_KEY", "s3cr3t"))
    assert target.place == "https://api.example.com:8443/v1"
    assert target.host == "api.example.com:8443"
    assert "abc" not in repr(target)
    assert "s3cr3t" not in repr(target)


def test_section_of_the_configuration_becomes_a_target() -> None:
    section = Model(url="https://api.example.com/v1", timeout=Duration(90), retries=5)
    target = Target.of("cloud", section, None)
    assert (target.model, target.name, target.url) == ("cloud", "cloud", "https://api.example.com/v1")
    assert (target.timeout_s, target.connect_timeout_s, target.first_byte_timeout_s, target.retries) == (90, 5, 60, 5)

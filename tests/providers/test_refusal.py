"""Error bodies of every shape, as errors of ours."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.errors import ContentFiltered, ContextOverflow, ProviderRejected, ProviderUnavailable, RelightError, Source
from relight.providers.refusal import parse, refusal, shown
from relight.values import Secret
from tests.providers.stand_in import KEY, target

TARGET = target("https://api.example.com/v1?token=hidden-token")


def of(status: int, body: Any, **fields: Any) -> RelightError:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return refusal(parse(status, raw, **fields), TARGET)


def openai(message: str, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


def test_overflow_carries_both_numbers_and_none_of_the_words() -> None:
    error = of(400, openai("This model's maximum context length is 10 tokens. However, your messages resulted in 12 tokens."))
    assert isinstance(error, ContextOverflow)
    assert (error.prompt_tokens, error.context_tokens, error.http_status, error.source) == (12, 10, 400, Source.PROVIDER)
    assert error.message == 'prompt: too long for model "cloud": 12 tokens do not fit the 10 that it holds'


@pytest.mark.parametrize(
    "body",
    [
        {"object": "error", "message": "prompt is too long: 12 tokens > 10 maximum", "type": "BadRequestError", "code": 400},
        {"error": "prompt is too long: 12 tokens > 10 maximum", "error_type": "validation"},
        [{"error": {"code": 400, "message": "The input token count (12) exceeds the maximum number of tokens allowed (10)."}}],
        {
            "error": {
                "message": "Provider returned error",
                "metadata": {"raw": '{"message":"prompt is too long: 12 tokens > 10 maximum"}'},
            }
        },
        {"errors": [{"message": "prompt is too long: 12 tokens > 10 maximum"}]},
        {"detail": "prompt is too long: 12 tokens > 10 maximum"},
        b"prompt is too long: 12 tokens > 10 maximum",
    ],
)
def test_overflow_is_seen_in_every_shape_of_body(body: Any) -> None:
    error = of(400, body)
    assert isinstance(error, ContextOverflow)
    assert (error.prompt_tokens, error.context_tokens) == (12, 10)


def test_overflow_of_unknown_size_says_so() -> None:
    error = of(413, openai("too much", "context_length_exceeded"))
    assert isinstance(error, ContextOverflow)
    assert error.prompt_tokens is None
    assert error.message == 'prompt: too long for model "cloud": it does not fit its context'


@pytest.mark.parametrize(
    "body",
    [
        openai("The response was filtered", "content_filter"),
        {"error": {"message": "no", "code": "x", "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
        openai("Content Exists Risk"),
        openai("Invalid prompt: your prompt was flagged as potentially violating our usage policy.", "invalid_prompt"),
    ],
)
def test_content_filter_is_told_apart(body: Any) -> None:
    error = of(400, body)
    assert isinstance(error, ContentFiltered)
    assert error.http_status == 400


def test_refused_key_is_ours_to_mend_and_quotes_nothing() -> None:
    error = of(401, openai(f"Incorrect API key provided: {KEY}", "invalid_api_key"))
    assert isinstance(error, ProviderRejected)
    assert error.http_status == 502
    assert str(error) == 'model "cloud": api.example.com refused our key (401); check the secret TEST_KEY'


def test_missing_key_is_named_as_missing() -> None:
    from dataclasses import replace

    error = refusal(parse(401, b""), replace(TARGET, key=None))
    assert "without a key" in error.message
    assert "models.cloud.api_key" in (error.hint or "")


def test_forbidden_says_why_without_the_key() -> None:
    error = of(403, openai(f"Country not supported for {KEY}"))
    assert isinstance(error, ProviderRejected)
    assert error.http_status == 502
    assert error.message == 'model "cloud": api.example.com refused our key (403): Country not supported for [key]'


@pytest.mark.parametrize(("status", "code"), [(404, None), (400, "model_not_found")])
def test_unknown_model_names_address_and_model(status: int, code: str | None) -> None:
    error = of(status, openai("no such model", code))
    assert isinstance(error, ProviderRejected)
    assert error.http_status == 502
    assert 'https://api.example.com/v1 knows no model "big-1"' in error.message
    assert error.hint == "check models.cloud.url and models.cloud.name"
    assert "hidden-token" not in str(error)


def test_redirect_names_the_host_alone() -> None:
    error = of(307, b"", location="https://user:pw@elsewhere.example/v1?secret=1")
    assert isinstance(error, ProviderRejected)
    assert error.http_status == 502
    assert "to elsewhere.example (307)" in error.message
    assert "secret" not in error.message


def test_rate_limit_keeps_its_status_and_time() -> None:
    error = of(429, openai("slow down"), retry_after_s=40.0)
    assert isinstance(error, ProviderRejected)
    assert (error.http_status, error.retry_after_s) == (429, 40.0)
    assert "slow down" in error.message


def test_spent_account_is_told_apart_from_haste() -> None:
    reply = parse(429, msgspec.json.encode(openai("You exceeded your current quota", "insufficient_quota")))
    assert reply.is_spent
    assert "used up" in refusal(reply, TARGET).message


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 529])
def test_failure_of_the_provider_is_unavailability_and_the_log_gets_no_words(status: int) -> None:
    error = of(status, openai("cannot parse: my secret diary"), retry_after_s=3.0)
    assert isinstance(error, ProviderUnavailable)
    assert error.retry_after_s == 3.0
    assert "diary" in error.message
    assert error.log_message == f'model "cloud": api.example.com failed ({status}); try again'


@pytest.mark.parametrize("status", [400, 402, 409, 413, 418, 422])
def test_other_refusal_keeps_status_and_words_and_the_log_gets_no_words(status: int) -> None:
    error = of(status, openai("temperature of my secret diary"))
    assert type(error) is ProviderRejected
    assert error.http_status == status
    assert "diary" in error.message
    assert "diary" not in error.log_message


@pytest.mark.parametrize(
    "body", [b"", b"<html><body>502 Bad Gateway</body></html>", b"null", b"[]", b"{}", b"\xff\xfe", b"[[1]]"]
)
def test_body_without_a_reason_gives_the_status_alone_or_harmless_words(body: bytes) -> None:
    error = of(502, body)
    assert isinstance(error, ProviderUnavailable)
    assert error.message.startswith('model "cloud": api.example.com failed (502)')
    assert "<" not in error.message


@given(st.integers(300, 599), st.binary(max_size=300))
def test_any_body_becomes_an_error_of_ours(status: int, body: bytes) -> None:
    assert len(of(status, body).message) < 600


@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(
    st.sampled_from(["error", "errors", "message", "code", "detail", "metadata", "raw", "innererror"]), inner)))  # fmt: skip
def test_any_json_becomes_an_error_of_ours(body: Any) -> None:
    assert of(400, body).message


@pytest.mark.parametrize(
    "words",
    [
        f"bad key {KEY}.",
        f"bad key '{KEY[:14]}'",
        f"bad key {KEY[5:20]}…",
        f"x {KEY}{KEY}",
        f"header Bearer {KEY}",
        f"{'a' * 3990} {KEY}",
    ],
)
def test_key_is_never_shown_whole_or_in_part(words: str) -> None:
    text = shown(words, Secret("TEST_KEY", KEY))
    assert not [start for start in range(len(KEY) - 7) if KEY[start : start + 8] in text]


def test_masked_key_is_not_shown() -> None:
    assert shown("Incorrect: sk-pr***************wxyz!", None) == "Incorrect: [key]!"


def test_words_are_one_line_of_sane_length() -> None:
    text = shown("a\r\nb\x00\x1b[31m " + "word " * 1000, None)
    assert text.startswith("a b [31m word")
    assert len(text) <= 301
    assert text.isprintable()

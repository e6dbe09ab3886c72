"""Overflows as servers word them."""

from __future__ import annotations

import pytest

from relight.providers.overflow import Overflow, overflow

NONE: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("text", "prompt", "context"),
    [
        (
            "This model's maximum context length is 4097 tokens. However, your messages resulted in 5000 tokens. Please reduce…",
            5000,
            4097,
        ),
        (
            "This model's maximum context length is 4096 tokens. However, you requested 5100 tokens (4900 in the messages …).",
            5100,
            4096,
        ),
        (
            "This endpoint's maximum context length is 32768 tokens. However, you requested about 40000 tokens (39000 of …).",
            40000,
            32768,
        ),
        (
            "maximum context length is 4096 tokens. However, … 3200 input tokens, for a total of at least 4200 tokens.",
            4200,
            4096,
        ),
        ("This model's maximum context length is 8192 tokens. However, your request has 10010 input tokens.", 10010, 8192),
        (
            "token count exceeds the model's maximum context length of 4096 tokens. You requested a total of 5000 tokens",
            5000,
            4096,
        ),
        ("The decoder prompt (length 5000) is longer than the maximum model length of 4096.", 5000, 4096),
        ("request (9000 tokens) exceeds the available context size (8192 tokens), try increasing it", 9000, 8192),
        ("request (8192 tokens) exceeds the available context size (8192 tokens), try increasing it", 8192, 8192),
        ("The input (5000 tokens) is longer than the model's context length (4096 tokens).", 5000, 4096),
        ("prompt is too long: 210000 tokens > 200000 maximum", 210000, 200000),
        ("The input token count (1300000) exceeds the maximum number of tokens allowed (1048576).", 1300000, 1048576),
        ("Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length", 40000, 32768),
        ("`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 `inputs` tokens and 100 `max_new_tokens`", 4100, 4096),
        ("`inputs` must have less than 1024 tokens. Given: 1500", 1500, 1024),
        ("This model's maximum prompt length is 131072 but the request contains 537812 tokens.", 537812, 131072),
        ("Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300000 tokens.", 300000, 272000),
        ("Input length 131393 exceeds the maximum allowed input length of 131040 tokens.", 131393, 131040),
        ("Input length (265330) exceeds model's maximum context length (262144).", 265330, 262144),
        ("prompt token count of 200000 exceeds the limit of 128000", 200000, 128000),
        ("Your request exceeded model token limit: 262144 (requested: 300000)", 300000, 262144),
        ("Prompt has 300,000 tokens, but the configured context size is 131,072 tokens", 300000, 131072),
        ("too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 5000", 5000, 4081),
    ],
)
def test_wording_with_both_numbers_gives_both(text: str, prompt: int, context: int) -> None:
    assert overflow(text, NONE) == Overflow(prompt, context)


@pytest.mark.parametrize(
    "text",
    [
        "Your input exceeds the context window of this model. Please adjust your input and try again.",
        "Please reduce the length of the messages or completion.",
        "prompt too long; exceeded max context length by 4096 tokens",
        "Input is too long for requested model.",
        "The number of tokens to keep from the initial prompt is greater than the context length",
        "The input token count exceeds the maximum number of tokens allowed 1048576.",
    ],
)
def test_wording_without_numbers_is_an_overflow_of_unknown_size(text: str) -> None:
    assert overflow(text, NONE) == Overflow()


def test_code_alone_is_an_overflow_of_unknown_size() -> None:
    assert overflow("nope", frozenset({"context_length_exceeded"})) == Overflow()


@pytest.mark.parametrize(
    "text",
    [
        "'max_tokens' is too large: 9000. The maximum context length is 8192 tokens and your request has 100 input tokens",
        "Request too large for model on tokens per minute (TPM): Limit 6000, Requested 9000",
        "Invalid 'messages[0].content': string too long",
        "temperature must be at most 2",
        "",
    ],
)
def test_other_refusal_is_no_overflow(text: str) -> None:
    assert overflow(text, NONE) is None


def test_endless_text_is_searched_no_further_than_its_beginning() -> None:
    wording = "prompt is too long: 12 tokens > 10 maximum"
    assert overflow(" " * 3_900 + wording, NONE) == Overflow(12, 10)
    assert overflow(" " * 4_000 + wording, NONE) is None

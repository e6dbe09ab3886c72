"""How providers say that a prompt does not fit the context, and how many tokens it had. Knows no HTTP."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_LONGEST: Final = 4_000
_CODES: Final = frozenset(
    {"context_length_exceeded", "context_window_exceeded", "exceed_context_size_error", "model_context_window_exceeded"}
)
_PHRASES: Final = (
    "context length exceeded",
    "context window exceeds limit",
    "exceeds the available context size",
    "exceeds the context window",
    "greater than the context length",
    "input is too long for requested model",
    "input token count exceeds the maximum",
    "longer than the model's context length",
    "maximum context length",
    "prompt is too long",
    "prompt too long; exceeded",
    "range of input length should be",
    "reduce the length of the messages",
)
_P, _C, _A = r"(?P<prompt>\d[\d,]*)", r"(?P<context>\d[\d,]*)", r"(?P<answer>\d[\d,]*)"
# The first that matches counts. Where prompt and answer are asked for together, their sum is what has to fit.
_WORDINGS: Final = tuple(
    re.compile(wording, re.IGNORECASE | re.DOTALL)
    for wording in (
        rf"maximum context length is {_C} tokens.*?(?:for a total of at least|requested(?: about)?) {_P} tokens",
        rf"maximum context length is {_C} tokens.*?(?:resulted in|request has) {_P} (?:input )?tokens",
        rf"maximum context length of {_C} tokens.*?requested a total of {_P} tokens",
        rf"length {_P}\) is longer than the maximum model length of {_C}",
        rf"\({_P} tokens\) (?:exceeds the available context size|is longer than the model's context length) \({_C} tokens\)",
        rf"prompt is too long: {_P} tokens > {_C} maximum",
        rf"input token count \({_P}\) exceeds the maximum number of tokens allowed \({_C}\)",
        rf"contains {_P} tokens.{{0,80}}?too large for model with {_C} maximum context length",
        rf"must be <= {_C}\. Given: {_P} `inputs` tokens and {_A} `max_new_tokens`",
        rf"must have less than {_C} tokens\. Given: {_P}",
        rf"maximum prompt length is {_C} but the request contains {_P}",
        rf"configured limit of {_C} tokens\. Your messages resulted in {_P} tokens",
        rf"input length \(?{_P}\)? exceeds (?:the )?(?:model's )?maximum (?:context|allowed input) length (?:of |\(){_C}",
        rf"prompt token count of {_P} exceeds the limit of {_C}",
        rf"exceeded model token limit: {_C} \(requested: {_P}\)",
        rf"prompt has {_P} tokens?, but the configured context size is {_C}",
        rf"prompt cannot exceed {_C} - received {_P}",
    )
)


@dataclass(frozen=True, slots=True)
class Overflow:
    """A prompt that does not fit; both numbers in tokens, `None` where the provider did not say."""

    prompt_tokens: int | None = None
    context_tokens: int | None = None


def overflow(text: str, codes: frozenset[str]) -> Overflow | None:
    """The overflow that an error's text and codes (in lower case) speak of, if they do.

    An answer that was asked to be too long is none: a shorter prompt would not help.
    """
    is_coded = bool(codes & _CODES)
    text = text[:_LONGEST]
    for wording in _WORDINGS:
        if match := wording.search(text):
            found = _numbers(match)
            if found is not None:
                return found
            return Overflow() if is_coded else None
    lowered = text.lower()
    return Overflow() if is_coded or any(phrase in lowered for phrase in _PHRASES) else None


def _numbers(match: re.Match[str]) -> Overflow | None:
    tokens = {name: int(number.replace(",", "")) for name, number in match.groupdict().items()}
    prompt = tokens["prompt"] + tokens.get("answer", 0)
    return Overflow(prompt, tokens["context"]) if prompt >= tokens["context"] else None

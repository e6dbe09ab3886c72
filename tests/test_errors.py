"""The error tree is complete, and every class means one thing."""

from __future__ import annotations

import re

import pytest

from relight import errors
from relight.errors import Category, ExitCode, RelightError, Source

# class: code, category, HTTP status, exit code, source
MEANINGS: dict[str, tuple[str, str, int, int, str]] = {
    "RelightError": ("internal", "internal", 500, 1, "relight"),
    "UsageError": ("usage", "internal", 500, 2, "relight"),
    "ConfigError": ("config", "internal", 500, 3, "relight"),
    "WeightsError": ("weights", "engine_failed", 503, 4, "relight"),
    "SnapshotError": ("snapshot", "internal", 500, 4, "relight"),
    "NetworkError": ("network", "internal", 500, 5, "relight"),
    "CloudError": ("cloud", "internal", 500, 6, "relight"),
    "CloudLost": ("cloud_lost", "internal", 500, 6, "relight"),
    "InvalidRequest": ("invalid_request", "invalid_request", 400, 1, "relight"),
    "ModelNotFound": ("model_not_found", "invalid_request", 404, 1, "relight"),
    "PathNotFound": ("not_found", "invalid_request", 404, 1, "relight"),
    "MethodNotAllowed": ("method_not_allowed", "invalid_request", 405, 1, "relight"),
    "BodyTooLarge": ("request_too_large", "invalid_request", 413, 1, "relight"),
    "UnsupportedMedia": ("unsupported_media_type", "invalid_request", 415, 1, "relight"),
    "NotSupported": ("not_supported", "invalid_request", 501, 1, "relight"),
    "ThreadUnsupported": ("thread_unsupported_request", "invalid_request", 400, 1, "relight"),
    "ContextOverflow": ("context_length_exceeded", "context_overflow", 400, 1, "relight"),
    "Unauthorized": ("unauthorized", "unauthorized", 401, 1, "relight"),
    "Forbidden": ("forbidden", "forbidden", 403, 1, "relight"),
    "RateLimited": ("rate_limited", "rate_limited", 429, 1, "relight"),
    "OverBudget": ("over_budget", "over_budget", 429, 1, "relight"),
    "ClientGone": ("client_gone", "client_gone", 499, 1, "relight"),
    "QueueFull": ("queue_full", "queue_full", 503, 1, "relight"),
    "QueueTimeout": ("queue_timeout", "queue_full", 503, 1, "relight"),
    "WakeTimeout": ("wake_timeout", "wake_timeout", 503, 1, "relight"),
    "Stopping": ("stopping", "engine_failed", 503, 1, "relight"),
    "EngineFailed": ("engine_failed", "engine_failed", 503, 4, "engine"),
    "EngineCrashed": ("engine_crashed", "engine_crashed", 502, 4, "engine"),
    "EngineRejected": ("engine_rejected", "invalid_request", 400, 1, "engine"),
    "ProviderUnavailable": ("provider_unavailable", "provider_unavailable", 502, 5, "provider"),
    "ProviderTimeout": ("provider_timeout", "provider_timeout", 504, 5, "provider"),
    "ProviderRejected": ("provider_rejected", "provider_rejected", 502, 5, "provider"),
    "ContentFiltered": ("content_filtered", "content_filtered", 502, 5, "provider"),
}


def tree(root: type[RelightError]) -> list[type[RelightError]]:
    return [root, *(below for child in root.__subclasses__() for below in tree(child))]


CLASSES = [one for one in dict.fromkeys(tree(RelightError)) if one.__module__ == errors.__name__]
EVERY = pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.__name__)


def test_table_lists_the_whole_tree() -> None:
    assert {one.__name__ for one in CLASSES} == set(MEANINGS)


@EVERY
def test_class_means_what_the_table_says(error: type[RelightError]) -> None:
    assert (error.code, error.category.value, error.http_status, error.exit_code, error.source.value) == MEANINGS[error.__name__]


def test_no_two_classes_share_a_code() -> None:
    codes = [one.code for one in CLASSES]
    assert sorted(codes) == sorted(set(codes))
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


@EVERY
def test_class_says_what_it_is_for(error: type[RelightError]) -> None:
    assert error.__doc__
    assert error.__doc__ != RelightError.__doc__ or error is RelightError


@EVERY
def test_status_and_category_agree_on_whose_fault_it_is(error: type[RelightError]) -> None:
    theirs = {
        Category.INVALID_REQUEST,
        Category.CONTEXT_OVERFLOW,
        Category.UNAUTHORIZED,
        Category.FORBIDDEN,
        Category.CLIENT_GONE,
        Category.RATE_LIMITED,
        Category.OVER_BUDGET,
    }
    assert (error.category in theirs) == (error.http_status < 500 or error.http_status == 501)


def test_categories_are_the_designs() -> None:
    assert " ".join(Category) == (
        "invalid_request unauthorized forbidden rate_limited over_budget context_overflow queue_full wake_timeout engine_failed "
        "engine_crashed provider_unavailable provider_timeout provider_rejected content_filtered client_gone internal"
    )
    assert list(Source) == ["relight", "engine", "provider"]


def test_exit_codes_are_the_designs() -> None:
    codes = (ExitCode.OK, ExitCode.FOUND, ExitCode.USAGE, ExitCode.CONFIG, ExitCode.ENGINE, ExitCode.NETWORK, ExitCode.CLOUD)
    assert codes == tuple(range(7))


def test_text_is_the_message_and_then_the_hint() -> None:
    assert str(errors.QueueFull("64 requests wait", hint="come again", retry_after_s=3.0)) == "64 requests wait; come again"
    assert str(errors.QueueFull("64 requests wait")) == "64 requests wait"


def test_overflow_carries_both_numbers_and_says_what_to_do() -> None:
    error = errors.ContextOverflow("too long", prompt_tokens=9, context_tokens=8)
    assert (error.prompt_tokens, error.context_tokens) == (9, 8)
    assert error.hint == "shorten the prompt"


def test_method_not_allowed_lists_those_that_are() -> None:
    assert errors.MethodNotAllowed("no", allow=("GET", "HEAD")).allow == ("GET", "HEAD")

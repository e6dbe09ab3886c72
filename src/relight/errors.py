"""The one error tree. Knows codes, HTTP statuses and exit codes; must not know how an error is rendered."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, TypeVar


class Category(StrEnum):
    """The stable error category of an interaction record."""

    INVALID_REQUEST = "invalid_request"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    RATE_LIMITED = "rate_limited"
    OVER_BUDGET = "over_budget"
    CONTEXT_OVERFLOW = "context_overflow"
    QUEUE_FULL = "queue_full"
    WAKE_TIMEOUT = "wake_timeout"
    ENGINE_FAILED = "engine_failed"
    ENGINE_CRASHED = "engine_crashed"
    PROVIDER_UNAVAILABLE = "provider_unavailable"
    PROVIDER_TIMEOUT = "provider_timeout"
    PROVIDER_REJECTED = "provider_rejected"
    CONTENT_FILTERED = "content_filtered"
    CLIENT_GONE = "client_gone"
    INTERNAL = "internal"


class Source(StrEnum):
    """Who failed."""

    RELIGHT = "relight"
    ENGINE = "engine"
    PROVIDER = "provider"


class ExitCode:
    """Exit codes of the command line."""

    OK = 0
    FOUND = 1
    USAGE = 2
    CONFIG = 3
    ENGINE = 4
    NETWORK = 5
    CLOUD = 6


class RelightError(Exception):
    """Root of every error that Relight raises on purpose.

    `message` reads *where: what is wrong, got what*; `hint` says what to do; `retry_after_s` is in seconds.
    """

    code: ClassVar[str] = "internal"
    category: ClassVar[Category] = Category.INTERNAL
    http_status: int = 500
    exit_code: ClassVar[int] = ExitCode.FOUND
    source: Source = Source.RELIGHT

    def __init__(self, message: str, *, hint: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.log_message = message
        """What a log may say of it: the message, without what somebody may have said."""
        self.hint = hint
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


_E = TypeVar("_E", bound=RelightError)


def quiet(error: _E, log_message: str) -> _E:
    """`error`, whose message may quote somebody, with what a log may say of it."""
    error.log_message = log_message
    return error


# --- before anything is served ---------------------------------------------------------------------------------


class UsageError(RelightError):
    """The command was called in a way that cannot work."""

    code = "usage"
    exit_code = ExitCode.USAGE


class ConfigError(RelightError):
    """The configuration names something that is not there, or a value that does not fit."""

    code = "config"
    exit_code = ExitCode.CONFIG


class WeightsError(RelightError):
    """Model weights are missing, incomplete or not what their checksum says."""

    code = "weights"
    category = Category.ENGINE_FAILED
    http_status = 503
    exit_code = ExitCode.ENGINE


class SnapshotError(RelightError):
    """A prefix snapshot cannot be made, kept or used; serving goes on without it."""

    code = "snapshot"
    exit_code = ExitCode.ENGINE


class NetworkError(RelightError):
    """A remote machine did not answer as it should."""

    code = "network"
    exit_code = ExitCode.NETWORK


class CloudError(RelightError):
    """The cloud refused, failed, or could not be asked; nothing is left half done that a second run would not go on with."""

    code = "cloud"
    exit_code = ExitCode.CLOUD


class CloudLost(CloudError):
    """The connection broke while something was changed: whether it was, nobody knows before looking again."""

    code = "cloud_lost"


# --- the request is at fault ------------------------------------------------------------------------------------


class InvalidRequest(RelightError):
    """The request cannot be served as it is."""

    code = "invalid_request"
    category = Category.INVALID_REQUEST
    http_status = 400


class ModelNotFound(InvalidRequest):
    """No model of that name is configured."""

    code = "model_not_found"
    http_status = 404


class PathNotFound(InvalidRequest):
    """No route of that path."""

    code = "not_found"
    http_status = 404


class MethodNotAllowed(InvalidRequest):
    """The route exists, the method does not; `allow` lists those that do."""

    code = "method_not_allowed"
    http_status = 405

    def __init__(self, message: str, *, allow: tuple[str, ...], hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.allow = allow


class BodyTooLarge(InvalidRequest):
    """The request body is larger than the server takes."""

    code = "request_too_large"
    http_status = 413


class UnsupportedMedia(InvalidRequest):
    """The body is said to be something else than JSON."""

    code = "unsupported_media_type"
    http_status = 415


class NotSupported(InvalidRequest):
    """What was asked for exists in the dialect, but not behind this model."""

    code = "not_supported"
    http_status = 501


class ThreadUnsupported(InvalidRequest):
    """The request goes on with a thread that the server is to remember."""

    code = "thread_unsupported_request"


class ContextOverflow(InvalidRequest):
    """The prompt does not fit the context; carries both numbers, in tokens (`None` where unknown)."""

    code = "context_length_exceeded"
    category = Category.CONTEXT_OVERFLOW

    def __init__(self, message: str, *, prompt_tokens: int | None = None, context_tokens: int | None = None) -> None:
        super().__init__(message, hint="shorten the prompt")
        self.prompt_tokens = prompt_tokens
        self.context_tokens = context_tokens


class Unauthorized(RelightError):
    """No key, or one that is not known."""

    code = "unauthorized"
    category = Category.UNAUTHORIZED
    http_status = 401


class Forbidden(RelightError):
    """Known, but not allowed."""

    code = "forbidden"
    category = Category.FORBIDDEN
    http_status = 403


class RateLimited(RelightError):
    """As many requests as this key may make, in a minute or at the same time."""

    code = "rate_limited"
    category = Category.RATE_LIMITED
    http_status = 429


class OverBudget(RelightError):
    """Whoever asks has used up its tokens of the day."""

    code = "over_budget"
    category = Category.OVER_BUDGET
    http_status = 429


class ClientGone(RelightError):
    """The client closed the connection before the answer was complete."""

    code = "client_gone"
    category = Category.CLIENT_GONE
    http_status = 499


# --- we, or the engine, are at fault ------------------------------------------------------------------------------


class QueueFull(RelightError):
    """As many requests wait as may wait."""

    code = "queue_full"
    category = Category.QUEUE_FULL
    http_status = 503


class QueueTimeout(RelightError):
    """The request's turn had not come when its patience ended."""

    code = "queue_timeout"
    category = Category.QUEUE_FULL
    http_status = 503


class WakeTimeout(RelightError):
    """The engine was not awake when the request's patience ended; the wake goes on."""

    code = "wake_timeout"
    category = Category.WAKE_TIMEOUT
    http_status = 503


class Stopping(RelightError):
    """The server is shutting down."""

    code = "stopping"
    category = Category.ENGINE_FAILED
    http_status = 503


class EngineFailed(RelightError):
    """The engine could not be started, or answered what no engine should."""

    code = "engine_failed"
    category = Category.ENGINE_FAILED
    http_status = 503
    exit_code = ExitCode.ENGINE
    source = Source.ENGINE


class EngineCrashed(RelightError):
    """The engine ended while it was answering; the next request starts it again."""

    code = "engine_crashed"
    category = Category.ENGINE_CRASHED
    http_status = 502
    exit_code = ExitCode.ENGINE
    source = Source.ENGINE


class EngineRejected(InvalidRequest):
    """The engine refused the request; its own words are the message, and may quote the request."""

    code = "engine_rejected"
    source = Source.ENGINE

    def __init__(self, message: str, *, hint: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message, hint=hint, retry_after_s=retry_after_s)
        self.log_message = "engine: refused the request"


# --- somebody else's service is at fault ----------------------------------------------------------------------------


class ProviderUnavailable(RelightError):
    """The provider cannot be reached, failed by itself, or ended its answer before it was complete."""

    code = "provider_unavailable"
    category = Category.PROVIDER_UNAVAILABLE
    http_status = 502
    exit_code = ExitCode.NETWORK
    source = Source.PROVIDER


class ProviderTimeout(RelightError):
    """The provider took longer than it may to be reached, to begin, or to end."""

    code = "provider_timeout"
    category = Category.PROVIDER_TIMEOUT
    http_status = 504
    exit_code = ExitCode.NETWORK
    source = Source.PROVIDER


class ProviderRejected(RelightError):
    """The provider refused the request; `http_status` is what the client gets, and its words may quote the request."""

    code = "provider_rejected"
    category = Category.PROVIDER_REJECTED
    http_status = 502
    exit_code = ExitCode.NETWORK
    source = Source.PROVIDER

    def __init__(self, message: str, *, status: int = 502, hint: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message, hint=hint, retry_after_s=retry_after_s)
        self.http_status = status
        self.log_message = f"provider: refused the request with status {status}"


class ContentFiltered(ProviderRejected):
    """The provider's filter stopped the request or its answer."""

    code = "content_filtered"
    category = Category.CONTENT_FILTERED

"""A provider's error response as one of our errors. Pure: knows no connection.

What a provider says goes to the client, cut to a sane length and without our key; never to the log, for it may quote the request.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from relight.decoding import NOT_JSON
from relight.errors import (
    ContentFiltered,
    ContextOverflow,
    ProviderRejected,
    ProviderUnavailable,
    RelightError,
    Source,
)
from relight.providers.overflow import overflow
from relight.providers.target import Target
from relight.values import Secret

_LONGEST: Final = 300
_LOOKED_AT: Final = 4_000
_MAY_OVERFLOW: Final = frozenset({400, 413, 422})
_FILTERED: Final = frozenset(
    {
        "content_filter",
        "content_filtered",
        "content_policy_violation",
        "data_inspection_failed",
        "datainspectionfailed",
        "moderation_blocked",
        "prompt_blocked",
        "responsibleaipolicyviolation",
    }
)
_FILTERED_PHRASES: Final = (
    "content exists risk",
    "content management policy",
    "flagged as potentially violating",
    "requires moderation",
)
_NO_MODEL: Final = frozenset({"model_not_found", "invalid_model", "deploymentnotfound"})
_SPENT: Final = frozenset({"insufficient_quota", "insufficient_balance", "billing_hard_limit_reached", "billing_not_active"})
_FRAGMENT = re.compile(r"[^\s\"'`<>(){}\[\],;:=]{8,}")
_MASKED = re.compile(r"[\w-]*\*{3,}[\w*-]*")
_SPACE = re.compile(r"[\s\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True)
class Reply:
    """An error response, read: what was said, and the codes and types that came with it, in lower case."""

    status: int
    words: str = ""
    codes: frozenset[str] = frozenset()
    retry_after_s: float | None = None
    location: str | None = field(default=None, repr=False)

    @property
    def is_spent(self) -> bool:
        """Whether the account has no money or quota left: waiting does not help."""
        return bool(self.codes & _SPENT)


def parse(status: int, body: bytes, *, retry_after_s: float | None = None, location: str | None = None) -> Reply:
    """Read an error body of any shape that providers use: OpenAI's, a list of them, plain text, or a page of a proxy."""
    try:
        error = _error(msgspec.json.decode(body))
    except NOT_JSON:
        text = body[:_LOOKED_AT].decode("utf-8", "replace").strip()
        return Reply(status, "" if text.startswith("<") else text, frozenset(), retry_after_s, location)
    return Reply(status, _words(error)[:_LOOKED_AT], frozenset(_codes(error)), retry_after_s, location)


def refusal(reply: Reply, target: Target) -> RelightError:
    """The error that a client gets for `reply`; a log gets the same without the provider's words."""
    error, bare = _refusal(reply, target), _refusal(replace(reply, words=""), target)
    if type(bare) is type(error):
        error.log_message = str(bare)
    return error


def _refusal(reply: Reply, target: Target) -> RelightError:
    return _about_request(reply, target) or _about_us(reply, target) or _about_provider(reply, target)


def shown(words: str, key: Secret | None) -> str:
    """`words` on one line, cut to a sane length, with whatever looks like our key, whole or in part, taken out."""
    text = _MASKED.sub("[key]", _SPACE.sub(" ", words[:_LOOKED_AT]).strip())
    if key is not None and (secret := key.reveal().strip()):
        text = _FRAGMENT.sub(lambda match: "[key]" if match[0].strip(".…") in secret else match[0], text.replace(secret, "[key]"))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST].rstrip()}…"


def _about_request(reply: Reply, target: Target) -> RelightError | None:
    if reply.status in _MAY_OVERFLOW and (found := overflow(reply.words, reply.codes)) is not None:
        size = f"{found.prompt_tokens} tokens do" if found.prompt_tokens else "it does"
        room = f"the {found.context_tokens} that it holds" if found.context_tokens else "its context"
        error = ContextOverflow(
            f'prompt: too long for model "{target.model}": {size} not fit {room}',
            prompt_tokens=found.prompt_tokens,
            context_tokens=found.context_tokens,
        )
        error.source = Source.PROVIDER
        return error
    lowered = reply.words.lower()
    if 400 <= reply.status < 500 and (reply.codes & _FILTERED or any(phrase in lowered for phrase in _FILTERED_PHRASES)):
        return ContentFiltered(
            _told(reply, target, "the provider's content filter stopped the request"), status=400, hint="change the prompt"
        )
    return None


def _about_us(reply: Reply, target: Target) -> RelightError | None:
    """What whoever runs the service has to mend: a client cannot."""
    if reply.status == 401:
        # Its words are left out: they tend to quote some of the key.
        return ProviderRejected(_said(target, f"{target.host} refused {_key(target)} (401)"), hint=_key_hint(target))
    if reply.status == 403:
        return ProviderRejected(_told(reply, target, f"{target.host} refused {_key(target)}"), hint=_key_hint(target))
    if reply.status == 404 or reply.codes & _NO_MODEL:
        return ProviderRejected(
            _told(reply, target, f'{target.place} knows no model "{target.name}", or not this path'),
            hint=f"check models.{target.model}.url and models.{target.model}.name",
        )
    if 300 <= reply.status < 400:
        return ProviderRejected(
            _said(target, f"{target.place} sends requests on{_onward(reply)} ({reply.status}), and our key goes nowhere else"),
            hint=f"set models.{target.model}.url to the address that answers",
        )
    return None


def _about_provider(reply: Reply, target: Target) -> RelightError:
    if reply.status == 429:
        what = "the provider's account is used up" if reply.is_spent else "the provider takes no more requests for now"
        hint = f"look at the account behind {_key(target)}" if reply.is_spent else "try again later"
        return ProviderRejected(_told(reply, target, what), status=429, hint=hint, retry_after_s=reply.retry_after_s)
    # 408 says that our request was late: nothing that a client could mend.
    if reply.status >= 500 or reply.status == 408:
        error = ProviderUnavailable(
            _told(reply, target, f"{target.host} failed"), hint="try again", retry_after_s=reply.retry_after_s
        )
        error.log_message = _said(target, f"{target.host} failed ({reply.status})")
        return error
    return ProviderRejected(
        _told(reply, target, "the provider refused the request"), status=reply.status, retry_after_s=reply.retry_after_s
    )


def _said(target: Target, what: str) -> str:
    return f'model "{target.model}": {what}'


def _told(reply: Reply, target: Target, what: str) -> str:
    words = shown(reply.words, target.key)
    return _said(target, f"{what} ({reply.status}): {words}" if words else f"{what} ({reply.status})")


def _key(target: Target) -> str:
    return "us without a key" if target.key is None else "our key"


def _key_hint(target: Target) -> str:
    if target.key is None:
        return f'name one: models.{target.model}.api_key = {{ secret = "…" }}'
    return f"check the secret {target.key.name}"


def _onward(reply: Reply) -> str:
    try:
        host = urlsplit(reply.location or "").hostname
    except ValueError:
        host = None
    return f" to {host}" if host else ""


def _error(payload: Any) -> dict[str, Any]:
    """The part of an error body that says what is wrong."""
    if isinstance(payload, list):
        payload = payload[0] if payload else None
    if not isinstance(payload, dict):
        return {"message": payload}
    if isinstance(errors := payload.get("errors"), list) and errors and "error" not in payload:
        return _error(errors)
    error = payload.get("error", payload)
    return error if isinstance(error, dict) else {**payload, "message": error}


def _words(error: dict[str, Any]) -> str:
    said = next((value for name in ("message", "detail", "error") if (value := error.get(name))), "")
    text = said if isinstance(said, str) else msgspec.json.encode(said).decode()
    # A provider of providers quotes the one that really answered.
    raw = metadata.get("raw") if isinstance(metadata := error.get("metadata"), dict) else None
    return f"{text}: {raw}" if isinstance(raw, str) else text


def _codes(error: dict[str, Any]) -> list[str]:
    inner = error.get("innererror")
    places = (error, inner if isinstance(inner, dict) else {})
    found = (place.get(name) for place in places for name in ("code", "type", "status", "error_type"))
    return [value.lower() for value in found if isinstance(value, str)]

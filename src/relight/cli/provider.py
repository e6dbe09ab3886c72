"""What `relight doctor` sees of a provider: its address and key, and whether it answers. Sends no prompt and costs nothing."""

from __future__ import annotations

import os
import time
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import urlsplit

import msgspec

from relight.cli.checks import Check, Result
from relight.config.load import Loaded
from relight.config.schema import Model
from relight.config.secrets import resolve
from relight.errors import ConfigError
from relight.providers.target import Target

_ANSWER_S: Final = 10.0
_MOST: Final = 8 << 20
_SHOWN: Final = 5


class _Entry(msgspec.Struct, frozen=True):
    id: str


class _Page(msgspec.Struct, frozen=True):
    """`GET /models` in the OpenAI dialect."""

    data: list[_Entry]


def provider_check(name: str, model: Model, loaded: Loaded) -> Check:
    """Whether the address and the key of a provider can work, without asking it."""
    try:
        target = _target(name, model, loaded)
    except ConfigError as error:
        return Check(Result.FAIL, "provider", error.message, error.hint, name)
    key = "no key" if target.key is None else f"the key {target.key.name}"
    return Check(Result.PASS, "provider", f"{target.name} at {target.place}, with {key}", model=name)


def reach_check(name: str, model: Model, loaded: Loaded) -> Check | None:
    """Ask a provider for the list of its models; `None` when its own check has failed already."""
    try:
        target = _target(name, model, loaded)
    except ConfigError:
        return None
    began = time.monotonic()
    try:
        status, body = _get(target)
    except (OSError, HTTPException) as error:
        seen = f"{target.host} cannot be reached: {str(error) or type(error).__name__}"
        return Check(Result.FAIL, "start", seen, f"check models.{name}.url and this machine's network", name)
    result, words, advice = _judged(target, status, body)
    return Check(result, "start", f"{target.host} answered after {time.monotonic() - began:.2f} s: {words}", advice, name)


def _target(name: str, model: Model, loaded: Loaded) -> Target:
    return Target.of(name, model, resolve(model.api_key, loaded.folder, os.environ, key=f"models.{name}.api_key"))


def _get(target: Target) -> tuple[int, bytes]:
    """Status and body of its `/models`; as with the prompts, no proxy and no other address that it may point to."""
    parts = urlsplit(target.address("/v1/models"))
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.netloc, timeout=target.connect_timeout_s)
    try:
        connection.connect()
        connection.sock.settimeout(_ANSWER_S)
        connection.request("GET", f"{parts.path}?{parts.query}".rstrip("?"), headers=target.headers(stream=False))
        response = connection.getresponse()
        return response.status, response.read(_MOST)
    finally:
        connection.close()


def _judged(target: Target, status: int, body: bytes) -> tuple[Result, str, str | None]:
    """What an answer means, in words, and what to do."""
    if status in (401, 403):
        if target.key is None:
            return Result.FAIL, f"asks for a key (status {status})", f'set models.{target.model}.api_key = {{ secret = "NAME" }}'
        return Result.FAIL, f"refuses the key (status {status})", f"set {target.key.name} anew"
    if status != 200:
        advice = f"nothing, if it lists no models; else check models.{target.model}.url"
        return Result.WARN, f"no list of models (status {status})", advice
    try:
        listed = [entry.id for entry in msgspec.json.decode(body, type=_Page).data]
    except msgspec.MsgspecError:
        return Result.WARN, "no list of models in the OpenAI dialect", f"check models.{target.model}.url"
    # Some put a word before the name that they take themselves: models/NAME.
    if any(known == target.name or known.endswith(f"/{target.name}") for known in listed):
        return Result.PASS, f"it has {target.name}", None
    shown = ", ".join(listed[:_SHOWN]) + (" …" if len(listed) > _SHOWN else "")
    return Result.WARN, f"it lists no {target.name}", f"check models.{target.model}.name; there is: {shown or 'none'}"

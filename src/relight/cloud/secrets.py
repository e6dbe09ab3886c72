"""Secrets of Secret Manager: found, compared with what is here, made and removed.

The text of one never stands in a message, a log or a representation, whatever goes wrong.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from relight.cloud.calls import FRESH_API, is_disabled, is_missing, is_there
from relight.cloud.google import Google
from relight.cloud.work import Show
from relight.deploy.desired import SecretNeed
from relight.deploy.names import labels
from relight.deploy.observed import SecretState
from relight.deploy.steps import AddSecretVersion, CreateSecret
from relight.errors import CloudError, CloudLost

if TYPE_CHECKING:
    from google.cloud.secretmanager_v1 import SecretVersion

T = TypeVar("T")

_MOST_BYTES: Final = 65536
_NOWHERE: Final = "gcp.resourceLocations"
"""The constraint of an organisation that refuses what is kept "globally"."""
# They write the bodies of requests and answers down, when somebody asks for the log of Google's clients.
_TALKATIVE: Final = (
    "google.cloud.secretmanager_v1.services.secret_manager_service.transports.rest",
    "google.auth.transport.requests",
)


def found_secrets(google: Google, needs: Iterable[SecretNeed], here: Callable[[str], str | None]) -> dict[str, SecretState]:
    """The secrets of `needs` that there are; `here` gives the text of a variable, None when it is not here.

    Raises `CloudError`, also when a payload came damaged.
    """
    found = ((need.secret, _state(google, need, here)) for need in needs)
    return {name: state for name, state in found if state is not None}


def create_secret(google: Google, step: CreateSecret) -> None:
    """Make a secret that Google keeps wherever it likes, or in our region alone where the organisation wants to know where.

    One that is there already is used as it is. Raises `CloudError`.
    """
    try:
        _create(google, step, {"automatic": {}})
    except CloudError as error:
        if _NOWHERE not in error.message:
            raise
        _create(google, step, {"user_managed": {"replicas": [{"location": google.region}]}})


def add_secret_version(google: Google, step: AddSecretVersion, text: str | None, show: Show) -> None:
    """Put `text` into the secret, once.

    Raises `CloudError` for a text that no secret can hold; `CloudLost` when nobody knows whether it was added, and when it got
    another number than `step.version`: somebody else added one, and the plan's template names the wrong one.
    """
    data = _bytes(step, text)
    show.doing(f"putting {step.variable} into the secret {step.name}")
    if (came := _number(_added(google, step.name, data))) != step.version:
        raise CloudLost(
            f"cloud: secret {step.name}: got version {came}, not {step.version}: somebody else added one meanwhile",
            hint="run it again: what is done stays done",
        )


def secrets_of(google: Google, service: str) -> list[str]:
    """The names of all secrets that are labelled as ours, for `service`."""
    wanted = labels(service)
    words = " AND ".join(f"labels.{key}={text}" for key, text in wanted.items())
    request = {"parent": f"projects/{google.project}", "filter": words}
    try:
        found = google.call("list the secrets", _all(google.secrets.list_secrets), request=request)
    except CloudError as error:
        if is_disabled(error):
            return []
        raise
    # Asked again here: what comes back is deleted, and a filter is a search.
    return sorted(_last(one.name) for one in found if wanted.items() <= dict(one.labels).items())


def delete_secret(google: Google, name: str) -> None:
    """Remove a secret with all of its versions, for good. One that is not there is done."""
    try:
        google.call(f"delete the secret {name}", google.secrets.delete_secret, name=_path(google, name))
    except CloudError as error:
        if not is_missing(error):
            raise


def _create(google: Google, step: CreateSecret, replication: dict[str, Any]) -> None:
    try:
        google.call(
            f"make the secret {step.name}",
            google.secrets.create_secret,
            settles=FRESH_API,
            parent=f"projects/{google.project}",
            secret_id=step.name,
            secret={"replication": replication, "labels": step.labels},
        )
    except CloudError as error:
        if not is_there(error):
            raise


def _state(google: Google, need: SecretNeed, here: Callable[[str], str | None]) -> SecretState | None:
    what, parent = f"look for the secret {need.secret}", _path(google, need.secret)
    try:
        versions = google.call(what, _all(google.secrets.list_secret_versions), parent=parent)
    except CloudError as error:
        if is_missing(error) or is_disabled(error):
            return None
        raise
    if not versions:
        return SecretState()
    latest = max(versions, key=_number)
    return SecretState(latest=_number(latest), matches=_matches(google, need.secret, latest, here(need.variable)))


def _matches(google: Google, secret: str, latest: SecretVersion, text: str | None) -> bool | None:
    """Whether the version holds `text`; None where there is none, or whoever is signed in may not read it."""
    if text is None:
        return None
    if latest.state.name != "ENABLED":
        return False
    name = f"{_path(google, secret)}/versions/{_number(latest)}"
    try:
        with _unlogged():
            found = google.call(f"read the secret {secret}", google.secrets.access_secret_version, name=name)
    except CloudError as error:
        if getattr(error.__cause__, "code", None) == 403:
            return None
        raise
    if found.payload.data_crc32c != _sum(found.payload.data):
        raise CloudError(
            f"cloud: secret {secret}: version {_number(latest)} came damaged (its checksum is another)", hint="run it again"
        )
    # What is no text (bytes from the environment) equals nothing that we added, and must not raise: such errors quote it.
    return bool(found.payload.data == text.encode(errors="surrogatepass"))


def _bytes(step: AddSecretVersion, text: str | None) -> bytes:
    """What is sent; raises `CloudError` for what no secret can hold."""
    where = f"cloud: secret {step.name}"
    if text is None:
        raise CloudError(
            f"{where}: {step.variable} is not set here, so there is nothing to put into it",
            hint=f"set {step.variable} in the environment or in .env, and run it again",
        )
    if not text:
        raise CloudError(f"{where}: {step.variable} is empty, and a secret cannot be", hint=f"give {step.variable} a text")
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise CloudError(f"{where}: {step.variable} is not UTF-8, and the service could not read it", hint="encode it in base64")
    data = text.encode()
    if len(data) > _MOST_BYTES:
        raise CloudError(
            f"{where}: {step.variable} should have at most {_MOST_BYTES} bytes, got {len(data)}",
            hint="shorten it: no secret of Google's is larger",
        )
    return data


def _added(google: Google, secret: str, data: bytes) -> SecretVersion:
    """The version that holds `data`; what is raised does not quote it, nor does a log."""
    what, payload = f"add a version to the secret {secret}", {"data": data, "data_crc32c": _sum(data)}
    add, parent = google.secrets.add_secret_version, _path(google, secret)
    with _unlogged():
        try:
            return google.call(what, add, is_safe=False, settles=FRESH_API, parent=parent, payload=payload)
        except CloudError as error:
            if not _quotes(error, data):
                raise
            kind, status = type(error), getattr(error.__cause__, "code", None)
    # Outside of the handler: a context would carry the words that are left out here.
    raise kind(f"cloud: could not {what}: refused with {status}, in words that quote the secret and are left out")


def _quotes(error: BaseException | None, data: bytes) -> bool:
    """Whether the text stands anywhere in the chain, as it is or as it is sent."""
    text, sent = data.decode(), base64.b64encode(data).decode()
    forms = {text, sent, *(form[1:-1] for form in (repr(text), json.dumps(text), json.dumps(text, ensure_ascii=False)))}
    while error is not None:
        told = f"{error} {error!r}"
        if any(form in told for form in forms):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def _unlogged() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    before = [one.disabled for one in loggers]
    for one in loggers:
        one.disabled = True
    try:
        yield
    finally:
        for one, was in zip(loggers, before, strict=True):
            one.disabled = was


def _all(method: Callable[..., Iterable[T]]) -> Callable[..., list[T]]:
    """A method that gives pages, as one that gives everything: a page that is lost is asked again with the others."""
    return lambda **fields: list(method(**fields))


def _sum(data: bytes) -> int:
    from google_crc32c import value

    return int(value(data))


def _path(google: Google, secret: str) -> str:
    return f"projects/{google.project}/secrets/{secret}"


def _number(version: SecretVersion) -> int:
    return int(_last(version.name))


def _last(name: str) -> str:
    return name.rpartition("/")[2]


__all__ = ["add_secret_version", "create_secret", "delete_secret", "found_secrets", "secrets_of"]

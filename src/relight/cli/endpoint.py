"""The service that an agent is pointed at: asked what it has, or else what the configuration says of it. Prints nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from relight.agents.discover import Candidate, choose, configured, endpoint, filled, listed
from relight.agents.wiring import Endpoint
from relight.cli.talk import KEY_VARIABLE, Client
from relight.config.load import Loaded, load
from relight.errors import RelightError, UsageError
from relight.loopback import is_loopback
from relight.values import Secret

_CONFIG: Final = "relight.toml"
_USUAL: Final = "http://127.0.0.1:8080"
_NEW_KEY: Final = "set it to one that the service knows; where that runs: relight keys create NAME"
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - what is listened on is asked at home


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody said of the service; None where nothing was said."""

    url: str | None = None
    model: str | None = None
    key_variable: str | None = None
    config_file: str = _CONFIG


@dataclass(frozen=True, slots=True)
class Reached:
    """The endpoint, and what there is to say about how it was found."""

    endpoint: Endpoint
    said: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Listing:
    """What a service listed; None when it did not, and `why`. `wants_key` is None where nobody knows; `is_refused`: it was shown
    a key, and does not know it."""

    models: Sequence[Candidate] | None
    wants_key: bool | None
    why: str = ""
    is_refused: bool = False


def find_endpoint(wanted: Wanted) -> Reached:
    """Ask the service of `--url` or of the configuration; when it does not answer, the configuration alone is believed.

    Raises `UsageError` when neither tells a model, `ConfigError` for a configuration that is wrong.
    """
    loaded = _trusted(wanted)
    url = _address(wanted, loaded)
    variable = wanted.key_variable or KEY_VARIABLE
    answer, said = listing(url, variable, is_named=wanted.url is not None), []
    if answer.is_refused:
        raise UsageError(f"{url}: does not know the key in {variable}", hint=_NEW_KEY)
    if answer.models is not None:
        model = filled(choose(answer.models, wanted.model, url), [] if loaded is None else configured(loaded))
    else:
        loaded = loaded or _configuration(wanted, is_needed=False)
        model = _unseen(wanted, loaded, url, answer.why)
        instead = "its context is not known" if loaded is None else f"what follows is what {wanted.config_file} says"
        said.append(f"{url} {answer.why}; {instead}")
    if model.tells_tools:
        said.append(f"the template of {model.name} shows no tools: Relight tells it of them in words, so expect less of it")
    elif not model.has_tools:
        said.append(
            f"{model.name} never calls a tool by itself: its template shows none (models.NAME.mend has them told in words)"
        )
    wants_key = answer.wants_key if answer.wants_key is not None else loaded is not None and bool(loaded.config.auth.keys.secret)
    used = variable if wants_key or wanted.key_variable is not None else None
    if used is not None and not os.environ.get(used, "").strip():
        said.append(f"{used} is not set here; put the key there (where the service runs: relight keys create NAME)")
    return Reached(endpoint(url, model, used), tuple(said))


def address(wanted: Wanted) -> str:
    """Where the service would be asked; asks nobody. Raises as `find_endpoint` does for a configuration."""
    return _address(wanted, _trusted(wanted))


def _address(wanted: Wanted, loaded: Loaded | None) -> str:
    return Client(wanted.url or (_USUAL if loaded is None else url_of(loaded))).url


def _trusted(wanted: Wanted) -> Loaded | None:
    """The configuration, unless somebody named the service's address: then nothing is known of what it serves."""
    return None if wanted.url is not None else _configuration(wanted, is_needed=wanted.config_file != _CONFIG)


def url_of(loaded: Loaded) -> str:
    """Where the configured service listens, as this machine reaches it. Raises `UsageError` when it picks a free port."""
    server = loaded.config.server
    if server.port == 0:
        raise UsageError(
            "server.port: 0 is another port at every start", hint="add --url with the address that relight serve prints"
        )
    host = _EVERYWHERE.get(server.host, server.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{server.port}"


def _configuration(wanted: Wanted, *, is_needed: bool) -> Loaded | None:
    """The configuration; None when there is none, and none is needed."""
    return load(wanted.config_file) if is_needed or Path(wanted.config_file).exists() else None


def _unseen(wanted: Wanted, loaded: Loaded | None, url: str, why: str) -> Candidate:
    """The model of a service that does not tell what it has."""
    if loaded is not None:
        return choose(configured(loaded), wanted.model, wanted.config_file)
    if wanted.model is None:
        hint = "start it (relight serve), or name the model with --model"
        raise UsageError(f"connect: {url} {why}, and there is no {wanted.config_file} that names a model", hint=hint)
    return Candidate(wanted.model)


def listing(url: str, variable: str, *, is_named: bool) -> Listing:
    """Ask a service what it has, with the key of that variable where it wants one.

    The key goes in the clear only where somebody named the address: a folder's file is not enough.
    """
    try:
        return Listing(listed(Client(url).models()), wants_key=False)
    except UsageError:  # it wants a key
        text = os.environ.get(variable, "").strip()
        if not text:
            return Listing(None, wants_key=True, why=f"asks for a key, and {variable} is not set here")
        if not is_named and goes_in_the_clear(url):
            return Listing(None, wants_key=True, why="asks for a key, and it would go in the clear (--url says it may)")
        return _with_key(url, Secret(variable, text))
    except RelightError as error:
        return Listing(None, wants_key=None, why=_silence(error))


def goes_in_the_clear(url: str) -> bool:
    """Whether others could read what is sent there."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")


def _with_key(url: str, key: Secret) -> Listing:
    try:
        return Listing(listed(Client(url, key).models()), wants_key=True)
    except UsageError:
        return Listing(None, wants_key=True, why=f"does not know the key in {key.name}", is_refused=True)
    except RelightError as error:
        return Listing(None, wants_key=True, why=_silence(error))


def _silence(error: RelightError) -> str:
    is_private = " 403 " in f"{error.message} "
    return f"does not answer ({error.message})" + (": is it private, to be reached through relight bridge?" if is_private else "")

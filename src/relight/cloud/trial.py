"""A deployed service, asked as its users will: through the real address, with an identity token where Google asks for one.

Three questions: is it ready, does the model answer, is whoever may not ask refused. Each is waited for as long as what was done a
moment ago may need to reach all of Google.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from relight.cloud.answer import Reply, TooSlow, read, said, told, words
from relight.cloud.calls import SETTLE_S
from relight.cloud.google import Google
from relight.cloud.tokens import Tokens
from relight.cloud.work import Show
from relight.config.deploy import Ingress
from relight.config.schema import Config, Task
from relight.deploy.causes import cause
from relight.errors import CloudError

_CONNECT_S: Final = 10.0
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_OURS: Final = "x-relight-interaction"
"""On every answer of a model's route: whoever sent it is the front door, and not Google."""
_HELLO: Final = "Say hello."
_QUESTIONS: Final[dict[Task, tuple[str, dict[str, Any]]]] = {
    Task.CHAT: ("/v1/chat/completions", {"messages": [{"role": "user", "content": _HELLO}], "max_tokens": 8}),
    Task.EMBED: ("/v1/embeddings", {"input": _HELLO}),
    Task.RERANK: ("/v1/rerank", {"query": "greeting", "documents": ["Hello.", "Goodbye."]}),
}
_UNASKED: Final = "the model was not asked, for it takes a key: set RELIGHT_KEY to one, and the next test asks it"
_UNREACHED: Final = "nothing was asked: deploy.cloudrun.ingress lets only the project's own network in"
_SPREADS: Final = {
    401: "a role may take a minute or two to be known",
    403: "a role may take a minute or two to be known",
    404: "an address may take a minute or two to be known",
    429: "an instance may take a minute or two to be had",
    503: "an instance may take a minute or two to start",
}
"""What is waited for, by the status that is got meanwhile."""


class Trial(Struct, frozen=True, kw_only=True):
    """What is to be shown of a service.

    `path` and `body` ask its model. `guarded`: Google lets nobody through without an identity; `has_keys`: the front door has
    keys of its own, `asks_key`: and wants one for that question, `key` is one; `timeout_s`: of a request, its wake included.
    """

    path: str
    body: dict[str, Any]
    guarded: bool
    has_keys: bool
    asks_key: bool
    timeout_s: float
    key: str | None = None
    is_reachable: bool = True


class Asked(Struct, frozen=True):
    """One question: what was asked, the status of the answer, how long it took in seconds."""

    what: str
    status: int
    seconds: float


class Tried(Struct, frozen=True, kw_only=True):
    """What was asked and answered; the first of `asked` took the wake as well. `note`: what was not asked, and why."""

    asked: tuple[Asked, ...] = ()
    answered: bool = False
    model: str | None = None
    tokens: int | None = None
    wake_ms: float | None = None
    note: str | None = None


def wanted(config: Config, key: str | None) -> Trial:
    """What a service of this configuration should show; `key` is one that its front door takes, where there is one here."""
    run, has_keys = config.deploy.cloudrun, config.auth.keys.secret is not None
    key = key if has_keys else None
    is_open = not has_keys and (config.server.public or bool(run.invokers))
    by_visitor = config.assistant.public and not is_open and key is None
    path, body = ("/chat", {"message": _HELLO, "stream": False}) if by_visitor else _body_for(config)
    return Trial(
        path=path,
        body=body,
        guarded=bool(run.invokers) and "allUsers" not in run.invokers,
        has_keys=has_keys,
        asks_key=has_keys and not by_visitor,
        timeout_s=float(run.timeout),
        key=key,
        is_reachable=run.ingress is Ingress.ALL,
    )


def _body_for(config: Config) -> tuple[str, dict[str, Any]]:
    name = config.default_model() or next(iter(config.models), None)
    task = config.models[name].task if name in config.models else Task.CHAT
    path, body = _QUESTIONS[task]
    return path, {"model": name, **body}


def trial(  # noqa: PLR0913 - where, for whom, what, and time
    google: Google, url: str, audience: str, *, wants: Trial, show: Show, clock: Callable[[], float] = time.monotonic
) -> Tried:
    """Ask the service at `url`, with identity tokens for `audience`. Raises `CloudError` for the first answer that is wrong."""
    _check(url)
    if not wants.is_reachable:
        return Tried(note=_UNREACHED)
    door = _Door(google, url.rstrip("/"), audience, wants, _Watch(show, clock))
    door.ask(_Question("GET", "/readyz"), lambda reply: reply.status_code == 200 and reply.content == b"ready\n")
    tried = _model(door, wants)
    if wants.guarded:
        door.ask(_Question("GET", "/readyz", with_token=False), _is_googles_refusal)
    return replace(tried, asked=tuple(door.asked))


def _model(door: _Door, wants: Trial) -> Tried:
    question = _Question("POST", wants.path, wants.body, wants.key)
    if wants.asks_key and wants.key is None:
        door.ask(question, _is_doors_refusal)
        return Tried(note=_UNASKED)
    reply = door.ask(question, _is_answer)
    if wants.asks_key:
        door.ask(replace(question, key=None), _is_doors_refusal)
    wake = reply.headers.get("x-relight-wake-ms", "")
    return Tried(
        answered=True,
        model=reply.headers.get("x-relight-model"),
        tokens=_used(told(reply)),
        wake_ms=float(wake) if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", wake) else None,
    )


class _Question(Struct, frozen=True):
    """What is sent. `key` is the front door's; `with_token`: Google's token is sent where Google asks for one."""

    method: str
    path: str
    body: dict[str, Any] | None = None
    key: str | None = None
    with_token: bool = True

    def __str__(self) -> str:
        return f"{self.method} {self.path}" + ("" if self.with_token else " without an identity token")


class _Watch(NamedTuple):
    """Who is told, and what time it is in seconds."""

    show: Show
    clock: Callable[[], float]


class _Door:
    """Asks, waits, and notes what it asked."""

    def __init__(self, google: Google, url: str, audience: str, wants: Trial, watch: _Watch) -> None:
        self.asked: list[Asked] = []
        self._google, self._url, self._audience, self._wants, self._watch = google, url, audience, wants, watch
        self._tokens = Tokens(google)
        self._began = 0.0

    def ask(self, question: _Question, is_right: Callable[[Reply], bool]) -> Reply:
        """The right answer. What may pass by itself is waited for; raises `CloudError` for any other."""
        waits = list(SETTLE_S)
        self._watch.show.doing(f"asking {question}")
        while True:
            self._began = self._watch.clock()
            reply = self._send(question)
            if isinstance(reply, CloudError):
                failure, passes = reply, True
            elif is_right(reply):
                self.asked.append(Asked(str(question), reply.status_code, round(self._watch.clock() - self._began, 3)))
                return reply
            else:
                failure, passes = _wrong(question, reply), _may_pass(question, reply)
            if not passes or not waits:
                raise failure
            self._watch.show.doing(f"asking {question}: {_so_far(question, reply)}")
            self._google.sleep(waits.pop(0))

    def _send(self, question: _Question) -> Reply | CloudError:
        """The answer, or why there is none yet. Raises `CloudError` for one that took too long."""
        import requests
        import urllib3

        most_s = self._wants.timeout_s + _CONNECT_S
        until, headers = self._began + most_s, self._headers(question)
        try:
            # Its own `auth`: else what ~/.netrc knows of the host takes the place of the token.
            with requests.request(
                question.method,
                f"{self._url}{question.path}",
                json=question.body,
                headers=headers,
                auth=lambda request: request,
                allow_redirects=False,
                stream=True,
                timeout=(_CONNECT_S, most_s),
            ) as response:
                return read(response, self._watch.clock, until)
        except (requests.exceptions.ReadTimeout, urllib3.exceptions.ReadTimeoutError, TooSlow):
            raise CloudError(
                f"cloud: {question}: no answer within {self._wants.timeout_s:.0f} s",
                hint="raise deploy.cloudrun.timeout, or see why: relight logs",
            ) from None
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            why = f"cloud: {question}: the service cannot be reached ({type(error).__name__})"
            return CloudError(why, hint="look at the connection, and run it again")

    def _headers(self, question: _Question) -> dict[str, str]:
        # As it is: what is packed takes more room than it says.
        found = {"accept-encoding": "identity"} | ({"authorization": f"Bearer {question.key}"} if question.key else {})
        if not self._wants.guarded or not question.with_token:
            return found
        token = self._tokens.identity(self._audience)
        if token is None:
            raise CloudError(
                "cloud: could not ask the service: whoever is signed in has no identity token",
                hint="sign in as a user (gcloud auth application-default login) or as a service account",
            )
        # Google looks at the first of these where both are there, and leaves the other to the front door.
        return found | {"x-serverless-authorization" if self._wants.has_keys else "authorization": f"Bearer {token}"}


def _may_pass(question: _Question, reply: Reply) -> bool:
    """Whether waiting may help: a role, an address, an instance are not everywhere yet, or Google's own check is not."""
    if not question.with_token or reply.status_code in {429, 503}:
        return True
    return reply.status_code in {401, 403, 404} and _OURS not in reply.headers


def _so_far(question: _Question, reply: Reply | CloudError) -> str:
    """What is got while it waits, and why that may pass."""
    if isinstance(reply, CloudError):
        return "it cannot be reached so far"
    why = _SPREADS.get(reply.status_code) if question.with_token else None
    return f"{reply.status_code} so far; {why or 'who may call it may take a minute or two to be known'}"


def _is_googles_refusal(reply: Reply) -> bool:
    return reply.status_code in {401, 403} and _OURS not in reply.headers


def _is_doors_refusal(reply: Reply) -> bool:
    return reply.status_code == 401 and _OURS in reply.headers


def _is_answer(reply: Reply) -> bool:
    """A whole answer of a model: words, or tokens that are no words yet; vectors, or ranks."""
    if reply.status_code != 200:
        return False
    body = told(reply)
    return bool(body.get("reply") or body.get("data") or body.get("results") or (body.get("choices") and _used(body)))


def _used(body: dict[str, Any]) -> int | None:
    usage = body.get("usage")
    found = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return found if isinstance(found, int) else None


def _wrong(question: _Question, reply: Reply) -> CloudError:
    answered = f"cloud: {question}: answered {reply.status_code}"
    if not question.with_token:
        return CloudError(
            f"{answered}, and should be refused: the service is open to everybody",
            hint="look at its IAM policy and at invoker_iam_disabled; relight off stops it meanwhile",
        )
    error = told(reply).get("error")
    found = cause(f"HTTP_{reply.status_code}", words(reply)) if _OURS not in reply.headers else None
    ours = error.get("hint") if isinstance(error, dict) else None
    hint = f"{found.why}: {found.do}" if found is not None else ours
    return CloudError(f"{answered}: {said(reply)}", hint=hint or "see why: relight logs --errors")


def _check(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise CloudError(f'cloud: the address of the service should begin with https://, got "{url}"; nothing was sent there')

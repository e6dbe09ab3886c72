"""A client of a running front door: asks, reads the stream, turns what went wrong into our errors. Prints nothing."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote, urlsplit

import msgspec

from relight.errors import EngineFailed, InvalidRequest, NetworkError, RelightError, Source, UsageError
from relight.values import Duration

if TYPE_CHECKING:
    from http.client import HTTPResponse

    from relight.values import Secret

KEY_VARIABLE: Final = "RELIGHT_KEY"
CONNECT_S: Final = 10.0
SILENCE_S: Final = 600.0
_LIST_S: Final = 60.0  # a list of models waits for no model
_LEFT = re.compile(r"about (.+) left$")


class Listener(Protocol):
    """Hears an answer as it comes."""

    def waiting(self, left_s: float | None) -> None:
        """The model wakes; `left_s` is an estimate, if there is one."""
        ...

    def text(self, piece: str) -> None:
        """The next words of the answer."""
        ...


@dataclass(slots=True)
class Answer:
    """One answer, filled while it comes, so that what an interrupt leaves is still there. Times in milliseconds."""

    reply: str = ""
    model: str | None = None
    finish: str | None = None
    interaction: str | None = None
    usage: dict[str, Any] = field(default_factory=dict)
    wake_ms: float | None = None
    first_token_ms: float | None = None
    total_ms: float | None = None

    @property
    def tokens_per_s(self) -> float | None:
        """Decoding rate from the first token to the end; `None` for answers too short to tell."""
        tokens = self.usage.get("completion_tokens", 0)
        if self.first_token_ms is None or self.total_ms is None or tokens < 2 or self.total_ms - self.first_token_ms < 50:
            return None
        return float((tokens - 1) * 1000 / (self.total_ms - self.first_token_ms))


class Client:
    """Speaks the OpenAI dialect to one server. Blocking; every call may raise `NetworkError`."""

    def __init__(self, url: str, key: Secret | None = None) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise UsageError(f"--url: should be an address like http://127.0.0.1:8080, got {url!r}")
        if key is not None and not re.fullmatch(r"[!-~]+", key.reveal()):
            # Said here: the HTTP library would show it.
            raise UsageError(f"--key, {KEY_VARIABLE}: has characters that no key has", hint="copy the key again")
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/').removesuffix('/v1')}"
        self._key = key

    def models(self) -> list[dict[str, Any]]:
        """What `GET /v1/models` lists, one mapping a model."""
        with self._exchange("GET", "/v1/models", silence_s=_LIST_S) as response:
            found: list[dict[str, Any]] = _json(response.read()).get("data", [])
            return found

    def wake(self, model: str) -> None:
        """Have the model woken, without waiting for it. A server that knows no such thing is left in peace."""
        try:
            with self._exchange("POST", f"/models/{quote(model, safe='')}/wake", {}) as response:
                response.read()
        except (InvalidRequest, EngineFailed):
            return

    def ask(self, messages: list[dict[str, str]], *, model: str | None, listener: Listener, answer: Answer) -> None:
        """Stream one answer into `answer`, telling `listener`. Raises a `RelightError` that says who failed."""
        began = time.monotonic()
        body = {"messages": messages, "stream": True, "stream_options": {"include_usage": True}}
        with (
            self._asking(model),
            self._exchange("POST", "/v1/chat/completions", body | ({"model": model} if model else {})) as response,
        ):
            answer.model = response.headers.get("x-relight-model") or model
            answer.interaction = response.headers.get("x-relight-interaction")
            wake_ms = response.headers.get("x-relight-wake-ms")
            answer.wake_ms = float(wake_ms) if wake_ms else None
            self._follow(response, listener, _Meter(answer, lambda: (time.monotonic() - began) * 1000))

    @contextmanager
    def _asking(self, model: str | None) -> Iterator[None]:
        try:
            yield
        except InvalidRequest as error:
            if model is None and error.message.startswith("model: "):
                # The server's advice is for a request's body; a command has an option.
                error.hint = f"name one with --model; {error.hint}" if error.hint else "name one with --model"
            raise

    def _follow(self, response: Iterable[bytes], listener: Listener, meter: _Meter) -> None:
        for kind, text in _events(response):
            if kind == "comment":
                if text.startswith("waking "):
                    listener.waiting(left_s(text))
            elif text != "[DONE]" and (piece := meter.take(_json(text))):
                listener.text(piece)
        meter.answer.total_ms = meter.elapsed_ms()
        if meter.answer.finish is None:
            raise NetworkError(f"{self.url}: the connection ended before the answer was complete", hint="ask again")

    @contextmanager
    def _exchange(self, method: str, path: str, body: object = None, *, silence_s: float = SILENCE_S) -> Iterator[HTTPResponse]:
        from http.client import HTTPConnection, HTTPException, HTTPSConnection

        parts = urlsplit(self.url)
        connection = (HTTPSConnection if parts.scheme == "https" else HTTPConnection)(parts.netloc, timeout=CONNECT_S)
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {self._key.reveal()}"} if self._key else {})
        try:
            self._connect(connection.connect)
            connection.sock.settimeout(silence_s)
            connection.request(method, parts.path + path, None if body is None else msgspec.json.encode(body), headers)
            with connection.getresponse() as response:
                if response.status == 401:
                    raise self._unauthorized()
                if response.status >= 400:
                    raise _refusal(response)
                yield response
        except (HTTPException, OSError) as error:
            raise NetworkError(
                f"{self.url}: the connection broke ({str(error) or type(error).__name__})", hint="ask again"
            ) from error
        finally:
            connection.close()

    def _unauthorized(self) -> UsageError:
        what = "asks for a key" if self._key is None else "does not know this key"
        return UsageError(
            f"{self.url}: {what}", hint=f"set {KEY_VARIABLE} to one; where the server runs: relight keys create NAME"
        )

    def _connect(self, connect: Callable[[], None]) -> None:
        try:
            connect()
        except OSError as error:
            raise NetworkError(f"nothing answers at {self.url}", hint="start it with: relight serve") from error


@dataclass(slots=True)
class _Meter:
    """Puts chunks into an answer and notes when they came."""

    answer: Answer
    elapsed_ms: Callable[[], float]

    def take(self, chunk: dict[str, Any]) -> str:
        if chunk.get("error"):
            raise _error(chunk["error"])
        self.answer.usage = chunk.get("usage") or self.answer.usage
        self.answer.model = self.answer.model or chunk.get("model")
        choice = next(iter(chunk.get("choices") or ()), None) or {}
        self.answer.finish = choice.get("finish_reason") or self.answer.finish
        piece: str = (choice.get("delta") or {}).get("content") or ""
        if piece and self.answer.first_token_ms is None:
            self.answer.first_token_ms = self.elapsed_ms()
        self.answer.reply += piece
        return piece


def left_s(note: str) -> float | None:
    """Seconds in a note like `waking smol, about 4s left`; `None` where it names no time."""
    found = _LEFT.search(note)
    try:
        return Duration.parse(found[1].replace(" ", "")) if found else None
    except ValueError:
        return None


def _events(lines: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    data: list[str] = []
    for raw in lines:
        line = raw.decode(errors="replace").rstrip("\r\n")
        if line.startswith(":"):
            yield "comment", line[1:].strip()
        elif line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            yield "data", "\n".join(data)
            data = []


def _json(text: str | bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise NetworkError("the server answered something that is not JSON", hint="is this address a Relight server?") from error


def _refusal(response: HTTPResponse) -> RelightError:
    body = response.read()
    try:
        told = _json(body).get("error")
    except NetworkError:
        told = None
    error = _error(told or f"the server answered {response.status} {response.reason}")
    if error.hint is None and (wait := response.headers.get("retry-after")):
        error.hint = f"try again in {wait} s"
    if response.status < 500 and error.source is Source.RELIGHT:
        return InvalidRequest(error.message, hint=error.hint)
    return error


def _error(told: object) -> RelightError:
    """An error envelope as one of ours: a provider is the network, all else behind the door is the engine's side."""
    fields: dict[str, Any] = told if isinstance(told, dict) else {"message": told}
    source = Source(fields["source"]) if fields.get("source") in set(Source) else Source.RELIGHT
    message = str(fields.get("message") or "no reason was given")
    kind = NetworkError if source is Source.PROVIDER else EngineFailed
    error = kind(message if source is Source.RELIGHT else f"{source}: {message}", hint=fields.get("hint"))
    error.source = source
    return error

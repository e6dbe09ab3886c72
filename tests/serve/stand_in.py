"""A stand-in for the front door: plays the HTTP contract of the chat page on loopback, its engine moved by the test.

What it answers is chosen by the words of the last message (`ANSWERS`), when it goes on by `awaken()` and `release()`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from relight.serve import pages
from tests.serve.process import PATIENCE_S
from tests.serve.web import Quiet, serving

MARKDOWN = """## What is built

Two things, **both** small and *quick*: `relight serve`
and [the notes](https://example.org/notes). Not this: [bad](javascript:alert(1)) <img src=x onerror=alert(1)>

1. It sleeps
   - frees its memory
   - costs nothing
2. It wakes

```python
def wake(model: str) -> float:
    return 0.8  # seconds
```

See https://example.org/a?b=1."""
LONG = "\n\n".join(f"Paragraph {number} of an answer that is longer than any window is high." for number in range(40))
ANSWERS = {"markdown": MARKDOWN, "long": LONG, "escape": "a\x1b[31mred\x1b]0;title\x07b"}


@dataclass
class StandIn:
    """The server's state; `requests` holds what came, as (method, path, body, headers)."""

    models: tuple[str, ...] = ("smol",)
    provided: tuple[str, ...] = ()
    """Models of somebody else: they have no state."""
    lists: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Names that stand for other models, the next for when the one before cannot answer."""
    vectors: tuple[str, ...] = ()
    """Models that make embeddings and do not chat."""
    key: str = ""
    """What everything but the page itself asks for, if anything."""
    asleep: bool = False
    eta_s: float | None = 4.0
    note: str = "waking smol, about 4s left"
    url: str = ""
    states: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str, Any, dict[str, str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.states = dict.fromkeys(self.models, "asleep" if self.asleep else "awake")
        self.awake, self.go_on, self.client_gone, self.called = (threading.Event() for _ in range(4))
        if not self.asleep:
            self.awake.set()

    def awaken(self) -> None:
        """The engines are ready; held requests are answered."""
        self.states = dict.fromkeys(self.models, "awake")
        self.awake.set()

    def release(self) -> None:
        """Let a "slow" answer go on."""
        self.go_on.set()

    def sent(self, path: str) -> list[Any]:
        """Bodies that came for `path`, oldest first."""
        return [body for _, called, body, _ in self.requests if called == path]


@contextmanager
def running(site: StandIn) -> Iterator[StandIn]:
    """Serve `site` on a free port until the block ends."""
    with serving(type("Handler", (_Handler,), {"site": site, "left": site.client_gone})) as url:
        site.url = url
        try:
            yield site
        finally:
            for event in (site.awake, site.go_on):
                event.set()


class _Handler(Quiet, BaseHTTPRequestHandler):
    site: StandIn

    def do_GET(self) -> None:
        self.site.requests.append(("GET", self.path, None, dict(self.headers)))
        is_page = self.path == "/" or self.path.startswith("/assets/")
        if not is_page and not self._may_pass():
            return None
        if self.path == "/v1/models":
            return self._json({"object": "list", "data": [self._model(name) for name in self._names()]})
        if self.path == "/status":
            return self._json({"service": "portfolio", "version": "0.1.0", "models": self._states()})
        asset = pages.page() if self.path == "/" else pages.asset(self.path.removeprefix("/assets/"))
        if asset is None:
            return self._json({"error": {"message": "no such page", "source": "relight"}}, status=404)
        self._head(200, asset.content_type, {"Content-Security-Policy": pages.CSP, "ETag": asset.etag})
        self.wfile.write(asset.body)
        return None

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
        self.site.requests.append(("POST", self.path, body, dict(self.headers)))
        if not self._may_pass():
            return None
        if self.path.endswith("/wake"):
            name = self.path.split("/")[2]
            self._rouse(name)
            return self._json({"model": name, "state": self.site.states[name], "eta_s": self.site.eta_s}, status=202)
        text = body["messages"][-1]["content"].split("\n\n")[-1]
        if text.startswith("refuse"):
            return self._refuse(text.removeprefix("refuse").strip() or "relight")
        return self._stream(body.get("model") or "", text)

    def _may_pass(self) -> bool:
        """Whether the key is right; tells the client when it is not."""
        if self.site.key and self.headers.get("authorization") != f"Bearer {self.site.key}":
            error = {
                "message": "request: has no key",
                "type": "authentication_error",
                "code": "unauthorized",
                "source": "relight",
            }
            self._json({"error": error}, status=401)
            return False
        return True

    def _states(self) -> dict[str, Any]:
        return {
            name: {
                "state": state,
                "eta_s": self.site.eta_s,
                "waking_for_s": None,
                "last_error": "weights are not there" if state == "failed" else None,
                "running": 0,
                "waiting": 0,
            }
            for name, state in self.site.states.items()
        }

    def _model(self, name: str) -> dict[str, Any]:
        site = self.site
        facts: dict[str, Any] = {"context": 8192, "default": name == self._names()[0]}
        facts["backend"] = "llama.cpp" if name in site.states else "api.example.org"
        facts |= {"state": site.states[name]} if name in site.states else {}
        facts |= {"fallback": list(site.lists[name])} if name in site.lists else {}
        can = "embedding" if name in site.vectors else "completion"
        return {"id": name, "object": "model", "capabilities": [can], "relight": facts}

    def _names(self) -> tuple[str, ...]:
        return (*self.site.vectors, *self.site.models, *self.site.provided, *self.site.lists)

    def _rouse(self, name: str) -> None:
        if self.site.states.get(name) == "asleep":
            self.site.states[name] = "waking"

    def _refuse(self, source: str) -> None:
        code = "context_length_exceeded" if source == "long" else "queue_full"
        error = {
            "message": "smol: 64 requests wait already",
            "type": "server_error",
            "code": code,
            "source": "relight" if source == "long" else source,
            "hint": "try again in a moment",
        }
        self._json({"error": error}, status=503, headers={"Retry-After": "3"})

    def _stream(self, name: str, text: str) -> None:
        self._rouse(name)
        self._head(200, "text/event-stream", {"x-relight-interaction": "i-1", "x-relight-model": name})
        if not self.site.awake.is_set():
            self._write(f": {self.site.note}\n\n")
            self._event({"choices": []})
            self.site.called.set()
            self.site.awake.wait(PATIENCE_S)
        for word in ANSWERS.get(text, f"You said: {text}").split(" "):
            self._event({"choices": [{"index": 0, "delta": {"content": f"{word} "}, "finish_reason": None}]})
        if text.startswith("slow"):
            self._wait()
            self._event({"choices": [{"index": 0, "delta": {"content": "and on"}, "finish_reason": None}]})
        if text.startswith("crash"):
            self._event({"error": {"message": "engine ended with signal 9", "source": "engine", "code": "engine_crashed"}})
        elif not text.startswith("break"):
            self._finish()

    def _wait(self) -> None:
        # Comments find out whether the client is still there.
        while not self.site.go_on.wait(0.05):
            self._write(": reading\n\n")

    def _finish(self) -> None:
        self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        self._event({"choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 42, "total_tokens": 54}})
        self._write("data: [DONE]\n\n")

    def _event(self, value: Any) -> None:
        self._write(f"data: {json.dumps(value)}\n\n")

    def _write(self, text: str) -> None:
        self.wfile.write(text.encode())
        self.wfile.flush()

    def _json(self, value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._head(status, "application/json", headers or {})
        self.wfile.write(json.dumps(value).encode())

    def _head(self, status: int, content_type: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": content_type, "Cache-Control": "no-cache", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

"""A stand-in for a front door with an assistant: plays the contract of /chat, /feedback and /assistant on loopback; and a site.

What it answers is chosen by the question (`ANSWERS`, and the words that `_Handler._play` knows); it goes on by `awaken()` and
`release()`. Its HTML comes from the renderer that the service uses.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from relight.assistant.markdown import render
from relight.serve import pages
from tests.serve.process import PATIENCE_S
from tests.serve.web import Quiet, serving

TICKET = "tick-et"
MARKDOWN = """## What is built

Two things, **both** small and *quick*: `relight serve` and [the notes](https://example.org/notes).

1. It sleeps
   - frees its memory
   - costs nothing
2. It wakes

```python
def wake(model: str) -> float:
    return 0.8  # seconds
```

| Model | Size | Wakes in |
|:------|-----:|---------:|
| smol  | 95 MiB | 0.8 s |
| large | 4.1 GiB | 6.2 s |

See https://example.org/a?b=1."""
HOSTILE = """<img src=x onerror="document.title='broken'"> <script>document.title='broken'</script>

[a](javascript:document.title='broken') ![i](https://evil.example/leak.png) <svg onload=alert(1)>

[b](https://ok.example/"onmouseover="document.title='broken')"""
RAW = (
    '<p onclick="document.title=\'broken\'" style="position:fixed">kept</p><img src="x" onerror="document.title=\'broken\'">'
    '<script>document.title="broken"</script><iframe src="https://evil.example"></iframe>'
    '<a href="javascript:document.title=1">link</a>'
    '<svg><script>document.title="broken"</script></svg><a href="https://ok.example/" target="_self" onfocus="x">fine</a>'
    '<style>.panel { display: none }</style><form action="https://evil.example"><input name="q"></form><math><mi>x</mi></math>'
)
"""What no renderer of ours would send: a server that has been taken over."""
ARABIC = "مرحبا! هذا **جواب** قصير.\n\n- أولا\n- ثانيا\n\nرمز: `relight serve`"
LONG = "\n\n".join(f"Paragraph {number} of an answer that is longer than any window is high." for number in range(40))
ANSWERS = {"markdown": MARKDOWN, "hostile": HOSTILE, "arabic": ARABIC, "long": LONG}
SOURCES = [
    {"title": "Projects", "source": "content/projects.md", "url": "https://mira.example/projects"},
    {"title": "About <b>me</b>", "source": "content/about.md", "url": "javascript:alert(1)"},
]


@dataclass
class AssistantStandIn:
    """The service's state; `requests` holds what came, as (method, path, body, headers)."""

    about: dict[str, Any] = field(
        default_factory=lambda: {
            "title": "Ask Mira",
            "greeting": "Hi, I answer for Mira. Ask me what she builds, how she works, or how to reach her.",
            "suggestions": ["What have you built?", "Are you free for a project?", "How do I reach you?"],
            "accent": "#7c3aed",
        }
    )
    key: str = ""
    asleep: bool = False
    eta_s: float | None = 4.0
    is_provided: bool = False
    rating_fails: bool = False
    url: str = ""
    requests: list[tuple[str, str, Any, dict[str, str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = "provider" if self.is_provided else "asleep" if self.asleep else "awake"
        self.awake, self.go_on, self.client_gone = (threading.Event() for _ in range(3))
        if not self.asleep:
            self.awake.set()

    def awaken(self) -> None:
        """The model is ready; held questions are answered."""
        self.state = "awake"
        self.awake.set()

    def release(self) -> None:
        """Let a "slow" answer go on."""
        self.go_on.set()

    def sent(self, path: str) -> list[Any]:
        """Bodies that came for `path`, oldest first."""
        return [body for method, called, body, _ in self.requests if called == path and method != "OPTIONS"]


@contextmanager
def running(site: AssistantStandIn) -> Iterator[AssistantStandIn]:
    """Serve `site` on a free port until the block ends."""
    with serving(type("Handler", (_Handler,), {"site": site, "left": site.client_gone})) as url:
        site.url = url
        try:
            yield site
        finally:
            for event in (site.awake, site.go_on):
                event.set()


@contextmanager
def hosting(pages_by_path: Mapping[str, tuple[str, str]]) -> Iterator[str]:
    """Somebody's own site, on another origin: (HTML or CSS, content security policy) by path. Answers with its address."""
    with serving(type("Host", (_Host,), {"pages_by_path": pages_by_path, "left": threading.Event()})) as url:
        yield url


class _Host(Quiet, BaseHTTPRequestHandler):
    pages_by_path: Mapping[str, tuple[str, str]]

    def do_GET(self) -> None:
        html, policy = self.pages_by_path.get(self.path, ("", "default-src 'none'"))
        self.send_response(200)
        self.send_header("content-type", "text/css" if self.path.endswith(".css") else "text/html; charset=utf-8")
        self.send_header("content-security-policy", policy)
        self.end_headers()
        self.wfile.write(html.encode())


class _Handler(Quiet, BaseHTTPRequestHandler):
    site: AssistantStandIn

    def do_OPTIONS(self) -> None:
        self._head(
            204, "text/plain", {"Access-Control-Allow-Methods": "GET, POST", "Access-Control-Allow-Headers": "*, authorization"}
        )

    def do_GET(self) -> None:
        self.site.requests.append(("GET", self.path, None, dict(self.headers)))
        if self.path == "/assistant":
            if self._may_pass():
                self._json({**self.site.about, **self._state(), "modes": ["projects", "contact"]})
            return
        asset = self._asset()
        if asset is None:
            self._json({"error": {"message": "no such page"}}, status=404)
            return
        own = {} if self.path == "/widget.js" else {"Content-Security-Policy": pages.CSP}
        self._head(200, asset.content_type, {"ETag": asset.etag, "Cross-Origin-Resource-Policy": "cross-origin", **own})
        self.wfile.write(asset.body)

    def _asset(self) -> pages.Asset | None:
        if self.path == "/":
            return pages.page(pages.ASSISTANT)
        if self.path == "/widget.js":
            return pages.widget(self.site.about)
        return pages.asset(self.path.removeprefix("/assets/"))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
        self.site.requests.append(("POST", self.path, body, dict(self.headers)))
        if not self._may_pass():
            return
        if self.path == "/assistant/wake":
            self._rouse()
            self._json(self._state(), status=202)
        elif self.path == "/feedback":
            self._rate(body)
        else:
            self._play(body["message"])

    def _may_pass(self) -> bool:
        if self.site.key and self.headers.get("authorization") != f"Bearer {self.site.key}":
            self._json({"error": {"message": "request: has no key", "code": "unauthorized"}}, status=401)
            return False
        return True

    def _state(self) -> dict[str, Any]:
        waking = {"eta_s": self.site.eta_s} if self.site.state == "waking" and self.site.eta_s is not None else {}
        return {"state": self.site.state, **waking}

    def _rouse(self) -> None:
        if self.site.state == "asleep":
            self.site.state = "waking"

    def _rate(self, body: Any) -> None:
        if self.site.rating_fails or body["ticket"] != TICKET:
            self._json({"error": {"message": "no", "code": "forbidden", "say": "This rating was not taken."}}, status=403)
        else:
            self._json({"ok": True})

    def _play(self, question: str) -> None:
        if question.startswith("refuse"):
            error = {
                "message": "limits: 60 requests a minute are over",
                "code": "rate_limited",
                "category": "rate_limited",
                "say": "That was a lot of questions at once. Give me a moment.",
            }
            wait = {"Retry-After": question.removeprefix("refuse").strip() or "1"}
            self._json({"error": error}, status=429, headers=wait)
            return
        self._rouse()
        self._head(200, "text/event-stream", {})
        if not self.site.awake.is_set():
            self._event("waking", {"model": "smol", "eta_s": self.site.eta_s})
            self.site.awake.wait(PATIENCE_S)
        text = "" if question == "raw" else ANSWERS.get(question, f"You asked: {question}")
        self._answer(question, text)

    def _answer(self, question: str, text: str) -> None:
        about = {"interaction": "int_1", "mode": "small_talk", "confidence": 0.93, "by": "classifier"}
        sources = SOURCES if question == "sources" else []
        self._event("start", {**about, "ticket": TICKET, "sources": sources})
        words = [f"{word} " for word in text.split(" ")]
        for at, word in enumerate(words):
            self._event("delta", {"text": word})
            if "\n\n" in word and question != "slow":
                self._event("html", {"html": render("".join(words[: at + 1]))})
        if question.startswith("slow"):
            self._wait()
            self._event("delta", {"text": "and on"})
            text += " and on"
        if question.startswith("crash"):
            say = "My engine has stopped. Please ask again in a moment."
            self._event(
                "error",
                {"error": {"message": "engine ended", "code": "engine_crashed", "category": "engine_crashed", "say": say}},
            )
        elif not question.startswith("break"):
            html = RAW if question == "raw" else render(text)
            self._event("html", {"html": html})
            done = {"reply": text or "raw", "html": html, "ticket": TICKET, "model": "smol", "sources": sources}
            done["finish"] = "length" if question == "cut" else "stop"
            self._event(
                "done", {**about, **done, "usage": {"prompt_tokens": 12, "completion_tokens": 42}, "timings": {"total_ms": 900}}
            )

    def _wait(self) -> None:
        # Comments find out whether the client is still there.
        while not self.site.go_on.wait(0.05):
            self._write(": still here\n\n")

    def _event(self, name: str, value: Any) -> None:
        self._write(f"event: {name}\ndata: {json.dumps(value)}\n\n")

    def _write(self, text: str) -> None:
        self.wfile.write(text.encode())
        self.wfile.flush()

    def _json(self, value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._head(status, "application/json", headers or {})
        self.wfile.write(json.dumps(value).encode())

    def _head(self, status: int, content_type: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        shared = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "retry-after"}
        for name, value in {"Content-Type": content_type, "Cache-Control": "no-cache", **shared, **headers}.items():
            self.send_header(name, value)
        self.end_headers()

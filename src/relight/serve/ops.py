"""Routes about the service itself: health, status, metrics, the model list, waking by hand. None but `wake` wakes anything."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from relight import __version__
from relight.config.assistant import ASSISTANT
from relight.errors import PathNotFound
from relight.lifecycle.machine import State
from relight.serve.front import Backend, Front, Served
from relight.serve.http import Request
from relight.serve.prepare import CHAT, COMPLETIONS
from relight.serve.template import Way, way
from relight.telemetry.metrics import exposition

# What every model that chats answers as well, whether by itself or translated.
_TOLD_FROM_CHAT: Final = frozenset({"/v1/messages", "/v1/responses", "/api/chat", "/api/generate"})


class Ops:
    """Answers about one front door."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._since = int(front.clock.wall())

    async def livez(self, request: Request) -> None:
        """The process is up."""
        await request.answer(200, b"ok\n", [(b"content-type", b"text/plain")])

    async def readyz(self, request: Request) -> None:
        """A request would be answered, after a wake if need be."""
        failed = [name for name, served in self._front.models.items() if served.runner.status().state is State.FAILED]
        if self._front.is_stopping or (failed and len(failed) == len(self._front.models)):
            reason = "stopping" if self._front.is_stopping else f"failed: {', '.join(failed)}"
            await request.answer(503, f"{reason}\n".encode(), [(b"content-type", b"text/plain"), (b"retry-after", b"1")])
        elif self._front.desk is not None and self._front.desk.failure is not None:
            await request.answer(503, b"failed: assistant\n", [(b"content-type", b"text/plain"), (b"retry-after", b"5")])
        elif lacking := self._front.lacking():
            text = f"fetching weights: {', '.join(lacking)}\n".encode()
            await request.answer(503, text, [(b"content-type", b"text/plain"), (b"retry-after", b"1")])
        else:
            await request.answer(200, b"ready\n", [(b"content-type", b"text/plain")])

    async def status(self, request: Request) -> None:
        """Every engine's state."""
        models = {name: _status(served) for name, served in self._front.models.items()}
        said: dict[str, Any] = {"service": self._front.origin.service, "version": __version__, "models": models}
        if self._front.desk is not None:
            said["budget"] = self._front.desk.budget.left()
        await request.json(200, said)

    async def metrics(self, request: Request) -> None:
        """Prometheus' text format."""
        engines = {name: _status(served) for name, served in self._front.models.items()}
        body, content_type = exposition(self._front.metrics, engines)
        await request.answer(200, body, [(b"content-type", content_type.encode())])

    async def models(self, request: Request) -> None:
        """All models, in a shape that both OpenAI's and Anthropic's clients read."""
        data = [self._model(name) for name in self._front.config.models]
        if self._front.desk is not None:
            data.append(self._assistant(ASSISTANT))
        page = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
        await request.json(200, {"object": "list", "data": data, "has_more": False, **page})

    async def model(self, request: Request) -> None:
        """One model; its name may hold slashes."""
        name = self._front.name(_given(request, request.path.removeprefix("/v1/models/")))
        await request.json(200, self._model(name) if name in self._front.config.models else self._assistant(name))

    async def move(self, request: Request) -> None:
        """`POST /models/{name}/wake` and `/sleep`; answers at once with the state that follows."""
        name, _, verb = request.path.removeprefix("/models/").rpartition("/")
        if verb not in ("wake", "sleep"):
            raise PathNotFound(f"{request.path}: there is nothing here", hint="use /models/NAME/wake or /models/NAME/sleep")
        runner = self._front.served(_given(request, name)).runner
        after = runner.wake() if verb == "wake" else runner.sleep()
        await request.json(202, {"model": name, "state": after.state, "eta_s": round(after.eta_s, 3)})

    def _assistant(self, name: str) -> dict[str, Any]:
        """The assistant as a model: as whoever answers for it, under its own name."""
        desk = self._front.desk
        assert desk is not None  # noqa: S101 - its name is known only where there is one
        behind = self._model(desk.model)
        facts = {
            **behind["relight"],
            "default": name == self._front.config.default_model(),
            "model": desk.model,
            "modes": list(desk.section.modes),
        }
        told = {"id": name, "display_name": name, "owned_by": "relight", "capabilities": ["completion"], "relight": facts}
        return {**behind, **told}

    def _model(self, name: str) -> dict[str, Any]:
        first, config = self._front.backends(name)[0], self._front.config
        facts: dict[str, Any] = {
            "backend": first.kind,
            "default": name == config.default_model(),
            "paths": sorted(first.speech.paths | (_TOLD_FROM_CHAT if CHAT in first.speech.paths else frozenset())),
        }
        context = None
        if name in self._front.models:
            served = self._front.models[name]
            status, context = served.runner.status(), served.context
            facts |= {
                "state": status.state,
                "engine": served.kind,
                "context": context,
                "max_tokens": served.speech.needs.max_tokens,
                "wake_eta_s": round(status.eta_s, 3),
                "parallel": served.parallel,
                "snapshots": served.capabilities.snapshots,
            }
            if (seen := _way(served)) is not None:
                facts["tools"] = seen
        elif config.models[name].fallback:
            facts["fallback"] = list(config.models[name].fallback)
        model = {
            "id": name,
            "object": "model",
            "type": "model",
            "created": self._since,
            "created_at": datetime.fromtimestamp(self._since, UTC).isoformat().replace("+00:00", "Z"),
            "owned_by": "relight" if name in self._front.models else first.kind,
            "display_name": name,
            "capabilities": capabilities(first),
            "relight": facts,
        }
        return model if context is None else {**model, "context_length": context, "max_model_len": context}


def capabilities(backend: Backend) -> list[str]:
    """What the model can do, in the words of Ollama's `capabilities`."""
    paths, found = backend.speech.paths, []
    if CHAT in paths or COMPLETIONS in paths:
        found += ["completion"] if _way(backend) is Way.NONE else ["completion", "tools"]
    if backend.speech.needs.images:
        found.append("vision")
    found += [word for path, word in (("/v1/embeddings", "embedding"), ("/v1/rerank", "rerank")) if path in paths]
    return found


def _way(backend: Backend) -> Way | None:
    """How a model comes to see tools; `None` where nobody here knows."""
    needs = backend.speech.needs
    return way(needs.shown(), needs.mends) if CHAT in backend.speech.paths and needs.shown is not None else None


def _given(request: Request, name: str) -> str:
    if not name:
        raise PathNotFound(f"{request.path}: names no model", hint="GET /v1/models lists them")
    return name


def _status(served: Served) -> dict[str, Any]:
    status = served.runner.status()
    return {
        "state": status.state,
        "eta_s": round(status.eta_s, 3),
        "waking_for_s": None if status.waking_for_s is None else round(status.waking_for_s, 3),
        "last_error": status.last_error,
        "running": status.running,
        "waiting": status.waiting,
        "wait_s": round(status.wait_s, 3),
    }

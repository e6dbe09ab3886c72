"""Routes about the service itself: health, status, metrics, the model list, waking by hand. None but `wake` wakes anything."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from relight import __version__
from relight.errors import PathNotFound
from relight.lifecycle.machine import State
from relight.serve.front import Front, Served
from relight.serve.http import Request
from relight.telemetry.metrics import exposition


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
        else:
            await request.answer(200, b"ready\n", [(b"content-type", b"text/plain")])

    async def status(self, request: Request) -> None:
        """Every engine's state."""
        models = {name: _status(served) for name, served in self._front.models.items()}
        await request.json(200, {"service": self._front.origin.service, "version": __version__, "models": models})

    async def metrics(self, request: Request) -> None:
        """Prometheus' text format."""
        engines = {name: _status(served) for name, served in self._front.models.items()}
        body, content_type = exposition(self._front.metrics, engines)
        await request.answer(200, body, [(b"content-type", content_type.encode())])

    async def models(self, request: Request) -> None:
        """All models, in a shape that both OpenAI's and Anthropic's clients read."""
        data = [self._model(served) for served in self._front.models.values()]
        page = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
        await request.json(200, {"object": "list", "data": data, "has_more": False, **page})

    async def model(self, request: Request) -> None:
        """One model; its name may hold slashes."""
        await request.json(200, self._model(self._named(request, request.path.removeprefix("/v1/models/"))))

    async def move(self, request: Request) -> None:
        """`POST /models/{name}/wake` and `/sleep`; answers at once with the state that follows."""
        name, _, verb = request.path.removeprefix("/models/").rpartition("/")
        if verb not in ("wake", "sleep"):
            raise PathNotFound(f"{request.path}: there is nothing here", hint="use /models/NAME/wake or /models/NAME/sleep")
        runner = self._named(request, name).runner
        after = runner.wake() if verb == "wake" else runner.sleep()
        await request.json(202, {"model": name, "state": after.state, "eta_s": round(after.eta_s, 3)})

    def _named(self, request: Request, name: str) -> Served:
        if not name:
            raise PathNotFound(f"{request.path}: names no model", hint="GET /v1/models lists them")
        return self._front.model(name)

    def _model(self, served: Served) -> dict[str, Any]:
        status = served.runner.status()
        return {
            "id": served.name,
            "object": "model",
            "type": "model",
            "created": self._since,
            "created_at": datetime.fromtimestamp(self._since, UTC).isoformat().replace("+00:00", "Z"),
            "owned_by": "relight",
            "display_name": served.name,
            "context_length": served.context,
            "relight": {
                "state": status.state,
                "engine": served.engine,
                "context": served.context,
                "default": served.name == self._front.config.default_model(),
                "wake_eta_s": round(status.eta_s, 3),
                "paths": sorted(served.capabilities.paths),
                "snapshots": served.capabilities.snapshots,
            },
        }


def _status(served: Served) -> dict[str, Any]:
    status = served.runner.status()
    return {
        "state": status.state,
        "eta_s": round(status.eta_s, 3),
        "waking_for_s": None if status.waking_for_s is None else round(status.waking_for_s, 3),
        "last_error": status.last_error,
        "running": status.running,
        "waiting": status.waiting,
    }

"""A deployed service at its own address: Google's front, which asks who comes, and behind it a front door, ours or a stand-in."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from typing import Any, Final
from urllib.parse import urlsplit

from google.cloud.run_v2.types import IngressTraffic

from tests.cloud.fake.server import Api, Fake, Reply, Request, Route

_HOP: Final = {"connection", "keep-alive", "transfer-encoding", "content-length", "host", "te", "upgrade", ":path"}
_PAGE = "<html><head><title>{0}</title></head>\n<body><h1>Error: {1}</h1>\n<h2>{2}</h2>\n</body></html>"


def page(status: int, name: str, words: str) -> Reply:
    """A refusal of Google's own, which is a page."""
    return Reply(_PAGE.format(f"{status} {name}", name, words).encode(), status, {"content-type": "text/html; charset=UTF-8"})


NOT_FOUND: Final = page(404, "Not Found", "The requested URL was not found on this server.")
UNAUTHENTICATED: Final = page(401, "Unauthorized", "Your client does not have permission to the requested URL.")
FORBIDDEN: Final = page(403, "Forbidden", "Your client does not have permission to get URL from this server.")
UNAVAILABLE: Final = page(503, "Server Error", "The service you requested is not available yet.")
BUSY: Final = Reply(b"The request was aborted because there was no available instance.", 429, {"content-type": "text/plain"})


class Front(Api):
    """Every service of the project. Its address is `{address}/serving/SERVICE[/TAG]`, which is also the audience of its tokens
    (of the service, without a tag)."""

    def __init__(self, fake: Fake) -> None:
        super().__init__(fake)
        self.invokers: dict[str, set[str] | None] = {}
        """Who may call a service that the fake of Cloud Run does not have (`user:me@example.com`); None: anybody."""
        self.keys: set[str] | None = None
        """The keys of the front door; None: any that begins with `rl_` where the service has RELIGHT_KEYS, else none."""
        self.visitors = False
        """Whether the assistant answers without a key."""
        self.model = "smol"
        self.before: list[Reply] = []
        """What the next requests are answered with, whoever asks."""
        self.behind: str | None = None
        """Address of a real front door."""
        self.requests: list[Request] = []
        """What reached the front, whoever asked."""
        self.wake_ms = "812"

    def routes(self) -> list[Route]:
        place = r"/serving/(?P<service>[^/]+)(?:/(?P<tag>[^/]+))?/?(?P<path>/(?:readyz|livez|status|chat|v1/.+))"
        return [(method, place, self._ask) for method in ("GET", "POST")]

    def _ask(self, request: Request, service: str, tag: str | None, path: str) -> Reply:
        self.requests.append(request)
        if self.before:
            return self.before.pop(0)
        return self._stopped(service) or self._unknown(request, service) or self._door(request, service, path)

    # --- Google's part

    def _found(self, service: str) -> Any:
        run = getattr(self.fake, "run", None)
        services = {} if run is None else {name.rpartition("/")[2]: found for name, found in run.services.items()}
        return services.get(service)

    def _stopped(self, service: str) -> Reply | None:
        found = self._found(service)
        if found is None:
            return None if service in self.invokers else NOT_FOUND
        if not found.uri or found.ingress != IngressTraffic.INGRESS_TRAFFIC_ALL:
            return NOT_FOUND
        manual = found.scaling.scaling_mode == found.scaling.ScalingMode.MANUAL
        return UNAVAILABLE if manual and not found.scaling.manual_instance_count else None

    def _members(self, service: str) -> set[str] | None:
        found = self._found(service)
        if found is None:
            return self.invokers[service]
        if found.invoker_iam_disabled:
            return None
        members: set[str] = self.fake.run.policies.members(found.name, "roles/run.invoker")  # type: ignore[attr-defined]
        return None if "allUsers" in members else members

    def _unknown(self, request: Request, service: str) -> Reply | None:
        """What Google says to whoever may not pass."""
        members = self._members(service)
        if members is None:
            return None
        token = self._token(request)
        said = None if token is None else self.fake.identities.claims(token)  # type: ignore[attr-defined]
        if said is None:
            return UNAUTHENTICATED if token else FORBIDDEN
        mine = f"http://{request.headers['host']}/serving/{service}"
        # Of a user the audience is the program that they signed in with.
        if said["aud"].rstrip("/") != mine and not said["aud"].endswith(".apps.googleusercontent.com"):
            return UNAUTHENTICATED
        email = said.get("email", "")
        return None if {f"user:{email}", f"serviceAccount:{email}", "allAuthenticatedUsers"} & members else FORBIDDEN

    def _token(self, request: Request) -> str | None:
        for name in ("x-serverless-authorization", "authorization"):
            if name in request.headers:
                return request.headers[name].removeprefix("Bearer ")
        return None

    # --- the front door

    def _door(self, request: Request, service: str, path: str) -> Reply:
        if self.behind is not None:
            return self._real(request, service, path)
        if path == "/readyz":
            return Reply(b"ready\n", headers={"content-type": "text/plain"})
        key, keys = request.headers.get("authorization", "").removeprefix("Bearer "), self._keys(service)
        headers = {"content-type": "application/json", "x-relight-interaction": "int_1"}
        if keys is not None and not (path == "/chat" and self.visitors and not key):
            knows = key in keys if keys else key.startswith("rl_")
            if not knows:
                said = "request: its key is not known here" if key else "request: has no key"
                return Reply(json.dumps({"error": {"message": said, "code": "unauthorized"}}).encode(), 401, headers)
        usage = {"prompt_tokens": 12, "completion_tokens": 3}
        told: dict[str, Any] = {"reply": "Hello!"} if path == "/chat" else {"choices": [{"message": {"content": "Hello!"}}]}
        headers |= {"x-relight-model": self.model, "x-relight-wake-ms": self.wake_ms}
        return Reply(json.dumps(told | {"usage": usage}).encode(), 200, headers)

    def _keys(self, service: str) -> set[str] | None:
        """The keys that it takes: none of its own means any that looks like one, None that it asks for none."""
        if self.keys is not None:
            return self.keys or None
        found = self._found(service)
        names = set() if found is None else {var.name for one in found.template.containers for var in one.env}
        return set() if "RELIGHT_KEYS" in names else None

    def _real(self, request: Request, service: str, path: str) -> Reply:
        """A real front door, given the request as Google gives it: the signature of the token it checked is taken out."""
        headers = {name: text for name, text in request.headers.items() if name not in _HOP}
        if self._members(service) is not None:
            name = next(name for name in ("x-serverless-authorization", "authorization") if name in headers)
            headers[name] = headers[name].rpartition(".")[0] + ".SIGNATURE_REMOVED_BY_GOOGLE"
        headers |= {"host": f"{service}.run.app", "x-forwarded-for": "203.0.113.7", "x-forwarded-proto": "https"}
        connection = HTTPConnection(str(urlsplit(self.behind).netloc), timeout=30)
        try:
            connection.request(request.method, path, request.body or None, headers)
            answer = connection.getresponse()
            kept = {name.lower(): text for name, text in answer.getheaders() if name.lower() not in _HOP}
            return Reply(answer.read(), answer.status, kept)
        finally:
            connection.close()

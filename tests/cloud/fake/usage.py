"""Service Usage: which APIs of Google's a project has enabled. The other fakes ask `demand` before they do anything."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

from google.cloud.service_usage_v1 import types as su
from google.protobuf.message import Message

from tests.cloud.fake.server import Api, Fake, Refused, Request, Route, packed

TITLES = {
    "artifactregistry.googleapis.com": "Artifact Registry API",
    "cloudbilling.googleapis.com": "Cloud Billing API",
    "cloudbuild.googleapis.com": "Cloud Build API",
    "cloudquotas.googleapis.com": "Cloud Quotas API",
    "cloudresourcemanager.googleapis.com": "Cloud Resource Manager API",
    "cloudscheduler.googleapis.com": "Cloud Scheduler API",
    "cloudtrace.googleapis.com": "Cloud Trace API",
    "compute.googleapis.com": "Compute Engine API",
    "iam.googleapis.com": "Identity and Access Management (IAM) API",
    "iamcredentials.googleapis.com": "IAM Service Account Credentials API",
    "logging.googleapis.com": "Cloud Logging API",
    "monitoring.googleapis.com": "Cloud Monitoring API",
    "run.googleapis.com": "Cloud Run Admin API",
    "secretmanager.googleapis.com": "Secret Manager API",
    "serviceusage.googleapis.com": "Service Usage API",
    "storage.googleapis.com": "Cloud Storage API",
    "telemetry.googleapis.com": "Telemetry API",
}
"""What Google calls its APIs."""
_PAID = {"artifactregistry", "cloudbuild", "cloudscheduler", "compute", "run", "secretmanager"}
_PARENT = r"/v1/projects/(?P<project>[^/]+)/services"
_MOST_ENABLED, _MOST_READ = 20, 30


class Usage(Api):
    """What is enabled. A new project has Service Usage itself, and nothing else."""

    def __init__(self, fake: Fake) -> None:
        super().__init__(fake)
        self.enabled: set[str] = {"serviceusage.googleapis.com"}
        """`run.googleapis.com`; for tests to fill as well (see `enable`)."""
        self.titles = dict(TITLES)
        """Every API that there is."""
        self.takes = 2
        """Requests until an operation ends."""
        self.delay = 0
        """Requests after that until the other APIs know of it."""
        self.may_see = True
        """Whether whoever asks may see what is enabled."""
        self._known_at: dict[str, int] = {}

    # --- for tests, and for the other APIs

    def enable(self, *apis: str) -> None:
        """As if they had been enabled for years; without any, all that there are."""
        self.enabled |= {self._full(api) for api in apis} or set(self.titles)

    def demand(self, api: str) -> None:
        """Refuses as an API does that is not enabled, or not for long enough. `run` and `run.googleapis.com` are the same."""
        name = self._full(api)
        if name in self.enabled and self._known_at.get(name, 0) <= self.fake.now:
            return
        raise Refused(
            403,
            "PERMISSION_DENIED",
            f"{self.titles[name]} has not been used in project {self.fake.number} before or it is disabled. Enable it by "
            f"visiting https://console.developers.google.com/apis/api/{name}/overview?project={self.fake.number} then retry. "
            "If you enabled this API recently, wait a few minutes for the action to propagate to our systems and retry.",
        )

    # --- the API

    def routes(self) -> list[Route]:
        return [
            ("POST", rf"{_PARENT}:batchEnable", self._batch_enable),
            ("GET", rf"{_PARENT}:batchGet", self._batch_get),
            ("GET", rf"{_PARENT}/(?P<name>[^/:]+)", self._get),
        ]

    def _batch_enable(self, request: Request, project: str) -> dict[str, Any]:
        request.only()
        self._check(project)
        apis = list(request.message(su.BatchEnableServicesRequest).service_ids)
        if not 0 < len(apis) <= _MOST_ENABLED:
            raise Refused(400, "INVALID_ARGUMENT", f"A batch enables 1 to {_MOST_ENABLED} services, not {len(apis)}.")
        if unknown := [api for api in apis if api not in self.titles]:
            raise Refused(403, "PERMISSION_DENIED", f"Not found or permission denied for service(s): {', '.join(unknown)}.")
        missing = [api for api in apis if api not in self.enabled]
        self._demand_billing(missing)
        if not missing:
            said = packed(su.BatchEnableServicesResponse.pb(self._response(apis)))
            return {"name": "operations/noop.DONE_OPERATION", "done": True, "response": said}

        def finish() -> Message:
            self.enabled |= set(missing)
            self._known_at |= dict.fromkeys(missing, self.fake.now + self.delay)
            return su.BatchEnableServicesResponse.pb(self._response(apis))

        return self.fake.operation("", requests=self.takes, finish=finish)

    def _batch_get(self, request: Request, project: str) -> Message:
        self._check(project)
        if not self.may_see:
            raise Refused(403, "PERMISSION_DENIED", f"Permission denied to get services of project {project}.")
        request.only("names")
        # One parameter, many times: the request's own `query` keeps the last.
        names = parse_qs(urlsplit(request.headers[":path"]).query).get("names", [])
        if not 0 < len(names) <= _MOST_READ:
            raise Refused(400, "INVALID_ARGUMENT", f"A batch reads 1 to {_MOST_READ} services, not {len(names)}.")
        if strange := [name for name in names if not name.startswith(f"projects/{project}/services/")]:
            raise Refused(400, "INVALID_ARGUMENT", f"{strange[0]} is not of the parent.")
        found = [self._service(name.rpartition("/")[2]) for name in names]
        return su.BatchGetServicesResponse.pb(su.BatchGetServicesResponse(services=found))

    def _get(self, request: Request, project: str, name: str) -> Message:
        request.only()
        self._check(project)
        if not self.may_see:
            raise Refused(403, "PERMISSION_DENIED", f"Permission denied to get service [{name}].")
        return su.Service.pb(self._service(name))

    # --- what it is made of

    def _check(self, project: str) -> None:
        if project not in {self.fake.project, self.fake.number}:
            raise Refused(403, "PERMISSION_DENIED", f"Project '{project}' not found or permission denied.")
        self.demand("serviceusage")

    def _demand_billing(self, apis: list[str]) -> None:
        projects = getattr(self.fake, "projects", None)
        paid = [api for api in apis if api.partition(".")[0] in _PAID]
        if paid and projects is not None and not projects.has_billing:
            raise Refused(
                400,
                "FAILED_PRECONDITION",
                f"Billing account for project '{self.fake.number}' is not found. Billing must be enabled for activation of "
                f"service(s) '{','.join(paid)}' to proceed.",
            )

    def _service(self, api: str) -> su.Service:
        state = su.State.ENABLED if api in self.enabled else su.State.DISABLED
        parent = f"projects/{self.fake.number}"
        return su.Service(name=f"{parent}/services/{api}", parent=parent, state=state)

    def _response(self, apis: list[str]) -> su.BatchEnableServicesResponse:
        return su.BatchEnableServicesResponse(services=[self._service(api) for api in apis])

    def _full(self, api: str) -> str:
        name = api if "." in api else f"{api}.googleapis.com"
        assert name in self.titles, f"the fake knows no API {name}"
        return name

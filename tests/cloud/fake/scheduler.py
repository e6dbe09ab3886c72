"""Cloud Scheduler: jobs, and what happens when one is due."""

from __future__ import annotations

import re
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from google.cloud.scheduler_v1 import HttpMethod, Job, ListJobsResponse
from google.protobuf import json_format

from tests.cloud.fake.paging import paged
from tests.cloud.fake.server import Api, Fake, Refused, Request, Route

_JOB = r"(?P<name>projects/[^/]+/locations/[^/]+/jobs/[^/:]+)"
_API = "cloudscheduler.googleapis.com"
_MASKED = {"description", "schedule", "timeZone", "httpTarget", "retryConfig", "attemptDeadline"}


class Scheduler(Api):
    """Jobs by their whole names. Nothing fires by itself: `fire` is the clock."""

    def __init__(self, fake: Fake) -> None:
        super().__init__(fake)
        self.jobs: dict[str, Job] = {}
        self.locations = {"europe-west1", "europe-west3", "europe-west4", "us-central1"}

    def routes(self) -> list[Route]:
        parent = r"/v1/(?P<parent>projects/[^/]+/locations/[^/]+)/jobs"
        return [
            ("GET", parent, self._list),
            ("POST", parent, self._create),
            ("GET", f"/v1/{_JOB}", self._get),
            ("PATCH", f"/v1/{_JOB}", self._update),
            ("DELETE", f"/v1/{_JOB}", self._delete),
            ("POST", f"/v1/{_JOB}:(?P<verb>pause|resume)", self._switch),
        ]

    # --- the API

    def _list(self, request: Request, parent: str) -> Any:
        self._look(parent, request.only("pageSize", "pageToken"))
        found = sorted(name for name in self.jobs if name.startswith(f"{parent}/jobs/"))
        names, more = paged(found, request.query, most=2)
        return ListJobsResponse.pb(ListJobsResponse(jobs=[self.jobs[name] for name in names], next_page_token=more))

    def _create(self, request: Request, parent: str) -> Any:
        self._look(parent, request.only())
        job = request.message(Job)
        if not re.fullmatch(rf"{parent}/jobs/[A-Za-z0-9_-]{{1,500}}", job.name):
            raise Refused(400, "INVALID_ARGUMENT", f"Job name must be formatted: {job.name}")
        if job.name in self.jobs:
            raise Refused(409, "ALREADY_EXISTS", f"Job {job.name} already exists.")
        return self._keep(job, Job.State.ENABLED)

    def _get(self, request: Request, name: str) -> Any:
        self._look(name, request.only())
        return Job.pb(self._there(name))

    def _update(self, request: Request, name: str) -> Any:
        self._look(name, request.only("updateMask"))
        there, said = self._there(name), request.message(Job)
        mask = set(filter(None, request.query.get("updateMask", "").split(",")))
        if not mask or mask - _MASKED:
            raise Refused(400, "INVALID_ARGUMENT", f"Invalid update mask: {sorted(mask - _MASKED)}")
        new = json_format.MessageToDict(Job.pb(there))
        sent = json_format.MessageToDict(Job.pb(said))
        for path in mask:
            new.pop(path, None)
            new |= {path: sent[path]} if path in sent else {}
        found = Job.pb()()
        json_format.ParseDict(new, found)
        return self._keep(Job.wrap(found), there.state)

    def _delete(self, request: Request, name: str) -> Any:
        self._look(name, request.only())
        self._there(name)
        del self.jobs[name]
        return {}

    def _switch(self, request: Request, name: str, verb: str) -> Any:
        self._look(name, request.only())
        return self._keep(self._there(name), Job.State.PAUSED if verb == "pause" else Job.State.ENABLED)

    # --- the clock

    def fire(self, name: str) -> int:
        """Send what the job whose name ends so is to send, from whom it is to come; the status of the answer."""
        (job,) = [job for full, job in self.jobs.items() if full.endswith(f"/jobs/{name}")]
        assert job.state == Job.State.ENABLED
        target = job.http_target
        headers, parts = dict(target.headers), urlsplit(target.uri)
        if (email := target.oauth_token.service_account_email) and not self._may_change(email, parts.path):
            return 403
        if email := target.oidc_token.service_account_email:
            headers["Authorization"] = f"Bearer {email} for {target.oidc_token.audience}"
        at = urlsplit(self.fake.address)  # type: ignore[attr-defined]  # of Cloud
        connection = HTTPConnection(at.hostname or "", at.port)
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        connection.request(HttpMethod(target.http_method).name, path, body=target.body or None, headers=headers)
        status = connection.getresponse().status
        connection.close()
        return status

    # --- what it demands

    def _look(self, name: str, _: object) -> None:
        location = name.split("/")[3]
        self.fake.usage.demand(_API)  # type: ignore[attr-defined]  # of Cloud
        if location not in self.locations:
            raise Refused(404, "NOT_FOUND", f"Location '{location}' is not a valid location.")

    def _may_change(self, email: str, path: str) -> bool:
        policies = self.fake.run.policies  # type: ignore[attr-defined]  # of Cloud
        return f"serviceAccount:{email}" in policies.members(path.removeprefix("/v2/"), "roles/run.developer")

    def _there(self, name: str) -> Job:
        if name not in self.jobs:
            raise Refused(404, "NOT_FOUND", f"Job {name} not found.")
        return self.jobs[name]

    def _keep(self, job: Job, state: Any) -> Any:
        for is_wrong, text in _faults(job):
            if is_wrong:
                raise Refused(400, "INVALID_ARGUMENT", text)
        for token in (job.http_target.oauth_token, job.http_target.oidc_token):
            self.fake.iam.demand(token.service_account_email)  # type: ignore[attr-defined]
        job.state = state
        job.http_target.headers["User-Agent"] = "Google-Cloud-Scheduler"  # as the real one does
        self.jobs[job.name] = job
        return Job.pb(job)


def _faults(job: Job) -> list[tuple[bool, str]]:
    target = job.http_target
    writes = target.http_method in (HttpMethod.POST, HttpMethod.PUT, HttpMethod.PATCH)
    google = (urlsplit(target.uri).hostname or "").endswith(".googleapis.com")
    return [
        (not _is_cron(job.schedule), f"Schedule or time zone is invalid: {job.schedule}"),
        (job.time_zone not in available_timezones(), f"Schedule or time zone is invalid: {job.time_zone}"),
        (not target.uri.startswith(("http://", "https://")), "Job.http_target.uri must begin with http:// or https://"),
        (bool(target.body) and not writes, "HttpTarget.body is only allowed for POST, PUT and PATCH."),
        (bool(target.oauth_token.service_account_email) and not google, "OAuth tokens are for *.googleapis.com only."),
        (job.retry_config.retry_count > 5, "RetryConfig.retry_count must be at most 5."),
        (not 15 <= job.attempt_deadline.total_seconds() <= 1800, "Job.attempt_deadline must be in [15s, 30m]."),
        (len(job.description) > 500, "Job.description is too long."),
    ]


def _is_cron(text: str) -> bool:
    part = r"(\*(/\d+)?|\d+(-\d+)?(,\d+(-\d+)?)*)"
    return re.fullmatch(" ".join([part] * 5), text) is not None

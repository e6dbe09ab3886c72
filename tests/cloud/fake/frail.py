"""A project in which a call that changes something goes wrong when a test says so; and what stands in it, for comparing."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.cloud.run_v2 import Service
from google.protobuf.json_format import MessageToDict

from tests.cloud.fake.cloud import Cloud
from tests.cloud.fake.policies import Policies
from tests.cloud.fake.server import Fault, Refused, Reply, Request

_ASKS = re.compile(r"/token$|/tokeninfo$|/serving/|:testIamPermissions$|:getIamPolicy$|/entries:list$")
_PASSING = ("etag", "uid", "generation", "observedGeneration", "creator", "createTime", "updateTime")


@dataclass(frozen=True)
class Trouble:
    """A refusal, or without one a connection that breaks; `after` the call took effect, or before."""

    how: Refused | None = None
    after: bool = False


class Frail(Cloud):
    """`trouble` is asked about each call that changes something, by its name: `POST /v1/… #2` for the second of its kind."""

    def __init__(self) -> None:
        super().__init__()
        self.changes: list[str] = []
        """The names of all of them since `forget`, in order."""
        self.trouble: Callable[[str], Trouble | None] = lambda _: None
        self.done: Callable[[str], None] = lambda _: None
        """Told of each when it has taken effect, before it is answered."""
        self._times: Counter[str] = Counter()

    def forget(self) -> None:
        """Count anew."""
        self.changes, self._times = [], Counter()

    def handle(self, request: Request) -> tuple[Reply, bool]:
        with self._lock:
            if not changes_something(request):
                return super().handle(request)
            call = f"{request.method} {request.path}"
            self._times[call] += 1
            name = f"{call} #{self._times[call]}"
            self.changes.append(name)
            found = self.trouble(name)
            if found is not None:
                self.faults.insert(0, Fault(lambda _: True, found.how, found.after))
            answer = super().handle(request)
            self.done(name)
            return answer


def changes_something(request: Request) -> bool:
    """Whether it is more than a question; so are a dry run, and how much of an upload arrived."""
    if request.query.get("validateOnly") == "true" or request.headers.get("content-range", "").startswith("bytes */"):
        return False
    return request.method != "GET" and not _ASKS.search(request.path)


def standing(cloud: Cloud) -> dict[str, Any]:
    """All that stands in a project after a deployment, without what differs between two ways to the same: numbers of changes,
    names of revisions (they are told apart by their order), addresses, the order of members."""
    held = {
        "apis": sorted(cloud.usage.enabled),
        "accounts": sorted(cloud.iam.accounts),
        "policies": {
            name: _members(policies)
            for name, policies in {
                "project": cloud.projects.policies,
                "accounts": cloud.iam.policies,
                "secrets": cloud.secrets.policies,
                "buckets": cloud.storage.policies,
                "repositories": cloud.registry.policies,
                "services": cloud.run.policies,
            }.items()
        },
        "secrets": {
            name: [(one.state, one.data.decode()) for one in secret.versions] for name, secret in cloud.secrets.held.items()
        },
        "objects": {
            name: {place: len(one.data) for place, one in bucket.objects.items() if not place.startswith("build")}
            for name, bucket in cloud.storage.buckets.items()
        },
        "contexts": sorted(place for bucket in cloud.storage.buckets.values() for place in bucket.objects if "builds/" in place),
        "images": {
            f"{place}/{name}": [len(package.versions), sorted(package.tags)]
            for place, kept in cloud.registry.kept.items()
            for name, package in kept.packages.items()
        },
        "builds": [run.build.status.name for run in cloud.builds.runs.values()],
        "revisions": len(cloud.run.revisions),
        "services": {name: _service(service) for name, service in cloud.run.services.items()},
        "jobs": {name: job.schedule for name, job in cloud.scheduler.jobs.items()},
    }
    text = json.dumps(held, sort_keys=True).replace(cloud.address, "ADDRESS")
    for number, name in enumerate(cloud.run.revisions, start=1):
        text = text.replace(name.rpartition("/")[2], f"REVISION-{number}")
    return dict(json.loads(re.sub(r"@sha256:[0-9a-f]{64}", "@DIGEST", text)))


def _members(policies: Policies) -> dict[str, dict[str, list[str]]]:
    return {thing: {role: sorted(who) for role, who in roles.items() if who} for thing, roles in policies.bindings.items()}


def _service(service: Service) -> dict[str, Any]:
    said = dict(MessageToDict(Service.pb(service)))
    return {name: value for name, value in said.items() if name not in _PASSING}

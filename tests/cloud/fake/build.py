"""Cloud Build: builds of a region that fetch their context, write a log into a bucket, push an image, or fail."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from google.cloud.devtools.cloudbuild_v1 import (
    Build,
    BuildOperationMetadata,
    BuildOptions,
    BuiltImage,
    CancelBuildRequest,
    ListBuildsResponse,
    Results,
)
from google.protobuf.message import Message

from tests.cloud.fake.server import Api, Fake, Refused, Request, Route

_PLACE = r"/v1/projects/(?P<project>[^/]+)/locations/(?P<region>[^/]+)/builds"
_BUILD = _PLACE + r"/(?P<build>[^/:]+)"
_IMAGE = re.compile(r"([a-z0-9-]+)-docker\.pkg\.dev/([^/]+)/([^/]+)/([^:]+):([\w.-]+)")
_READERS = {"roles/storage.objectViewer", "roles/storage.objectUser", "roles/storage.objectAdmin", "roles/storage.admin"}
_WRITERS = {"roles/storage.objectUser", "roles/storage.objectAdmin", "roles/storage.admin"}
_MOST_S = 24 * 3600


@dataclass(frozen=True)
class Outcome:
    """How a build goes: `log` in pieces, one each few requests, and then its status; with `says_digest` False it does not tell
    what it pushed."""

    status: str = "SUCCESS"
    failure: str = "USER_BUILD_STEP"
    detail: str = ""
    log: tuple[str, ...] = ("FETCHSOURCE\n", "BUILD\nStep 1: FROM python\n", "PUSH\nDONE\n")
    says_digest: bool = True


@dataclass
class _Run:
    build: Build
    outcome: Outcome
    log: str = ""
    is_cancelled: bool = field(default=False)


class Builds(Api):
    """`runs` by id. `outcomes` are those of the next builds, one each; after them all succeed."""

    def __init__(self, fake: Fake) -> None:
        super().__init__(fake)
        self.runs: dict[str, _Run] = {}
        self.outcomes: list[Outcome] = []
        self.refused_machines: set[str] = set()
        """Types of machine that the project has no quota for; `UNSPECIFIED` is the default one."""
        self.pace = 2
        """Requests from one thing that happens in a build to the next."""
        self.has_late_log = False
        """Whether the whole log comes at the end."""
        self.contexts: list[list[str]] = []
        """Names of the files that each build fetched."""

    @property
    def made(self) -> list[Build]:
        """All builds, the oldest first."""
        return [run.build for run in self.runs.values()]

    def routes(self) -> list[Route]:
        return [
            ("POST", _PLACE, self._guarded(self._create)),
            ("GET", _PLACE, self._guarded(self._list)),
            ("GET", _BUILD, self._guarded(self._get)),
            ("POST", _BUILD + ":cancel", self._guarded(self._cancel)),
        ]

    def _guarded(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(request: Request, project: str, **named: str) -> Any:
            if project not in {self.fake.project, self.fake.number}:
                raise Refused(403, "PERMISSION_DENIED", "The caller does not have permission")
            if (usage := getattr(self.fake, "usage", None)) is not None:
                usage.demand("cloudbuild.googleapis.com")
            return handler(request, **named)

        return guarded

    # --- the API

    def _create(self, request: Request, region: str) -> dict[str, Any]:
        request.only()
        build: Build = request.message(Build)
        self._check(build)
        build.id = f"{len(self.runs) + 1:08d}-aaaa-bbbb-cccc-000000000000"
        build.name = f"projects/{self.fake.project}/locations/{region}/builds/{build.id}"
        build.status, build.project_id = _status("QUEUED"), self.fake.project
        build.log_url = f"https://console.cloud.google.com/cloud-build/builds;region={region}/{build.id}"
        run = _Run(build, self.outcomes.pop(0) if self.outcomes else Outcome())
        self.runs[build.id] = run
        self.fake.later(self.pace, lambda: self._start(run))
        metadata = BuildOperationMetadata.pb(BuildOperationMetadata(build=build))
        place = f"projects/{self.fake.project}/locations/{region}"
        return self.fake.operation(place, requests=99, metadata=metadata, finish=lambda: Build.pb(run.build))

    def _list(self, request: Request, region: str) -> Message:
        query = request.only("filter", "pageSize", "pageToken")
        wanted = re.fullmatch(r'tags="([\w.-]+)"', query.get("filter", ""))
        if wanted is None:
            raise Refused(400, "INVALID_ARGUMENT", "invalid list filter")
        found = [build for build in reversed(self.made) if wanted[1] in build.tags and f"/{region}/" in build.name]
        return ListBuildsResponse.pb(ListBuildsResponse(builds=found))

    def _get(self, request: Request, region: str, build: str) -> Message:
        request.only()
        return Build.pb(self._run(region, build).build)

    def _cancel(self, request: Request, region: str, build: str) -> Message:
        request.message(CancelBuildRequest)
        run = self._run(region, build)
        if run.build.status.name not in {"QUEUED", "WORKING"}:
            raise Refused(400, "FAILED_PRECONDITION", "Build has already ended.")
        self.cancel(build)
        return Build.pb(run.build)

    def cancel(self, build: str) -> None:
        """Somebody stops a build."""
        self.runs[build].is_cancelled = True
        self.runs[build].build.status = _status("CANCELLED")

    def _run(self, region: str, build: str) -> _Run:
        run = self.runs.get(build)
        if run is None or f"/{region}/" not in run.build.name:
            raise Refused(404, "NOT_FOUND", "Requested entity was not found.")
        return run

    def _check(self, build: Build) -> None:
        if build.id or build.name or build.status.name != "STATUS_UNKNOWN" or build.results.images:
            raise Refused(400, "INVALID_ARGUMENT", "invalid build: fields of the output are set")
        if strange := [tag for tag in build.tags if not re.fullmatch(r"\w[\w.-]{0,127}", tag)]:
            raise Refused(400, "INVALID_ARGUMENT", f"invalid build: invalid build tag {strange}")
        if not build.steps or any(not step.name for step in build.steps) or build.timeout.total_seconds() > _MOST_S:
            raise Refused(400, "INVALID_ARGUMENT", "invalid build: steps and timeout")
        source = build.source.storage_source
        if source.object_ not in self._objects(source.bucket):
            raise Refused(404, "NOT_FOUND", f"could not find gs://{source.bucket}/{source.object_}")
        self._check_account(build)
        if build.options.machine_type.name in self.refused_machines:
            message = "failed precondition: due to quota restrictions, cannot run builds of this machine type in this region"
            raise Refused(400, "FAILED_PRECONDITION", message)

    def _check_account(self, build: Build) -> None:
        logging, modes = build.options.logging, BuildOptions.LoggingMode
        if build.service_account and not build.logs_bucket and logging not in {modes.CLOUD_LOGGING_ONLY, modes.NONE}:
            message = "if 'build.service_account' is specified, the build must either (a) specify 'build.logs_bucket' (b) use ..."
            raise Refused(400, "INVALID_ARGUMENT", message)
        if (iam := getattr(self.fake, "iam", None)) is not None:
            iam.demand(_email(build))

    # --- what becomes of it

    def _start(self, run: _Run) -> None:
        if run.is_cancelled:
            return
        source, build = run.build.source.storage_source, run.build
        build.status = _status("WORKING")
        there = self._objects(source.bucket).get(source.object_)
        is_there = there is not None and source.generation in (0, there.generation)
        if not (self._may(build, source.bucket, _READERS) and is_there):
            detail = f"{_email(build)} does not have storage.objects.get access to the Google Cloud Storage object."
            self._fail(run, "FAILURE", "FETCH_SOURCE_FAILED", detail)
        elif build.logs_bucket and not self._may(build, _logs(build)[0], _WRITERS):
            detail = f"{_email(build)} does not have storage.objects.create access to the Google Cloud Storage object."
            self._fail(run, "FAILURE", "LOGGING_FAILURE", detail)
        else:
            with tarfile.open(fileobj=io.BytesIO(self._objects(source.bucket)[source.object_].data), mode="r:gz") as archive:
                self.contexts.append(archive.getnames())
            self._go_on(run, 0)

    def _go_on(self, run: _Run, piece: int) -> None:
        if run.is_cancelled:
            return
        if piece < len(run.outcome.log):
            run.log += run.outcome.log[piece]
            if not self.has_late_log:
                self._write_log(run)
            self.fake.later(self.pace, lambda: self._go_on(run, piece + 1))
            return
        self._write_log(run)
        self._end(run)

    def _end(self, run: _Run) -> None:
        outcome, build = run.outcome, run.build
        arguments = [argument for step in build.steps for argument in step.args]
        if outcome.status != "SUCCESS":
            self._fail(run, outcome.status, outcome.failure, outcome.detail)
        elif "Dockerfile" not in self.contexts[-1]:
            self._fail(run, "FAILURE", "USER_BUILD_STEP", "failed to read Dockerfile: no such file or directory")
        elif missing := [image for image in build.images if image not in arguments]:
            self._fail(run, "FAILURE", "PUSH_IMAGE_NOT_FOUND", f"An image does not exist locally: {missing}")
        else:
            self._push(run)

    def _push(self, run: _Run) -> None:
        build, registry, digest = run.build, getattr(self.fake, "registry", None), "sha256:" + "0" * 64
        for image in build.images:
            region, project, repository, name, tag = _parts(image)
            if registry is not None:
                members = registry.members(repository, "roles/artifactregistry.writer", region=region)
                if project != self.fake.project or f"serviceAccount:{_email(build)}" not in members:
                    detail = 'denied: Permission "artifactregistry.repositories.uploadArtifacts" denied'
                    self._fail(run, "FAILURE", "PUSH_NOT_AUTHORIZED", detail)
                    return
                if image == build.images[0]:
                    digest = registry.push(repository, name, tag, region=region)
                else:  # the same under another tag
                    registry.kept[f"{region}/{repository}"].packages[name].tags[tag] = digest
        if run.outcome.says_digest:
            build.results = Results(images=[BuiltImage(name=image, digest=digest) for image in build.images])
        build.status = _status("SUCCESS")

    def _fail(self, run: _Run, status: str, failure: str, detail: str) -> None:
        run.build.status = _status(status)
        run.build.failure_info = Build.FailureInfo(type_=failure, detail=detail)

    def _write_log(self, run: _Run) -> None:
        bucket, folder = _logs(run.build)
        storage = self.fake.storage  # type: ignore[attr-defined]
        if bucket in storage.buckets:
            storage.put(bucket, f"{folder}/log-{run.build.id}.txt", run.log.encode())

    def _objects(self, bucket: str) -> dict[str, Any]:
        buckets = self.fake.storage.buckets  # type: ignore[attr-defined]
        return buckets[bucket].objects if bucket in buckets else {}

    def _may(self, build: Build, bucket: str, roles: set[str]) -> bool:
        policies = self.fake.storage.policies  # type: ignore[attr-defined]
        return any(f"serviceAccount:{_email(build)}" in policies.members(f"bucket:{bucket}", role) for role in roles)


def _status(name: str) -> Any:
    return getattr(Build.Status, name)


def _email(build: Build) -> str:
    return str(build.service_account.rpartition("/")[2])


def _logs(build: Build) -> tuple[str, str]:
    bucket, _, folder = build.logs_bucket.removeprefix("gs://").partition("/")
    return bucket, folder


def _parts(image: str) -> tuple[str, ...]:
    match = _IMAGE.fullmatch(image)
    if match is None:
        raise Refused(400, "INVALID_ARGUMENT", f"invalid image name {image!r}")
    return match.groups()

"""Artifact Registry: repositories of images with their clean-up policies, the images in them, their tags."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from google.cloud import artifactregistry_v1 as ar
from google.protobuf import field_mask_pb2
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from tests.cloud.fake.paging import paged
from tests.cloud.fake.policies import Policies
from tests.cloud.fake.secrets import asked_policy
from tests.cloud.fake.server import Api, Fake, Refused, Request, Route

_PLACE = r"/v1/projects/(?P<project>[^/]+)/locations/(?P<region>[^/]+)/repositories"
_REPOSITORY = _PLACE + r"/(?P<name>[^/:]+)"
_PACKAGE = _REPOSITORY + r"/packages/(?P<package>[^/:]+)"
_REFERENCE = re.compile(r"([a-z0-9-]+)-docker\.pkg\.dev/([^/]+)/([^/]+)/([^:@]+)[:@](.+)")
_MUTABLE = {"description", "labels", "cleanup_policies", "cleanup_policy_dry_run"}
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_MOST_POLICIES = 10


@dataclass
class Package:
    """An image by its name: when each version was pushed, by digest, in order; and digests by tag."""

    versions: dict[str, datetime] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def tags_of(self, digest: str) -> list[str]:
        return sorted(tag for tag, found in self.tags.items() if found == digest)


@dataclass
class Kept:
    """A repository and the images in it, by name."""

    repository: ar.Repository
    packages: dict[str, Package] = field(default_factory=dict)


class Registry(Api):
    """Repositories by region and short name: `europe-west4/relight-x`."""

    def __init__(self, fake: Fake) -> None:
        super().__init__(fake)
        self.kept: dict[str, Kept] = {}
        self.making: set[str] = set()
        self.policies = Policies()
        """By region and short name."""
        self.page = 3
        """Entries of a page; few, so that everybody has to turn it."""
        self.image_bytes = 400_000_000
        self.today = _EPOCH
        """When whatever is pushed now is pushed."""
        self._pushes = 0

    # --- for tests, and for the other APIs

    def make(self, name: str, *, region: str = "europe-west4", **fields: Any) -> None:
        """A repository of images that is there."""
        format_ = ar.Repository.Format.DOCKER
        self.kept[f"{region}/{name}"] = Kept(ar.Repository(name=self._name(region, name), format_=format_, **fields))

    def push(self, repository: str, image: str, tag: str, *, region: str = "europe-west4") -> str:
        """Push another image under `tag`, which leaves the one that had it; returns its digest."""
        self._pushes += 1
        digest = "sha256:" + hashlib.sha256(f"{repository}/{image}:{tag} {self._pushes}".encode()).hexdigest()
        package = self._kept(region, repository).packages.setdefault(image, Package())
        package.versions[digest] = self.today + timedelta(seconds=self._pushes)
        package.tags[tag] = digest
        return digest

    def has(self, reference: str) -> bool:
        """Whether there is an image of that reference, with a tag or a digest. Those of other places are taken to be there."""
        match = _REFERENCE.fullmatch(reference)
        if match is None or match[2] != self.fake.project:
            return True
        kept = self.kept.get(f"{match[1]}/{match[3]}")
        package = kept.packages.get(match[4], Package()) if kept is not None else Package()
        return match[5] in package.versions or match[5] in package.tags

    def members(self, name: str, role: str, *, region: str = "europe-west4") -> set[str]:
        """Who has a role on a repository."""
        return self.policies.members(f"{region}/{name}", role)

    def clean(self, days: int) -> None:
        """`days` pass, and the policies of all repositories are applied as Google does once a day."""
        self.today += timedelta(days=days)
        for kept in self.kept.values():
            policies = list(kept.repository.cleanup_policies.values())
            for package in kept.packages.values():
                doomed = [digest for digest in package.versions if _goes(package, digest, policies, self.today)]
                for digest in doomed:
                    del package.versions[digest]
                package.tags = {tag: digest for tag, digest in package.tags.items() if digest in package.versions}

    # --- the API

    def routes(self) -> list[Route]:
        found: list[Route] = [
            ("GET", _PLACE, self._list),
            ("POST", _PLACE, self._create),
            ("GET", _REPOSITORY, self._get),
            ("PATCH", _REPOSITORY, self._update),
            ("DELETE", _REPOSITORY, self._delete),
            ("GET", _REPOSITORY + ":getIamPolicy", self._get_policy),
            ("POST", _REPOSITORY + ":setIamPolicy", self._set_policy),
            ("GET", _REPOSITORY + "/dockerImages", self._images),
            ("GET", _PACKAGE + r"/tags/(?P<tag>[^/:]+)", self._tag),
            ("GET", _PACKAGE + "/versions", self._versions),
            ("GET", _PACKAGE + r"/versions/(?P<digest>sha256:[0-9a-f]{64})", self._version),
        ]
        return [(method, path, self._guarded(handler)) for method, path, handler in found]

    def _guarded(self, handler: Any) -> Any:
        def guarded(request: Request, project: str, **named: str) -> Any:
            if project not in {self.fake.project, self.fake.number}:
                raise Refused(403, "PERMISSION_DENIED", f"Permission denied on resource project {project}.")
            usage = getattr(self.fake, "usage", None)
            if usage is not None:
                usage.demand("artifactregistry.googleapis.com")
            # Paths are decoded once, but for the slashes in them: clients send `a/b` as `a%2Fb`, or that encoded again.
            return handler(request, **{key: part.replace("%252F", "%2F") for key, part in named.items()})

        return guarded

    def _list(self, request: Request, region: str) -> Message:
        query = request.only("pageSize", "pageToken")
        found = [kept.repository for where, kept in self.kept.items() if where.startswith(f"{region}/")]
        part, token = paged(found, query, most=self.page)
        return _pb(ar.ListRepositoriesResponse(repositories=part, next_page_token=token))

    def _create(self, request: Request, region: str) -> dict[str, Any]:
        name, repository = request.only("repositoryId").get("repositoryId", ""), request.message(ar.Repository)
        where = f"{region}/{name}"
        if not re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", name):
            raise Refused(400, "INVALID_ARGUMENT", f'invalid repository id "{name}"')
        if repository.format_ != ar.Repository.Format.DOCKER:
            raise Refused(400, "INVALID_ARGUMENT", "the fake has repositories of images only; format is required")
        _check_policies(repository)
        if where in self.kept or where in self.making:
            raise Refused(409, "ALREADY_EXISTS", "the repository already exists")
        repository.name = self._name(region, name)
        self.making.add(where)

        def finish() -> Message:
            self.making.discard(where)
            self.kept[where] = Kept(repository)
            return _pb(repository)

        return self.fake.operation(self._place(region), metadata=_pb(ar.OperationMetadata()), finish=finish)

    def _get(self, request: Request, region: str, name: str) -> Message:
        request.only()
        return _pb(self._kept(region, name).repository)

    def _update(self, request: Request, region: str, name: str) -> Message:
        mask = field_mask_pb2.FieldMask()
        mask.FromJsonString(request.only("updateMask").get("updateMask", ""))
        if not mask.paths or set(mask.paths) - _MUTABLE:
            raise Refused(400, "INVALID_ARGUMENT", f"update_mask: {list(mask.paths)} cannot be updated")
        sent, there = request.message(ar.Repository), self._kept(region, name).repository
        _check_policies(sent)
        for path in mask.paths:
            setattr(there, path, getattr(sent, path))
        return _pb(there)

    def _delete(self, request: Request, region: str, name: str) -> dict[str, Any]:
        request.only()
        self._kept(region, name)

        def finish() -> Message:
            self.kept.pop(f"{region}/{name}", None)
            self.policies.bindings.pop(f"{region}/{name}", None)
            self.policies.conditional.pop(f"{region}/{name}", None)
            return Empty()

        return self.fake.operation(self._place(region), metadata=_pb(ar.OperationMetadata()), finish=finish)

    def _get_policy(self, request: Request, region: str, name: str) -> dict[str, Any]:
        query = request.only("options.requestedPolicyVersion")
        self._kept(region, name)
        return self.policies.get(f"{region}/{name}", int(query.get("options.requestedPolicyVersion", 1)))

    def _set_policy(self, request: Request, region: str, name: str) -> dict[str, Any]:
        request.only()
        self._kept(region, name)
        return self.policies.set(f"{region}/{name}", asked_policy(self.fake, request))

    def _images(self, request: Request, region: str, name: str) -> Message:
        query = request.only("pageSize", "pageToken", "orderBy")
        found = [
            ar.DockerImage(
                name=f"{self._name(region, name)}/dockerImages/{image.replace('/', '%2F')}@{digest}",
                uri=f"{region}-docker.pkg.dev/{self.fake.project}/{name}/{image}@{digest}",
                tags=package.tags_of(digest),
                image_size_bytes=self.image_bytes,
                upload_time=pushed,
                media_type="application/vnd.docker.distribution.manifest.v2+json",
            )
            for image, package in self._kept(region, name).packages.items()
            for digest, pushed in package.versions.items()
        ]
        part, token = paged(found, query, most=self.page)
        return _pb(ar.ListDockerImagesResponse(docker_images=part, next_page_token=token))

    def _tag(self, request: Request, region: str, name: str, package: str, tag: str) -> Message:
        request.only()
        found, parent = self._package(region, name, package), f"{self._name(region, name)}/packages/{package}"
        if tag not in found.tags:
            raise Refused(404, "NOT_FOUND", "Requested entity was not found.")
        return _pb(ar.Tag(name=f"{parent}/tags/{tag}", version=f"{parent}/versions/{found.tags[tag]}"))

    def _versions(self, request: Request, region: str, name: str, package: str) -> Message:
        query = request.only("pageSize", "pageToken", "view", "orderBy")
        found = [self._as_version(region, name, package, one) for one in self._package(region, name, package).versions]
        part, token = paged(found, query, most=self.page)
        return _pb(ar.ListVersionsResponse(versions=part, next_page_token=token))

    def _version(self, request: Request, region: str, name: str, package: str, digest: str) -> Message:
        request.only("view")
        if digest not in self._package(region, name, package).versions:
            raise Refused(404, "NOT_FOUND", "Requested entity was not found.")
        return _pb(self._as_version(region, name, package, digest))

    # --- what it is made of

    def _place(self, region: str) -> str:
        return f"projects/{self.fake.project}/locations/{region}"

    def _name(self, region: str, name: str) -> str:
        return f"{self._place(region)}/repositories/{name}"

    def _kept(self, region: str, name: str) -> Kept:
        if f"{region}/{name}" not in self.kept:
            raise Refused(404, "NOT_FOUND", "Requested entity was not found.")
        return self.kept[f"{region}/{name}"]

    def _package(self, region: str, name: str, package: str) -> Package:
        packages = self._kept(region, name).packages
        if (image := package.replace("%2F", "/")) not in packages:
            raise Refused(404, "NOT_FOUND", "Requested entity was not found.")
        return packages[image]

    def _as_version(self, region: str, name: str, package: str, digest: str) -> ar.Version:
        parent, found = f"{self._name(region, name)}/packages/{package}", self._package(region, name, package)
        tags = [ar.Tag(name=f"{parent}/tags/{tag}", version=f"{parent}/versions/{digest}") for tag in found.tags_of(digest)]
        return ar.Version(name=f"{parent}/versions/{digest}", create_time=found.versions[digest], related_tags=tags)


def _check_policies(repository: ar.Repository) -> None:
    if len(repository.cleanup_policies) > _MOST_POLICIES:
        raise Refused(400, "INVALID_ARGUMENT", f"a repository has at most {_MOST_POLICIES} clean-up policies")
    for key, policy in repository.cleanup_policies.items():
        kind = ar.CleanupPolicy.pb(policy).WhichOneof("condition_type")
        is_kept = policy.action == ar.CleanupPolicy.Action.KEEP
        if policy.id != key or kind is None or policy.action == ar.CleanupPolicy.Action.ACTION_UNSPECIFIED:
            raise Refused(400, "INVALID_ARGUMENT", f"clean-up policy {key}: id, action and condition are required")
        if kind == "most_recent_versions" and not (is_kept and policy.most_recent_versions.keep_count > 0):
            raise Refused(400, "INVALID_ARGUMENT", f"clean-up policy {key}: most recent versions can only be kept")


def _goes(package: Package, digest: str, policies: list[ar.CleanupPolicy], today: datetime) -> bool:
    """Whether a policy deletes the version and none keeps it."""
    meeting = [policy.action for policy in policies if _meets(package, digest, policy, today)]
    return ar.CleanupPolicy.Action.DELETE in meeting and ar.CleanupPolicy.Action.KEEP not in meeting


def _meets(package: Package, digest: str, policy: ar.CleanupPolicy, today: datetime) -> bool:
    if policy.most_recent_versions.keep_count:
        newest = sorted(package.versions, key=lambda one: package.versions[one], reverse=True)
        return digest in newest[: policy.most_recent_versions.keep_count]
    states = ar.CleanupPolicyCondition.TagState
    is_tagged, wanted = bool(package.tags_of(digest)), policy.condition.tag_state
    age = today - package.versions[digest]
    return wanted in {states.ANY, states.TAGGED if is_tagged else states.UNTAGGED} and age > policy.condition.older_than


def _pb(message: Any) -> Message:
    found: Message = type(message).pb(message)
    return found

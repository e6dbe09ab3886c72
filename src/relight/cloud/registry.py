"""The repository of images in Artifact Registry: found, made with its clean-up policies, removed; and the images in it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from relight.cloud.calls import FRESH_API, is_disabled, is_missing, is_there
from relight.cloud.google import Google
from relight.cloud.work import Show
from relight.deploy.observed import Repository
from relight.deploy.steps import CreateRepository, SetCleanup
from relight.errors import CloudError

if TYPE_CHECKING:
    from google.api_core.exceptions import GoogleAPICallError
    from google.cloud.artifactregistry_v1 import CleanupPolicy
    from google.cloud.artifactregistry_v1 import Repository as Found

_CREATE_S: Final = 180.0
_DELETE_S: Final = 600.0
_SPARED: Final = timedelta(days=7)
"""However many images there are, none is removed before this."""


class StoredImage(Struct, frozen=True, kw_only=True):
    """An image in a repository: its name without registry and repository, its size in bytes, when it was pushed."""

    name: str
    digest: str
    tags: tuple[str, ...]
    size: int
    uploaded: datetime


def found_repository(google: Google, name: str) -> Repository | None:
    """The repository in the region of `google`; None when there is none. Raises `CloudError`."""
    try:
        found = google.call(f"look for the repository {name}", google.registry.get_repository, name=_path(google, name))
    except CloudError as error:
        if _is_absent(error):
            return None
        raise
    counts = (policy.most_recent_versions.keep_count for policy in found.cleanup_policies.values())
    return Repository(keeps=max(counts, default=0), labels=dict(found.labels))


def found_images(google: Google, repository: str, references: Iterable[str]) -> dict[str, str]:
    """The digest (`sha256:…`) behind each reference with a tag; what is not there, or names another place, is left out."""
    place = re.escape(f"{google.region}-docker.pkg.dev/{google.project}/{repository}/")
    found = ((reference, re.fullmatch(rf"{place}([^:@]+):([\w.-]+)", reference)) for reference in references)
    digests = {reference: _digest(google, repository, match[1], match[2]) for reference, match in found if match}
    return {reference: digest for reference, digest in digests.items() if digest is not None}


def images_of(google: Google, repository: str) -> list[StoredImage]:
    """All images, tagged or not, the newest first; none when there is no repository."""

    def all_pages(parent: str, **options: object) -> list[StoredImage]:
        found = google.registry.list_docker_images(parent=parent, **options)  # type: ignore[arg-type]  # retry and timeout
        return [_image(one.uri, list(one.tags), one.image_size_bytes, one.upload_time) for one in found]

    try:
        images = google.call(f"list the images in {repository}", all_pages, parent=_path(google, repository))
    except CloudError as error:
        if _is_absent(error):
            return []
        raise
    return sorted(images, key=lambda image: (image.uploaded, image.name), reverse=True)


def create_repository(google: Google, step: CreateRepository, show: Show) -> None:
    """Make the repository with its clean-up policies. One that is there already is used as it is. Raises `CloudError`."""
    what = f"make the repository {step.name}"
    parent = f"projects/{google.project}/locations/{step.region}"
    made = {"format_": "DOCKER", "mode": "STANDARD_REPOSITORY", "labels": step.labels, "cleanup_policies": _policies(step.keeps)}
    show.doing(f"making the repository {step.name}")
    try:
        operation = google.call(
            what,
            google.registry.create_repository,
            settles=FRESH_API,
            parent=parent,
            repository_id=step.name,
            repository=made,
        )
        google.wait(what, operation, limit_s=_CREATE_S)
    except CloudError as error:
        if not is_there(error):
            raise
        # One whose making was begun by a call that was lost is taken, but cannot be seen yet.
        see, name = google.registry.get_repository, f"{parent}/repositories/{step.name}"
        google.call(f"see the repository {step.name}", see, settles=_is_404, name=name)


def set_cleanup(google: Google, step: SetCleanup) -> None:
    """Give the repository our clean-up policies beside those that it has. Raises `CloudError`."""
    name = _path(google, step.name)
    found: Found = google.call(f"look for the repository {step.name}", google.registry.get_repository, name=name)
    google.call(
        f"set the clean-up policy of {step.name}",
        google.registry.update_repository,
        repository={"name": name, "cleanup_policies": {**found.cleanup_policies, **_policies(step.keeps)}},
        update_mask={"paths": ["cleanup_policies"]},
    )


def delete_repository(google: Google, name: str, show: Show) -> None:
    """Remove a repository with all images in it, for good. One that is not there is done. Raises `CloudError`."""
    what = f"delete the repository {name}"
    show.doing(f"deleting the repository {name}")
    try:
        operation = google.call(what, google.registry.delete_repository, name=_path(google, name))
        google.wait(what, operation, limit_s=_DELETE_S)
    except CloudError as error:
        if not is_missing(error):
            raise


def _policies(keeps: int) -> dict[str, CleanupPolicy]:
    """What is older than a week goes, but for the last `keeps` of each image: what Google keeps wins over what it deletes.

    Tagged or not: every image that we build has a tag of its own, so a policy about untagged ones alone would remove none.
    A revision that serves has a copy of its image at Cloud Run, so nothing that runs stops by it.
    """
    from google.cloud.artifactregistry_v1 import CleanupPolicy, CleanupPolicyCondition, CleanupPolicyMostRecentVersions

    old = CleanupPolicyCondition(tag_state=CleanupPolicyCondition.TagState.ANY, older_than=_SPARED)
    recent = CleanupPolicyMostRecentVersions(keep_count=keeps)
    return {
        "relight-old": CleanupPolicy(id="relight-old", action=CleanupPolicy.Action.DELETE, condition=old),
        "relight-recent": CleanupPolicy(id="relight-recent", action=CleanupPolicy.Action.KEEP, most_recent_versions=recent),
    }


def _digest(google: Google, repository: str, image: str, tag: str) -> str | None:
    name = f"{_path(google, repository)}/packages/{image.replace('/', '%2F')}/tags/{tag}"
    try:
        found = google.call(f"look for the image {image}:{tag}", google.registry.get_tag, name=name)
    except CloudError as error:
        if _is_absent(error):
            return None
        raise
    return str(found.version.rpartition("/")[2])


def _image(uri: str, tags: list[str], size: int, uploaded: datetime) -> StoredImage:
    place, _, digest = uri.partition("@")
    # REGION-docker.pkg.dev/PROJECT/REPOSITORY/NAME, and a name may hold slashes itself.
    name = place.split("/", 3)[3]
    return StoredImage(
        name=name, digest=digest, tags=tuple(sorted(tags)), size=size, uploaded=datetime.fromtimestamp(uploaded.timestamp(), UTC)
    )


def _is_absent(error: CloudError) -> bool:
    return is_missing(error) or is_disabled(error)


def _is_404(error: GoogleAPICallError) -> bool:
    return error.code == 404


def _path(google: Google, repository: str) -> str:
    return f"{google.location}/repositories/{repository}"


__all__ = [
    "StoredImage",
    "create_repository",
    "delete_repository",
    "found_images",
    "found_repository",
    "images_of",
    "set_cleanup",
]

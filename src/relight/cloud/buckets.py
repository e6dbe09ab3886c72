"""Buckets: which there are and whose, one made, weights put into it, all of it removed.

Names of buckets are shared by the whole world, so that one of the right name may be a stranger's: it counts as ours only when the
project itself lists it. Nothing is read from or put into another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from relight.cloud.calls import FRESH_API, is_disabled, is_missing, is_there
from relight.cloud.project import found_project
from relight.cloud.seen import is_denied
from relight.cloud.upload import Target, upload
from relight.deploy.names import labels
from relight.deploy.observed import BucketState
from relight.deploy.steps import CreateBucket, UploadWeights
from relight.errors import CloudError, CloudLost, UsageError

if TYPE_CHECKING:
    from google.cloud.storage import Bucket

    from relight.cloud.google import Google
    from relight.cloud.work import Show

SOURCES: Final = "builds/"
"""Where that lies which images are built from, for as long as they are."""
LOGS: Final = "build-logs"
"""Where builds write their logs."""
_KEEPS_SOURCES_DAYS: Final = 1
_KEEPS_LOGS_DAYS: Final = 30
_BATCH: Final = 100
"""The most that Google takes in one request."""


def found_buckets(google: Google, names: Iterable[str], objects: Mapping[str, Iterable[str]]) -> dict[str, BucketState]:
    """The buckets of these `names` that there are, with the sizes of those of their `objects` that are asked for.

    A stranger's has `is_mine` False and nothing else that is true of it. Raises `CloudError`.
    """
    found = {}
    for name in dict.fromkeys(names):
        state = _found(google, name, objects.get(name, ()))
        if state is not None:
            found[name] = state
    return found


def create_bucket(google: Google, step: CreateBucket) -> None:
    """Make a private bucket; one of ours that is there already is left as it is.

    Raises `CloudError`, also when the name is taken by somebody else; `CloudLost` for a conflict with nobody that can be seen.
    """
    bucket = google.storage.bucket(step.name)
    bucket.labels = step.labels
    bucket.iam_configuration.uniform_bucket_level_access_enabled = True
    bucket.iam_configuration.public_access_prevention = "enforced"
    # Everything in it can be made again, and what is kept after its removal is paid for.
    bucket.soft_delete_policy.retention_duration_seconds = 0
    # What a run that was killed left behind.
    bucket.add_lifecycle_delete_rule(age=_KEEPS_SOURCES_DAYS, matches_prefix=[SOURCES])
    bucket.add_lifecycle_delete_rule(age=_KEEPS_LOGS_DAYS, matches_prefix=[f"{LOGS}/"])
    try:
        google.call(
            f"make the bucket {step.name}",
            google.storage.create_bucket,
            settles=FRESH_API,
            bucket_or_name=bucket,
            location=step.region,
        )
    except CloudError as error:
        if not is_there(error):
            raise
        if _ours(google, step.name) is None:
            if _stranger(google, step.name) is None:
                raise CloudLost(
                    f"cloud: could not make the bucket {step.name}: Google was at it at the same moment", hint="run it again"
                ) from error
            raise CloudError(
                f"bucket {step.name}: somebody else has one of that name: they are shared by everybody",
                hint="set deploy.cloudrun.bucket to another name",
            ) from error


def upload_weights(google: Google, step: UploadWeights, file: Path, show: Show) -> None:
    """Put the weights in `file` into the bucket, unless they are there; blocks, and reads the file once.

    Raises `CloudError` (see `upload`), `UsageError` when the file cannot be read.
    """
    what = f"upload the weights of {step.model}"
    target = Target(what, label=step.model, bucket=step.bucket, name=step.name, sha256=step.sha256)
    try:
        with file.open("rb") as opened:
            if (size := file.stat().st_size) != step.size:
                raise CloudError(
                    f"cloud: could not {what}: {file} has {size} bytes, and should have {step.size}",
                    hint=f"run: relight models verify {step.model}",
                )
            upload(google, opened, target, show)
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}", hint="see who may read it") from None


def buckets_of(google: Google, service: str) -> tuple[str, ...]:
    """The buckets of the project with the labels of ours for `service`, by name; none while the API is disabled."""
    wanted = dict(labels(service)).items()
    return tuple(sorted(bucket.name for bucket in _listed(google) if wanted <= dict(bucket.labels).items()))


def delete_bucket(google: Google, name: str, show: Show) -> None:
    """Remove a bucket with all that is in it; what is gone already counts as removed. Blocks. Raises `CloudError`."""
    bucket, gone, before = google.storage.bucket(name), 0, list[str]()
    while names := _some(google, bucket):
        if names == before:
            raise CloudError(
                f"cloud: could not empty the bucket {name}: {names[0]} stays though it was removed",
                hint=f"run: gcloud storage rm --recursive gs://{name}, and then this again",
            )
        before = names
        show.doing(f"removing what is in gs://{name}: {gone} objects are gone")
        _remove(google, bucket, names)
        gone += len(names)
    try:
        google.call(f"remove the bucket {name}", bucket.delete)
    except CloudError as error:
        if not is_missing(error):
            raise


def delete_object(google: Google, bucket: str, name: str) -> None:
    """Remove an object; one that is not there counts as removed. Raises `CloudError`."""
    try:
        google.call(f"remove gs://{bucket}/{name}", google.storage.bucket(bucket).blob(name).delete)
    except CloudError as error:
        if not is_missing(error):
            raise


def _found(google: Google, name: str, objects: Iterable[str]) -> BucketState | None:
    try:
        ours = _ours(google, name)
        if ours is None:
            return _stranger(google, name)
    except CloudError as error:
        if is_disabled(error):
            return None
        raise
    sizes = ((one, _size(google, ours, one)) for one in dict.fromkeys(objects))
    return BucketState(
        region=str(ours.location).lower(),
        objects={one: size for one, size in sizes if size is not None},
        labels=dict(ours.labels),
    )


def _stranger(google: Google, name: str) -> BucketState | None:
    """The bucket of somebody else who has this name, if anybody has."""
    try:
        google.call(f"look whose the bucket {name} is", google.storage.get_bucket, bucket_or_name=name)
    except CloudError as error:
        if is_missing(error):
            return None
        if not is_denied(error):
            raise
    return BucketState(region="", is_mine=False)


def _ours(google: Google, name: str) -> Bucket | None:
    """The bucket, when the project has it."""
    try:
        return next((bucket for bucket in _listed(google, name) if bucket.name == name), None)
    except CloudError as error:
        if not is_denied(error):
            raise
    # Whoever may not list the project's buckets knows this one by the project's number.
    try:
        bucket = google.call(f"look at the bucket {name}", google.storage.get_bucket, bucket_or_name=name)
    except CloudError as error:
        if is_missing(error) or is_denied(error):
            return None
        raise
    return bucket if str(bucket.project_number) == found_project(google) else None


def _listed(google: Google, prefix: str | None = None) -> list[Bucket]:
    def ask(**how: float | None) -> list[Bucket]:
        return list(google.storage.list_buckets(prefix=prefix, **how))

    try:
        return google.call("list the buckets of the project", ask)
    except CloudError as error:
        if is_disabled(error):
            return []
        raise


def _size(google: Google, bucket: Bucket, name: str) -> int | None:
    there = google.call(f"look at gs://{bucket.name}/{name}", bucket.get_blob, blob_name=name)
    return None if there is None else int(there.size)


def _some(google: Google, bucket: Bucket) -> list[str]:
    """Names of some objects; none when the bucket is empty, or not there."""

    def ask(**how: float | None) -> list[str]:
        return [str(blob.name) for blob in google.storage.list_blobs(bucket, max_results=_BATCH, **how)]

    try:
        return google.call(f"list what is in the bucket {bucket.name}", ask)
    except CloudError as error:
        if is_missing(error):
            return []
        raise


def _remove(google: Google, bucket: Bucket, names: Iterable[str]) -> None:
    """Remove these objects with one request."""

    def ask(**how: float | None) -> None:
        with google.storage.batch():
            for name in names:
                bucket.blob(name).delete(**how)

    try:
        google.call(f"remove what is in the bucket {bucket.name}", ask)
    except CloudError as error:
        # One that went with a request whose answer was lost; what is left is listed again.
        if not is_missing(error):
            raise

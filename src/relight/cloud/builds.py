"""Builds of Cloud Build: asked for, begun exactly once, found again. Knows nothing of contexts and logs but where they lie."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from relight.cloud.buckets import LOGS, SOURCES
from relight.cloud.calls import FRESH_ACCOUNT, FRESH_API, either
from relight.errors import CloudError, CloudLost

if TYPE_CHECKING:
    from google.cloud.devtools.cloudbuild_v1 import Build

    from relight.cloud.google import Google

GOING: Final = frozenset({"PENDING", "QUEUED", "WORKING"})
"""The status of a build that has not ended."""
_DOCKER: Final = "gcr.io/cloud-builders/docker"
_CACHE: Final = "latest"
"""Tag of the last image; the next build takes layers from it that stay the same, weights above all."""
_LEAST_S: Final = 1800
_MOST_S: Final = 24 * 3600
# A gigabyte is fetched, unpacked, copied into a layer and pushed; each way takes seconds, and compressing it most of them.
_S_PER_GB: Final = 180
_FREE_DISK_GB: Final = 100
_MOST_DISK_GB: Final = 4000
_BASE_DISK_GB: Final = 20
# Packed, unpacked, sent to the builder, a layer, and that layer packed for the registry.
_DISK_PER_BYTE: Final = 5
_MOST_BEGUN: Final = 3
_LISTED_S: Final = 2.0
"""Until a build that was begun is in the list."""
_QUOTA: Final = "due to quota restrictions"
_FRESH: Final = either((FRESH_API, FRESH_ACCOUNT))


def running_build(google: Google, reference: str) -> str | None:
    """The full name of a build of this image that has not ended. Raises `CloudError`."""
    return next((name for name, status in _builds(google, reference).items() if status in GOING), None)


def limits(size: int) -> tuple[int, int]:
    """The seconds that a build with `size` bytes of context may take, and the GB of disk to ask for; 0 is what is free."""
    disk = math.ceil(size * _DISK_PER_BYTE / 1e9) + _BASE_DISK_GB
    return min(_MOST_S, _LEAST_S + math.ceil(size / 1e9 * _S_PER_GB)), min(disk, _MOST_DISK_GB) if disk > _FREE_DISK_GB else 0


def source_of(reference: str) -> str:
    """The object that an image is built from."""
    return f"{SOURCES}{reference.rpartition(':')[2]}.tar.gz"


def request(  # noqa: PLR0913 - what a build is
    google: Google, reference: str, size: int, *, account: str, bucket: str, generation: int = 0
) -> Build:
    """The build as it is asked for; `size` is what the context takes unpacked, in bytes.

    `generation` is that of the object which was uploaded: whoever else may write to the bucket, the service itself among them,
    puts nothing into the image. 0 is whichever is there.
    """
    from google.cloud.devtools.cloudbuild_v1 import Build

    place, _, tag = reference.rpartition(":")
    cache = f"{place}:{_CACHE}"
    argv = ["build", "--tag", reference, "--tag", cache, "--file", "Dockerfile", "--progress=plain"]
    argv += [f"--cache-from={cache}", "--build-arg=BUILDKIT_INLINE_CACHE=1", "."]
    timeout_s, disk_gb = limits(size)
    return Build(
        source={"storage_source": {"bucket": bucket, "object_": source_of(reference), "generation": generation}},
        steps=[{"name": _DOCKER, "args": argv, "env": ["DOCKER_BUILDKIT=1"]}],
        images=[reference, cache],
        timeout={"seconds": timeout_s},
        # An account of one's own wants a log of one's own.
        logs_bucket=f"gs://{bucket}/{LOGS}",
        service_account=f"projects/{google.project}/serviceAccounts/{account}",
        tags=["relight", tag, place.split("/")[2].removeprefix("relight-")],
        options={"logging": "GCS_ONLY", "machine_type": "E2_HIGHCPU_8", "disk_size_gb": disk_gb},
    )


def begin(google: Google, reference: str, build: Build) -> str:
    """Begin it, on another machine where this one is not to be had. Raises `CloudError`; `CloudLost` when nobody knows."""
    from google.cloud.devtools.cloudbuild_v1 import BuildOptions

    try:
        return _begun_once(google, reference, build)
    except CloudError as error:
        if _QUOTA not in str(error):
            raise
    build.options.machine_type = BuildOptions.MachineType(BuildOptions.MachineType.UNSPECIFIED)
    return _begun_once(google, reference, build)


def _begun_once(google: Google, reference: str, build: Build) -> str:
    """Begin it exactly once: whoever lost the answer looks for a build that was not there before."""
    before, left = _builds(google, reference), _MOST_BEGUN
    while True:
        left -= 1
        try:
            made = google.call(
                f"begin the build of {reference}",
                google.builds.create_build,
                is_safe=False,
                settles=_FRESH,
                request={"parent": google.location, "build": build},
            )
            return f"{google.location}/builds/{made.metadata.build.id}"
        except CloudError as error:
            if not is_unsure(error):
                raise
            google.sleep(_LISTED_S)
            for name in _builds(google, reference):
                if name not in before:
                    return name
            if not left:
                raise


def is_unsure(error: CloudError) -> bool:
    """Whether what was refused may have been done all the same."""
    code = getattr(error.__cause__, "code", None)
    return isinstance(error, CloudLost) or (isinstance(code, int) and code >= 500)


def _builds(google: Google, reference: str) -> dict[str, str]:
    """The status of every build of this image that there was, by full name, the newest first."""
    tag = reference.rpartition(":")[2]

    def ask(**how: Any) -> dict[str, str]:
        found = google.builds.list_builds(request={"parent": google.location, "filter": f'tags="{tag}"'}, **how)
        return {f"{google.location}/builds/{one.id}": one.status.name for one in found if reference in one.images}

    return google.call(f"look for a build of {reference}", ask, settles=FRESH_API)

"""An image built by Cloud Build: its context uploaded, the build begun or joined, watched to its end, its digest.

A build belongs to the tag of its image, which says what it is made of: whoever wants the same image while a build is under way,
because its run was stopped, watches that one instead of a second.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Final, NamedTuple

from relight.cloud.buckets import LOGS, delete_object
from relight.cloud.buildlog import BuildLog
from relight.cloud.builds import GOING, begin, is_unsure, request, running_build, source_of
from relight.cloud.calls import plain
from relight.cloud.upload import Target, upload
from relight.deploy.causes import cause
from relight.deploy.context import pack
from relight.deploy.steps import BuildImage
from relight.errors import CloudError, UsageError

if TYPE_CHECKING:
    from google.cloud.devtools.cloudbuild_v1 import Build

    from relight.cloud.google import Google
    from relight.cloud.work import Here, Show

_POLL_S: Final = 3.0
# Why a build fails at its very beginning while the roles of its account have not reached all of Google: within two minutes or so.
_UNSETTLED: Final = frozenset({"FETCH_SOURCE_FAILED", "LOGGING_FAILURE"})
_SETTLE_S: Final = (15.0, 30.0, 60.0)


class _Where(NamedTuple):
    """The e-mail address of the account that builds, and the bucket where context and log go."""

    account: str
    bucket: str


def build_image(  # noqa: PLR0913 - what is built, from what, by whom, where, told to whom
    google: Google, step: BuildImage, here: Here, show: Show, *, account: str, bucket: str
) -> str:
    """Build the image of `step` and push it; returns its digest, `sha256:…`. Blocks for as long as it takes.

    `account` is the e-mail address of who builds, `bucket` where context and log go. Raises `CloudError` with what is likely
    behind it when the build fails: its log was told to `show`, as far as it could be read. Ctrl-C leaves it running: the next run
    joins it.
    """
    name = running_build(google, step.name)
    if name is None:
        ended, tail = _built(google, step, here, show, _Where(account, bucket))
    else:
        show.say(f"joining the build {_id(name)}, which a run before this one began")
        ended, tail = _watched(google, name, bucket, show)
    # Not before: one that still waits for a worker has not fetched it.
    _forget(google, bucket, step.name)
    if ended.status.name != "SUCCESS":
        raise _failed(google, ended, tail)
    return _digest(ended, step.name) or pushed_digest(google, step.name)


def pushed_digest(google: Google, reference: str) -> str:
    """The digest behind a tag in the registry. Raises `CloudError`."""
    place, _, tag = reference.rpartition(":")
    host, project, repository, image = place.split("/", 3)
    package = f"projects/{project}/locations/{host.removesuffix('-docker.pkg.dev')}/repositories/{repository}/packages/{image}"
    found = google.call(f"look for the image {reference}", google.registry.get_tag, name=f"{package}/tags/{tag}")
    return str(found.version).rpartition("/")[2]


# --- beginning


def _built(google: Google, step: BuildImage, here: Here, show: Show, where: _Where) -> tuple[Build, Sequence[str]]:
    """A new build when it has ended, and the end of its log."""
    build = _uploaded(google, step, here, show, where)
    waits = list(_SETTLE_S)
    while True:
        show.doing("beginning the build")
        try:
            name = begin(google, step.name, build)
        except CloudError as error:
            if not is_unsure(error):  # else there may be a build that needs the context
                _forget(google, where.bucket, step.name)
            raise
        ended, tail = _watched(google, name, where.bucket, show)
        if not waits or ended.status.name == "SUCCESS" or ended.failure_info.type_.name not in _UNSETTLED:
            return ended, tail
        show.say(f"{ended.failure_info.detail}: roles that were given a moment ago take a while; once more")
        google.sleep(waits.pop(0))


def _uploaded(google: Google, step: BuildImage, here: Here, show: Show, where: _Where) -> Build:
    """What to ask for, when what it is built from is in the bucket."""
    what = "upload the context of the image"
    target = Target(what, "context", where.bucket, source_of(step.name), content_type="application/gzip")
    with _packed(here, show) as (file, size):
        generation = upload(google, file, target, show)
    return request(google, step.name, size, account=where.account, bucket=where.bucket, generation=generation)


@contextmanager
def _packed(here: Here, show: Show) -> Iterator[tuple[IO[bytes], int]]:
    """The context as one file, and the bytes that are in it; gone afterwards."""
    with here.context() as entries, tempfile.TemporaryFile() as file:
        show.doing("packing the context")
        try:
            pack(entries, file)
        except OSError as error:
            raise UsageError(
                f"{error.filename or tempfile.gettempdir()}: the context of the image cannot be packed: {error.strerror}",
                hint="see who may read it; make room, or set TMPDIR to a folder on another disk",
            ) from None
        yield file, sum(entry.size for entry in entries)


def _forget(google: Google, bucket: str, reference: str) -> None:
    """Remove what it was built from; where that cannot be done now, the bucket itself does within a day."""
    with contextlib.suppress(CloudError):
        delete_object(google, bucket, source_of(reference))


# --- watching


def _watched(google: Google, name: str, bucket: str, show: Show) -> tuple[Build, Sequence[str]]:
    """The build when it has ended, however; its log goes to `show` meanwhile. Google ends it when its time is over."""
    log = BuildLog(google, bucket, LOGS, _id(name))
    try:
        show.doing(f"building {_id(name)}")
        while True:
            build = google.call("ask how the build is", google.builds.get_build, request={"name": name})
            has_ended = build.status.name not in GOING
            _tell(log.end() if has_ended else log.more(), show)
            if has_ended:
                return build, list(log.tail)
            google.sleep(_POLL_S)
    except KeyboardInterrupt:
        show.say(f"the build goes on in the cloud, and the next run joins it; to stop it: {_stop(google, name)}")
        raise


def _tell(lines: Iterator[str], show: Show) -> None:
    try:
        for line in lines:
            show.say(line)
    except CloudError as error:  # the build does without, and the next time may do better
        show.doing(str(error))


def _failed(google: Google, build: Build, tail: Sequence[str]) -> CloudError:
    """How it ended, and what is likely behind it; the log, whose end is `tail`, was told already."""
    detail = plain(build.failure_info.detail or build.status_detail).rstrip(".")
    said = f"cloud: the build {build.id} ended with {build.status.name}" + (f": {detail}" if detail else "")
    found = cause(f"BUILD_{build.status.name}", "\n".join([detail, *tail]))
    advice = f"{found.why}: {found.do}" if found else "correct what its log names, and run it again"
    return CloudError(said, hint=f"{advice}; the whole log: {_page(google, build)}")


def _page(google: Google, build: Build) -> str:
    """Where a browser shows the log, whichever project it was at last."""
    has_project = "project=" in build.log_url
    return build.log_url if has_project else f"{build.log_url}{'&' if '?' in build.log_url else '?'}project={google.project}"


def _digest(build: Build, reference: str) -> str | None:
    return next((image.digest for image in build.results.images if image.name == reference and image.digest), None)


def _id(name: str) -> str:
    return name.rpartition("/")[2]


def _stop(google: Google, name: str) -> str:
    return f"gcloud builds cancel {_id(name)} --region={google.region} --project={google.project}"

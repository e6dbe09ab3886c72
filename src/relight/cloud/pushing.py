"""An image built by podman or docker on this machine, and pushed to the project's repository."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import msgspec

from relight.cloud.calls import asked
from relight.decoding import NOT_JSON
from relight.deploy.builder import BUILDERS, Building, build_argv
from relight.deploy.context import lay_out
from relight.deploy.steps import BuildImage
from relight.errors import CloudError, RelightError, UsageError

if TYPE_CHECKING:
    from relight.cloud.google import Google
    from relight.cloud.work import Here, Show

_TAIL: Final = 20
_REGISTRY: Final = re.compile(r"[a-z0-9-]+-docker\.pkg\.dev")
_USER: Final = "oauth2accesstoken"
"""The name under which the registry takes an access token for a password."""
# Cloud Run has no other, whatever this machine is.
_PLATFORM: Final = "--platform=linux/amd64"


def push_image(  # noqa: PLR0913 - what is built, from what, by what, where, told to whom
    google: Google, step: BuildImage, here: Here, show: Show, *, builder: str | None = None, folder: Path | None = None
) -> str:
    """Build the image of `step` here and push it; returns its digest, `sha256:…`. Blocks.

    `builder` is `podman` or `docker`, None the first that is installed; the context is laid out in `folder`, best on the disk of
    the weights. The registry's password is an access token: it lasts for an hour at most, and is forgotten after the push.
    Raises `UsageError` without a builder, `RelightError` when it fails, `CloudError` when the registry refuses.
    """
    program = _builder(builder)
    with here.context() as entries, _folder(folder) as laid_out:
        show.doing("laying out the context")
        lay_out(entries, laid_out)
        show.doing(f"building {step.name}")
        _run(build_argv(program, laid_out, Building(tag=step.name, more=(_PLATFORM,))), show)
    with TemporaryDirectory(prefix="relight-") as private:
        return _pushed(google, program, step.name, Path(private), show)


def _pushed(google: Google, program: str, reference: str, private: Path, show: Show) -> str:
    host = reference.partition("/")[0]
    if not _REGISTRY.fullmatch(host):
        raise CloudError(
            f"cloud: {host} is no registry of Google's, and is not given a token", hint="check deploy.cloudrun.region"
        )
    # Podman keeps the password where it is told; docker keeps it with its other settings, which it needs.
    keeps = [f"--authfile={private / 'auth.json'}"] if program == "podman" else []
    show.doing(f"pushing {reference}")
    _said([program, "login", *keeps, f"--username={_USER}", "--password-stdin", host], given=_token(google))
    try:
        if program == "podman":
            digest = private / "digest"
            _run([program, "push", *keeps, f"--digestfile={digest}", reference], show)
            return digest.read_text().strip()
        _run([program, "push", reference], show)
        return _docker_digest(program, reference)
    finally:
        with contextlib.suppress(RelightError):  # the token ends by itself
            _said([program, "logout", *keeps, host])


def _docker_digest(program: str, reference: str) -> str:
    """The digest that docker notes of an image when it is pushed."""
    place = reference.rpartition(":")[0]
    said = _said([program, "inspect", "--format={{json .RepoDigests}}", reference])
    try:
        found = msgspec.json.decode(said, type=list[str])
    except NOT_JSON:
        found = []
    for one in found:
        if one.startswith(f"{place}@"):
            return one.rpartition("@")[2]
    raise RelightError(f"image: docker does not say the digest of {reference}, got {said.strip()}", hint="use podman instead")


def _token(google: Google) -> str:
    from google.auth.transport.requests import Request

    if not google.credentials.valid:
        asked("sign in to the registry", lambda: google.credentials.refresh(Request()), sleep=google.sleep)
    token = google.credentials.token
    if not token:
        raise CloudError("cloud: these credentials have no access token, and the registry wants one", hint="sign in again")
    return str(token)


def _builder(chosen: str | None) -> str:
    for name in (chosen,) if chosen else BUILDERS:
        if shutil.which(name):
            return name
    raise UsageError(
        f"image: {chosen or 'neither podman nor docker'} is {'not ' if chosen else ''}installed",
        hint="install podman (Debian: apt-get install podman), or let Cloud Build do it",
    )


@contextmanager
def _folder(where: Path | None) -> Iterator[Path]:
    beside = where if where is not None and os.access(where, os.W_OK) else None
    with TemporaryDirectory(prefix=".image-", dir=beside, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _run(argv: Sequence[str], show: Show) -> None:
    """Run the builder; what it says goes to `show`. Raises `RelightError`."""
    tail: deque[str] = deque(maxlen=_TAIL)
    with subprocess.Popen(
        argv,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as running:
        for line in running.stdout or ():
            tail.append(line.rstrip())
            show.say(line.rstrip())
    if running.returncode:
        raise _failed(argv, running.returncode, tail)


def _said(argv: Sequence[str], *, given: str = "") -> str:
    """What the builder says to this, with `given` on its standard input. Raises `RelightError`."""
    done = subprocess.run(argv, env=_environment(), input=given, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise _failed(argv, done.returncode, (done.stdout + done.stderr).splitlines()[-_TAIL:])
    return done.stdout


def _environment() -> dict[str, str]:
    return os.environ | {"DOCKER_BUILDKIT": "1"}


def _failed(argv: Sequence[str], code: int, tail: Iterable[str]) -> RelightError:
    lines = "".join(f"\n  {line}" for line in tail)
    return RelightError(
        f"image: {argv[0]} {argv[1]} ended with code {code}" + (f"; its last lines:{lines}" if lines else ""),
        hint="correct what it names, or let Cloud Build do it",
    )

"""What is likely behind a failure in the cloud, and what to do: by Google's words for it, or a revision's own last ones. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from relight.deploy.catalogue import CPU, ENDS, MEMORY, REFUSALS, STARTS, Table


class Cause(Struct, frozen=True):
    """What is likely behind a failure, and what to do about it."""

    why: str
    do: str


_GPU_MEMORY: Final = (
    "the model does not fit the GPU's memory",
    "lower models.NAME.context or parallel, use a smaller model, or the larger deploy.cloudrun.gpu",
)

# Relight's own words, as the front door and the engines write them.
_OWN: Final[Table] = (
    (
        r"no secret called \S+: neither the environment nor",
        "a secret that the configuration names is not given to the service",
        "set it here, and run relight deploy again",
    ),
    (
        r"sha256 should be|not those that were checked",
        "the weights are not those that the configuration means",
        "correct models.NAME.sha256, or delete the object in the bucket and run relight deploy: it is uploaded again",
    ),
    (r"killed by SIGKILL|may have run out of memory|needs about .* awake, got", *MEMORY),
    (r"killed by SIGILL|exited with code 132", *CPU),
    (r"cudaMalloc failed|CUDA error: out of memory|CUDA out of memory", *_GPU_MEMORY),
    (
        r"CUDA driver version is insufficient|no CUDA-capable device|ggml_cuda_init: failed|libcuda\.so",
        "the engine finds no GPU that it can use",
        "set deploy.cloudrun.gpu, and build the image again: relight deploy",
    ),
    (
        r"metadata server knows no account|gs://\S+: .*access denied|answered 40[13]: access denied",
        "the service's account may not read the weights, or not everywhere yet",
        "wait a minute and run it again: a deployment gives it roles/storage.objectUser on the bucket",
    ),
    (
        r"answered 404: there is no such file|there is no file |not downloaded|partly downloaded",
        "the weights are not where the service looks for them",
        "run relight deploy: it puts them there",
    ),
    (
        r"ModuleNotFoundError|ImportError|is not installed",
        "the image lacks a library that the configuration needs",
        "build the image again: relight deploy",
    ),
    (
        r"Read-only file system",
        "something writes where the container cannot be written",
        "have it write below /tmp, or to a bucket",
    ),
)

_OWN_REST: Final[Table] = (
    (
        r"\berror: \S+.*: ",
        "Relight does not start with this configuration",
        "correct what the line names, and run relight deploy again",
    ),
    (r"^Traceback \(most recent call last\)", "the program failed as it started", "try the image here: relight image run"),
)


def cause(status: str, message: str) -> Cause | None:
    """The likeliest cause behind a status (`PERMISSION_DENIED`, `HEALTH_CHECK_CONTAINER_ERROR`) and its message."""
    return _first(REFUSALS, (f"{status}: {message}",))


def cause_of(lines: Sequence[str]) -> Cause | None:
    """The likeliest cause in the last lines that a revision wrote, or that the platform wrote about it."""
    return _first((*_OWN, *ENDS, *_OWN_REST, *STARTS), lines)


def _first(table: Table, texts: Sequence[str]) -> Cause | None:
    found = (
        Cause(why, do) for pattern, why, do in table if any(re.search(pattern, text, re.IGNORECASE | re.DOTALL) for text in texts)
    )
    return next(found, None)

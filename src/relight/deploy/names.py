"""What everything that belongs to a service is called. Pure; each name keeps to the limits that Google sets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

UNNAMED_PROJECT: Final = "PROJECT"
"""Stands in a plan while the configuration names no project."""
TESTED: Final = "relight-tested"
"""Annotation of a service: the revision that was tested last, and how much of the traffic it had."""
CANDIDATE: Final = "candidate"
"""Tag of a revision that has no traffic yet."""
PUBLIC: Final = "RELIGHT_SERVER__PUBLIC"
"""Variable of a revision whose own front door lets everybody in, because Google asks before it: made for being closed."""
_MOST_ACCOUNT: Final = 30
_MOST_BUCKET: Final = 63


def labels(service: str) -> Mapping[str, str]:
    """The labels of everything that is ours; what has them goes with `relight destroy`, and nothing else does."""
    return {"managed-by": "relight", "relight-service": service}


def repository(service: str) -> str:
    """The repository of its images."""
    return f"relight-{service}"


def image(project: str, region: str, service: str, name: str) -> str:
    """The image without tag or digest."""
    return f"{region}-docker.pkg.dev/{project}/{repository(service)}/{name}"


def tag(inputs: str) -> str:
    """The tag of the image that is made of these inputs: built once, found again."""
    return f"r-{inputs[:16]}"


def account(project: str, service: str, purpose: str) -> str:
    """The e-mail address of a service account: 6 to 30 characters stand before the @."""
    return f"{_fitted(f'{service}-{purpose}', _MOST_ACCOUNT)}@{project}.iam.gserviceaccount.com"


def secret(service: str, variable: str) -> str:
    """The secret behind an environment variable; other services of the project have their own."""
    return f"{service}-{variable}"


def bucket(project: str, service: str) -> str:
    """The bucket that is made when the configuration names none. Everybody shares such names, so the project's is in it."""
    return _fitted(f"{project}-{service}-relight", _MOST_BUCKET)


def weights_object(sha256: str, file: str) -> str:
    """Where weights lie in a bucket: by digest, so that an object never changes."""
    return f"weights/{sha256}/{file}"


def _fitted(name: str, most: int) -> str:
    """Cut to `most` characters, with a digest at its end so that two long names stay apart."""
    if len(name) <= most:
        return name
    return f"{name[: most - 7].rstrip('-')}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"

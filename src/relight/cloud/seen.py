"""What is looked at and may be hidden: things that are not there, rights that are missing, APIs that are not enabled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from relight.cloud.calls import is_disabled, is_missing
from relight.errors import CloudError

T = TypeVar("T")

_UNBILLED: Final = "quota project"
"""Google's word for credentials of a person that name no project to count calls against: they see nothing at all."""


def seen(look: Callable[[], T], otherwise: T) -> T:
    """What `look` finds; `otherwise` where there is no such thing, its API is not enabled, or whoever asks may not see it."""
    try:
        return look()
    except CloudError as error:
        if is_missing(error) or is_denied(error) or is_disabled(error):
            return otherwise
        raise


def is_denied(error: CloudError) -> bool:
    """Whether a right is missing (or, as Google tells it, the thing may not exist)."""
    code = getattr(error.__cause__, "code", None)
    return code == 403 and not is_disabled(error) and _UNBILLED not in str(error)

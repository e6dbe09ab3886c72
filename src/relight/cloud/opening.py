"""Whether a service may be open: what was made for being closed answers everybody, for Google was to ask before it.

A revision of a service with invokers and without keys has a front door that lets everybody in. Where Google does not ask any more
it must not be reached, neither by traffic nor at the address of a tag.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from relight.cloud.changing import read_revision
from relight.deploy.names import PUBLIC
from relight.errors import CloudError

if TYPE_CHECKING:
    from google.cloud.run_v2 import Revision

    from relight.cloud.google import Google
    from relight.deploy.observed import ServiceState

ANYBODY: Final = frozenset({"allUsers", "allAuthenticatedUsers"})


def is_open(there: ServiceState, invokers: Iterable[str]) -> bool:
    """Whether Google lets everybody through to the service; `invokers` are who may call it."""
    return there.settings.invoker_iam_disabled or bool(ANYBODY & set(invokers))


def lets_in(revision: Revision) -> bool:
    """Whether the front door of a revision asks nobody."""
    return any(var.name == PUBLIC and var.value.lower() == "true" for one in revision.containers for var in one.env)


def need_own_doors(google: Google, name: str, there: ServiceState) -> None:
    """Raises `CloudError` when something that was made for being closed has traffic, or a tag of somebody's.

    The newest revision is made for what is to come: where that is open to everybody by wish, the others may be as well.
    """
    if PUBLIC in there.template.env:
        return
    for item in there.traffic:
        if item.revision in (None, there.latest_ready):
            continue
        found = read_revision(google, name, item.revision)
        if found is None or not lets_in(found):
            continue
        how = f'the tag "{item.tag}"' if item.tag else f"{item.percent} % of the traffic"
        raise CloudError(
            f"cloud: {name} is not opened: the revision {item.revision} has {how}, and would answer everybody without a key",
            hint="take that from it (gcloud run services update-traffic), and run it again",
        )


__all__ = ["ANYBODY", "is_open", "lets_in", "need_own_doors"]

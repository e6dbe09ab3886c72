"""The way back to an earlier revision: all of the traffic, and what the next deployment has to know of it, in one change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relight.cloud.changing import is_ready, patched, read_revision
from relight.cloud.opening import is_open, lets_in
from relight.cloud.reading import invokers_of, settled
from relight.cloud.release import with_tags
from relight.cloud.states import state_of, traffic_body
from relight.deploy.names import PUBLIC, TESTED
from relight.deploy.service import Traffic
from relight.errors import CloudError

if TYPE_CHECKING:
    from relight.cloud.google import Google
    from relight.cloud.work import Show


def go_back(google: Google, name: str, to: str, show: Show) -> None:
    """Give all of the traffic to the revision `to`, and no later one any.

    Raises `CloudError` when it cannot serve, and when it was made for a closed service and this one is open.

    The latest revision is left without traffic under the tag of a candidate, and no longer counts as tested: somebody went back
    from it, so the next deployment asks it anew before it gives it any.
    """
    found = read_revision(google, name, to)
    if found is None or not is_ready(found):
        why = "there is no such revision" if found is None else "it never became ready"
        raise CloudError(f"cloud: cannot go back to {to}: {why}", hint="relight status shows the revisions")
    show.doing(f"giving all of the traffic to {to}")
    service = settled(google, name, show)
    if service is None:
        raise CloudError(f"cloud: there is no service {name} in {google.project}, {google.region}", hint="run: relight deploy")
    there = state_of(service)
    if lets_in(found) and PUBLIC not in there.template.env and is_open(there, invokers_of(google, service.name)):
        raise CloudError(
            f"cloud: cannot go back to {to}: it answers everybody without a key, and Google no longer asks who comes",
            hint="name callers in deploy.cloudrun.invokers, and run relight deploy",
        )
    candidate = there.latest_ready if there.latest_ready != to else None
    traffic = with_tags([Traffic(revision=to, percent=100)], there, candidate=candidate)
    annotations = {key: text for key, text in service.annotations.items() if key != TESTED}
    change = {"traffic": traffic_body(traffic), "annotations": annotations}
    patched(google, f"go back to {to}", service, change, ("traffic", "annotations"))

"""How a new revision comes to have all of the traffic: made without any, asked, then given more. Pure.

A revision that fails leaves the traffic where it was. Who may call the service changes first where it closes, and last where it
opens, so that no revision is ever open that was made for being closed.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from relight.deploy.desired import Desired
from relight.deploy.observed import Observed, ServiceState
from relight.deploy.price import Words
from relight.deploy.service import Settings, Template, changes, merged, merged_settings, template_changes
from relight.deploy.steps import DeployRevision, SetInvokers, ShiftTraffic, SmokeTest, Step, UpdateService
from relight.values import counted

_REACH = ("INGRESS_TRAFFIC_INTERNAL_ONLY", "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER", "INGRESS_TRAFFIC_ALL")
"""From where a service can be reached, the narrowest first."""
_ANYBODY = frozenset({"allUsers", "allAuthenticatedUsers"})


class _Stand(Struct, frozen=True, kw_only=True):
    """Where the latest revision stands: its share, whether it is "the latest" or pinned, who has the rest, when it was tested."""

    percent: int
    is_latest: bool
    previous: str | None
    tested: int | None


_FIRST = _Stand(percent=100, is_latest=True, previous=None, tested=None)


def rollout(desired: Desired, template: Template, observed: Observed, words: Words) -> Iterator[Step]:
    """The steps from the service that is observed to one of this `template`."""
    there = observed.service
    yield from _invokers(desired, there)
    if (first := _settings(desired, observed, words)) is not None:
        yield first
    stand = _stand(there)
    if (step := _revision(desired, template, there, words)) is not None:
        yield step
        stand = _FIRST if there is None or step.is_first else _held(there)
    if there is None:
        yield from _invokers_of_new(desired)
    yield from _shift(desired, stand, words)
    if (last := _opening(desired, observed, words)) is not None:
        yield last
    yield from _invited(desired, there)


def _stand(there: ServiceState | None) -> _Stand:
    if there is None:
        return _Stand(percent=0, is_latest=True, previous=None, tested=None)
    ready, tested = there.latest_ready, there.tested
    mine = [item for item in there.traffic if item.revision in (None, ready)]
    rest = [item for item in there.traffic if item.revision not in (None, ready) and item.percent]
    return _Stand(
        percent=sum(item.percent for item in mine),
        is_latest=all(item.revision is None for item in mine if item.percent),
        previous=max(rest, key=lambda item: item.percent).revision if rest else None,
        tested=tested.percent if tested is not None and tested.revision == ready else None,
    )


def _held(there: ServiceState) -> _Stand:
    """After one more revision, without traffic: what went to "the latest" is pinned to the one that is the latest now."""
    most = max((item for item in there.traffic if item.percent), key=lambda item: item.percent, default=None)
    previous = None if most is None else most.revision or there.latest_ready
    return _Stand(percent=0, is_latest=False, previous=previous, tested=None)


def _revision(desired: Desired, template: Template, there: ServiceState | None, words: Words) -> DeployRevision | None:
    is_first = there is None or there.latest_ready is None
    whole = template if there is None else merged(there.template, template, desired.service)
    found = template_changes(None if there is None else there.template, whole)
    has_failed = there is not None and there.latest_created != there.latest_ready
    if not found and not has_failed:
        return None
    reason = "there is no such service" if there is None else f"{counted(len(found), 'field')} to change"
    if there is not None and has_failed:
        reason = f"the last revision, {there.latest_created}, did not become ready" + ("; " + reason if found else "")
    return DeployRevision(
        name=desired.service,
        reference=desired.image.reference,
        template=template,
        settings=desired.settings if there is None else None,
        changes=(*found, *(changes(None, desired.settings) if there is None else ())),
        is_first=is_first,
        reason=reason,
        cost=f"{words.revision()}; {words.kept(desired.settings)}",
        undo="relight destroy" if is_first else "relight rollback: the traffic goes back to the revision that had it",
    )


def _settings(desired: Desired, observed: Observed, words: Words) -> UpdateService | None:
    """What can change before there is a new revision: all but what opens."""
    there = observed.service
    if there is None:
        return None
    return _update(desired, there.settings, _narrow(there.settings, _whole(desired, observed, there)), words)


def _opening(desired: Desired, observed: Observed, words: Words) -> UpdateService | None:
    """What opens: when nothing is left that was made for being closed."""
    there = observed.service
    if there is None:
        return None
    whole = _whole(desired, observed, there)
    return _update(desired, _narrow(there.settings, whole), whole, words)


def _whole(desired: Desired, observed: Observed, there: ServiceState) -> Settings:
    whole = merged_settings(there.settings, desired.settings)
    if there.settings.min_instances in _scheduled(desired, observed):
        return replace(whole, min_instances=there.settings.min_instances)
    return whole


def _narrow(old: Settings, new: Settings) -> Settings:
    """`new`, as closed as either of them is."""
    asks = not (old.invoker_iam_disabled and new.invoker_iam_disabled)
    return replace(new, ingress=min(new.ingress, old.ingress, key=_reach), invoker_iam_disabled=not asks)


def _reach(ingress: str) -> int:
    return _REACH.index(ingress) if ingress in _REACH else -1


def _update(desired: Desired, old: Settings, whole: Settings, words: Words) -> UpdateService | None:
    found = changes(old, whole)
    if not found:
        return None
    return UpdateService(
        name=desired.service,
        settings=whole,
        changes=found,
        reason=f"{counted(len(found), 'field')} to change",
        cost=words.kept(whole),
        undo="set the old values",
    )


def _scheduled(desired: Desired, observed: Observed) -> set[int]:
    """The numbers of kept instances that a job sets, and still should: one that is found is that of a window that is open."""
    wanted = {timed.schedule.instances for timed in desired.schedules}
    set_by = {schedule.instances for schedule in observed.schedules.values() if schedule is not None}
    return {number for number in wanted & set_by if number is not None}


def _invokers(desired: Desired, there: ServiceState | None) -> Iterator[Step]:
    # Without invokers in the configuration nobody's binding is touched: Google does not ask then.
    if there is None or not desired.invokers:
        return
    members = _named_first(desired, there)
    if set(there.invokers) != set(members):
        yield _set_invokers(desired, there.invokers, members)


def _invited(desired: Desired, there: ServiceState | None) -> Iterator[Step]:
    """Everybody, where they were not let in before, and so after whatever was made for a few."""
    if there is None or not desired.invokers:
        return
    members = _named_first(desired, there)
    if set(members) != set(desired.invokers):
        yield _set_invokers(desired, members, desired.invokers)


def _named_first(desired: Desired, there: ServiceState) -> tuple[str, ...]:
    """Who may call while the revision takes over: all that are wished, unless they are everybody and were not before. Then
    those who may now stay until the end: whoever deploys has to ask the revision."""
    fresh = _ANYBODY & set(desired.invokers) - set(there.invokers)
    if not fresh or there.settings.invoker_iam_disabled:
        return desired.invokers
    return tuple(sorted({*there.invokers, *desired.invokers} - fresh))


def _invokers_of_new(desired: Desired) -> Iterator[Step]:
    if desired.invokers:
        yield _set_invokers(desired, (), desired.invokers)


def _set_invokers(desired: Desired, there: tuple[str, ...], members: tuple[str, ...]) -> Step:
    return SetInvokers(
        name=desired.service,
        members=members,
        added=tuple(member for member in members if member not in there),
        removed=tuple(sorted(member for member in there if member not in members)),
        reason="deploy.cloudrun.invokers names them",
        cost="nothing",
        undo="set the old members",
    )


def _shift(desired: Desired, stand: _Stand, words: Words) -> Iterator[Step]:
    stages = [] if stand.percent == 100 and stand.is_latest else [s for s in desired.stages if s > stand.percent] or [100]
    percent, tested = stand.percent, stand.tested
    if tested is None and not stages:
        yield _test(desired, percent, words)
    for stage in stages:
        if tested != percent:
            yield _test(desired, percent, words)
            tested = percent
        yield ShiftTraffic(
            name=desired.service,
            percent=stage,
            previous=stand.previous,
            reason="it answered" if stage > percent else "the traffic is pinned to a revision: a later one would get none",
            cost="nothing by itself",
            undo="relight rollback",
        )
        percent = stage


def _test(desired: Desired, percent: int, words: Words) -> Step:
    return SmokeTest(
        name=desired.service,
        percent=percent,
        reason="nobody has asked this revision yet" if percent in (0, 100) else f"with {percent} % of the traffic",
        cost=words.test(),
        undo="nothing to undo",
    )

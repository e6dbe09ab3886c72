"""What there is in a project, as far as a service of ours is concerned. Asks, changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from msgspec.structs import replace

from relight.cloud.accounts import acts_as, found_accounts
from relight.cloud.buckets import found_buckets
from relight.cloud.google import Google
from relight.cloud.grants import found_grants
from relight.cloud.project import (
    billing_enabled,
    enabled_apis,
    found_project,
    found_quotas,
    log_retention_days,
    permissions_of,
    principal_of,
)
from relight.cloud.reading import found_service, held_quotas, refusals_of
from relight.cloud.registry import found_images, found_repository
from relight.cloud.schedules import found_schedules
from relight.cloud.secrets import found_secrets
from relight.cloud.work import Show
from relight.deploy.desired import Desired
from relight.deploy.observed import Observed

Texts = Callable[[str], str | None]
_ACT_AS: Final = "iam.serviceAccounts.actAs"


def look(google: Google, desired: Desired, *, texts: Texts, quotas: Iterable[str], show: Show) -> Observed:
    """Everything that `desired` is about; `texts` gives the text of a variable that is here, to compare secrets with.

    `quotas` are the ids that matter. What a disabled API would hold is not there. Raises `CloudError`.
    """
    show.doing("looking at the project")
    principal, number = principal_of(google), found_project(google)
    apis = enabled_apis(google, desired.apis)
    show.doing(f"looking for what {desired.service} is made of")
    grants = (*desired.grants, *desired.builder_grants)
    observed = Observed(
        principal=principal,
        project_number=number,
        billing_enabled=billing_enabled(google),
        log_retention_days=log_retention_days(google),
        apis=apis,
        repository=found_repository(google, desired.repository),
        images=_images(google, desired),
        accounts=found_accounts(google, _accounts(desired)),
        secrets=found_secrets(google, desired.secrets, texts),
        buckets=found_buckets(google, [desired.bucket], _objects(desired)),
        grants=found_grants(google, grants),
        schedules=found_schedules(google, desired.service),
        service=found_service(google, desired.service, show),
    )
    show.doing("asking Cloud Run whether it would take the service")
    held = held_quotas(google, desired.service)
    return replace(
        observed, quotas=found_quotas(google, quotas, held=held), refusals=refusals_of(google, desired, observed.service)
    )


def allowed(google: Google, observed: Observed, desired: Desired, needs: frozenset[str]) -> Observed:
    """With those of the permissions in `needs` that whoever is signed in has."""
    found = permissions_of(google, needs)
    if found is not None and _ACT_AS in needs - found and all(acts_as(google, email) for email in _run_as(desired, observed)):
        found |= {_ACT_AS}
    return replace(observed, permissions=found)


def _run_as(desired: Desired, observed: Observed) -> Iterator[str]:
    """The accounts that things will run as; of one that is still to be made its maker decides."""
    for email in _accounts(desired):
        if email in observed.accounts:
            yield email


def _images(google: Google, desired: Desired) -> dict[str, str]:
    return {} if desired.image.is_given else found_images(google, desired.repository, [desired.image.reference])


def _accounts(desired: Desired) -> list[str]:
    ours = [account.email for account in (*desired.accounts, desired.builder_account)]
    return list(dict.fromkeys([*ours, desired.template.service_account]))


def _objects(desired: Desired) -> Mapping[str, list[str]]:
    return {desired.bucket: [file.object for file in desired.weights]}

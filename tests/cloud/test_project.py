"""The project as Google tells it: who asks, billing, rights, APIs, quotas; and enabling what is missing."""

from __future__ import annotations

import pytest
from google.auth.credentials import AnonymousCredentials, Credentials
from google.auth.exceptions import RefreshError
from google.oauth2.credentials import Credentials as PersonalCredentials

from relight.cloud.google import Google
from relight.cloud.project import (
    billing_enabled,
    enable_apis,
    enabled_apis,
    found_project,
    found_quotas,
    log_retention_days,
    permissions_of,
    principal_of,
)
from relight.cloud.work import Silent
from relight.deploy.quota import CPU_QUOTA, MEMORY_QUOTA
from relight.deploy.steps import EnableApis
from relight.errors import CloudError
from tests.cloud.fake.cloud import Cloud
from tests.cloud.fake.quotas import EVERYWHERE
from tests.cloud.fake.server import Refused

L4 = "NvidiaL4GpuAllocNoZonalRedundancyPerProjectRegion"
RUN, IAM = "run.googleapis.com", "iam.googleapis.com"
BUSY = Refused(503, "UNAVAILABLE", "The service is currently unavailable.")


def signed_in_with(google: Google, credentials: Credentials) -> Google:
    return Google(credentials, project=google.project, region=google.region, endpoint=google.endpoint, sleep=google.sleep)


def enabling(*apis: str) -> EnableApis:
    return EnableApis(apis=apis, reason="", cost="", undo="")


class Machine(AnonymousCredentials):
    """Those of a machine of Google's: whose they are is known when they were signed in."""

    def __init__(self, *, expired: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.service_account_email = "default"
        self.expired_for_good = expired

    @property
    def valid(self) -> bool:
        return self.token is not None

    def refresh(self, request: object) -> None:
        if self.expired_for_good:
            raise RefreshError("Reauthentication is needed.")
        self.token = "of-the-machine"
        self.service_account_email = "machine@my-project.iam.gserviceaccount.com"


# --- who asks


def test_credentials_of_a_person_are_looked_up(cloud: Cloud, google: Google) -> None:
    cloud.projects.owners["ya29.secret"] = "me@example.com"
    person = signed_in_with(google, PersonalCredentials("ya29.secret"))
    assert principal_of(person) == "me@example.com"
    assert cloud.calls == ["POST /tokeninfo"]


def test_credentials_that_google_does_not_know_are_nobodys(google: Google) -> None:
    assert principal_of(signed_in_with(google, PersonalCredentials("ya29.other"))) is None


def test_person_is_looked_up_again_when_google_is_busy(cloud: Cloud, google: Google) -> None:
    cloud.projects.owners["ya29.secret"] = "me@example.com"
    cloud.fail("tokeninfo", BUSY)
    assert principal_of(signed_in_with(google, PersonalCredentials("ya29.secret"))) == "me@example.com"
    assert cloud.slept == [1.0]


def test_token_stands_in_no_error(cloud: Cloud, google: Google) -> None:
    cloud.fail("tokeninfo", times=9)
    with pytest.raises(CloudError) as caught:
        principal_of(signed_in_with(google, PersonalCredentials("ya29.secret")))
    assert "lost the connection" in str(caught.value)
    assert "ya29" not in f"{caught.value!r} {caught.value.__cause__!r} {cloud.calls}"


def test_a_machine_is_asked_after_it_signed_in(cloud: Cloud, google: Google) -> None:
    assert principal_of(signed_in_with(google, Machine())) == "machine@my-project.iam.gserviceaccount.com"
    assert not cloud.calls


def test_credentials_that_expired_are_told(google: Google) -> None:
    with pytest.raises(CloudError, match=r"Reauthentication is needed.*gcloud auth application-default login"):
        principal_of(signed_in_with(google, Machine(expired=True)))


def test_nobody_asks_without_credentials(google: Google) -> None:
    assert principal_of(google) is None


# --- the project


def test_project_has_a_number(cloud: Cloud, google: Google) -> None:
    cloud.usage.enable("cloudresourcemanager")
    assert found_project(google) == cloud.number


def test_number_is_found_without_the_resource_manager(cloud: Cloud, google: Google) -> None:
    assert "cloudresourcemanager.googleapis.com" not in cloud.usage.enabled
    assert found_project(google) == cloud.number


def test_number_is_found_by_those_who_may_not_look_at_the_project(cloud: Cloud, google: Google) -> None:
    cloud.usage.enable("cloudresourcemanager")
    cloud.projects.may_see = False
    assert found_project(google) == cloud.number


def test_project_of_which_nothing_is_enabled_has_no_number(cloud: Cloud, google: Google) -> None:
    cloud.usage.enabled.clear()
    assert found_project(google) is None


@pytest.mark.parametrize("manages", [True, False], ids=["resource manager", "service usage alone"])
def test_project_that_is_not_there_is_told(cloud: Cloud, google: Google, manages: bool) -> None:
    if manages:
        cloud.usage.enable("cloudresourcemanager")
    google.project = "no-such-project"
    with pytest.raises(CloudError, match=r"cloud: there is no project no-such-project, or no right to see it; look at its id"):
        found_project(google)


def test_project_about_to_be_deleted_is_refused(cloud: Cloud, google: Google) -> None:
    cloud.usage.enable("cloudresourcemanager")
    cloud.projects.state = "DELETE_REQUESTED"
    with pytest.raises(CloudError, match="my-project is about to be deleted"):
        found_project(google)


def test_project_is_asked_again_when_google_is_busy(cloud: Cloud, google: Google) -> None:
    cloud.usage.enable("cloudresourcemanager")
    cloud.fail("GET /v3", BUSY)
    cloud.fail("GET /v3", after=True)
    assert found_project(google) == cloud.number
    assert cloud.slept == [1.0, 2.0]


def test_project_that_google_cannot_tell_is_not_missing(cloud: Cloud, google: Google) -> None:
    cloud.usage.enable("cloudresourcemanager")
    cloud.fail("GET /v3", BUSY, times=9)
    with pytest.raises(CloudError, match="could not look at the project my-project: The service is currently unavailable"):
        found_project(google)


# --- billing, rights, logs


@pytest.mark.parametrize("pays", [True, False])
def test_billing_is_told(cloud: Cloud, google: Google, pays: bool) -> None:
    cloud.usage.enable("cloudbilling")
    cloud.projects.has_billing = pays
    assert billing_enabled(google) is pays


def test_billing_that_cannot_be_asked_is_unknown(cloud: Cloud, google: Google) -> None:
    assert billing_enabled(google) is None
    cloud.usage.enable("cloudbilling")
    cloud.projects.may_see = False
    assert billing_enabled(google) is None


def test_permissions_are_those_that_are_held(cloud: Cloud, google: Google) -> None:
    cloud.usage.enable("cloudresourcemanager")
    cloud.projects.permissions = {"run.services.create", "run.services.delete"}
    wanted = frozenset({"run.services.create", "run.services.setIamPolicy"})
    assert permissions_of(google, wanted) == frozenset({"run.services.create"})


def test_whoever_may_do_nothing_has_no_permission(cloud: Cloud, google: Google) -> None:
    cloud.usage.enable("cloudresourcemanager")
    cloud.projects.permissions = set()
    assert permissions_of(google, frozenset({"run.services.create"})) == frozenset()


def test_many_permissions_are_asked_in_parts(cloud: Cloud, google: Google) -> None:
    cloud.usage.enable("cloudresourcemanager")
    wanted = frozenset(f"run.services.verb{number}" for number in range(101))
    assert permissions_of(google, wanted) == wanted
    assert len(cloud.calls) == 2


def test_permission_that_cannot_be_asked_of_a_project_stops_nobody(cloud: Cloud, google: Google) -> None:
    cloud.usage.enable("cloudresourcemanager")
    cloud.projects.permissions = {"run.services.create"}
    cloud.projects.untestable = {"storage.objects.create"}
    wanted = frozenset({"run.services.create", "run.services.update", "storage.objects.create"})
    assert permissions_of(google, wanted) == frozenset({"run.services.create", "storage.objects.create"})


def test_permissions_are_unknown_without_the_resource_manager(google: Google) -> None:
    assert permissions_of(google, frozenset({"run.services.create"})) is None


def test_logs_are_kept_as_long_as_is_said(cloud: Cloud, google: Google) -> None:
    assert log_retention_days(google) is None
    cloud.usage.enable("logging")
    assert log_retention_days(google) == 30
    cloud.projects.retention_days = 7
    assert log_retention_days(google) == 7


# --- APIs


def test_enabled_apis_are_those_of_the_wanted(cloud: Cloud, google: Google) -> None:
    cloud.usage.enable("run", "compute")
    assert enabled_apis(google, (RUN, IAM)) == {RUN}


def test_many_apis_are_looked_at_in_parts(cloud: Cloud, google: Google) -> None:
    names = tuple(f"number{number}.googleapis.com" for number in range(31))
    cloud.usage.titles |= dict.fromkeys(names, "One API")
    cloud.usage.enable(*names)
    assert enabled_apis(google, names) == set(names)
    assert len(cloud.calls) == 2


def test_nothing_is_enabled_where_nothing_can_be_asked(cloud: Cloud, google: Google) -> None:
    cloud.usage.enabled = {RUN}
    assert enabled_apis(google, (RUN, IAM)) == frozenset()


def test_whoever_may_not_see_apis_goes_on(cloud: Cloud, google: Google) -> None:
    cloud.usage.may_see = False
    assert enabled_apis(google, (RUN, IAM)) == {RUN, IAM}


def test_apis_are_enabled(cloud: Cloud, google: Google) -> None:
    cloud.usage.takes = 4
    enable_apis(google, enabling(RUN, IAM), Silent())
    assert {RUN, IAM} <= cloud.usage.enabled
    assert cloud.slept, "an operation is waited for"


def test_many_apis_are_enabled_in_parts(cloud: Cloud, google: Google) -> None:
    names = tuple(f"number{number}.googleapis.com" for number in range(21))
    cloud.usage.titles |= dict.fromkeys(names, "One API")
    enable_apis(google, enabling(*names), Silent())
    assert set(names) <= cloud.usage.enabled
    assert len([call for call in cloud.calls if call.endswith("batchEnable")]) == 2


def test_apis_that_are_enabled_stay_so(cloud: Cloud, google: Google) -> None:
    cloud.usage.enable("run")
    enable_apis(google, enabling(RUN), Silent())
    assert RUN in cloud.usage.enabled


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", ["batchEnable", "operations"])
@pytest.mark.parametrize("how", [None, BUSY], ids=["lost", "busy"])
def test_enabling_survives_a_lost_connection(cloud: Cloud, google: Google, call: str, after: bool, how: Refused | None) -> None:
    cloud.fail(call, how, after=after)
    enable_apis(google, enabling(RUN, IAM), Silent())
    assert {RUN, IAM} <= cloud.usage.enabled


def test_project_that_does_not_pay_is_told_what_to_do(cloud: Cloud, google: Google) -> None:
    cloud.projects.has_billing = False
    with pytest.raises(CloudError) as caught:
        enable_apis(google, enabling(RUN, IAM), Silent())
    assert caught.value.message == "cloud: could not enable run, iam: the project my-project has no billing account"
    assert caught.value.hint == "link one: https://console.cloud.google.com/billing/linkedaccount?project=my-project"
    assert RUN not in cloud.usage.enabled


def test_service_usage_itself_is_enabled_by_hand(cloud: Cloud, google: Google) -> None:
    cloud.usage.enabled.clear()
    with pytest.raises(CloudError, match=r"Service Usage API is itself not enabled; enable it by hand, once: https://"):
        enable_apis(google, enabling(RUN), Silent())
    assert not cloud.slept, "nobody enabled it a moment ago"


def test_whoever_may_not_enable_is_told(cloud: Cloud, google: Google) -> None:
    cloud.fail(
        "batchEnable", Refused(403, "PERMISSION_DENIED", "Permission denied to enable service [cloudbilling.googleapis.com]")
    )
    with pytest.raises(CloudError, match=r"could not enable cloudbilling: Permission denied to enable service \[") as caught:
        enable_apis(google, enabling("cloudbilling.googleapis.com"), Silent())
    assert getattr(caught.value.__cause__, "code", None) == 403


# --- quotas


@pytest.fixture
def quotas(cloud: Cloud) -> dict[str, dict[str, int]]:
    cloud.usage.enable("cloudquotas")
    return cloud.quotas.limits


def test_limits_are_those_of_the_region(google: Google, quotas: dict[str, dict[str, int]]) -> None:
    quotas[CPU_QUOTA] = {EVERYWHERE: 20_000, "us-central1": 400_000, "europe-west4": 60_000}
    assert found_quotas(google, (CPU_QUOTA, MEMORY_QUOTA, L4)) == {CPU_QUOTA: 60_000, MEMORY_QUOTA: 40 << 30, L4: 3}


def test_what_others_hold_is_not_free(google: Google, quotas: dict[str, dict[str, int]]) -> None:
    assert found_quotas(google, (CPU_QUOTA, L4), held={CPU_QUOTA: 4000, L4: 5}) == {CPU_QUOTA: 16_000, L4: 0}


def test_limit_of_none_is_0(google: Google, quotas: dict[str, dict[str, int]]) -> None:
    quotas[L4] = {"europe-west4": 0}
    assert found_quotas(google, (L4,)) == {L4: 0}


def test_no_limit_is_a_great_deal(google: Google, quotas: dict[str, dict[str, int]]) -> None:
    quotas[L4] = {"europe-west4": -1}
    assert (found_quotas(google, (L4,)) or {})[L4] > 10**15


def test_quota_that_is_not_told_for_the_region_is_left_out(google: Google, quotas: dict[str, dict[str, int]]) -> None:
    quotas[L4] = {"us-central1": 3}
    assert found_quotas(google, (CPU_QUOTA, L4, "NoSuchQuota")) == {CPU_QUOTA: 20_000}


def test_quotas_that_cannot_be_asked_are_unknown(cloud: Cloud, google: Google) -> None:
    assert found_quotas(google, (CPU_QUOTA, L4)) is None
    cloud.usage.enable("cloudquotas")
    cloud.quotas.may_see = False
    assert found_quotas(google, (CPU_QUOTA, L4)) is None

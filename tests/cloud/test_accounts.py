"""Service accounts: found, made so that they can be told from others, deleted."""

from __future__ import annotations

import pytest

from relight.cloud.accounts import accounts_of, acts_as, create_account, delete_account, found_accounts
from relight.cloud.google import Google
from relight.deploy import names
from relight.deploy.steps import CreateServiceAccount
from relight.errors import CloudError
from tests.cloud.fake.cloud import Cloud
from tests.cloud.fake.server import Refused

SERVE = names.account("my-project", "portfolio", "serve")
BUILD = names.account("my-project", "portfolio", "build")
FOREIGN = "shared@another-project.iam.gserviceaccount.com"
COMPUTE = "123456789012-compute@developer.gserviceaccount.com"
BUSY = Refused(503, "UNAVAILABLE", "The service is currently unavailable.")


@pytest.fixture(autouse=True)
def _enabled(cloud: Cloud) -> None:
    cloud.usage.enable("iam")


def making(email: str = SERVE) -> CreateServiceAccount:
    return CreateServiceAccount(name=email, purpose="runs the service", reason="", cost="", undo="")


# --- looking


def test_accounts_are_found(cloud: Cloud, google: Google) -> None:
    cloud.iam.make(SERVE)
    assert found_accounts(google, (SERVE, BUILD)) == {SERVE}


def test_no_account_is_there_while_the_api_is_not_enabled(cloud: Cloud, google: Google) -> None:
    cloud.iam.make(SERVE)
    cloud.usage.enabled.remove("iam.googleapis.com")
    assert found_accounts(google, (SERVE, FOREIGN)) == frozenset()
    assert accounts_of(google, "portfolio") == ()
    assert not cloud.slept


def test_account_that_nobody_may_look_at_is_made_again(cloud: Cloud, google: Google) -> None:
    cloud.iam.make(SERVE)
    cloud.iam.may.remove("get")
    assert found_accounts(google, (SERVE,)) == frozenset()


@pytest.mark.parametrize("email", [FOREIGN, COMPUTE])
def test_account_of_another_project_is_believed(cloud: Cloud, google: Google, email: str) -> None:
    assert found_accounts(google, (email,)) == {email}


@pytest.mark.parametrize(("email", "project"), [(FOREIGN, "another-project"), (SERVE, "my-project"), (COMPUTE, "-")])
def test_account_is_asked_of_its_own_project(cloud: Cloud, google: Google, email: str, project: str) -> None:
    found_accounts(google, (email,))
    assert cloud.calls == [f"GET /v1/projects/{project}/serviceAccounts/{email}"]


def test_accounts_of_a_service_are_told_by_their_description(cloud: Cloud, google: Google) -> None:
    for email, service in (
        (SERVE, "portfolio"),
        (BUILD, "portfolio"),
        (names.account("my-project", "portfolio-2", "serve"), "portfolio-2"),
    ):
        create_account(google, making(email), service)
    cloud.iam.make("portfolio-old@my-project.iam.gserviceaccount.com", "made by hand for portfolio")
    cloud.iam.make("aaa-nothing@my-project.iam.gserviceaccount.com")
    assert accounts_of(google, "portfolio") == (BUILD, SERVE)
    assert accounts_of(google, "port") == ()


def test_accounts_that_may_not_be_listed_are_not_none(cloud: Cloud, google: Google) -> None:
    cloud.iam.may.remove("list")
    with pytest.raises(CloudError, match=r"could not list the service accounts: Permission 'iam.serviceAccounts.list'"):
        accounts_of(google, "portfolio")


def test_right_to_run_as_an_account_is_asked_of_the_account(cloud: Cloud, google: Google) -> None:
    cloud.iam.make(SERVE)
    assert acts_as(google, SERVE)
    cloud.iam.may.remove("actAs")
    assert not acts_as(google, SERVE)


def test_nothing_runs_as_an_account_that_is_not_there(google: Google) -> None:
    assert not acts_as(google, SERVE)
    assert not acts_as(google, FOREIGN)


# --- making


def test_account_says_whose_it_is(cloud: Cloud, google: Google) -> None:
    create_account(google, making(), "portfolio")
    made = cloud.iam.accounts[SERVE]
    assert made.description == "managed by relight for portfolio: runs the service"
    assert made.display_name == "portfolio: runs the service"


def test_account_that_is_there_is_left_as_it_is(cloud: Cloud, google: Google) -> None:
    cloud.iam.make(SERVE, "made by hand")
    create_account(google, making(), "portfolio")
    assert cloud.iam.accounts[SERVE].description == "made by hand"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("how", [None, BUSY], ids=["lost", "busy"])
@pytest.mark.parametrize("call", ["POST", "GET"])
def test_making_survives_a_lost_connection(cloud: Cloud, google: Google, call: str, how: Refused | None, after: bool) -> None:
    cloud.fail(f"{call} .*serviceAccounts", how, after=after)
    create_account(google, making(), "portfolio")
    assert found_accounts(google, (SERVE,)) == {SERVE}


def test_account_is_waited_for_until_it_can_be_seen(cloud: Cloud, google: Google) -> None:
    cloud.iam.unseen = 3
    create_account(google, making(), "portfolio")
    assert cloud.slept
    assert found_accounts(google, (SERVE,)) == {SERVE}


def test_account_waits_for_an_api_that_was_enabled_a_moment_ago(cloud: Cloud, google: Google) -> None:
    cloud.usage.enabled.remove("iam.googleapis.com")
    cloud.later(3, lambda: cloud.usage.enable("iam"))
    create_account(google, making(), "portfolio")
    assert SERVE in cloud.iam.accounts
    assert cloud.slept == [2.0, 4.0]


def test_whoever_may_not_make_an_account_is_told(cloud: Cloud, google: Google) -> None:
    cloud.iam.may.remove("create")
    with pytest.raises(CloudError, match=rf"could not make the service account {SERVE}: Permission 'iam.serviceAccounts.create'"):
        create_account(google, making(), "portfolio")


def test_account_that_may_be_made_and_not_looked_at_is_made(cloud: Cloud, google: Google) -> None:
    cloud.iam.may.remove("get")
    create_account(google, making(), "portfolio")
    assert SERVE in cloud.iam.accounts


# --- deleting


def test_account_is_deleted(cloud: Cloud, google: Google) -> None:
    cloud.iam.make(SERVE)
    cloud.iam.make(BUILD)
    delete_account(google, SERVE)
    assert set(cloud.iam.accounts) == {BUILD}


def test_account_that_is_gone_stays_so(cloud: Cloud, google: Google) -> None:
    delete_account(google, SERVE)
    assert SERVE not in cloud.iam.accounts


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_deleting_survives_a_lost_connection(cloud: Cloud, google: Google, after: bool) -> None:
    cloud.iam.make(SERVE)
    cloud.fail("DELETE", after=after)
    delete_account(google, SERVE)
    assert SERVE not in cloud.iam.accounts


def test_whoever_may_not_delete_is_told(cloud: Cloud, google: Google) -> None:
    cloud.iam.make(SERVE)
    cloud.iam.may.remove("delete")
    with pytest.raises(CloudError, match=f"could not delete the service account {SERVE}"):
        delete_account(google, SERVE)

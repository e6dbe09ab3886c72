"""Roles, given and taken back: nobody else's are lost, whatever happens in between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials

from relight.cloud.google import Google
from relight.cloud.grants import found_grants, grant, revoke
from relight.deploy.desired import Grant
from relight.deploy.steps import GrantRole
from relight.errors import CloudError
from tests.cloud.fake.iam import Iam
from tests.cloud.fake.policies import Policies
from tests.cloud.fake.projects import Projects
from tests.cloud.fake.server import Api, Fake, Refused, Request, Route, served
from tests.cloud.fake.usage import Usage

EMAIL = "portfolio-serve@my-project.iam.gserviceaccount.com"
MEMBER = f"serviceAccount:{EMAIL}"
ROLE = "roles/logging.logWriter"
CONDITION = {"title": "this year", "expression": 'request.time < timestamp("2027-01-01T00:00:00Z")'}
THINGS = (
    "project",
    "secret:portfolio-KEY",
    "bucket:my-bucket",
    "repository:relight-portfolio",
    "service:portfolio",
    f"account:{EMAIL}",
)
BUSY = Refused(503, "UNAVAILABLE", "The service is currently unavailable.")
_FAULTS = ("lost before", "lost after", "busy before", "busy after")
_READS = r"getIamPolicy|GET .*/iam$"
_WRITES = r"setIamPolicy|PUT .*/iam$"


class Things(Api):
    """A secret, a bucket, a repository and a service, each with nothing but a policy, at the paths of their APIs."""

    def __init__(self, fake: Fake) -> None:
        super().__init__(fake)
        self.policies = Policies()
        self.there = set(THINGS)

    def routes(self) -> list[Route]:
        place = "/v[12]/projects/my-project(?:/locations/europe-west4)?"
        kinds = "(?P<kind>secrets/|repositories/|services/)(?P<name>[^/:]+)"
        return [
            ("GET", f"{place}/{kinds}:getIamPolicy", self._get),
            ("POST", f"{place}/{kinds}:setIamPolicy", self._set),
            ("GET", r"/storage/v1/b/(?P<name>[^/]+)/iam", self._get_of_bucket),
            ("PUT", r"/storage/v1/b/(?P<name>[^/]+)/iam", self._set_of_bucket),
        ]

    def _get(self, request: Request, kind: str, name: str) -> dict[str, Any]:
        version = request.only("options.requestedPolicyVersion").get("options.requestedPolicyVersion", "1")
        return self.policies.get(self._thing(kind, name), int(version))

    def _set(self, request: Request, kind: str, name: str) -> dict[str, Any]:
        request.only()
        (policy,) = request.json().values()
        return self._put(self._thing(kind, name), policy)

    def _get_of_bucket(self, request: Request, name: str) -> dict[str, Any]:
        version = request.only("optionsRequestedPolicyVersion").get("optionsRequestedPolicyVersion", "1")
        said = {"kind": "storage#policy", "resourceId": f"projects/_/buckets/{name}"}
        return said | self.policies.get(self._thing("bucket", name), int(version))

    def _set_of_bucket(self, request: Request, name: str) -> dict[str, Any]:
        request.only()
        try:
            return self._put(self._thing("bucket", name), request.json())
        except Refused as refusal:
            raise Refused(412, "conditionNotMet", "Precondition Failed") if refusal.code == 409 else refusal from None

    def _put(self, thing: str, policy: dict[str, Any]) -> dict[str, Any]:
        for member in (member for binding in policy["bindings"] for member in binding["members"]):
            self.fake.iam.demand(member)  # type: ignore[attr-defined]
        return self.policies.set(thing, policy)

    def _thing(self, kind: str, name: str) -> str:
        thing = f"{ {'secrets/': 'secret', 'repositories/': 'repository', 'services/': 'service'}.get(kind, kind) }:{name}"
        if thing not in self.there:
            raise Refused(404, "NOT_FOUND", f"{thing} was not found.")
        return thing


class World(Fake):
    """A project in which everything is enabled, with one account, and the four things."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []
        self.usage, self.projects, self.iam, self.things = Usage(self), Projects(self), Iam(self), Things(self)
        for api in (self.usage, self.projects, self.iam, self.things):
            self.add(*api.routes())
        self.usage.enable()
        self.iam.make(EMAIL)

    def policies(self, on: str) -> tuple[Policies, str]:
        """Where the policy of a thing lies, and under what."""
        kind, _, name = on.partition(":")
        return {"project": (self.projects.policies, on), "account": (self.iam.policies, name)}.get(
            kind, (self.things.policies, on)
        )

    def give(self, on: str, role: str, *members: str) -> None:
        policies, thing = self.policies(on)
        policies.bindings.setdefault(thing, {}).setdefault(role, set()).update(members)

    def give_while(self, on: str, role: str, member: str) -> None:
        policies, thing = self.policies(on)
        policies.conditional.setdefault(thing, []).append({"role": role, "members": [member], "condition": CONDITION})

    def given(self, on: str) -> dict[str, set[str]]:
        """Members by role; those with a condition stand beside `role?`."""
        policies, thing = self.policies(on)
        plain = {role: members for role, members in policies.bindings.get(thing, {}).items() if members}
        return plain | {f"{one['role']}?": set(one["members"]) for one in policies.conditional.get(thing, [])}


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def google(world: World) -> Iterator[Google]:
    credentials = AnonymousCredentials()
    with served(world) as address:
        yield Google(credentials, project="my-project", region="europe-west4", endpoint=address, sleep=world.slept.append)


def giving(on: str = "project", role: str = ROLE, member: str = MEMBER) -> GrantRole:
    return GrantRole(grant=Grant(role, member, on), reason="", cost="", undo="")


# --- giving


@pytest.mark.parametrize("on", THINGS)
def test_role_is_given(world: World, google: Google, on: str) -> None:
    wanted = Grant(ROLE, MEMBER, on)
    assert found_grants(google, [wanted]) == frozenset()
    grant(google, giving(on))
    assert world.given(on) == {ROLE: {MEMBER}}
    assert found_grants(google, [wanted]) == {wanted}


@pytest.mark.parametrize("on", THINGS)
def test_roles_of_others_stay(world: World, google: Google, on: str) -> None:
    world.give(on, "roles/owner", "user:owner@example.com")
    world.give(on, ROLE, "group:writers@example.com")
    world.give_while(on, ROLE, "user:guest@example.com")
    grant(google, giving(on))
    assert world.given(on) == {
        "roles/owner": {"user:owner@example.com"},
        ROLE: {"group:writers@example.com", MEMBER},
        f"{ROLE}?": {"user:guest@example.com"},
    }


@pytest.mark.parametrize("on", THINGS)
def test_role_that_is_given_is_not_written_again(world: World, google: Google, on: str) -> None:
    world.give(on, ROLE, MEMBER)
    grant(google, giving(on))
    assert len(world.calls) == 1


@pytest.mark.parametrize("on", THINGS)
def test_role_under_a_condition_does_not_count(world: World, google: Google, on: str) -> None:
    world.give_while(on, ROLE, MEMBER)
    assert found_grants(google, [Grant(ROLE, MEMBER, on)]) == frozenset()
    grant(google, giving(on))
    assert world.given(on) == {ROLE: {MEMBER}, f"{ROLE}?": {MEMBER}}


@pytest.mark.parametrize("fault", [(None, False), (None, True), (BUSY, False), (BUSY, True)], ids=_FAULTS)
@pytest.mark.parametrize("call", [_READS, _WRITES], ids=["reading", "writing"])
@pytest.mark.parametrize("on", THINGS)
def test_giving_survives_a_lost_connection(
    world: World, google: Google, on: str, call: str, fault: tuple[Refused | None, bool]
) -> None:
    world.give(on, "roles/owner", "user:owner@example.com")
    how, after = fault
    world.fail(call, how, after=after)
    grant(google, giving(on))
    assert world.given(on) == {"roles/owner": {"user:owner@example.com"}, ROLE: {MEMBER}}


@pytest.mark.parametrize("on", THINGS)
def test_what_others_write_in_between_stays(world: World, google: Google, on: str) -> None:
    # Somebody else writes when the policy was read, and is not written yet.
    world.later(2, lambda: world.give(on, "roles/viewer", "user:other@example.com"))
    grant(google, giving(on))
    assert world.given(on) == {"roles/viewer": {"user:other@example.com"}, ROLE: {MEMBER}}
    assert world.slept == [0.5]


def test_others_who_never_stop_writing_end_it(world: World, google: Google) -> None:
    for request in range(99):
        world.later(request, lambda number=request: world.give("project", ROLE, f"user:{number}@example.com"))  # type: ignore[misc]
    with pytest.raises(CloudError, match=r"could not give .* on project to .*: others keep changing it at the same moment; wait"):
        grant(google, giving())
    assert MEMBER not in world.given("project")[ROLE]


@pytest.mark.parametrize("on", THINGS)
def test_account_of_a_moment_ago_is_waited_for(world: World, google: Google, on: str) -> None:
    world.iam.accounts[EMAIL].known_at = 4
    grant(google, giving(on))
    assert world.given(on) == {ROLE: {MEMBER}}
    assert world.slept == [2.0, 4.0]


def test_account_that_never_comes_is_told(world: World, google: Google) -> None:
    with pytest.raises(CloudError, match=r"Service account nobody@my-project.iam.gserviceaccount.com does not exist"):
        grant(google, giving(member="serviceAccount:nobody@my-project.iam.gserviceaccount.com"))
    assert sum(world.slept) == 119


def test_api_of_a_moment_ago_is_waited_for(world: World, google: Google) -> None:
    world.usage.enabled.remove("cloudresourcemanager.googleapis.com")
    world.later(3, lambda: world.usage.enable("cloudresourcemanager"))
    grant(google, giving())
    assert world.given("project") == {ROLE: {MEMBER}}


def test_account_is_a_thing_that_may_be_new_as_well(world: World, google: Google) -> None:
    world.iam.accounts[EMAIL].seen_at = 3
    grant(google, giving(f"account:{EMAIL}", member="user:me@example.com"))
    assert world.given(f"account:{EMAIL}") == {ROLE: {"user:me@example.com"}}


def test_whoever_may_not_give_is_told(world: World, google: Google) -> None:
    world.projects.permissions = {"resourcemanager.projects.getIamPolicy"}
    with pytest.raises(CloudError, match=rf"could not give {ROLE} on project to {MEMBER}: The caller does not have permission"):
        grant(google, giving())
    assert not world.slept


# --- looking


def test_what_is_not_there_grants_nothing(world: World, google: Google) -> None:
    world.things.there.clear()
    assert found_grants(google, [Grant(ROLE, MEMBER, on) for on in THINGS]) == frozenset()
    assert not world.slept


def test_what_may_not_be_looked_at_counts_as_not_given(world: World, google: Google) -> None:
    world.give("project", ROLE, MEMBER)
    world.projects.permissions = set()
    assert found_grants(google, [Grant(ROLE, MEMBER, "project")]) == frozenset()


def test_api_that_is_not_enabled_grants_nothing(world: World, google: Google) -> None:
    world.give("project", ROLE, MEMBER)
    world.usage.enabled.clear()
    assert found_grants(google, [Grant(ROLE, MEMBER, "project")]) == frozenset()
    assert not world.slept


def test_each_policy_is_read_once(world: World, google: Google) -> None:
    wanted = [Grant(role, MEMBER, on) for on in ("project", "bucket:my-bucket") for role in (ROLE, "roles/viewer")]
    world.give("bucket:my-bucket", "roles/viewer", MEMBER)
    assert found_grants(google, wanted) == {Grant("roles/viewer", MEMBER, "bucket:my-bucket")}
    assert len(world.calls) == 2


# --- taking back


@pytest.mark.parametrize("on", THINGS)
def test_role_is_taken_back(world: World, google: Google, on: str) -> None:
    world.give(on, ROLE, MEMBER, "group:writers@example.com")
    world.give(on, "roles/viewer", MEMBER)
    world.give_while(on, ROLE, MEMBER)
    revoke(google, Grant(ROLE, MEMBER, on))
    assert world.given(on) == {ROLE: {"group:writers@example.com"}, "roles/viewer": {MEMBER}, f"{ROLE}?": {MEMBER}}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", [_READS, _WRITES], ids=["reading", "writing"])
def test_taking_back_survives_a_lost_connection(world: World, google: Google, call: str, after: bool) -> None:
    world.give("project", ROLE, MEMBER, "group:writers@example.com")
    world.fail(call, after=after)
    revoke(google, Grant(ROLE, MEMBER, "project"))
    assert world.given("project") == {ROLE: {"group:writers@example.com"}}


def test_role_of_an_account_that_was_deleted_is_taken_back(world: World, google: Google) -> None:
    world.give("project", ROLE, MEMBER)
    world.projects.policies.forget(MEMBER)
    assert world.given("project") == {ROLE: {f"deleted:{MEMBER}?uid=1"}}
    revoke(google, Grant(ROLE, MEMBER, "project"))
    assert world.given("project") == {}


@pytest.mark.parametrize("on", THINGS)
def test_role_that_was_not_given_is_not_taken(world: World, google: Google, on: str) -> None:
    world.give(on, ROLE, "group:writers@example.com")
    revoke(google, Grant(ROLE, MEMBER, on))
    assert len(world.calls) == 1


def test_nothing_is_taken_on_what_is_not_there(world: World, google: Google) -> None:
    world.things.there.clear()
    world.usage.enabled.clear()
    for on in THINGS:
        revoke(google, Grant(ROLE, MEMBER, on))
    assert not [call for call in world.calls if "setIamPolicy" in call or "PUT" in call]
    assert not world.slept


def test_whoever_may_not_take_back_is_told(world: World, google: Google) -> None:
    world.give("project", ROLE, MEMBER)
    world.projects.permissions = set()
    with pytest.raises(CloudError, match=rf"could not take {ROLE} on project from {MEMBER}: The caller does not have permission"):
        revoke(google, Grant(ROLE, MEMBER, "project"))

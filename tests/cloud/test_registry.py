"""The repository of images at the wire: found, made once, cleaned up, removed."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import msgspec
import pytest
from google.cloud import artifactregistry_v1 as ar

from relight.cloud.google import Google
from relight.cloud.registry import (
    create_repository,
    delete_repository,
    found_images,
    found_repository,
    images_of,
    set_cleanup,
)
from relight.cloud.work import Silent
from relight.deploy.names import labels
from relight.deploy.observed import Repository
from relight.deploy.steps import CreateRepository, SetCleanup
from relight.errors import CloudError, CloudLost
from tests.cloud.fake.cloud import Cloud
from tests.cloud.fake.server import Refused

NAME = "relight-smol"
WHERE = f"europe-west4/{NAME}"
PLACE = f"europe-west4-docker.pkg.dev/my-project/{NAME}"
DISABLED = Refused(
    403,
    "PERMISSION_DENIED",
    "Artifact Registry API has not been used in project 123456789012 before or it is disabled. Enable it by visiting …",
)
DENIED = Refused(403, "PERMISSION_DENIED", "Permission 'artifactregistry.repositories.get' denied on resource.")
BUSY = Refused(503, "UNAVAILABLE", "The service is currently unavailable.")
WHY = {"reason": "", "cost": "", "undo": ""}
OURS = dict(labels("smol"))
THEIRS = ar.CleanupPolicy(
    id="theirs",
    action=ar.CleanupPolicy.Action.DELETE,
    condition=ar.CleanupPolicyCondition(tag_prefixes=["test-"], tag_state=ar.CleanupPolicyCondition.TagState.TAGGED),
)


@pytest.fixture(autouse=True)
def _enabled(cloud: Cloud) -> None:
    """What these tests are not about: the API is enabled."""
    cloud.usage.enable("artifactregistry")


def creating(region: str = "europe-west4") -> CreateRepository:
    return CreateRepository(name=NAME, region=region, keeps=5, labels=OURS, **WHY)


def calls(cloud: Cloud, what: str) -> int:
    return sum(call.startswith(what) for call in cloud.calls)


# --- found -----------------------------------------------------------------------------------------------------------


def test_repository_that_nobody_made_is_not_there(google: Google) -> None:
    assert found_repository(google, NAME) is None
    assert found_images(google, NAME, [f"{PLACE}/smol:r-1"]) == {}
    assert images_of(google, NAME) == []


def test_disabled_api_has_no_repository_and_is_not_waited_for(cloud: Cloud, google: Google) -> None:
    cloud.usage.enabled.clear()

    assert found_repository(google, NAME) is None
    assert found_images(google, NAME, [f"{PLACE}/smol:r-1"]) == {}
    assert images_of(google, NAME) == []
    assert cloud.slept == []


def test_repository_of_somebody_else_keeps_nothing(cloud: Cloud, google: Google) -> None:
    cloud.registry.make(NAME, labels={"owner": "somebody"}, cleanup_policies={"theirs": THEIRS})

    assert found_repository(google, NAME) == Repository(keeps=0, labels={"owner": "somebody"})


def test_repository_in_another_region_is_another_one(cloud: Cloud, google: Google) -> None:
    cloud.registry.make(NAME, region="us-central1")

    assert found_repository(google, NAME) is None


@pytest.mark.parametrize(
    "what", [found_repository, images_of, lambda google, name: found_images(google, name, [f"{PLACE}/smol:r-1"])]
)
def test_refusal_to_look_is_an_error(cloud: Cloud, google: Google, what: Any) -> None:
    cloud.registry.make(NAME)
    cloud.fail("GET", DENIED)

    with pytest.raises(CloudError, match="denied on resource"):
        what(google, NAME)


@pytest.mark.parametrize("image", ["smol", "team/smol", "a/b/c-d.e_f"])
def test_digest_is_found_behind_a_tag(cloud: Cloud, google: Google, image: str) -> None:
    cloud.registry.make(NAME)
    cloud.registry.push(NAME, image, "r-0")
    digest = cloud.registry.push(NAME, image, "r-1")
    there, gone = f"{PLACE}/{image}:r-1", f"{PLACE}/{image}:r-2"

    assert found_images(google, NAME, [there, gone]) == {there: digest}


def test_tag_that_moved_has_its_new_digest(cloud: Cloud, google: Google) -> None:
    cloud.registry.make(NAME)
    before = cloud.registry.push(NAME, "smol", "r-1")
    after = cloud.registry.push(NAME, "smol", "r-1")

    assert before != after
    assert found_images(google, NAME, [f"{PLACE}/smol:r-1"]) == {f"{PLACE}/smol:r-1": after}


@pytest.mark.parametrize(
    "reference",
    [
        "us-central1-docker.pkg.dev/my-project/relight-smol/smol:r-1",
        "europe-west4-docker.pkg.dev/another/relight-smol/smol:r-1",
        "europe-west4-docker.pkg.dev/my-project/relight-smolx/smol:r-1",
        "europe-west4-docker.pkg.dev/my-project/relight-smol/smol",
        "docker.io/library/smol:r-1",
    ],
)
def test_reference_to_another_place_is_not_looked_for(cloud: Cloud, google: Google, reference: str) -> None:
    cloud.registry.make(NAME)
    cloud.registry.push(NAME, "smol", "r-1")

    assert found_images(google, NAME, [reference]) == {}
    assert cloud.calls == []


def test_images_are_listed_over_all_pages_the_newest_first(cloud: Cloud, google: Google) -> None:
    cloud.registry.make(NAME)
    pushed = [cloud.registry.push(NAME, image, tag) for tag in ("r-1", "r-2") for image in ("smol", "team/tools")]
    moved = cloud.registry.push(NAME, "smol", "r-2")

    found = images_of(google, NAME)

    assert [image.digest for image in found] == [moved, *reversed(pushed)]
    assert [(image.name, image.tags) for image in found[:3]] == [("smol", ("r-2",)), ("team/tools", ("r-2",)), ("smol", ())]
    assert {image.size for image in found} == {400_000_000}
    assert all(image.uploaded.tzinfo is UTC for image in found)
    assert b"team/tools" in msgspec.json.encode(found)


@pytest.mark.parametrize("how", [None, BUSY])
def test_looking_is_asked_again_after_a_lost_connection(cloud: Cloud, google: Google, how: Refused | None) -> None:
    cloud.registry.make(NAME, labels=OURS)
    digests = [cloud.registry.push(NAME, "smol", f"r-{number}") for number in range(5)]
    cloud.fail("GET", how, times=2)
    assert found_repository(google, NAME) == Repository(labels=OURS)
    cloud.fail("GET", how, times=2)
    assert found_images(google, NAME, [f"{PLACE}/smol:r-3"]) == {f"{PLACE}/smol:r-3": digests[3]}
    cloud.fail("GET .*/dockerImages", how, times=2)
    assert len(images_of(google, NAME)) == 5


# --- made ------------------------------------------------------------------------------------------------------------


def test_repository_is_made_and_waited_for(cloud: Cloud, google: Google) -> None:
    create_repository(google, creating(), Silent())

    made = cloud.registry.kept[WHERE].repository
    assert made.format_ == ar.Repository.Format.DOCKER
    assert made.mode == ar.Repository.Mode.STANDARD_REPOSITORY
    assert found_repository(google, NAME) == Repository(keeps=5, labels=OURS)


def test_repository_is_made_in_the_region_of_the_step(cloud: Cloud, google: Google) -> None:
    create_repository(google, creating("us-central1"), Silent())

    assert list(cloud.registry.kept) == [f"us-central1/{NAME}"]


def test_repository_that_is_there_is_used_as_it_is(cloud: Cloud, google: Google) -> None:
    cloud.registry.make(NAME, labels={"owner": "somebody"})

    create_repository(google, creating(), Silent())

    assert found_repository(google, NAME) == Repository(keeps=0, labels={"owner": "somebody"})


@pytest.mark.parametrize("call", ["POST", "GET .*/operations/", "GET .*/repositories/"])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("how", [None, BUSY])
def test_repository_is_there_when_the_step_ends_though_the_connection_broke(
    cloud: Cloud, google: Google, call: str, after: bool, how: Refused | None
) -> None:
    cloud.fail(call, how, after=after)

    create_repository(google, creating(), Silent())

    assert list(cloud.registry.kept) == [WHERE]
    assert found_repository(google, NAME) == Repository(keeps=5, labels=OURS)


def test_repository_is_made_when_the_api_that_was_enabled_a_moment_ago_is_there(cloud: Cloud, google: Google) -> None:
    cloud.fail("POST", DISABLED, times=3)

    create_repository(google, creating(), Silent())

    assert WHERE in cloud.registry.kept


def test_connection_that_stays_lost_is_said_and_what_began_goes_on(cloud: Cloud, google: Google) -> None:
    cloud.fail("GET .*/operations/", times=99)

    with pytest.raises(CloudLost, match="make the repository relight-smol"):
        create_repository(google, creating(), Silent())

    cloud.faults.clear()
    create_repository(google, creating(), Silent())
    assert found_repository(google, NAME) == Repository(keeps=5, labels=OURS)


def test_refusal_to_make_a_repository_says_what_was_done(cloud: Cloud, google: Google) -> None:
    cloud.fail("POST", Refused(403, "PERMISSION_DENIED", "Permission 'artifactregistry.repositories.create' denied."))

    with pytest.raises(CloudError, match="could not make the repository relight-smol: Permission"):
        create_repository(google, creating(), Silent())


# --- cleaned up ------------------------------------------------------------------------------------------------------


def test_clean_up_keeps_the_last_images_and_what_is_young(cloud: Cloud, google: Google) -> None:
    create_repository(google, creating(), Silent())
    digests = [cloud.registry.push(NAME, "smol", f"r-{number}") for number in range(8)]
    moved = cloud.registry.push(NAME, "smol", "r-7")

    cloud.registry.clean(6)
    assert len(images_of(google, NAME)) == 9
    cloud.registry.clean(2)

    assert [image.digest for image in images_of(google, NAME)] == [moved, *reversed(digests[4:])]
    young = [cloud.registry.push(NAME, "smol", f"s-{number}") for number in range(7)]
    cloud.registry.clean(1)
    assert [image.digest for image in images_of(google, NAME)] == list(reversed(young))


def test_clean_up_counts_each_image_by_itself(cloud: Cloud, google: Google) -> None:
    create_repository(google, creating(), Silent())
    other = cloud.registry.push(NAME, "renamed", "r-1")
    for number in range(6):
        cloud.registry.push(NAME, "smol", f"r-{number}")

    cloud.registry.clean(30)

    assert cloud.registry.has(f"{PLACE}/renamed@{other}")
    assert len(images_of(google, NAME)) == 6


def test_policies_of_others_stay_beside_ours(cloud: Cloud, google: Google) -> None:
    cloud.registry.make(NAME, labels=OURS, description="as it was", cleanup_policies={"theirs": THEIRS})

    set_cleanup(google, SetCleanup(name=NAME, keeps=4, **WHY))

    there = cloud.registry.kept[WHERE].repository
    assert set(there.cleanup_policies) == {"theirs", "relight-old", "relight-recent"}
    assert there.cleanup_policies["theirs"] == THEIRS
    assert there.description == "as it was"
    assert found_repository(google, NAME) == Repository(keeps=4, labels=OURS)


@pytest.mark.parametrize("call", ["GET", "PATCH"])
@pytest.mark.parametrize("after", [False, True])
def test_policies_are_set_though_the_connection_broke(cloud: Cloud, google: Google, call: str, after: bool) -> None:
    cloud.registry.make(NAME, labels=OURS)
    cloud.fail(call, after=after)

    set_cleanup(google, SetCleanup(name=NAME, keeps=5, **WHY))

    assert found_repository(google, NAME) == Repository(keeps=5, labels=OURS)


def test_policies_of_a_repository_that_is_gone_are_an_error(google: Google) -> None:
    with pytest.raises(CloudError, match="could not look for the repository relight-smol"):
        set_cleanup(google, SetCleanup(name=NAME, keeps=5, **WHY))


# --- removed ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["DELETE", "GET .*/operations/"])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("how", [None, BUSY])
def test_repository_is_gone_though_the_connection_broke(
    cloud: Cloud, google: Google, call: str, after: bool, how: Refused | None
) -> None:
    cloud.registry.make(NAME)
    cloud.registry.push(NAME, "smol", "r-1")
    cloud.fail(call, how, after=after)

    delete_repository(google, NAME, Silent())

    assert cloud.registry.kept == {}


def test_repository_that_is_gone_takes_one_call(cloud: Cloud, google: Google) -> None:
    delete_repository(google, NAME, Silent())

    assert calls(cloud, "DELETE") == len(cloud.calls) == 1


def test_refusal_to_delete_is_an_error(cloud: Cloud, google: Google) -> None:
    cloud.registry.make(NAME)
    cloud.fail("DELETE", Refused(403, "PERMISSION_DENIED", "no"))

    with pytest.raises(CloudError, match="could not delete the repository relight-smol: no"):
        delete_repository(google, NAME, Silent())
    assert WHERE in cloud.registry.kept

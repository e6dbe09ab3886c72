"""Going back to an earlier revision, and what the next deployment makes of it."""

from __future__ import annotations

import pytest
from google.cloud.run_v2 import TrafficTarget

from relight.cloud.back import go_back
from relight.cloud.google import Google
from relight.deploy.names import CANDIDATE
from relight.deploy.service import Traffic
from relight.errors import CloudError
from tests.cloud.fake.cloud import Cloud
from tests.cloud.fake.run import UNHEALTHY
from tests.cloud.fake.run_rules import REVISION
from tests.cloud.scene import Scene


@pytest.fixture
def scene(cloud: Cloud, google: Google) -> Scene:
    """Two revisions, of which the second has all of the traffic; somebody's tag leads to the first."""
    found = Scene(cloud, google)
    found.deploy()
    found.wish(cpu=8)
    found.deploy()
    return found


def names(scene: Scene) -> list[str]:
    return [name.rpartition("/")[2] for name in scene.cloud.run.revisions]


def test_all_of_the_traffic_goes_back_and_the_latest_is_a_candidate_again(scene: Scene) -> None:
    old, new = names(scene)
    assert scene.there().tested is not None
    go_back(scene.google, "portfolio", old, scene.show)
    there = scene.there()
    assert set(there.traffic) == {Traffic(revision=old, percent=100), Traffic(revision=new, percent=0, tag=CANDIDATE)}
    assert there.tested is None
    assert scene.cloud.run.serving("portfolio") == {old: 100}


def test_next_deployment_asks_the_revision_before_it_gets_traffic_again(scene: Scene) -> None:
    old, new = names(scene)
    go_back(scene.google, "portfolio", old, scene.show)
    assert scene.deploy() == ["smoke-test", "shift-traffic"]
    assert scene.cloud.run.serving("portfolio") == {new: 100}


def test_way_forward_leaves_no_candidate(scene: Scene) -> None:
    old, new = names(scene)
    go_back(scene.google, "portfolio", old, scene.show)
    go_back(scene.google, "portfolio", new, scene.show)
    assert scene.there().traffic == (Traffic(revision=new, percent=100),)


def test_tags_and_notes_of_others_stay(scene: Scene) -> None:
    old, new = names(scene)
    service = scene.cloud.run.service("portfolio")
    service.traffic.append(TrafficTarget(type_=REVISION, revision=new, percent=0, tag="theirs"))
    service.annotations["theirs"] = "yes"
    go_back(scene.google, "portfolio", old, scene.show)
    assert Traffic(revision=new, percent=0, tag="theirs") in scene.there().traffic
    assert dict(scene.cloud.run.service("portfolio").annotations) == {"theirs": "yes"}


def test_revision_that_cannot_serve_or_is_not_there_is_refused(scene: Scene) -> None:
    _, new = names(scene)
    scene.wish(cpu=2)
    scene.cloud.run.outcomes.append(UNHEALTHY)
    with pytest.raises(CloudError, match="did not become ready"):
        scene.deploy()
    with pytest.raises(CloudError, match="it never became ready; relight status"):
        go_back(scene.google, "portfolio", names(scene)[-1], scene.show)
    with pytest.raises(CloudError, match="there is no such revision"):
        go_back(scene.google, "portfolio", "portfolio-none", scene.show)
    assert scene.cloud.run.serving("portfolio") == {new: 100}


@pytest.mark.parametrize("is_after", [False, True])
def test_lost_connection_is_made_good(scene: Scene, is_after: bool) -> None:
    old, _ = names(scene)
    scene.cloud.fail("PATCH /v2/", after=is_after)
    go_back(scene.google, "portfolio", old, scene.show)
    assert scene.cloud.run.serving("portfolio") == {old: 100}
    assert scene.there().tested is None

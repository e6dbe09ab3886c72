"""What must not happen whoever meddles: nothing opened by accident, nothing given to strangers, nothing done that nobody saw."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.run_v2.types import TrafficTarget

from relight.cloud import trial
from relight.cloud.back import go_back
from relight.cloud.destroying import estate, remove
from relight.cloud.google import Google, endpoint_of
from relight.cloud.release import shift_traffic
from relight.cloud.work import Silent
from relight.deploy.names import PUBLIC
from relight.deploy.steps import ShiftTraffic, SmokeTest
from relight.errors import CloudError, CloudLost, ConfigError
from tests.cloud.fake.cloud import Cloud
from tests.cloud.fake.run_rules import LATEST, REVISION
from tests.cloud.fake.server import Reply, Request
from tests.cloud.land import KEYED, Land, land
from tests.cloud.people import ACCOUNT, account, google_as
from tests.cloud.scene import Scene
from tests.cloud.test_destroying import Site, wish

ANYBODY = {"allUsers", "allAuthenticatedUsers"}


def toml(run: str, *, keys: bool) -> str:
    auth = '[auth]\nkeys = { secret = "RELIGHT_KEYS" }\n' if keys else ""
    return KEYED.replace('[auth]\nkeys = { secret = "RELIGHT_KEYS" }\n', auth).replace(
        "concurrency = 8", f"concurrency = 8\n{run}"
    )


OURS = f'invokers = ["serviceAccount:{ACCOUNT}"]'
WORLDS = {
    "guarded": toml(OURS, keys=False),
    "keyed": toml("", keys=True),
    "everybody": toml('invokers = ["allUsers"]', keys=True),
    "inside": toml(f'ingress = "internal"\n{OURS}', keys=False),
    "internal": toml('ingress = "internal"\ntimeout = "4m"', keys=True),
    "gradual": toml("gradual = true", keys=True),
}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Land]:
    with land(tmp_path / "site", monkeypatch) as found:
        yield found


def listened(cloud: Cloud, heard: Callable[[Request], Reply | None]) -> None:
    """Let `heard` see each request first; what it returns is the answer."""
    handle = cloud.handle

    def first(request: Request) -> tuple[Reply, bool]:
        said = heard(request)
        return handle(request) if said is None else (said, False)

    cloud.handle = first  # type: ignore[method-assign]


def unguarded(cloud: Cloud) -> set[str]:
    """The revisions that can be reached by everybody although their front door asks nobody."""
    found = set()
    for name, service in cloud.run.services.items():
        invokers = cloud.run.policies.members(name, "roles/run.invoker")
        if not (service.invoker_iam_disabled or ANYBODY & invokers):
            continue
        for one in service.traffic_statuses:
            revision = f"{name}/revisions/{one.revision}" if one.revision else service.latest_ready_revision
            env = {var.name: var.value for var in cloud.run.revisions[revision].containers[0].env}
            if env.get(PUBLIC) == "true":
                found.add(revision.rpartition("/")[2])
    return found


# --- nothing is opened by accident -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("guarded", "keyed"),
        ("guarded", "gradual"),
        ("keyed", "guarded"),
        ("guarded", "everybody"),
        ("everybody", "guarded"),
        ("keyed", "everybody"),
        ("internal", "keyed"),
        ("internal", "guarded"),
        ("inside", "keyed"),
        ("keyed", "inside"),
    ],
)
def test_who_may_call_changes_without_a_moment_in_which_everybody_may(site: Land, old: str, new: str) -> None:
    site.write(WORLDS[old])
    assert site.deploy().exit_code == 0
    seen: set[str] = set()
    listened(site.cloud, lambda _: seen.update(unguarded(site.cloud)))

    site.write(WORLDS[new])
    done = site.deploy()

    assert (done.exit_code, done.exception) == (0, None)
    assert seen == set()
    assert site.steps() == []


def test_rollback_does_not_open_what_was_made_for_being_closed(site: Land) -> None:
    for world in ("guarded", "keyed"):
        site.write(WORLDS[world])
        assert site.deploy().exit_code == 0
    old, new = (name.rpartition("/")[2] for name in site.cloud.run.revisions)

    with pytest.raises(CloudError, match=f"cannot go back to {old}: it answers everybody without a key"):
        go_back(google_as(site.cloud, account(site.cloud)), "portfolio", old, Silent())
    assert site.cloud.run.serving("portfolio") == {new: 100}
    assert unguarded(site.cloud) == set()


def test_tag_of_a_revision_that_asks_nobody_keeps_the_service_closed(site: Land) -> None:
    site.write(WORLDS["guarded"])
    site.deploy()
    service = site.cloud.run.service("portfolio")
    old = service.latest_ready_revision.rpartition("/")[2]
    service.traffic.append(TrafficTarget(type_=REVISION, revision=old, tag="demo"))

    site.write(WORLDS["keyed"])
    done = site.deploy()

    assert f'the revision {old} has the tag "demo", and would answer everybody' in str(done.exception)
    assert unguarded(site.cloud) == set()
    service.traffic = [one for one in site.cloud.run.service("portfolio").traffic if one.tag != "demo"]
    site.cloud.run.service("portfolio").traffic = [TrafficTarget(type_=LATEST, percent=100)]
    assert site.deploy().exit_code == 0


# --- nothing gets traffic that was not asked ------------------------------------------------------------------------


def test_revision_made_by_somebody_else_during_the_test_does_not_count_as_tested(
    site: Land, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.deploy()
    site.write(KEYED.replace("concurrency = 8", "concurrency = 4"))
    others: list[str] = []

    def meddled(*args: Any, **how: Any) -> trial.Tried:
        found = asking(*args, **how)
        if not others:
            service = site.cloud.run.service("portfolio")
            name = f"{service.latest_ready_revision.rpartition('-')[0]}-zzz"
            site.cloud.run.revisions[name] = type(site.cloud.run.revisions[service.latest_ready_revision])(
                site.cloud.run.revisions[service.latest_ready_revision]
            )
            site.cloud.run.revisions[name].name = name
            service.latest_ready_revision = service.latest_created_revision = name
            others.append(name.rpartition("/")[2])
        return found

    asking = trial.trial
    monkeypatch.setattr(trial, "trial", meddled)
    shifted: list[dict[str, int]] = []
    listened(site.cloud, lambda _: shifted.append(site.cloud.run.serving("portfolio")))

    done = site.deploy()

    assert done.exit_code == 0, done.exception
    asked = [one for one in site.cloud.front.requests if one.method == "POST"]
    assert "was changed at the same moment" in done.stderr
    assert len(asked) == 3, "the first deployment's, ours, and that of the other revision"
    assert shifted[-1] == {others[0]: 100}


def test_share_is_given_to_the_revision_that_answered_and_to_no_other(cloud: Cloud, google: Google, address: str) -> None:
    scene = Scene(cloud, google)
    scene.deploy()
    scene.wish(cpu=8)
    while not isinstance(step := scene.steps()[0], SmokeTest):
        scene.do(step)
    shift = ShiftTraffic(name="portfolio", percent=100, previous=None, reason="", cost="", undo="")
    with pytest.raises(CloudLost):
        shift_traffic(google, shift, scene.show)
    scene.do(step)
    shift_traffic(google, shift, scene.show)


def test_front_door_that_takes_no_notice_of_keys_fails_its_test_also_with_a_key_here(
    site: Land, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELIGHT_KEY", "rl_mine")

    def open_door(request: Request) -> Reply | None:
        if not request.path.endswith("/v1/chat/completions"):
            return None
        told = {"choices": [{"message": {"content": "Hi"}}], "usage": {"completion_tokens": 1}}
        return Reply(json.dumps(told).encode(), 200, {"x-relight-interaction": "int_1", "x-relight-wake-ms": "soon"})

    listened(site.cloud, open_door)
    done = site.deploy()
    assert "POST /v1/chat/completions: answered 200" in str(done.exception)
    assert site.steps() == ["smoke-test"]


# --- nothing is done that nobody saw --------------------------------------------------------------------------------


def test_file_changed_while_it_is_sent_is_not_built_under_the_name_of_another(site: Land) -> None:
    def edit(request: Request) -> None:
        if request.path.startswith("/upload/"):
            site.write(KEYED.replace("context = 2048", "context = 1024"))

    listened(site.cloud, edit)
    done = site.deploy()
    assert "changed meanwhile, so it was not built" in str(done.exception)
    assert site.cloud.builds.runs == {}
    assert site.deploy().exit_code == 0


def test_file_changed_while_a_service_is_tested_waits_for_the_next_deployment(site: Land) -> None:
    def edit(request: Request) -> None:
        if request.path.startswith("/serving/"):
            site.write(KEYED.replace("context = 2048", "context = 1024"))

    listened(site.cloud, edit)
    done = site.deploy("--json")
    assert done.exit_code == 0, done.exception
    assert len(site.cloud.builds.runs) == 1
    assert "build-image" in site.steps()


def test_context_that_somebody_puts_in_the_place_of_ours_is_not_built(site: Land) -> None:
    def swap(request: Request) -> None:
        if request.method == "POST" and request.path.endswith("/builds"):
            (name,) = site.cloud.storage.buckets
            (context,) = site.cloud.storage.buckets[name].objects
            site.cloud.storage.put(name, context, b"evil")

    listened(site.cloud, swap)
    done = site.deploy()
    assert "ended with FAILURE" in str(done.exception)
    assert site.cloud.builds.contexts == []


def test_service_of_somebody_else_is_not_taken_over_in_silence(site: Land) -> None:
    site.deploy()
    assert "was not made by relight" not in json.dumps(site.plan())
    site.cloud.run.service("portfolio").labels.clear()
    assert "portfolio is there, and was not made by relight" in json.dumps(site.plan())


def test_bucket_that_another_service_uses_as_well_survives(cloud: Cloud, google: Google) -> None:
    both = Site(cloud, google)
    desired = both.deploy(wish(bucket="shared"))
    both.deploy(wish("other", bucket="shared"))
    found = estate(google, desired, Silent())
    assert [(one.name, one.why) for one in found.left] == [
        (
            "shared",
            "others use it too: other-build@my-project.iam.gserviceaccount.com, other-serve@my-project.iam.gserviceaccount.com",
        )
    ]
    for one in found.owned:
        remove(google, one, Silent())
    assert len(cloud.storage.buckets["shared"].objects) == 3


# --- what answers need not be Google --------------------------------------------------------------------------------


def test_page_of_a_proxy_is_told_in_few_words_that_drive_no_terminal(site: Land) -> None:
    page = b"<html>\x1b]0;evil\x07\xc2\x9b31mLog in" + b" please" * 100_000 + b"</html>"
    listened(site.cloud, lambda request: Reply(page, 403) if request.path.endswith("/services/portfolio") else None)
    said = str(site.deploy().exception)
    assert "Log in please" in said
    assert len(said) < 2000
    assert said.isprintable()


def test_page_that_comes_instead_of_json_is_a_lost_connection(site: Land) -> None:
    listened(site.cloud, lambda request: Reply(b"<html>", 200) if request.path.endswith("/services/portfolio") else None)
    assert isinstance(site.deploy().exception, CloudLost)


# --- tokens stay with Google ----------------------------------------------------------------------------------------


def test_emulator_of_other_programs_is_not_sent_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    google = Google(AnonymousCredentials(), project="my-project", region="europe-west4")
    assert google.storage._connection.API_BASE_URL == "https://storage.googleapis.com"


@pytest.mark.parametrize(
    "address",
    [
        "http://evil.example\\@127.0.0.1",
        "http://evil.example\\@127.0.0.1:80",
        "http://127.0.0.1@evil.example",
        "http://127.0.0.1.evil.example",
        "http://evil.example#@127.0.0.1",
        "https://evil.example",
        "ftp://127.0.0.1",
        "http://127.0.0.1/path",
    ],
)
def test_endpoint_for_tests_is_nowhere_but_here(address: str) -> None:
    with pytest.raises(ConfigError):
        endpoint_of({"RELIGHT_GOOGLE_ENDPOINT": address})

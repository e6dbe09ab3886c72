"""Whole deployments by the command, Google's clients against Google at the wire: to the end, broken off anywhere, and refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from relight.cli import applying
from relight.cli.applying import Told
from relight.cli.receipts import RECEIPT
from relight.deploy.steps import Step
from relight.errors import CloudError, ExitCode
from tests.cloud.fake.run import UNHEALTHY
from tests.cloud.fake.server import Killed, Refused
from tests.cloud.land import GUARDED, KEYED, SECRET, Land, land

WORLDS = {"keyed": KEYED, "guarded": GUARDED}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Land]:
    with land(tmp_path / "site", monkeypatch) as found:
        yield found


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Land]:
    with land(tmp_path / "site", monkeypatch, WORLDS[request.param]) as found:
        yield found


# --- to the end ------------------------------------------------------------------------------------------------------


def test_deployment_ends_with_a_receipt_and_a_second_one_does_nothing(world: Land) -> None:
    done = world.deploy("--json")
    assert done.exit_code == 0, done.stderr
    receipt = json.loads(done.stdout)
    assert receipt["url"].endswith("/serving/portfolio")
    assert "@sha256:" in receipt["image"]
    assert json.loads((world.folder / RECEIPT).read_text()) == receipt
    made = world.made()
    again = json.loads(world.deploy("--json").stdout)
    assert (again["steps"], again["revision"]) == (0, receipt["revision"])
    assert {call for call, n in (world.made() - made).items() if n and not _asks(call)} == set()
    assert world.steps() == []


def test_no_secret_is_shown_or_left_in_the_folder(world: Land) -> None:
    done = world.deploy()
    written = "".join(file.read_text(errors="replace") for file in world.folder.rglob("*.json") if file.name != "key.json")
    assert SECRET not in done.output + done.stderr + written


def test_test_with_a_key_asks_the_model(site: Land, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELIGHT_KEY", "rl_key")
    tested = json.loads(site.deploy("--json").stdout)["tested"]
    assert (tested["answered"], tested["model"]) == (True, "smol")


# --- broken off ------------------------------------------------------------------------------------------------------


@pytest.fixture
def whole(world: Land, tmp_path: Path) -> tuple[dict[str, object], int]:
    """What is seen after a deployment that nothing broke off, and how many steps it took."""
    text = (world.folder / "relight.toml").read_text()
    with pytest.MonkeyPatch.context() as patch, land(tmp_path / "whole", patch, text) as other:
        receipt = json.loads(other.deploy("--json").stdout)
        seen = other.seen()
    return seen, receipt["steps"]


class Mortal(Told):
    """Tells about steps until the one after which the process dies."""

    after = 0
    done = 0

    def ends(self, step: Step) -> None:
        super().ends(step)
        Mortal.done += 1
        if Mortal.done == Mortal.after:
            raise Killed


@pytest.mark.real
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("hasty")
def test_killed_after_any_step_it_goes_on_there(
    world: Land, whole: tuple[dict[str, object], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, steps = whole
    text = (world.folder / "relight.toml").read_text()
    monkeypatch.setattr(applying, "Told", Mortal)
    for number in range(1, steps + 1):
        with land(tmp_path / f"killed-{number}", monkeypatch, text) as other:
            Mortal.after, Mortal.done = number, 0
            with pytest.raises(Killed):
                other.deploy()
            Mortal.after = 0
            rest = json.loads(other.deploy("--json").stdout)["steps"]
            assert (number, rest) == (number, steps - number)
            assert _alike(other.seen()) == _alike(seen), f"after step {number}"


@pytest.mark.real
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("hasty")
def test_killed_after_every_single_step_it_still_arrives(
    world: Land, whole: tuple[dict[str, object], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applying, "Told", Mortal)
    Mortal.after = 1
    for _ in range(whole[1]):
        Mortal.done = 0
        with pytest.raises(Killed):
            world.deploy()
    assert json.loads(world.deploy("--json").stdout)["steps"] == 0
    assert _alike(world.seen()) == _alike(whole[0])


def test_ctrl_c_says_where_it_stopped(site: Land, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("relight.cloud.registry.create_repository", interrupted)
    done = site.deploy()
    assert "stopped in create-repository: relight-portfolio" in done.stderr
    assert "run it again to go on" in done.stderr


# --- refused and failed ----------------------------------------------------------------------------------------------


def test_refusal_names_the_step_and_changes_nothing_more(site: Land) -> None:
    site.cloud.fail("POST /v1/projects/my-project/secrets", Refused(403, "PERMISSION_DENIED", "Permission denied."))
    done = site.deploy()
    assert isinstance(done.exception, CloudError)
    assert (done.exception.exit_code, "portfolio-RELIGHT_KEYS" in str(done.exception)) == (ExitCode.CLOUD, True)
    assert site.cloud.run.services == {}
    assert site.deploy().exit_code == 0


def test_what_would_fail_is_not_begun(site: Land) -> None:
    site.cloud.projects.permissions = {"resourcemanager.projects.get"}
    site.cloud.usage.enabled.add("cloudresourcemanager.googleapis.com")
    done = site.deploy()
    assert done.exception is not None
    assert "nothing was changed" in str(done.exception)
    assert {call for call in site.made() if not _asks(call)} == set()


def test_failed_revision_leaves_the_traffic_and_shows_its_own_logs(site: Land) -> None:
    site.deploy()
    before = site.cloud.run.serving("portfolio")
    site.write(KEYED.replace("concurrency = 8", "concurrency = 4"))
    site.cloud.run.outcomes.append(UNHEALTHY)
    failing = "relight: models.smol: weights are not what sha256 says"
    for number in (2, 3):
        for suffix in _revisions(site, number):
            site.cloud.logging.add("portfolio", suffix, "ERROR", failing)
    done = site.deploy()
    assert isinstance(done.exception, CloudError)
    assert site.cloud.run.serving("portfolio") == before
    site.write(KEYED)
    assert site.deploy().exit_code == 0


def test_gradual_deployment_is_tested_at_each_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with land(tmp_path / "site", monkeypatch, GUARDED) as site:
        site.deploy()
        site.write(GUARDED.replace("concurrency = 8", "concurrency = 4"))
        planned = site.steps()
        assert planned == ["deploy-revision", *["smoke-test", "shift-traffic"] * 3]
        assert site.deploy().exit_code == 0
        assert list(site.cloud.run.serving("portfolio").values()) == [100]


def _asks(call: str) -> bool:
    """Whether a POST only asks: dry runs, tokens, listings and the test itself."""
    return any(word in call for word in ("token", "testIamPermissions", "entries:list", "getIamPolicy", "/serving/", "services"))


def _revisions(site: Land, number: int) -> list[str]:
    return [f"portfolio-{number:05}"]


def _alike(seen: dict[str, object]) -> dict[str, object]:
    """Without what may differ between two ways to the same state: names of revisions and addresses."""
    text = json.dumps(seen, default=str, sort_keys=True)
    import re

    text = re.sub(r"portfolio-\d{5}-[0-9a-f]+", "REVISION", text)
    return dict(json.loads(re.sub(r"127\.0\.0\.1:\d+", "ADDRESS", text)))

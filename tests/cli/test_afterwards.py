"""`relight status`, `rollback`, `off`, `on` and `destroy` at a project of the fake's, signed in with a key file."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from google.auth.credentials import AnonymousCredentials

from relight.cli import connected
from relight.cli.destroy import destroy
from relight.cli.main import run
from relight.cli.rollback import rollback
from relight.cli.status import age, status
from relight.cli.switch import off, on
from relight.cloud import destroying
from relight.cloud.google import ENDPOINT, Google, signed_in
from relight.cloud.release import mark_tested
from relight.cloud.schedules import found_schedules, set_schedule
from relight.config.deploy import Window
from relight.deploy.steps import SetSchedule
from relight.errors import CloudError, ConfigError, ExitCode, RelightError, UsageError
from tests.cloud.fake.cloud import Cloud
from tests.cloud.fake.run import UNHEALTHY
from tests.cloud.fake.server import served
from tests.cloud.people import ACCOUNT
from tests.cloud.scene import Scene

TOML = """
[service]
name = "portfolio"
[models.toy]
engine = "scripted"
[auth]
keys = { secret = "RELIGHT_KEYS" }
[deploy.cloudrun]
project = "my-project"
region = "europe-west4"
"""
Call = Callable[..., Result]


def at(cloud: Cloud, project: str, region: str) -> Google:
    """Whoever it is; waiting takes no time."""
    return Google(AnonymousCredentials(), project=project, region=region, endpoint=cloud.address, sleep=cloud.slept.append)


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    found = Cloud()
    with served(found) as address:
        found.address = address
        yield found


@pytest.fixture
def scene(cloud: Cloud) -> Scene:
    """Two revisions, of which the second has all of the traffic."""
    found = Scene(cloud, at(cloud, "my-project", "europe-west4"))
    found.deploy()
    found.wish(cpu=8, min_instances=1)
    found.deploy()
    return found


@pytest.fixture
def folder(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration, on a machine where somebody is signed in."""
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("PORT", raising=False)
    monkeypatch.setattr(connected, "signed_in", lambda project, region: at(cloud, project, region))
    (tmp_path / "relight.toml").write_text(TOML)
    return tmp_path


@pytest.fixture
def call(folder: Path) -> Call:
    def called(command: click.Command, *words: str, typed: str = "") -> Result:
        return CliRunner().invoke(command, [*words, "-c", str(folder / "relight.toml")], input=typed)

    return called


@pytest.fixture
def attended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody sits at the terminal."""
    monkeypatch.setattr(connected, "is_attended", lambda: True)


def fine(done: Result) -> Result:
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == ExitCode.OK, done.output
    return done


def serving(cloud: Cloud) -> dict[str, int]:
    return cloud.run.serving("portfolio")


def names(scene: Scene) -> tuple[str, str]:
    """Of the older and the newer revision."""
    old, new = (name.rpartition("/")[2] for name in scene.cloud.run.revisions)
    return old, new


# --- what all of them do ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [status, rollback, off, on, destroy])
def test_without_a_project_it_is_said_what_to_write(command: click.Command, call: Call, folder: Path, attended: None) -> None:
    (folder / "relight.toml").write_text(TOML.replace('project = "my-project"', ""))
    error = call(command).exception
    assert isinstance(error, ConfigError)
    assert "deploy.cloudrun.project" in str(error)


@pytest.mark.parametrize("command", [rollback, off, on, destroy])
@pytest.mark.parametrize("text", ["[service\n", TOML.replace("my-project", "")])
def test_configuration_that_is_wrong_comes_before_nobody_to_ask(
    command: click.Command, call: Call, folder: Path, text: str
) -> None:
    (folder / "relight.toml").write_text(text.replace('project = ""', ""))
    assert isinstance(call(command).exception, ConfigError)


@pytest.mark.parametrize("command", [rollback, off, on])
def test_without_a_service_there_is_nothing_to_change(command: click.Command, call: Call, cloud: Cloud) -> None:
    cloud.usage.enable()
    error = call(command, "--yes").exception
    assert isinstance(error, CloudError)
    assert str(error) == "cloud: there is no service portfolio in my-project, europe-west4; run: relight deploy"


@pytest.mark.parametrize("command", [rollback, off, on, destroy])
def test_programs_and_pipes_are_never_asked(
    command: click.Command, call: Call, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(scene.cloud.calls)
    error = call(command).exception
    assert isinstance(error, UsageError)
    monkeypatch.setattr(connected, "is_attended", lambda: True)
    error = call(command, "--json").exception
    assert isinstance(error, UsageError)
    assert str(error).endswith("nobody can be asked whether to go on; add --yes")
    assert len(scene.cloud.calls) == before


def test_whoever_has_a_key_file_is_signed_in(call: Call, scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = tmp_path / "key.json"
    key.write_text(json.dumps(scene.cloud.identities.key_file(ACCOUNT, scene.cloud.address)))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
    monkeypatch.setenv(ENDPOINT, scene.cloud.address)
    monkeypatch.setattr(connected, "signed_in", signed_in)
    assert json.loads(fine(call(status, "--json")).stdout)["service"] == "portfolio"


# --- status ----------------------------------------------------------------------------------------------------------


def test_status_shows_revisions_instances_wakes_and_the_month(call: Call, scene: Scene) -> None:
    old, new = names(scene)
    now = datetime.now(UTC)
    metrics = scene.cloud.metrics
    metrics.add("container/instance_count", "portfolio", now - timedelta(minutes=2), 2, labels={"state": "active"})
    metrics.add("container/billable_instance_time", "portfolio", now - timedelta(seconds=1), 7200)
    metrics.add("request_count", "portfolio", now - timedelta(seconds=1), 12)
    record = {"message": "m", "interaction": {"model": "toy", "timings": {"wake_ms": 2500}}}
    scene.cloud.logging.add("portfolio", new, "INFO", record, at=now - timedelta(hours=3, minutes=1))
    shown = fine(call(status)).stdout
    lines = {line.split()[0]: " ".join(line.split()) for line in shown.splitlines() if line.strip()}
    assert lines["portfolio"].startswith("portfolio in my-project, europe-west4: http://127.0.0.1")
    assert lines["state"] == "state on"
    assert lines["instances"] == "instances 2 at work, 0 idle a few minutes ago; 1 kept, 1 at most"
    assert f"{new}" in lines
    assert lines[new].endswith("100 % yes")
    assert lines[old].endswith("– yes")
    assert lines["3h"] == f"3h toy 2.5 s {new}"
    month = lines["month"]
    assert month.startswith("month about $1.53 since 1 ") or now.day == 1
    assert "before the free tier: 12 requests, 2.0 hours paid at $0.76" in month


def test_status_tells_what_was_deployed_from_here(call: Call, scene: Scene, folder: Path) -> None:
    _, new = names(scene)
    at = datetime.now(UTC) - timedelta(minutes=3, seconds=5)
    leave(folder, revision=new, steps=1, at=at.isoformat(timespec="seconds"))
    assert f"from here ({at:%Y-%m-%d %H:%M} UTC, 3m ago): 1 step, to {new}" in fine(call(status)).stdout
    # Of another service, of one of that name that is gone, of nobody knows when, and no receipt at all.
    for what in ({"service": "another"}, {"revision": "portfolio-00001-gone"}, {"at": "yesterday"}):
        leave(folder, **{"revision": new, **what})
        assert "deployed" not in fine(call(status)).stdout
    (folder / ".relight/receipt.json").write_text("{")
    assert "deployed" not in fine(call(status)).stdout


def leave(folder: Path, **what: Any) -> Path:
    """A receipt of `relight deploy`."""
    file = folder / ".relight/receipt.json"
    file.parent.mkdir(exist_ok=True)
    found = {"project": "my-project", "region": "europe-west4", "service": "portfolio", "revision": None, "steps": 3}
    file.write_text(json.dumps({**found, "at": "2026-11-22T12:00:00+00:00", "more": {}, **what}))
    return file


def test_status_says_how_it_was_tested_and_what_is_unfinished(call: Call, scene: Scene) -> None:
    _, new = names(scene)
    shown = fine(call(status)).stdout
    assert f"  tested     {new}, before it got traffic\n" in shown
    assert "unfinished" not in shown
    scene.wish(cpu=2)
    *steps, shift = scene.steps()
    for step in steps:
        scene.do(step)
    third = list(scene.cloud.run.revisions)[-1].rpartition("/")[2]
    shown = fine(call(status)).stdout
    assert f"  unfinished {third}, the newest, has no traffic (stopped, or gone back from); relight deploy goes on\n" in shown
    scene.do(shift)
    assert "unfinished" not in fine(call(status)).stdout
    for percent, said in ((25, f"{third}, with 25 % of the traffic"), (100, third)):
        mark_tested(scene.google, "portfolio", percent)
        assert f"  tested     {said}\n" in fine(call(status)).stdout


def test_status_for_programs_is_all_of_it(call: Call, scene: Scene) -> None:
    said = json.loads(fine(call(status, "--json")).stdout)
    assert [one["percent"] for one in said["revisions"]] == [100, 0]
    assert (said["kept"], said["is_off"], said["instances"]) == (1, False, {"active": 0, "idle": 0})
    assert said["month"]["requests"] == 0


def test_status_of_nothing_says_so_with_its_exit_code(call: Call, cloud: Cloud) -> None:
    cloud.usage.enable()
    done = call(status)
    assert done.exit_code == ExitCode.FOUND
    assert "there is no service portfolio in my-project, europe-west4; relight deploy makes it" in done.stdout
    done = call(status, "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (ExitCode.FOUND, None)


def test_status_says_what_is_off_unknown_or_broken(call: Call, scene: Scene) -> None:
    scene.wish(warm={"office": Window(time_zone="Europe/Berlin")})
    scene.cloud.iam.make("portfolio-warm@my-project.iam.gserviceaccount.com")
    for timed in scene.desired.schedules:
        step = SetSchedule(name=timed.schedule.name, service="portfolio", schedule=timed.schedule, reason="", cost="", undo="")
        set_schedule(scene.google, step)
    scene.google.schedules.pause_job(name=next(name for name in scene.cloud.scheduler.jobs if "1800" in name))
    scene.cloud.usage.enabled -= {"monitoring.googleapis.com", "logging.googleapis.com"}
    fine(call(off, "--yes"))
    shown = fine(call(status)).stdout
    assert "off: nothing wakes it; relight on" in shown
    for api, times in (("monitoring", 2), ("logging", 1)):
        said = f"unknown: {api}.googleapis.com is not enabled, or you may not see it (gcloud services enable {api}.googleapis.com"
        assert shown.count(f"{said} --project=my-project)") == times
    assert "0 8 * * 1-5 Europe/Berlin: 1 kept from then on" in shown
    assert "portfolio-warm-1800-0 was paused or changed; relight deploy sets it right" in shown


def test_status_tells_why_a_revision_is_not_ready(call: Call, scene: Scene) -> None:
    scene.wish(cpu=2)
    scene.cloud.run.outcomes.append(UNHEALTHY)
    with pytest.raises(RelightError, match="did not become ready"):
        scene.deploy()
    shown = fine(call(status)).stdout
    assert "no: The user-provided container failed to start" in shown
    assert "the newest, is not ready; relight deploy goes on" in shown


def test_age_is_the_largest_unit() -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    ages = [age(now - timedelta(seconds=s), now) for s in (5, 65, 7300, 200_000)]
    assert ages == ["5s", "1m", "2h", "2d"]
    assert age(now + timedelta(seconds=5), now) == "0s"  # clocks differ


# --- rollback --------------------------------------------------------------------------------------------------------


def test_rollback_gives_the_traffic_to_the_revision_before(call: Call, scene: Scene) -> None:
    old, new = names(scene)
    said = json.loads(fine(call(rollback, "--yes", "--json")).stdout)
    assert said == {"service": "portfolio", "to": old, "was": {new: 100}, "changed": True}
    assert serving(scene.cloud) == {old: 100}
    # The next deployment gives it back, by a test.
    assert scene.deploy() == ["smoke-test", "shift-traffic"]
    assert serving(scene.cloud) == {new: 100}


def test_rollback_asks_with_what_it_would_do(call: Call, scene: Scene, attended: None) -> None:
    old, new = names(scene)
    done = call(rollback, old, typed="n\n")
    assert f"traffic: {new} 100 % → {old} 100 %" in done.output
    assert serving(scene.cloud) == {new: 100}
    done = fine(call(rollback, old, typed="y\n"))
    assert f"{old} has all of the traffic; the next relight deploy tests" in done.output
    assert f"{old} has all of the traffic already" in fine(call(rollback, old)).output


def test_rollback_refuses_what_is_not_there_or_cannot_serve(call: Call, scene: Scene) -> None:
    scene.wish(cpu=2)
    scene.cloud.run.outcomes.append(UNHEALTHY)
    with pytest.raises(RelightError):
        scene.deploy()
    failed = list(scene.cloud.run.revisions)[-1].rpartition("/")[2]
    old, new = names_of_first_two(scene)
    error = call(rollback, "portfolio-none", "--yes").exception
    assert str(error) == f'rollback: there is no revision "portfolio-none"; ready are: {new}, {old}'
    error = call(rollback, failed, "--yes").exception
    assert isinstance(error, UsageError)
    assert str(error).startswith(f"rollback: {failed} cannot serve: The user-provided container failed to start")
    assert serving(scene.cloud) == {new: 100}
    # Without a name the failed one is passed over, and so is the one that serves.
    fine(call(rollback, "--yes"))
    assert serving(scene.cloud) == {old: 100}
    error = call(rollback, "--yes").exception
    assert str(error) == "rollback: there is no earlier revision that is ready; relight status shows the revisions"


def names_of_first_two(scene: Scene) -> tuple[str, str]:
    old, new, _ = (name.rpartition("/")[2] for name in scene.cloud.run.revisions)
    return old, new


# --- off and on ------------------------------------------------------------------------------------------------------


def test_off_and_on_again_leave_it_as_it_was(call: Call, scene: Scene) -> None:
    before = scene.there()
    assert json.loads(fine(call(off, "--yes", "--json")).stdout) == {"service": "portfolio", "is_off": True, "changed": True}
    assert scene.there().is_off
    assert fine(call(off, "--yes")).stdout == "portfolio is off already\n"
    assert fine(call(on, "--yes")).stdout == "portfolio is on\n"
    assert scene.there() == before
    assert fine(call(on, "--yes")).stdout == "portfolio is on already\n"


def test_switch_asks_with_what_it_costs_or_saves(call: Call, scene: Scene, attended: None) -> None:
    done = call(off, typed="n\n")
    assert "saves $105 a month for 1 kept awake ($0.76 an hour awake)" in done.output
    assert not scene.there().is_off
    fine(call(off, typed="y\n"))
    done = call(on, typed="n\n")
    assert "on: $105 a month for 1 kept awake, $0.76 an hour awake" in done.output
    assert scene.there().is_off


# --- destroy ---------------------------------------------------------------------------------------------------------


def mark(scene: Scene) -> None:
    """What the scene made by hand, as it would be if it had been deployed."""
    labels = {"managed-by": "relight", "relight-service": "portfolio"}
    scene.cloud.registry.kept["europe-west4/relight-portfolio"].repository.labels = labels
    scene.cloud.secrets.make("portfolio-RELIGHT_KEYS", "text", labels=labels)
    scene.cloud.iam.make("portfolio-serve@my-project.iam.gserviceaccount.com", "managed by relight for portfolio: runs it")


def left(cloud: Cloud) -> dict[str, Any]:
    return {
        "services": list(cloud.run.services),
        "repositories": list(cloud.registry.kept),
        "secrets": list(cloud.secrets.held),
        "accounts": list(cloud.iam.accounts),
    }


def test_destroy_lists_asks_for_the_name_and_removes(call: Call, scene: Scene, attended: None) -> None:
    mark(scene)
    before = left(scene.cloud)
    done = call(destroy, typed="portfoli\n")
    assert isinstance(done.exception, UsageError)
    assert 'got "portfoli", not portfolio: nothing was removed' in str(done.exception)
    assert left(scene.cloud) == before
    done = fine(call(destroy, typed="portfolio\n"))
    assert "relight-portfolio" in done.stdout
    assert "nothing of portfolio is left in my-project, europe-west4" in done.stdout
    assert left(scene.cloud) == {"services": [], "repositories": [], "secrets": ["portfolio-OPENAI_API_KEY"], "accounts": []}
    assert found_schedules(scene.google, "portfolio") == {}


def test_destroy_only_says_what_it_would_do_with_plan(call: Call, scene: Scene) -> None:
    mark(scene)
    before = left(scene.cloud)
    said = json.loads(fine(call(destroy, "--plan", "--json")).stdout)
    assert [one["kind"] for one in said["owned"]] == ["service", "repository", "secret", "account"]
    assert said["was_removed"] is False
    assert left(scene.cloud) == before


def test_destroy_of_nothing_is_done_already(call: Call, cloud: Cloud) -> None:
    cloud.usage.enable()
    done = fine(call(destroy, "--yes"))
    assert done.stdout == "nothing of portfolio is in my-project, europe-west4\n"
    assert json.loads(fine(call(destroy, "--yes", "--json")).stdout)["was_removed"] is False


def test_destroy_takes_the_receipt_of_what_is_gone_and_no_other(call: Call, scene: Scene, folder: Path) -> None:
    file = leave(folder)
    fine(call(destroy, "--plan"))
    assert file.exists()
    mark(scene)
    fine(call(destroy, "--yes"))
    assert not file.exists()
    # Nor does one stay of what somebody else removed meanwhile.
    leave(folder)
    fine(call(destroy, "--yes"))
    assert not file.exists()
    leave(folder, service="another")
    fine(call(destroy, "--yes"))
    assert file.exists()


def test_destroy_keeps_the_receipt_of_a_service_that_stays(call: Call, scene: Scene, folder: Path) -> None:
    scene.cloud.run.service("portfolio").labels["relight-service"] = "another"
    file = leave(folder)
    fine(call(destroy, "--yes"))
    assert file.exists()


@pytest.mark.parametrize("how", [KeyboardInterrupt(), CloudError("cloud: could not delete it")])
def test_destroy_that_is_stopped_says_what_is_gone(
    call: Call, scene: Scene, folder: Path, monkeypatch: pytest.MonkeyPatch, how: BaseException
) -> None:
    mark(scene)
    file = leave(folder)

    def stops(*_: Any) -> None:
        raise how

    monkeypatch.setattr(destroying, "delete_repository", stops)
    done = call(destroy, "--yes")
    assert done.exit_code != ExitCode.OK
    assert (
        "removed service portfolio\n  removing repository relight-portfolio\n"
        "stopped at repository relight-portfolio; 1 of 4 are removed\nwhat is gone is gone; run it again to go on\n"
    ) in done.stderr
    assert left(scene.cloud)["services"] == []
    assert left(scene.cloud)["accounts"]
    assert file.exists()


def test_destroy_that_is_stopped_ends_with_its_exit_code(
    call: Call, scene: Scene, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mark(scene)
    monkeypatch.setattr(destroying, "delete_repository", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    assert run(["destroy", "--yes", "-c", str(folder / "relight.toml")]) == 130
    said = capsys.readouterr().err
    assert "stopped at repository relight-portfolio; 1 of 4 are removed\nwhat is gone is gone; run it again to go on\n" in said


def test_destroy_says_what_stays(call: Call, scene: Scene) -> None:
    done = fine(call(destroy, "--yes"))
    assert "it has not the labels of relight" in done.stdout
    assert "nothing of portfolio is left in my-project, europe-west4, but for relight-portfolio" in done.stdout
    assert list(scene.cloud.registry.kept)

"""`relight logs` against a fake of Cloud Logging, signed in with a key file."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from relight.cli import connected, main
from relight.cli.logs import _Lines
from relight.cli.main import run
from relight.cloud.google import ENDPOINT, signed_in
from relight.cloud.journal import Entry
from relight.errors import ExitCode
from tests.cloud.fake.cloud import Cloud
from tests.cloud.fake.server import Refused, served
from tests.cloud.people import ACCOUNT, account, google_as
from tests.cloud.scene import Scene

REVISION = "portfolio-00001-abc"
CONFIG = """
[service]
name = "portfolio"
[models.toy]
engine = "scripted"
[deploy.cloudrun]
project = "my-project"
region = "europe-west4"
"""


class Pauses:
    """What happens while somebody waits: the next thing each time, and then Ctrl-C."""

    def __init__(self) -> None:
        self.then: list[Callable[[], object]] = []

    def __call__(self, seconds: float) -> None:
        if not self.then:
            raise KeyboardInterrupt
        self.then.pop(0)()


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    found = Cloud()
    found.usage.enable("logging")
    with served(found) as address:
        found.address = address
        yield found


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
def config(cloud: Cloud, pauses: Pauses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A configuration, on a machine where the deployer's key file is."""
    key = tmp_path / "key.json"
    key.write_text(json.dumps(cloud.identities.key_file(ACCOUNT, cloud.address)))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
    monkeypatch.setenv(ENDPOINT, cloud.address)
    monkeypatch.setitem(main._COMMANDS, "logs", "relight.cli.logs:logs")
    monkeypatch.setattr(connected, "signed_in", functools.partial(signed_in, sleep=pauses))
    file = tmp_path / "relight.toml"
    file.write_text(CONFIG)
    return str(file)


def write(cloud: Cloud, text: str, severity: str = "INFO", *, ago_s: float = 60, revision: str = REVISION) -> None:
    cloud.logging.add("portfolio", revision, severity, text, at=datetime.now(UTC) - timedelta(seconds=ago_s))


def test_last_hour_is_shown_a_line_an_entry(cloud: Cloud, config: str, capsys: pytest.CaptureFixture[str]) -> None:
    write(cloud, "long ago", ago_s=4000)
    write(cloud, "portfolio is listening", ago_s=50)
    write(cloud, "went wrong\nsecond line", "ERROR", ago_s=40)

    assert run(["logs", "-c", config]) == ExitCode.OK

    head, *lines = capsys.readouterr().out.splitlines()
    assert head == f"{REVISION} (times are UTC)"
    assert [line.split("  ", 1)[1] for line in lines] == ["portfolio is listening", "error: went wrong", "error: second line"]


def test_options_narrow_what_is_shown(cloud: Cloud, config: str, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(5):
        write(cloud, f"line {number}", "ERROR" if number == 3 else "INFO", ago_s=50 - number)
    write(cloud, "of the next", revision="portfolio-00002-def")

    def shown(*options: str) -> list[str]:
        assert run(["logs", "-c", config, *options]) == ExitCode.OK
        return [line.partition("  ")[2] for line in capsys.readouterr().out.splitlines()[1:]]

    assert shown("--limit", "2", "--revision", REVISION) == ["error: line 3", "line 4"]
    assert shown("--severity", "warning") == ["error: line 3"]
    assert shown("--errors") == ["error: line 3"]
    assert shown("--text", "NEXT", "--since", "2m") == ["of the next"]
    assert shown("--since", "10s") == []


def test_json_is_one_object_a_line(cloud: Cloud, config: str, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.logging.add(
        "portfolio", REVISION, "INFO", {"message": "200 chat", "interaction": {"id": "int_1"}}, at=datetime.now(UTC)
    )

    assert run(["logs", "-c", config, "--json"]) == ExitCode.OK

    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert (told["text"], told["record"]) == ("200 chat", {"id": "int_1"})


def test_followed_log_goes_on_until_ctrl_c(cloud: Cloud, config: str, pauses: Pauses, capsys: pytest.CaptureFixture[str]) -> None:
    write(cloud, "before", ago_s=5)
    pauses.then = [lambda: write(cloud, "while it waits", ago_s=1), lambda: None]

    assert run(["logs", "-c", config, "-f"]) == ExitCode.OK

    said = capsys.readouterr()
    assert [line.rpartition("  ")[2] for line in said.out.splitlines()[1:]] == ["before", "while it waits"]
    assert said.err == "waiting for more, which comes some seconds late; Ctrl-C ends it\n"


def test_followed_log_for_programs_is_entries_alone(
    cloud: Cloud, config: str, pauses: Pauses, capsys: pytest.CaptureFixture[str]
) -> None:
    pauses.then = [lambda: write(cloud, "while it waits", ago_s=1), lambda: None]

    assert run(["logs", "-c", config, "-f", "--json"]) == ExitCode.OK

    said = capsys.readouterr()
    assert [json.loads(line)["text"] for line in said.out.splitlines()] == ["while it waits"]
    assert said.err == ""


def test_time_is_of_today_or_with_its_date_and_a_revision_is_told_where_it_changes(capsys: pytest.CaptureFixture[str]) -> None:
    def entry(day: int, revision: str, text: str) -> Entry:
        return Entry(
            time=datetime(2026, 11, day, 9, 5, 7, tzinfo=UTC), id=text, severity="INFO", revision=revision, source="", text=text
        )

    show = _Lines(date(2026, 11, 22))
    show([entry(22, "r-1", "one"), entry(22, "r-1", "two"), entry(22, "r-2", "three")])
    show([entry(23, "r-2", "past midnight"), entry(23, "", "of the service")])
    _Lines(date(2026, 11, 22))([entry(21, "r-1", "yesterday"), entry(22, "r-1", "today")])

    assert capsys.readouterr().out.splitlines() == [
        "r-1 (times are UTC)",
        "09:05:07  one",
        "09:05:07  two",
        "r-2",
        "09:05:07  three",
        "2026-11-23 09:05:07  past midnight",
        "of no revision",
        "2026-11-23 09:05:07  of the service",
        "r-1 (times are UTC)",
        "2026-11-21 09:05:07  yesterday",
        "2026-11-22 09:05:07  today",
    ]


def test_nothing_to_show_is_a_sentence(cloud: Cloud, config: str, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*options: str) -> str:
        assert run(["logs", "-c", config, *options]) == ExitCode.OK
        told = capsys.readouterr()
        assert told.out == ""
        return told.err

    # Whoever may not see the service, or where its API is not enabled: there is none.
    assert said() == "there is no service portfolio in my-project, europe-west4; relight deploy makes it\n"
    assert said("--json") == ""
    scene = Scene(cloud, google_as(cloud, account(cloud)))
    scene.deploy()
    assert said() == "no entries of the last 1h; --since 24h looks further back\n"
    assert said("--errors", "--since", "2d") == "no such entries of the last 2d; --since 30d looks further back\n"
    assert said("--revision", "portfolio-x") == "there is no revision portfolio-x; relight status shows them\n"
    cloud.fail("GET .*/services/portfolio", Refused(403, "PERMISSION_DENIED", "run.services.get denied"), times=9)
    assert said() == "no entries of the last 1h; --since 24h looks further back\n"


def test_reader_that_leaves_is_no_error(cloud: Cloud, config: str) -> None:
    for number in range(300):
        write(cloud, f"line {number} {'x' * 1000}")
    cloud.logging.page = 1000
    script = "from relight.cli import main; import sys; main._COMMANDS['logs'] = 'relight.cli.logs:logs'; sys.exit(main.run())"
    with subprocess.Popen(
        [sys.executable, "-c", script, "logs", "-c", config, "--limit", "300"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        assert REVISION in process.stdout.readline()
        assert "line 0" in process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) == ExitCode.OK


def test_nothing_is_asked_without_a_project(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(config).write_text(CONFIG.replace('project = "my-project"\n', ""))

    assert run(["logs", "-c", config]) == ExitCode.CONFIG
    assert "deploy.cloudrun.project: no project is named" in capsys.readouterr().err


def test_refusal_is_the_clouds(cloud: Cloud, config: str, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.fail("entries:list", Refused(403, "PERMISSION_DENIED", "Permission 'logging.logEntries.list' denied"))

    assert run(["logs", "-c", config]) == ExitCode.CLOUD
    assert "could not read the log" in capsys.readouterr().err


def test_duration_that_is_none_is_a_usage_error(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["logs", "-c", config, "--since", "yesterday"]) == ExitCode.USAGE
    assert 'should be a duration like "10m"' in capsys.readouterr().err

"""`relight deploy` as a process of its own, killed, stopped, run again; and in front of it a front door that is really there."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from relight.access.keys import create
from tests.cloud.fake.frail import Frail, standing
from tests.cloud.land import GUARDED, KEYED, Land, land
from tests.serve.process import free_port, serve

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]
PATIENCE_S = 60.0
KILLED = -signal.SIGKILL
# Read by the child's interpreter before anything else: pauses take no time, and nobody asks the real Google where a key may
# be used from.
SITE = """
import time
_pause = time.sleep
time.sleep = lambda seconds: _pause(min(seconds, 0.01))
from google.auth.credentials import CredentialsWithRegionalAccessBoundary as Bound
Bound._is_regional_access_boundary_lookup_required = lambda _: False
"""


class Run:
    """One run of the command; its lines are read as they come."""

    def __init__(self, folder: Path) -> None:
        hasty = folder / "hasty"
        hasty.mkdir(exist_ok=True)
        (hasty / "sitecustomize.py").write_text(SITE)
        argv = [sys.executable, "-m", "relight", "deploy", "--yes", "-c", str(folder / "relight.toml")]
        env = {**os.environ, "PYTHONPATH": str(hasty)}
        self.process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
        )
        self.lines: list[str] = []
        self.said: Callable[[str], None] = lambda _: None
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stderr or ():
            self.lines.append(line.rstrip("\n"))
            self.said(line)

    def end(self) -> int:
        """Wait for it; returns its exit code, negative for a signal."""
        code = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@contextmanager
def begun(text: str, folder: Path) -> Iterator[tuple[Land, Frail]]:
    cloud = Frail()
    with pytest.MonkeyPatch.context() as patch, land(folder, patch, text, cloud) as site:
        yield site, cloud


def whole(text: str, folder: Path) -> tuple[list[str], dict[str, Any]]:
    """The changes of a deployment that nothing disturbs, and what stands afterwards."""
    with begun(text, folder) as (site, cloud):
        assert site.deploy().exit_code == 0
        return cloud.changes, found(cloud)


def found(cloud: Frail) -> dict[str, Any]:
    """What stands, without what an image was built from: when nobody watched its build to the end, the bucket removes it."""
    return standing(cloud) | {"contexts": []}


def arrives(site: Land) -> Run:
    run = Run(site.folder)
    assert run.end() == 0, run.text
    return run


# --- killed --------------------------------------------------------------------------------------------------------------


def test_killed_after_each_change_in_turn_it_still_arrives(tmp_path: Path) -> None:
    changes, wanted = whole(GUARDED, tmp_path / "whole")
    left, killed = Counter(map(_call, changes)), Counter[str]()
    with begun(GUARDED, tmp_path / "killed") as (site, cloud):
        cloud.builds.pace = 12  # it still goes on when the next run has looked
        while True:
            run = Run(site.folder)
            # An upload is sent again by the next run, so each may be killed as often as there are such, and no more.
            cloud.done = _murder(run, killed, lambda call: killed[call] < left[call])
            code = run.end()
            if code == 0:
                break
            assert code == KILLED, run.text
        assert killed == left
        assert found(cloud) == wanted


ONCE = {
    "repository": "POST .*/repositories #1",
    "secret": "POST .*:addVersion #1",
    "upload": "PUT /upload/.* #1",
    "build": "POST .*/builds #1",
    "service": "POST /v2/.*/services #1",
    "tested": "PATCH /v2/.* #1",
}


@pytest.mark.parametrize("change", ONCE.values(), ids=ONCE)
def test_killed_once_the_next_run_goes_on_to_the_end(change: str, tmp_path: Path) -> None:
    _, wanted = whole(KEYED, tmp_path / "whole")
    with begun(KEYED, tmp_path / "killed") as (site, cloud):
        run, killed = Run(site.folder), Counter[str]()
        cloud.done = lambda name: _murder(run, killed, lambda _: re.fullmatch(change, name) is not None)(name)
        assert run.end() == KILLED, run.text
        cloud.done = lambda _: None
        arrives(site)
        assert found(cloud) == wanted


def _murder(run: Run, killed: Counter[str], is_due: Callable[[str], bool]) -> Callable[[str], None]:
    """Kills `run` after a change that took effect, before it knows."""

    def done(name: str) -> None:
        call = _call(name)
        if is_due(call):
            killed[call] += 1
            os.kill(run.process.pid, signal.SIGKILL)

    return done


def _call(name: str) -> str:
    return name.rpartition(" ")[0]


# --- stopped -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_stopped_in_a_build_it_says_so_and_the_next_run_joins_it(sig: signal.Signals, tmp_path: Path) -> None:
    _, wanted = whole(KEYED, tmp_path / "whole")
    with begun(KEYED, tmp_path / "stopped") as (site, cloud):
        cloud.builds.pace = 1_000_000
        run = Run(site.folder)
        run.said = _once(lambda line: line.startswith("  building "), lambda: run.process.send_signal(sig))
        assert run.end() == 130, run.text
        assert "the build goes on in the cloud, and the next run joins it; to stop it: gcloud builds cancel " in run.text
        assert "stopped in build-image: portfolio:r-" in run.text
        assert "what is done stays done; run it again to go on" in run.text
        assert "Traceback" not in run.text
        cloud.builds.pace = 1
        cloud.now += 1_000_000 - 100
        again = arrives(site)
        assert "joining the build 00000001-" in again.text
        assert found(cloud) == wanted


def _once(is_due: Callable[[str], bool], act: Callable[[], None]) -> Callable[[str], None]:
    """Acts on the first line for which it is due."""
    is_done = threading.Event()

    def said(line: str) -> None:
        if not is_done.is_set() and is_due(line):
            is_done.set()
            act()

    return said


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_stopped_while_a_change_is_made_it_says_where(sig: signal.Signals, tmp_path: Path) -> None:
    _, wanted = whole(KEYED, tmp_path / "whole")
    with begun(KEYED, tmp_path / "stopped") as (site, cloud):
        run = Run(site.folder)
        cloud.done = lambda name: run.process.send_signal(sig) if name.endswith("/repositories #1") else None
        assert run.end() == 130, run.text
        assert "stopped in create-repository: relight-portfolio" in run.text
        assert "Traceback" not in run.text
        cloud.done = lambda _: None
        arrives(site)
        assert found(cloud) == wanted


# --- a front door that is there ------------------------------------------------------------------------------------------

SCRIPTED = """
[service]
name = "portfolio"
[auth]
keys = { secret = "RELIGHT_KEYS" }
[models.toy]
engine = "scripted"
[deploy.cloudrun]
project = "my-project"
"""


def test_service_that_is_deployed_is_asked_for_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, entry = create("test", "2026-11-22")
    cloud = Frail()
    with land(tmp_path / "site", monkeypatch, SCRIPTED, cloud) as site, ExitStack() as doors:
        monkeypatch.setenv("RELIGHT_KEYS", str(entry))
        monkeypatch.setenv("RELIGHT_KEY", key)

        def started(name: str) -> None:
            if name.startswith("POST /v2/") and name.endswith("/services #1"):
                cloud.front.behind = doors.enter_context(_instance(cloud, site.folder))

        cloud.done = started
        done = site.deploy("--json")
    assert done.exit_code == 0, done.stderr
    tested = json.loads(done.stdout)["tested"]
    assert (tested["answered"], tested["model"]) == (True, "toy")
    assert tested["tokens"] > 0
    asked = [(one["what"], one["status"]) for one in tested["asked"]]
    assert asked[:2] == [("GET /readyz", 200), ("POST /v1/chat/completions", 200)]
    assert {status for _, status in asked[2:]} <= {401}  # whoever has no key


@contextmanager
def _instance(cloud: Frail, folder: Path) -> Iterator[str]:
    """What Cloud Run would start: the front door with the environment of the service, its secrets, and a port. Its address."""
    container, port = cloud.run.service("portfolio").template.containers[0], free_port()
    env = {var.name: var.value or _secret(cloud, var.value_source.secret_key_ref) for var in container.env}
    with serve(folder / "relight.toml", env={**env, "PORT": str(port)}) as door:
        assert door.base
        yield f"http://127.0.0.1:{port}"


def _secret(cloud: Frail, ref: Any) -> str:
    return cloud.secrets.text(ref.secret.rpartition("/")[2], int(ref.version))

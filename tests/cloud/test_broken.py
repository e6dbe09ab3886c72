"""Whole deployments in which something goes wrong at Google: at every change, and where Google takes its time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from google.cloud.run_v2 import Service

from relight.errors import CloudError, ExitCode, RelightError
from tests.cloud.fake.build import Outcome as BuildOutcome
from tests.cloud.fake.frail import Frail, Trouble, standing
from tests.cloud.fake.front import FORBIDDEN, NOT_FOUND, UNAVAILABLE
from tests.cloud.fake.run import UNHEALTHY, Outcome
from tests.cloud.fake.server import Fault, Refused, Reply
from tests.cloud.land import GUARDED, KEYED, Land, land

WORLDS = {"keyed": KEYED, "guarded": GUARDED}
LOST, LOST_AFTER = Trouble(), Trouble(after=True)
BUSY = Trouble(Refused(503, "UNAVAILABLE", "The service is currently unavailable."))
BUSY_AFTER = Trouble(BUSY.how, after=True)
ABORTED = Trouble(Refused(409, "ABORTED", "There were concurrent policy changes. Please retry."))
DENIED = Trouble(Refused(403, "PERMISSION_DENIED", "The caller does not have permission"))
pytestmark = pytest.mark.usefixtures("hasty")


# --- two deployments, each of which is broken at every call --------------------------------------------------------------


@contextmanager
def first(text: str, folder: Path) -> Iterator[tuple[Land, Frail]]:
    """Before the first deployment."""
    cloud = Frail()
    with pytest.MonkeyPatch.context() as patch, land(folder, patch, text, cloud) as site:
        yield site, cloud


@contextmanager
def update(text: str, folder: Path) -> Iterator[tuple[Land, Frail]]:
    """Before one that has another image, another version of the secret, another revision."""
    with first(text, folder) as (site, cloud), pytest.MonkeyPatch.context() as patch:
        assert site.deploy().exit_code == 0
        site.write(text.replace("context = 2048", "context = 1024").replace("concurrency = 8", "concurrency = 4"))
        for variable in ("RELIGHT_KEYS", "CLOUD_KEY"):
            patch.setenv(variable, "another-text")
        cloud.forget()
        yield site, cloud


BEGUN = {"first": first, "update": update}


@pytest.fixture(params=BEGUN)
def begun(request: pytest.FixtureRequest) -> Any:
    return BEGUN[request.param]


@pytest.fixture(params=WORLDS)
def text(request: pytest.FixtureRequest) -> str:
    return WORLDS[request.param]


def undisturbed(begun: Any, text: str, folder: Path) -> tuple[list[str], dict[str, Any]]:
    """The calls that change something, and what stands afterwards."""
    with begun(text, folder) as (site, cloud):
        assert site.deploy().exit_code == 0
        return cloud.changes, standing(cloud)


def arrive(site: Land, *, most: int = 2) -> int:
    """Deploy until it is done; returns how many runs it took. Each of the others says what it could not do."""
    for run in range(1, most + 1):
        done = site.deploy("--json")
        if done.exit_code == 0:
            return run
        assert isinstance(done.exception, CloudError), done.exception
        assert done.exception.exit_code == ExitCode.CLOUD
        assert done.exception.message.startswith("cloud: "), done.exception
    raise AssertionError(f"{most} runs: {done.exception}")


@pytest.mark.real
@pytest.mark.timeout(600)
def test_connection_that_breaks_after_any_change_is_no_matter(begun: Any, text: str, tmp_path: Path) -> None:
    changes, wanted = undisturbed(begun, text, tmp_path / "whole")
    for at, change in enumerate(changes):
        with begun(text, tmp_path / str(at)) as (site, cloud):
            cloud.trouble = lambda name, change=change: LOST_AFTER if name == change else None
            assert arrive(site) == 1, change
            assert standing(cloud) == wanted, change


class Each:
    """The same trouble with every call that changes something, each time before it succeeds."""

    def __init__(self, trouble: Trouble) -> None:
        self._trouble, self._failed = trouble, set[str]()
        self.count = 0

    def __call__(self, name: str) -> Trouble | None:
        call = name.rpartition(" ")[0]
        self._failed ^= {call}
        if call not in self._failed:
            return None
        self.count += 1
        return self._trouble


@pytest.mark.real
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "trouble",
    [LOST, BUSY, BUSY_AFTER, ABORTED, DENIED],
    ids=["lost", "busy", "busy-after", "aborted", "denied"],
)
def test_trouble_with_every_change(begun: Any, text: str, trouble: Trouble, tmp_path: Path) -> None:
    changes, wanted = undisturbed(begun, text, tmp_path / "whole")
    with begun(text, tmp_path / "broken") as (site, cloud):
        cloud.trouble = each = Each(trouble)
        runs = arrive(site, most=2 * len(changes))
        assert each.count >= len(changes)
        assert runs == 1 or trouble.how is not None, runs
        assert standing(cloud) == wanted


@pytest.mark.real
@pytest.mark.timeout(200)
def test_connection_that_breaks_at_every_single_call(begun: Any, text: str, tmp_path: Path) -> None:
    """Questions as well; uploads, which ask what arrived before they go on, are broken above."""
    _, wanted = undisturbed(begun, text, tmp_path / "whole")
    with begun(text, tmp_path / "broken") as (site, cloud):
        each, before = Each(LOST), len(cloud.calls)
        cloud.faults = [Fault(lambda call: "/upload/" not in call and each(f"{call} #1") is not None, times=10_000)]
        assert arrive(site) == 1
        assert each.count > (len(cloud.calls) - before) * 0.45
        assert standing(cloud) == wanted


# --- Google takes its time -----------------------------------------------------------------------------------------------


def test_what_is_known_late_is_waited_for(text: str, tmp_path: Path) -> None:
    _, wanted = undisturbed(first, text, tmp_path / "whole")
    with first(text, tmp_path / "late") as (site, cloud):
        cloud.usage.delay, cloud.usage.takes = 4, 5
        cloud.iam.delay, cloud.iam.unseen = 6, 3
        cloud.builds.outcomes = [BuildOutcome("FAILURE", "FETCH_SOURCE_FAILED", "does not have storage.objects.get access")]
        cloud.run.rules = [_late_secret(times=3)]
        cloud.run.outcomes = [Outcome(requests=25)]
        cloud.front.before = [NOT_FOUND, NOT_FOUND, FORBIDDEN, FORBIDDEN, UNAVAILABLE]
        assert arrive(site) == 1
        assert standing(cloud) == wanted | {"builds": ["FAILURE", "SUCCESS"]}
        assert sum(cloud.slept) < 600


def _late_secret(*, times: int) -> Callable[[Service], None]:
    """Cloud Run does not know yet that the account may read the secret."""
    left = [times]

    def rule(service: Service) -> None:
        has_secret = any(var.value_source.secret_key_ref.secret for one in service.template.containers for var in one.env)
        if has_secret and left[0]:
            left[0] -= 1
            raise Refused(400, "INVALID_ARGUMENT", "template: Permission denied on secret: x for Revision service account y.")

    return rule


# --- refused, and failed -------------------------------------------------------------------------------------------------


def refused(site: Land) -> CloudError:
    """What a deployment says that does not arrive."""
    done = site.deploy()
    assert isinstance(done.exception, CloudError), done.exception
    assert done.exception.exit_code == ExitCode.CLOUD
    assert "what is done stays done; run it again to go on" in done.stderr
    return done.exception


def arrives_after(site: Land, cloud: Frail, wanted: dict[str, Any], **but: Any) -> None:
    """The cause is gone: the next deployment arrives where an undisturbed one does."""
    assert arrive(site) == 1
    assert standing(cloud) == wanted | but


def test_quota_that_is_too_small_is_told_before_anything_is_made(text: str, tmp_path: Path) -> None:
    with first(text, tmp_path / "site") as (site, cloud):
        cloud.usage.enable()
        cloud.run.quotas = {"CpuAllocPerProjectRegion": 3000}
        done = site.deploy()
        assert done.exit_code == 1
        assert isinstance(done.exception, RelightError)
        assert done.exception.exit_code == ExitCode.FOUND
        assert "requested 4000 allowed 3000" in done.output
        assert cloud.changes == []
        cloud.run.quotas = {}
        assert arrive(site) == 1


def test_quota_that_others_took_meanwhile_names_what_to_do(begun: Any, text: str, tmp_path: Path) -> None:
    _, wanted = undisturbed(begun, text, tmp_path / "whole")
    with begun(text, tmp_path / "site") as (site, cloud):
        before = _traffic(cloud)
        said = "Quota violated: CpuAllocPerProjectRegion requested 4000 allowed 3000"
        taken = Trouble(Refused(429, "RESOURCE_EXHAUSTED", said))
        cloud.trouble = lambda name: taken if "/services" in name and "/v2/" in name else None
        error = refused(site)
        assert "requested 4000 allowed 3000" in error.message
        assert "lower deploy.cloudrun.max_instances" in (error.hint or "")
        assert _traffic(cloud) == before
        cloud.trouble = lambda _: None
        arrives_after(site, cloud, wanted)


def test_failed_build_shows_its_log_and_is_built_once_more(begun: Any, text: str, tmp_path: Path) -> None:
    _, wanted = undisturbed(begun, text, tmp_path / "whole")
    with begun(text, tmp_path / "site") as (site, cloud):
        before = _traffic(cloud)
        log = ("Step 3: RUN pip install\n", "ERROR: No matching distribution found for nothing==1\n")
        cloud.builds.outcomes = [BuildOutcome("FAILURE", "USER_BUILD_STEP", "Build step failed: non-zero status: 1", log)]
        done = site.deploy()
        assert isinstance(done.exception, CloudError), done.exception
        # As the build wrote it, and not once more beside the reason.
        assert done.stderr.count("ERROR: No matching distribution found for nothing==1") == 1
        assert "nothing==1" not in str(done.exception)
        assert "a Python package is not there in that version" in (done.exception.hint or "")
        assert _traffic(cloud) == before
        builds = wanted["builds"]
        arrives_after(site, cloud, wanted, builds=[*builds[:-1], "FAILURE", "SUCCESS"])


def test_failed_revision_says_why_and_the_next_takes_its_place(begun: Any, text: str, tmp_path: Path) -> None:
    _, wanted = undisturbed(begun, text, tmp_path / "whole")
    with begun(text, tmp_path / "site") as (site, cloud):
        before, said = _traffic(cloud), "error: models.smol: sha256 should be 1, got 2"
        cloud.run.outcomes = [UNHEALTHY]
        cloud.done = lambda name: _writes(cloud, said, delay=3) if "/services" in name and "/v2/" in name else None
        error = refused(site)
        assert "failed to start and listen on the port" in error.message
        assert "the weights are not those that the configuration means" in (error.hint or "")
        assert _traffic(cloud) == before
        cloud.done = lambda _: None
        assert arrive(site) == 1
        found = standing(cloud)
        assert found["revisions"] == wanted["revisions"] + 1
        assert {**found, "revisions": 0, "services": 0} == {**wanted, "revisions": 0, "services": 0}
        assert list(_traffic(cloud).values()) == [100]


def _writes(cloud: Frail, said: str, *, delay: int) -> None:
    """The latest revision writes its last words, which the log shows later."""
    (service,) = cloud.run.services.values()
    cloud.logging.add("portfolio", service.latest_created_revision.rpartition("/")[2], "ERROR", said, delay=delay)


def _traffic(cloud: Frail) -> dict[str, int]:
    return cloud.run.serving("portfolio") if cloud.run.services else {}


_OURS = {"x-relight-interaction": "int_1"}
_WRONG = Reply(b'{"error": {"message": "engine: exited with code 1", "hint": "look at the log"}}', 502, _OURS)
ANSWERS = {
    "crash": ([Reply(b"boom", 500)], "GET /readyz: answered 500: boom", "the instance ended, or refused to answer"),
    "refused": ([FORBIDDEN] * 9, "GET /readyz: answered 403: Forbidden", "name whoever deploys in deploy.cloudrun.invokers"),
    "unknown": ([NOT_FOUND] * 9, "GET /readyz: answered 404: Not Found", 'deploy.cloudrun.ingress = "all"'),
    "another page": ([Reply(b"<h1>Hello</h1>")], "GET /readyz: answered 200: Hello", "see why: relight logs --errors"),
    "model": ([Reply(b"ready\n"), _WRONG], "answered 502: engine: exited with code 1", "look at the log"),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_revision_that_answers_wrongly_gets_no_traffic(begun: Any, text: str, answer: str, tmp_path: Path) -> None:
    replies, said, hint = ANSWERS[answer]
    with begun(text, tmp_path / "site") as (site, cloud):
        before = _traffic(cloud)
        cloud.front.before = list(replies)
        error = refused(site)
        assert said in error.message
        assert hint in (error.hint or "")
        if before:
            assert _traffic(cloud) == before
        rest = site.steps()
        assert rest[0] == "smoke-test"
        assert not {"build-image", "deploy-revision"} & set(rest)
        assert arrive(site) == 1
        assert list(_traffic(cloud).values()) == [100]
        assert _traffic(cloud) != before

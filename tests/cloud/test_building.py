"""Builds at the wire: begun once, watched with their log, joined after a run that was stopped, told when they fail; and here."""

from __future__ import annotations

import itertools
import json
import stat
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.oauth2.credentials import Credentials
from msgspec import structs

from relight.cloud.building import build_image
from relight.cloud.builds import limits, running_build
from relight.cloud.google import Google
from relight.cloud.pushing import push_image
from relight.cloud.work import Here, Silent
from relight.deploy.context import Entry
from relight.deploy.steps import BuildImage
from relight.errors import CloudError, CloudLost, RelightError, UsageError
from tests.cloud.fake.build import Outcome
from tests.cloud.fake.cloud import Cloud
from tests.cloud.fake.server import Killed, Refused
from tests.cloud.fake.storage import Bucket

BUCKET = "my-project-assistant-relight"
REGION = "europe-west4"
ACCOUNT = "assistant-build@my-project.iam.gserviceaccount.com"
TAG = "r-0123456789abcdef"
PLACE = f"{REGION}-docker.pkg.dev/my-project/relight-assistant/assistant"
STEP = BuildImage(name=f"{PLACE}:{TAG}", builder="cloud build", reason="", cost="", undo="")
HERE = Here(
    secret=lambda _: None,
    weights=Path,
    context=lambda: nullcontext([Entry("app/relight.toml", b"[service]\n"), Entry("Dockerfile", b"FROM python\n")]),
)
SOURCE = f"builds/{TAG}.tar.gz"
CALLS = 15
"""All of a build's."""


@pytest.fixture(autouse=True)
def project(cloud: Cloud) -> None:
    """Everything that the steps before a build have made."""
    cloud.usage.enable()
    cloud.iam.make(ACCOUNT)
    cloud.registry.make("relight-assistant")
    cloud.registry.policies.bindings[f"{REGION}/relight-assistant"] = {
        "roles/artifactregistry.writer": {f"serviceAccount:{ACCOUNT}"}
    }
    cloud.storage.buckets[BUCKET] = Bucket({"name": BUCKET, "location": REGION})
    grant(cloud, "roles/storage.objectUser")


def grant(cloud: Cloud, *roles: str) -> None:
    cloud.storage.policies.bindings[f"bucket:{BUCKET}"] = {role: {f"serviceAccount:{ACCOUNT}"} for role in roles}


class Told(Silent):
    """Remembers every line, and what was waited for."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.waits: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def doing(self, what: str) -> None:
        self.waits.append(what)


def build(google: Google, show: Silent | None = None) -> str:
    return build_image(google, STEP, HERE, show or Silent(), account=ACCOUNT, bucket=BUCKET)


def pushed(cloud: Cloud) -> str:
    """The digest that the tag has now."""
    return cloud.registry.kept[f"{REGION}/relight-assistant"].packages["assistant"].tags[TAG]


# --- one that goes well


def test_image_is_built_and_its_digest_returned(cloud: Cloud, google: Google) -> None:
    told = Told()

    assert build(google, told) == pushed(cloud)

    assert told.lines == ["FETCHSOURCE", "BUILD", "Step 1: FROM python", "PUSH", "DONE"]
    assert cloud.builds.contexts == [["Dockerfile", "app/relight.toml"]]
    assert SOURCE not in cloud.storage.buckets[BUCKET].objects, "the context stays"
    assert len(cloud.calls) == CALLS, "each of them is broken below"


def test_build_is_asked_for_with_its_account_its_log_and_its_tags(cloud: Cloud, google: Google) -> None:
    build(google)
    (made,) = cloud.builds.made
    assert made.service_account == f"projects/my-project/serviceAccounts/{ACCOUNT}"
    assert made.logs_bucket == f"gs://{BUCKET}/build-logs"
    assert made.options.logging.name == "GCS_ONLY"
    assert made.options.machine_type.name == "E2_HIGHCPU_8"
    assert list(made.tags) == ["relight", TAG, "assistant"]
    assert list(made.images) == [STEP.name, f"{PLACE}:latest"]
    assert list(made.steps[0].env) == ["DOCKER_BUILDKIT=1"]
    assert made.timeout.total_seconds() == 1801


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0, (1800, 0)), (4_000_000_000, (2520, 0)), (20_000_000_000, (5400, 120)), (1_000_000_000_000, (86400, 4000))],
)
def test_build_with_large_weights_gets_time_and_a_disk(size: int, expected: tuple[int, int]) -> None:
    assert limits(size) == expected


def test_log_that_comes_late_is_told_at_the_end(cloud: Cloud, google: Google) -> None:
    cloud.builds.has_late_log = True
    told = Told()
    build(google, told)
    assert told.lines[-1] == "DONE"


def test_log_is_told_line_by_line_without_what_moves_the_cursor(cloud: Cloud, google: Google) -> None:
    log = ("on", "e\ntw", "o ä\r\n\x1b[1mbold\x1b[0m\x07\n 10%\r100% d", "one\r\nlast")
    cloud.builds.outcomes = [Outcome(log=log)]
    told = Told()
    build(google, told)
    assert told.lines == ["one", "two ä", "bold", "100% done", "last"]


def test_log_that_cannot_be_read_does_not_end_a_build(cloud: Cloud, google: Google) -> None:
    cloud.fail("GET /download", Refused(403, "PERMISSION_DENIED", "no access"), times=99)
    told = Told()
    assert build(google, told) == pushed(cloud)
    assert told.lines == []
    assert any("no access" in wait for wait in told.waits)


def test_digest_that_a_build_does_not_tell_is_asked_of_the_registry(cloud: Cloud, google: Google) -> None:
    cloud.builds.outcomes = [Outcome(says_digest=False)]
    assert build(google) == pushed(cloud)


# --- joining


class Interrupts(Told):
    """Presses Ctrl-C, or kills the run, as soon as there is a line."""

    def __init__(self, how: type[BaseException]) -> None:
        super().__init__()
        self.how: type[BaseException] | None = how

    def say(self, line: str) -> None:
        super().say(line)
        if self.how is not None:
            how, self.how = self.how, None
            raise how


@pytest.mark.parametrize("how", [KeyboardInterrupt, Killed])
def test_build_of_a_run_that_was_stopped_is_joined(cloud: Cloud, google: Google, how: type[BaseException]) -> None:
    with pytest.raises(how):
        build(google, Interrupts(how))
    assert SOURCE in cloud.storage.buckets[BUCKET].objects, "a build that waits has not fetched it"

    told = Told()
    assert build(google, told) == pushed(cloud)

    assert len(cloud.builds.made) == 1
    assert told.lines[0].startswith("joining the build 00000001-")
    assert told.lines[1:] == ["FETCHSOURCE", "BUILD", "Step 1: FROM python", "PUSH", "DONE"]
    assert SOURCE not in cloud.storage.buckets[BUCKET].objects


@pytest.mark.parametrize("when", ["packing the context", "beginning the build"])
def test_run_that_is_killed_before_there_is_a_build_is_begun_anew(cloud: Cloud, google: Google, when: str) -> None:
    class Kills(Silent):
        def doing(self, what: str) -> None:
            if what == when:
                raise Killed

    with pytest.raises(Killed):
        build(google, Kills())
    assert cloud.builds.made == []

    assert build(google) == pushed(cloud)
    assert SOURCE not in cloud.storage.buckets[BUCKET].objects


def test_interrupt_says_how_to_stop_the_build(google: Google) -> None:
    told = Interrupts(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        build(google, told)
    assert "gcloud builds cancel 00000001-aaaa-bbbb-cccc-000000000000 --region=europe-west4" in told.lines[-1]


def test_build_of_another_image_is_not_joined(cloud: Cloud, google: Google) -> None:
    with pytest.raises(Killed):
        build(google, Interrupts(Killed))
    cloud.builds.made[0].images = [f"{PLACE}-other:{TAG}"]
    assert running_build(google, STEP.name) is None


def test_build_that_has_ended_is_not_joined(cloud: Cloud, google: Google) -> None:
    build(google)
    assert running_build(google, STEP.name) is None
    build(google)
    assert len(cloud.builds.made) == 2


# --- faults


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("call", range(CALLS))
def test_build_is_made_once_wherever_the_connection_breaks(cloud: Cloud, google: Google, call: int, after: bool) -> None:
    seen = itertools.count()
    cloud.fail("", after=after)
    cloud.faults[0].when = lambda _: next(seen) == call

    assert build(google) == pushed(cloud)

    assert next(seen) > call, "nothing broke"
    assert len(cloud.builds.made) == 1
    assert SOURCE not in cloud.storage.buckets[BUCKET].objects


def test_build_that_cannot_be_begun_for_broken_connections_is_given_up(cloud: Cloud, google: Google) -> None:
    cloud.fail("POST /v1/projects/my-project/locations/europe-west4/builds", times=9)
    with pytest.raises(CloudLost):
        build(google)
    assert cloud.builds.made == []


@pytest.mark.parametrize("after", [False, True])
def test_server_error_that_hides_whether_there_is_a_build_makes_no_second(cloud: Cloud, google: Google, after: bool) -> None:
    cloud.fail("POST /v1/projects", Refused(500, "INTERNAL", "Internal error encountered."), after=after)
    assert build(google) == pushed(cloud)
    assert len(cloud.builds.made) == 1


def test_context_that_cannot_be_removed_does_not_end_a_run(cloud: Cloud, google: Google) -> None:
    cloud.fail("DELETE", Refused(403, "PERMISSION_DENIED", "no"), times=9)
    assert build(google) == pushed(cloud)


def test_context_that_cannot_be_read_is_told(google: Google, tmp_path: Path) -> None:
    here = Here(
        secret=HERE.secret, weights=HERE.weights, context=lambda: nullcontext([Entry("weights/a.gguf", tmp_path / "a.gguf")])
    )
    with pytest.raises(UsageError, match=r"a\.gguf: the context of the image cannot be packed: No such file"):
        build_image(google, STEP, here, Silent(), account=ACCOUNT, bucket=BUCKET)


def test_machine_without_quota_is_replaced_by_the_default_one(cloud: Cloud, google: Google) -> None:
    cloud.builds.refused_machines = {"E2_HIGHCPU_8"}
    assert build(google) == pushed(cloud)
    assert [made.options.machine_type.name for made in cloud.builds.made] == ["UNSPECIFIED"]


def test_region_without_quota_is_told_with_what_to_do(cloud: Cloud, google: Google) -> None:
    cloud.builds.refused_machines = {"E2_HIGHCPU_8", "UNSPECIFIED"}
    with pytest.raises(CloudError, match="due to quota restrictions") as refused:
        build(google)
    assert "set another deploy.cloudrun.region" in str(refused.value.hint)
    assert SOURCE not in cloud.storage.buckets[BUCKET].objects


def test_failed_build_is_told_with_what_its_log_means_and_where_all_of_it_is(cloud: Cloud, google: Google) -> None:
    log = "".join(f"line {n}\n" for n in range(30)) + "ERROR: no matching distribution found\n"
    cloud.builds.outcomes = [Outcome("FAILURE", detail='Build step failure: build step 0 "docker" failed', log=(log,))]

    told = Told()
    with pytest.raises(CloudError) as failed:
        build(google, told)

    build_id = cloud.builds.made[0].id
    assert failed.value.message == (
        f'cloud: the build {build_id} ended with FAILURE: Build step failure: build step 0 "docker" failed'
    )
    assert failed.value.hint == (
        "a Python package is not there in that version: install the version that is, here, and run it again; the whole log: "
        f"https://console.cloud.google.com/cloud-build/builds;region=europe-west4/{build_id}?project=my-project"
    )
    # Once, as it came.
    assert told.lines[-1] == "ERROR: no matching distribution found"
    assert SOURCE not in cloud.storage.buckets[BUCKET].objects


def test_build_that_took_too_long_is_told(cloud: Cloud, google: Google) -> None:
    cloud.builds.outcomes = [Outcome("TIMEOUT", "FAILURE_TYPE_UNSPECIFIED")]
    with pytest.raises(CloudError, match=r"ended with TIMEOUT; the build took too long: keep weights out"):
        build(google)


def test_build_that_somebody_cancels_is_told(cloud: Cloud, google: Google) -> None:
    class Cancels(Told):
        def say(self, line: str) -> None:
            cloud.builds.cancel(cloud.builds.made[0].id)

    with pytest.raises(CloudError, match="ended with CANCELLED"):
        build(google, Cancels())


def test_context_without_a_dockerfile_fails(google: Google) -> None:
    here = Here(secret=HERE.secret, weights=HERE.weights, context=lambda: nullcontext([Entry("app/x", b"")]))
    with pytest.raises(CloudError, match="failed to read Dockerfile"):
        build_image(google, STEP, here, Silent(), account=ACCOUNT, bucket=BUCKET)


@pytest.mark.parametrize(("role", "builds"), [((), 2), (("roles/storage.objectViewer",), 2)])
def test_role_that_has_not_spread_yet_is_waited_for(cloud: Cloud, google: Google, role: Sequence[str], builds: int) -> None:
    grant(cloud, *role)

    class Spreads(Told):
        def say(self, line: str) -> None:
            super().say(line)
            if "storage.objects" in line:
                grant(cloud, "roles/storage.objectUser")

    told = Spreads()
    assert build(google, told) == pushed(cloud)
    assert len(cloud.builds.made) == builds
    assert "roles that were given a moment ago take a while" in told.lines[0]


def test_role_that_never_comes_is_told(cloud: Cloud, google: Google) -> None:
    grant(cloud)
    with pytest.raises(CloudError, match=r"does not have storage\.objects\.get access"):
        build(google)
    assert len(cloud.builds.made) == 4


def test_account_that_was_just_made_is_waited_for(cloud: Cloud, google: Google) -> None:
    known = cloud.iam.accounts.pop(ACCOUNT)
    cloud.later(12, lambda: cloud.iam.accounts.update({ACCOUNT: known}))
    assert build(google) == pushed(cloud)


def test_image_that_may_not_be_pushed_is_told(cloud: Cloud, google: Google) -> None:
    cloud.registry.policies.bindings.clear()
    with pytest.raises(CloudError, match=r"artifactregistry\.repositories\.uploadArtifacts"):
        build(google)


# --- on this machine

TOKEN = "ya29.not-a-real-token"
STAND_IN = """#!{python}
import json, os, sys
argv = sys.argv[1:]
given = sys.stdin.read()
context = [one for one in argv if os.path.isdir(one)]
said = {{
    "argv": argv,
    "stdin": given,
    "token": any("{token}" in value for value in os.environ.values()),
    "buildkit": os.environ.get("DOCKER_BUILDKIT"),
    "context": sorted(os.listdir(context[0])) if context else [],
}}
with open({log!r}, "a") as log:
    print(json.dumps(said), file=log)
for one in argv:
    if one.startswith("--digestfile="):
        open(one.partition("=")[2], "w").write("sha256:abc\\n")
if argv[0] == "inspect":
    print(json.dumps(["elsewhere/image@sha256:other", "{place}@sha256:abc"]))
print("said by", argv[0], file=sys.stderr)
sys.exit(3 if argv[0] == {fails!r} else 0)
"""


class Standing:
    """A builder that only notes what it was told."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name, self.log = folder, name, folder / "log"
        self.fail("")

    def fail(self, command: str) -> None:
        program = self.folder / self.name
        program.write_text(STAND_IN.format(python=sys.executable, token=TOKEN, log=str(self.log), place=PLACE, fails=command))
        program.chmod(stat.S_IRWXU)

    @property
    def runs(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture(params=["podman", "docker"])
def builder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Standing:
    monkeypatch.setenv("PATH", str(tmp_path))
    return Standing(tmp_path, request.param)


@pytest.fixture
def owner(google: Google) -> Google:
    """The project, with credentials that have an access token."""
    google.credentials = Credentials(token=TOKEN)
    return google


def test_image_is_built_here_and_pushed(owner: Google, builder: Standing) -> None:
    told = Told()

    assert push_image(owner, STEP, HERE, told) == "sha256:abc"

    commands = [run["argv"][0] for run in builder.runs]
    inspects = ["inspect"] if builder.name == "docker" else []
    assert commands == ["build", "login", "push", *inspects, "logout"]
    built = builder.runs[0]
    assert built["argv"][:3] == ["build", "--tag", STEP.name]
    assert "--platform=linux/amd64" in built["argv"]
    assert built["context"] == ["Dockerfile", "app"]
    assert built["buildkit"] == "1"
    assert told.lines == ["said by build", "said by push"]


def test_token_goes_by_standard_input_alone(owner: Google, builder: Standing) -> None:
    push_image(owner, STEP, HERE, Silent())
    for run in builder.runs:
        is_login = run["argv"][0] == "login"
        assert run["stdin"] == (TOKEN if is_login else "")
        assert TOKEN not in " ".join(run["argv"])
        assert not run["token"]
    login = builder.runs[1]["argv"]
    assert "--password-stdin" in login
    assert "--username=oauth2accesstoken" in login
    assert login[-1] == f"{REGION}-docker.pkg.dev"


def test_token_of_podman_is_kept_in_a_folder_that_is_gone_afterwards(
    owner: Google, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docker keeps it with its other settings, and forgets it at the logout."""
    monkeypatch.setenv("PATH", str(tmp_path))
    podman = Standing(tmp_path, "podman")
    push_image(owner, STEP, HERE, Silent())
    files = {one for run in podman.runs[1:] for one in run["argv"] if one.startswith("--authfile=")}
    assert len(files) == 1
    assert not Path(files.pop().partition("=")[2]).parent.exists()


def test_digest_that_docker_does_not_know_is_told(owner: Google, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    Standing(tmp_path, "docker")
    other = structs.replace(STEP, name=f"{PLACE}-other:{TAG}")
    with pytest.raises(RelightError, match="docker does not say the digest"):
        push_image(owner, other, HERE, Silent())


@pytest.mark.parametrize("command", ["build", "login", "push"])
def test_builder_that_fails_is_told_with_its_last_lines(owner: Google, builder: Standing, command: str) -> None:
    builder.fail(command)
    with pytest.raises(RelightError, match=rf"{builder.name} {command} ended with code 3.*\n  said by {command}"):
        push_image(owner, STEP, HERE, Silent())
    is_signed_in = command == "push"
    assert (builder.runs[-1]["argv"][0] == "logout") is is_signed_in


def test_logout_that_fails_hides_nothing(owner: Google, builder: Standing) -> None:
    builder.fail("logout")
    assert push_image(owner, STEP, HERE, Silent()) == "sha256:abc"


def test_credentials_without_a_token_are_told(google: Google, builder: Standing) -> None:
    google.credentials = AnonymousCredentials()
    with pytest.raises(CloudError, match="no access token"):
        push_image(google, STEP, HERE, Silent())
    assert [run["argv"][0] for run in builder.runs] == ["build"]


def test_machine_without_a_builder_is_told(owner: Google, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="neither podman nor docker is installed"):
        push_image(owner, STEP, HERE, Silent())
    with pytest.raises(UsageError, match="docker is not installed"):
        push_image(owner, STEP, HERE, Silent(), builder="docker")

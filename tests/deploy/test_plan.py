"""What a plan says, and that it ends: after its steps there is nothing left to do, and after some of them the rest."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from relight.cli.deploy import deploy
from relight.cli.target import facts_of
from relight.config.deploy import Gpu, Ingress, Placement
from relight.config.load import load
from relight.config.schema import Auth, Config
from relight.deploy.body import service_body, template_body
from relight.deploy.desired import desire, secret_names
from relight.deploy.facts import Builder, Facts
from relight.deploy.names import account, bucket
from relight.deploy.observed import BucketState, Observed, Repository, SecretState, ServiceState, read_observed
from relight.deploy.plan import UNBUILT, plan
from relight.deploy.service import STARS, Change, SecretRef, Traffic, changes, merged
from relight.deploy.steps import (
    AddSecretVersion,
    BuildImage,
    CreateBucket,
    CreateSecret,
    DeployRevision,
    SetCleanup,
    SetInvokers,
    ShiftTraffic,
    SmokeTest,
    Step,
    UpdateService,
    UploadWeights,
)
from relight.errors import ExitCode, UsageError
from tests.deploy.cloud import applied, digest_of
from tests.deploy.worlds import CLOUD, COSTS, SMOL, after, clouds, config, facts, gpu_config, wishes
from tests.weights.files import gguf

GOLDEN = Path(__file__).parent / "golden"


def steps(found: Config, observed: Observed, known: Facts | None = None) -> tuple[Step, ...]:
    return plan(desire(found, known or facts()), observed).steps


def kinds(found: tuple[Step, ...]) -> list[str]:
    return [step.kind for step in found]


def deployed(found: Config, known: Facts | None = None) -> Observed:
    """The cloud after everything was done for `found`."""
    return after(desire(found, known or facts()), Observed())


def service_of(cloud: Observed) -> ServiceState:
    assert cloud.service is not None
    return cloud.service


def only(found: tuple[Step, ...], kind: type[Any]) -> Any:
    (step,) = [step for step in found if isinstance(step, kind)]
    return step


# --- golden ----------------------------------------------------------------------------------------------------------


def _changed() -> tuple[Config, Facts, Observed]:
    """A service that runs, deployed again with more CPU, a new secret and a public network."""
    before = config(run={"ingress": Ingress.INTERNAL})
    later = config(models={"smol": SMOL, "cloud": CLOUD}, run={"cpu": 8, "gradual": True})
    return later, facts(inputs="cd" * 32), deployed(before)


WORLDS: dict[str, tuple[Config, Facts, Observed]] = {
    "first": (config(), facts(image_bytes=90_000_000), Observed()),
    "gpu": (gpu_config(), facts(), Observed()),
    "changed": _changed(),
}


@pytest.mark.parametrize("name", WORLDS)
def test_plan_is_the_golden_one(name: str) -> None:
    found, known, observed = WORLDS[name]
    made = plan(desire(found, known), observed, COSTS, image_bytes=known.image_bytes)
    text = msgspec.json.format(msgspec.json.encode(made), indent=2) + b"\n"
    file = GOLDEN / f"plan-{name}.json"
    if "RELIGHT_GOLDEN" in os.environ:
        file.write_bytes(text)
    assert text.decode() == file.read_text()


# --- it ends ---------------------------------------------------------------------------------------------------------


@given(wishes(), clouds())
def test_plan_after_all_of_its_steps_is_empty(wish: tuple[Config, Facts], cloud: Observed) -> None:
    desired = desire(*wish)
    assert plan(desired, after(desired, cloud)).steps == ()


@given(wishes(), clouds(), st.data())
def test_plan_after_some_of_its_steps_is_the_rest(wish: tuple[Config, Facts], cloud: Observed, data: st.DataObject) -> None:
    desired = desire(*wish)
    whole = plan(desired, cloud).steps
    done = data.draw(st.integers(0, len(whole)))
    rest = plan(desired, after(desired, cloud, done)).steps
    assert [_core(step, desired.image.reference) for step in rest] == [
        _core(step, desired.image.reference) for step in whole[done:]
    ]


@pytest.mark.parametrize("name", WORLDS)
def test_plan_after_each_of_its_steps_is_the_rest(name: str) -> None:
    found, known, observed = WORLDS[name]
    desired = desire(found, known)
    whole = [_core(step, desired.image.reference) for step in plan(desired, observed).steps]
    for done in range(len(whole) + 1):
        rest = plan(desired, after(desired, observed, done)).steps
        assert [_core(step, desired.image.reference) for step in rest] == whole[done:]


@given(wishes(), clouds())
def test_what_others_made_is_left_alone(wish: tuple[Config, Facts], cloud: Observed) -> None:
    desired = desire(*wish)
    end = after(desired, cloud)
    assert cloud.apis <= end.apis
    assert cloud.accounts <= end.accounts
    assert cloud.grants <= end.grants
    assert cloud.images.items() <= end.images.items()
    assert cloud.repository is None or cloud.repository.labels == end.repository.labels  # type: ignore[union-attr]
    if cloud.service is not None:
        theirs = {name for name in cloud.service.template.env if not name.startswith("RELIGHT_")} - {*secret_names(wish[0])}
        assert theirs <= set(service_of(end).template.env)
        assert cloud.service.settings.labels.items() <= service_of(end).settings.labels.items()


@given(wishes(), clouds())
def test_what_the_configuration_names_is_there_in_the_end(wish: tuple[Config, Facts], cloud: Observed) -> None:
    desired = desire(*wish)
    end = service_of(after(desired, cloud))
    kept = end.settings.min_instances
    assert kept in {desired.settings.min_instances, *(timed.schedule.instances for timed in desired.schedules)}
    assert end.settings == replace(desired.settings, labels=end.settings.labels, min_instances=kept)
    assert end.traffic == (Traffic(revision=None, percent=100),)
    assert end.template.env.items() >= desired.template.env.items()
    assert set(desired.template.secrets) <= set(end.template.secrets)
    assert UNBUILT not in end.template.image
    if desired.invokers:
        assert end.invokers == desired.invokers


def _core(step: Step, reference: str) -> Any:
    """A step without what is only known once the image is built, and without words that tell of the state before."""
    found = msgspec.to_builtins(step)
    found.pop("reason")
    place = reference.rpartition(":")[0]
    text = msgspec.json.encode(found).decode()
    return msgspec.json.decode(text.replace(f"{place}@{digest_of(reference)}", f"{place}@{UNBUILT}"))


# --- each step -------------------------------------------------------------------------------------------------------


def test_first_plan_makes_everything_in_an_order_that_works() -> None:
    assert kinds(steps(config(), Observed())) == [
        "enable-apis",
        "create-repository",
        "create-service-account",
        "create-service-account",
        "create-secret",
        "add-secret-version",
        "create-bucket",
        "grant-role",
        "grant-role",
        "grant-role",
        "grant-role",
        "build-image",
        "deploy-revision",
        "smoke-test",
    ]


def test_changed_image_is_built_deployed_without_traffic_asked_and_given_all() -> None:
    found = steps(config(), deployed(config()), facts(inputs="cd" * 32))
    assert kinds(found) == ["build-image", "deploy-revision", "smoke-test", "shift-traffic"]
    assert only(found, DeployRevision).changes == (
        Change(
            "template.image",
            "europe-west4-docker.pkg.dev/my-project/relight-portfolio/portfolio@"
            + digest_of("europe-west4-docker.pkg.dev/my-project/relight-portfolio/portfolio:r-abababababababab"),
            f"europe-west4-docker.pkg.dev/my-project/relight-portfolio/portfolio@{UNBUILT}",
        ),
    )
    assert only(found, SmokeTest).percent == 0
    assert only(found, ShiftTraffic).percent == 100


def test_gradual_revision_is_asked_before_each_share() -> None:
    gradual = config(run={"gradual": True, "cpu": 8})
    found = steps(gradual, deployed(config()))
    shares = [(step.kind, step.percent) for step in found if isinstance(step, SmokeTest | ShiftTraffic)]
    assert shares == [
        ("smoke-test", 0),
        ("shift-traffic", 10),
        ("smoke-test", 10),
        ("shift-traffic", 50),
        ("smoke-test", 50),
        ("shift-traffic", 100),
    ]
    assert {step.previous for step in found if isinstance(step, ShiftTraffic)} == {"s-1"}


def test_failed_revision_is_made_again_and_the_traffic_stays_where_it_was() -> None:
    cloud = deployed(config())
    failed = replace(cloud, service=replace(service_of(cloud), latest_created="s-2"))
    found = steps(config(), failed)
    assert kinds(found) == ["deploy-revision", "smoke-test", "shift-traffic"]
    assert only(found, DeployRevision).reason == "the last revision, s-2, did not become ready"
    assert only(found, DeployRevision).changes == ()


def test_traffic_pinned_by_a_rollback_goes_back_to_the_latest() -> None:
    cloud = deployed(config())
    pinned = replace(cloud, service=replace(service_of(cloud), traffic=(Traffic(revision="s-0", percent=100),)))
    found = steps(config(), pinned)
    assert kinds(found) == ["smoke-test", "shift-traffic"]
    assert only(found, ShiftTraffic).previous == "s-0"


def test_traffic_pinned_to_the_latest_itself_is_unpinned() -> None:
    cloud = deployed(config())
    pinned = replace(cloud, service=replace(service_of(cloud), traffic=(Traffic(revision="s-1", percent=100),)))
    assert only(steps(config(), pinned), ShiftTraffic).reason.startswith("the traffic is pinned to a revision")


def test_service_that_closes_closes_before_its_new_revision() -> None:
    # Without keys of its own the new front door is open, and Google has to ask by then.
    closed = config(run={"invokers": ("user:a@example.com",)}, auth=Auth())
    found = steps(closed, deployed(config()))
    assert kinds(found)[:3] == ["set-invokers", "update-service", "deploy-revision"]
    assert only(found, DeployRevision).template.env["RELIGHT_SERVER__PUBLIC"] == "true"


def test_service_that_opens_opens_after_its_new_revision() -> None:
    closed = config(run={"invokers": ("user:a@example.com",)}, auth=Auth())
    found = steps(config(), deployed(closed))
    assert kinds(found)[-2:] == ["shift-traffic", "update-service"]
    assert only(found, UpdateService).changes == (Change("invoker_iam_disabled", old=False, new=True),)
    assert Change("template.env.RELIGHT_SERVER__PUBLIC", STARS, None) in only(found, DeployRevision).changes


def test_invokers_are_those_of_the_configuration_and_nobody_else() -> None:
    named = config(run={"invokers": ("user:a@example.com",)})
    cloud = deployed(named)
    cloud = replace(cloud, service=replace(service_of(cloud), invokers=("allUsers", "user:a@example.com")))
    step = only(steps(named, cloud), SetInvokers)
    assert (step.added, step.removed) == ((), ("allUsers",))


def test_bindings_are_not_touched_when_the_configuration_names_nobody() -> None:
    cloud = deployed(config())
    cloud = replace(cloud, service=replace(service_of(cloud), invokers=("user:scheduler@example.com",)))
    assert steps(config(), cloud) == ()


def test_secret_that_differs_gets_a_version_and_the_service_takes_it() -> None:
    cloud = deployed(config())
    changed = replace(cloud, secrets={"portfolio-RELIGHT_KEYS": SecretState(latest=4, matches=False)})
    found = steps(config(), changed)
    assert kinds(found) == ["add-secret-version", "deploy-revision", "smoke-test", "shift-traffic"]
    assert only(found, AddSecretVersion).version == 5
    assert only(found, DeployRevision).template.secrets == {"RELIGHT_KEYS": SecretRef("portfolio-RELIGHT_KEYS", "5")}


def test_secret_that_cannot_be_compared_is_used_as_it_is() -> None:
    there = Observed(secrets={"portfolio-RELIGHT_KEYS": SecretState(latest=3)})
    found = steps(config(), there)
    assert not any(isinstance(step, CreateSecret | AddSecretVersion) for step in found)
    assert only(found, DeployRevision).template.secrets["RELIGHT_KEYS"].version == "3"


def test_weights_lie_in_the_bucket_by_their_digest_and_go_there_once() -> None:
    wish = config(run={"weights": Placement.BUCKET})
    found = steps(wish, Observed())
    upload = only(found, UploadWeights)
    assert upload.name == f"weights/{'b1' * 32}/smol.gguf"
    assert upload.bucket == only(found, CreateBucket).name == "my-project-portfolio-relight"
    env = only(found, DeployRevision).template.env
    assert env["RELIGHT_MODELS__SMOL__SOURCE"] == f"gs://my-project-portfolio-relight/{upload.name}"
    there = Observed(buckets={upload.bucket: BucketState(region="europe-west4", objects={upload.name: upload.size})})
    assert not any(isinstance(step, UploadWeights | CreateBucket) for step in steps(wish, there))


def test_weights_that_arrived_in_part_are_sent_again() -> None:
    part = BucketState(region="europe-west4", objects={f"weights/{'b1' * 32}/smol.gguf": 5})
    there = Observed(buckets={"my-project-portfolio-relight": part})
    assert any(isinstance(step, UploadWeights) for step in steps(config(run={"weights": Placement.BUCKET}), there))


def test_small_weights_go_into_the_image_and_large_ones_into_a_bucket() -> None:
    large = facts(replace(facts().models[0], weights_bytes=9_000_000_000))
    assert (desire(config(), facts()).placement, desire(config(), large).placement) == (Placement.IMAGE, Placement.BUCKET)


def test_given_image_is_not_built_and_needs_no_repository() -> None:
    image = "europe-docker.pkg.dev/p/r/i@sha256:" + "0" * 64
    found = steps(config(), Observed(), facts(image=image))
    assert kinds(found) == [
        "enable-apis",
        "create-service-account",
        "create-secret",
        "add-secret-version",
        "grant-role",
        "deploy-revision",
        "smoke-test",
    ]
    assert only(found, DeployRevision).template.image == image


def test_image_built_here_needs_no_account_bucket_or_api_to_build() -> None:
    found = steps(config(), Observed(), facts(builder=Builder.LOCAL))
    assert only(found, BuildImage).builder == "this machine"
    assert not any(isinstance(step, CreateBucket) for step in found)
    assert "cloudbuild.googleapis.com" not in desire(config(), facts(builder=Builder.LOCAL)).apis


def test_repository_of_somebody_else_keeps_its_policy_and_ours_gets_one() -> None:
    cloud = deployed(config())
    assert cloud.repository is not None
    assert steps(config(), replace(cloud, repository=Repository(labels={"team": "theirs"}))) == ()
    ours = replace(cloud, repository=replace(cloud.repository, keeps=0))
    assert kinds(steps(config(), ours)) == ["set-cleanup"]
    assert isinstance(steps(config(), ours)[0], SetCleanup)


def test_switched_off_service_is_not_switched_on_by_a_plan() -> None:
    cloud = deployed(config())
    off = replace(cloud, service=replace(service_of(cloud), is_off=True))
    assert steps(config(), off) == ()


# --- fields ----------------------------------------------------------------------------------------------------------


def test_request_billing_is_said_explicitly_and_never_with_a_gpu() -> None:
    assert desire(config(), facts()).template.cpu_idle is True
    assert desire(gpu_config(), facts()).template.cpu_idle is False


def test_second_zone_is_refused_unless_it_is_asked_for() -> None:
    gpu = {"gpu": Gpu.L4, "cpu": 8}
    assert desire(config(run=gpu), facts()).template.gpu_zonal_redundancy_disabled is True
    assert desire(config(run={**gpu, "zonal_redundancy": True}), facts()).template.gpu_zonal_redundancy_disabled is False


def test_concurrency_is_what_the_models_decode() -> None:
    two = config(models={"a": SMOL, "b": replace(SMOL, parallel=5)})
    assert desire(two, facts()).template.concurrency == 7
    assert desire(config(models={"cloud": CLOUD}), facts()).template.concurrency == 80
    assert desire(config(run={"concurrency": 3}), facts()).template.concurrency == 3


def test_startup_budget_follows_the_weights_and_what_was_measured() -> None:
    large = facts(replace(facts().models[0], weights_bytes=20_000_000_000), load_bytes_per_s=100e6)
    probe = desire(config(run={"weights": Placement.BUCKET}), large).template.startup_probe
    assert (probe.path, probe.period_s, probe.budget_s) == ("/readyz", 1, 404)  # twice 2 s and 200 s
    assert desire(config(), facts()).template.startup_probe.budget_s == 60


def test_most_instances_are_sent_for_the_revision_as_well() -> None:
    desired = desire(config(run={"min_instances": 1, "max_instances": 3}), facts())
    assert (desired.settings.min_instances, desired.settings.max_instances) == (1, 3)
    assert (desired.template.min_instances, desired.template.max_instances) == (0, 3)


def test_body_has_every_field_in_the_words_of_the_api() -> None:
    desired = desire(gpu_config(), facts())
    body = service_body(desired.template, desired.settings)
    template = body["template"]
    container = template["containers"][0]
    assert container["resources"] == {
        "limits": {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "1"},
        "cpuIdle": False,
        "startupCpuBoost": True,
    }
    assert container["startupProbe"]["httpGet"] == {"path": "/readyz", "port": 8080}
    assert template["nodeSelector"] == {"accelerator": "nvidia-l4"}
    assert template["gpuZonalRedundancyDisabled"] is True
    assert template["volumes"] == [{"name": "relight-store", "gcs": {"bucket": desired.bucket, "readOnly": False}}]
    assert {"name": "RELIGHT_SERVER__HOST", "value": "0.0.0.0"} in container["env"]  # noqa: S104
    assert "PORT" not in {variable["name"] for variable in container["env"]}
    assert body["labels"] == {"managed-by": "relight", "relight-service": "portfolio"}
    plain = template_body(desire(config(), facts()).template)
    assert "nodeSelector" not in plain
    assert plain["containers"][0]["resources"]["cpuIdle"] is True


def test_variable_that_becomes_a_secret_is_no_variable_any_more() -> None:
    old = replace(desire(config(), facts()).template, env={"OPENAI_API_KEY": "sk-plain", "THEIRS": "x"}, secrets={})
    new = replace(old, env={}, secrets={"OPENAI_API_KEY": SecretRef("portfolio-OPENAI_API_KEY", "1")})
    whole = merged(old, new, "portfolio")
    assert (whole.env, set(whole.secrets)) == ({"THEIRS": "x"}, {"OPENAI_API_KEY"})


def test_text_of_a_variable_that_somebody_set_is_in_no_plan() -> None:
    cloud = deployed(config())
    there = service_of(cloud)
    env = {**there.template.env, "RELIGHT_OLD": "hunter2", "OPENAI_API_KEY": "sk-plain"}
    cloud = replace(cloud, service=replace(there, template=replace(there.template, env=env)))
    found = steps(config(models={"smol": SMOL, "cloud": CLOUD}), cloud)
    assert b"hunter2" not in msgspec.json.encode(found)
    assert b"sk-plain" not in msgspec.json.encode(found)
    assert Change("template.env.RELIGHT_OLD", STARS, None) in only(found, DeployRevision).changes


def test_instance_reads_its_environment_as_a_configuration(tmp_path: Path) -> None:
    text = (
        '[models."qwen-0.6"]\nsource = "file:m.gguf"\n[deploy.cloudrun]\nweights = "bucket"\ninvokers = ["user:a@example.com"]\n'
    )
    (tmp_path / "relight.toml").write_text(text)
    here = load(tmp_path / "relight.toml", environ={}).config
    known = facts(replace(facts().models[0], name="qwen-0.6"))
    there = load(tmp_path / "relight.toml", environ={**desire(here, known).template.env, "PORT": "8080"}).config
    assert (there.server.host, there.server.public, there.server.trusted_hops) == ("0.0.0.0", True, 1)  # noqa: S104
    assert there.models["qwen-0.6"].source == f"gs://PROJECT-relight-relight/weights/{'b1' * 32}/smol.gguf"
    assert there.models["qwen-0.6"].sha256 == "b1" * 32
    assert (there.weights.download, there.prefixes.dir) == (True, "/mnt/relight/prefixes")


def test_changes_against_nothing_are_all_fields() -> None:
    assert changes(None, SecretRef("a", "1")) == (Change("secret", None, "a"), Change("version", None, "1"))


# --- names -----------------------------------------------------------------------------------------------------------


@given(
    st.from_regex(r"[a-z]([a-z0-9-]{0,47}[a-z0-9])?", fullmatch=True),
    st.from_regex(r"[a-z][a-z0-9-]{4,28}[a-z0-9]", fullmatch=True),
)
def test_names_keep_to_the_limits_of_google(service: str, project: str) -> None:
    for purpose in ("serve", "build"):
        assert re.fullmatch("[a-z][a-z0-9-]{4,28}[a-z0-9]", account(project, service, purpose).partition("@")[0])
    assert len(bucket(project, service)) <= 63


def test_long_names_that_differ_at_their_ends_stay_apart() -> None:
    one, two = (account("p", "a" * 40 + end, "run") for end in "xy")
    assert one != two


# --- from a file -----------------------------------------------------------------------------------------------------


def test_observed_survives_its_file(tmp_path: Path) -> None:
    cloud = deployed(gpu_config())
    (tmp_path / "cloud.json").write_bytes(msgspec.json.encode(cloud))
    assert read_observed(tmp_path / "cloud.json") == cloud


@pytest.mark.parametrize("text", ["{", '{"nonsense": 1}', '{"apis": 3}', "\xff"])
def test_file_that_is_not_what_is_observed_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "cloud.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match="is not what is observed of a project"):
        read_observed(tmp_path / "cloud.json")


def test_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_observed(tmp_path / "cloud.json")


def test_model_of_the_cloud_refuses_what_cannot_be() -> None:
    found = steps(config(), Observed())
    with pytest.raises((AssertionError, KeyError)):
        applied(only(found, DeployRevision), Observed())


# --- the command -----------------------------------------------------------------------------------------------------

TOML = """
[service]
name = "portfolio"
[models.smol]
source = "file:m.gguf"
context = 2048
[auth]
keys = { secret = "RELIGHT_KEYS" }
[deploy.cloudrun]
project = "my-project"
concurrency = 8
[prefixes]
learn = false
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration with weights and a key."""
    monkeypatch.delenv("PORT", raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    (tmp_path / "relight.toml").write_text(TOML)
    (tmp_path / "m.gguf").write_bytes(gguf())
    (tmp_path / ".env").write_text("RELIGHT_KEYS=secret-text\n")
    return tmp_path


def call(folder: Path, *flags: str) -> Result:
    return CliRunner().invoke(deploy, ["-c", str(folder / "relight.toml"), *flags])


def test_command_shows_findings_steps_fields_and_prices(folder: Path) -> None:
    done = call(folder, "--plan", "--offline")
    assert done.exit_code == 0
    lines = (re.sub(r"[ ─]+", " ", re.sub(r":r-[0-9a-f]{16}", ":r-…", line)).strip() for line in done.stdout.splitlines())
    text = "\n".join(line for line in lines if line) + "\n"
    file = GOLDEN / "plan-table.txt"
    if "RELIGHT_GOLDEN" in os.environ:
        file.write_text(text)
    assert text == file.read_text()


def test_command_for_programs_prints_the_same_and_no_secret(folder: Path) -> None:
    done = call(folder, "--plan", "--offline", "--json")
    said = json.loads(done.stdout)
    assert [step["step"] for step in said["steps"]][-2:] == ["deploy-revision", "smoke-test"]
    assert (said["is_observed"], said["can_be_applied"]) == (False, False)
    assert "secret-text" not in done.stdout


def test_command_plans_against_what_a_file_says(folder: Path) -> None:
    loaded = load(folder / "relight.toml")
    cloud = replace(after(desire(loaded.config, facts_of(loaded)), Observed()), principal="me@example.com", billing_enabled=True)
    (folder / "cloud.json").write_bytes(msgspec.json.encode(cloud))
    done = call(folder, "--plan", "--observed", str(folder / "cloud.json"))
    assert done.exit_code == 0
    assert "nothing to do: everything is as the configuration says" in done.stdout


def test_command_whose_plan_would_fail_says_so_with_its_exit_code(folder: Path) -> None:
    (folder / "relight.toml").write_text(TOML.replace('project = "my-project"', 'gpu = "nvidia-l4"'))
    done = call(folder, "--plan", "--offline", "--json")
    assert done.exit_code == ExitCode.FOUND
    assert {finding["check"] for finding in json.loads(done.stdout)["findings"] if finding["severity"] == "error"} == {
        "project",
        "shape",
    }


def test_command_without_plan_asks_before_it_changes_anything(folder: Path) -> None:
    done = call(folder)
    assert isinstance(done.exception, UsageError)
    assert str(done.exception) == "deploy: nobody can be asked whether to go on; see relight deploy --plan, then add --yes"

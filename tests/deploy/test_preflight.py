"""What preflight finds before anything is spent, and that what it proposes would really pass."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from relight.cli.checks import Check, Result
from relight.cli.target import judged, target_checks
from relight.config.assistant import Assistant, Budget
from relight.config.deploy import Billing, Gpu, Ingress, Placement
from relight.config.load import load
from relight.config.schema import Auth, Config, Content, EngineKind, Limits, Log, Model, Prefixes, Server, Service, Task
from relight.deploy import quota
from relight.deploy.desired import desire
from relight.deploy.facts import Facts, ModelFacts
from relight.deploy.findings import Case, Finding, Severity, model_table, run_toml, toml
from relight.deploy.observed import BucketState, Observed, Refusal, SecretState
from relight.deploy.plan import plan
from relight.deploy.preflight import permissions_of, preflight, stops
from relight.deploy.price import usd
from relight.deploy.shapes import Shape, largest_memory, nearest, shape_faults
from relight.deploy.standing import ROLES
from relight.values import Bytes, Duration
from tests.deploy.worlds import CLOUD, COSTS, GIB, SMOL, after, clouds, config, facts, wishes
from tests.weights.files import gguf

READY = Observed(
    principal="me@example.com",
    project_number="123456789012",
    billing_enabled=True,
    permissions=frozenset(ROLES),
    quotas={
        quota.CPU_QUOTA: 20_000,
        quota.MEMORY_QUOTA: 40 * GIB,
        "NvidiaL4GpuAllocNoZonalRedundancyPerProjectRegion": 3,
        "NvidiaRtxPro6000GpuAllocNoZonalRedundancyPerProjectRegion": 1000,
    },
    secrets={"portfolio-RELIGHT_KEYS": SecretState(latest=1)},
)
BIG = ModelFacts(name="smol", file="b.gguf", sha256="c" * 64, weights_bytes=18 * GIB, cache_bytes_per_token=262_144)


def judge(found: Config, known: Facts | None = None, observed: Observed | None = READY) -> tuple[Finding, ...]:
    known = known or facts()
    desired = desire(found, known)
    needs = permissions_of(plan(desired, observed or Observed()))
    return preflight(Case(config=found, facts=known, desired=desired, observed=observed, costs=COSTS, needs=needs))


def about(findings: tuple[Finding, ...], check: str) -> Finding:
    """The only finding of a check."""
    (finding,) = [finding for finding in findings if finding.check == check]
    return finding


def worst(findings: tuple[Finding, ...]) -> dict[str, Severity]:
    """What is not fine, by check."""
    return {finding.check: finding.severity for finding in findings if finding.severity is not Severity.PASS}


def run(**keys: Any) -> Config:
    return config(run={"concurrency": 8, **keys}, prefixes=Prefixes(learn=False))


# --- as a whole ------------------------------------------------------------------------------------------------------


def test_ready_project_and_fitting_configuration_find_nothing() -> None:
    done = after(desire(run(), facts()), READY)
    assert worst(judge(run(), observed=done)) == {}


def test_without_the_cloud_only_what_it_alone_knows_is_open() -> None:
    known = facts(secrets_here=frozenset({"RELIGHT_KEYS"}))
    findings = judge(run(), known, observed=None)
    assert worst(findings) == dict.fromkeys(
        ["credentials", "billing account", "APIs", "permissions", "quota", "policies"], Severity.UNKNOWN
    )
    assert not stops(findings)


def test_errors_alone_stop_a_deployment() -> None:
    assert not stops(judge(run(min_instances=1)))
    assert stops(judge(run(cpu=3)))


@given(wishes(), clouds(), st.booleans())
def test_any_configuration_and_cloud_are_judged(wish: tuple[Config, Facts], cloud: Observed, is_asked: bool) -> None:
    findings = judge(*wish, observed=cloud if is_asked else None)
    for finding in findings:
        assert finding.what
        is_unasked = finding.severity is Severity.UNKNOWN and not is_asked
        assert (finding.why is None) == (finding.severity is Severity.PASS or is_unasked)
        if finding.severity in (Severity.ERROR, Severity.WARNING, Severity.UNKNOWN) and not is_unasked:
            assert finding.fit or finding.do
        if finding.fit:
            msgspec.convert(tomllib.loads(finding.fit), dict[str, Any])


def test_findings_are_the_golden_ones() -> None:
    wish = config(
        run={"gpu": Gpu.L4, "max_instances": 8, "timeout": Duration(60), "billing": Billing.REQUEST, "region": "europe-west6"},
        log=Log(content=Content.FULL),
    )
    found = [finding for finding in judge(wish, facts(BIG)) if finding.severity is not Severity.PASS]
    text = msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n"
    file = Path(__file__).parent / "golden/plan-findings.json"
    if "RELIGHT_GOLDEN" in os.environ:
        file.write_text(text)
    assert text == file.read_text()


# --- names, project --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("project", [None, "My Project", "12345678", "p"])
def test_project_has_to_be_an_id(project: str | None) -> None:
    finding = about(judge(run(project=project)), "project")
    assert finding.severity is Severity.ERROR
    assert finding.fit == '[deploy.cloudrun]\nproject = "my-project"'


def test_address_is_known_before_the_first_deployment() -> None:
    assert about(judge(run()), "name").what == "https://portfolio-123456789012.europe-west4.run.app"


def test_name_that_does_not_fit_its_address_is_cut() -> None:
    long = config(service=Service(name="a" * 49))
    number = replace(READY, project_number="1" * 15)
    finding = about(judge(long, observed=number), "name")
    assert finding.fit == f'[service]\nname = "{"a" * 47}"'


def test_service_that_nobody_named_is_told_that_another_could_overwrite_it() -> None:
    findings = [found for found in judge(config(service=Service())) if found.check == "name"]
    assert [found.severity for found in findings] == [Severity.PASS, Severity.WARNING]
    assert findings[1].what == "the service is called relight because relight.toml names none"
    assert findings[1].fit == '[service]\nname = "my-service"'


# --- the project -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "unseen", "api"),
    [
        ("billing account", {"billing_enabled": None}, "cloudbilling"),
        ("permissions", {"permissions": None}, "cloudresourcemanager"),
        ("quota", {"quotas": None}, "cloudquotas"),
    ],
)
def test_what_the_cloud_did_not_say_names_the_api_that_would(check: str, unseen: dict[str, Any], api: str) -> None:
    finding = about(judge(run(), observed=replace(READY, **unseen)), check)
    assert finding.severity is Severity.UNKNOWN
    assert finding.why == f"{api}.googleapis.com does not say: it is not enabled, or whoever deploys may not ask it"
    assert finding.do == f"to have it checked: gcloud services enable {api}.googleapis.com --project=my-project"


def test_quota_that_google_does_not_list_is_looked_up_by_hand() -> None:
    findings = judge(run(), observed=replace(READY, quotas={quota.CPU_QUOTA: 20_000}))
    (finding,) = [found for found in findings if found.severity is Severity.UNKNOWN]
    assert finding.what == f"whether there is room for 8GiB ({quota.MEMORY_QUOTA})"
    assert finding.do == "look: https://console.cloud.google.com/iam-admin/quotas?project=my-project"


def test_nobody_signed_in_and_no_billing_are_errors() -> None:
    findings = judge(run(), observed=replace(READY, principal=None, billing_enabled=False))
    assert about(findings, "credentials").severity is about(findings, "billing account").severity is Severity.ERROR


def test_missing_permissions_name_the_role_that_has_them() -> None:
    observed = replace(READY, permissions=frozenset(ROLES) - {"run.services.create", "run.services.setIamPolicy"})
    finding = about(judge(run(), observed=observed), "permissions")
    assert finding.what == "missing: run.services.create, run.services.setIamPolicy"
    assert finding.do is not None
    assert finding.do.endswith(
        "gcloud projects add-iam-policy-binding my-project --member=user:me@example.com --role=roles/run.admin"
    )


def test_only_permissions_that_the_plan_takes_are_asked_for() -> None:
    done = replace(after(desire(run(), facts()), READY), permissions=frozenset())
    assert about(judge(run(), observed=done), "permissions").severity is Severity.PASS


@given(wishes(), clouds())
def test_every_permission_of_a_plan_has_a_role(wish: tuple[Config, Facts], cloud: Observed) -> None:
    assert permissions_of(plan(desire(*wish), cloud)) <= set(ROLES)


def test_gpus_beyond_the_quota_say_how_many_fit_and_what_to_ask_for() -> None:
    found = judge(run(gpu=Gpu.L4, cpu=4, memory=Bytes(16 * GIB), max_instances=4), observed=_roomy(READY))
    finding = next(finding for finding in found if finding.quota and finding.quota.value == 4)
    assert finding.what == "4 GPUs of 3 GPUs"
    assert finding.fit == "[deploy.cloudrun]\nmax_instances = 3"
    assert finding.quota is not None
    assert finding.quota.command == (
        "gcloud beta quotas preferences create --project=my-project --service=run.googleapis.com "
        "--quota-id=NvidiaL4GpuAllocNoZonalRedundancyPerProjectRegion --preferred-value=4 --dimensions=region=europe-west4"
    )


def test_large_gpus_are_counted_in_thousandths() -> None:
    shape = {"gpu": Gpu.RTX_PRO_6000, "cpu": 20, "memory": Bytes(80 * GIB)}
    found = judge(run(**shape, max_instances=2), observed=_roomy(READY))
    finding = next(finding for finding in found if finding.quota)
    assert finding.what == "2 GPUs of 1 GPU"
    assert finding.quota is not None
    assert finding.quota.value == 2000


def test_memory_of_all_instances_is_counted_against_its_quota() -> None:
    finding = next(found for found in judge(run(cpu=2, max_instances=8)) if found.check == "quota" and found.quota)
    assert finding.severity is Severity.ERROR
    assert finding.what == "64GiB of 40GiB"
    assert finding.fit == "[deploy.cloudrun]\nmax_instances = 5"


def test_quota_of_none_leaves_only_the_request() -> None:
    none = replace(READY, quotas={**(READY.quotas or {}), "NvidiaL4GpuAllocNoZonalRedundancyPerProjectRegion": 0})
    finding = next(found for found in judge(run(gpu=Gpu.L4, cpu=4, memory=Bytes(16 * GIB)), observed=none) if found.quota)
    assert (finding.severity, finding.fit) == (Severity.ERROR, None)


def test_one_gpu_for_two_revisions_is_said_before_the_second() -> None:
    wish = run(gpu=Gpu.L4, cpu=4, memory=Bytes(16 * GIB))
    one = replace(READY, quotas={**(READY.quotas or {}), "NvidiaL4GpuAllocNoZonalRedundancyPerProjectRegion": 1})
    assert not [found for found in judge(wish, observed=one) if found.quota]
    again = after(desire(wish, facts()), one)
    (finding,) = [found for found in judge(wish, observed=again) if found.quota]
    assert finding.severity is Severity.NOTE
    assert finding.quota is not None
    assert finding.quota.value == 2


def test_second_zone_has_a_quota_of_its_own() -> None:
    wish = run(gpu=Gpu.L4, cpu=4, memory=Bytes(16 * GIB), zonal_redundancy=True)
    found = [finding for finding in judge(wish) if finding.check == "quota"]
    assert any("NvidiaL4GpuAllocPerProjectRegion" in finding.what for finding in found)
    assert found[-1].fit == "[deploy.cloudrun]\nzonal_redundancy = false"


def test_organisation_that_wants_googles_check_gets_invokers() -> None:
    refusal = Refusal("invoker_iam_disabled", "constraints/run.managed.requireInvokerIam")
    finding = about(judge(run(), observed=replace(READY, refusals=(refusal,))), "policies")
    assert finding.fit == '[deploy.cloudrun]\ninvokers = ["user:me@example.com"]'


def test_secret_that_is_nowhere_is_an_error_and_its_text_is_never_asked() -> None:
    finding = about(judge(run(), observed=replace(READY, secrets={})), "secrets")
    assert finding.severity is Severity.ERROR
    assert finding.do == "set RELIGHT_KEYS in the environment or .env"


def test_bucket_of_somebody_else_is_refused() -> None:
    theirs = replace(READY, buckets={"my-bucket": BucketState(region="EUROPE-WEST4", is_mine=False)})
    assert about(judge(run(bucket="my-bucket"), observed=theirs), "bucket").severity is Severity.ERROR


def test_bucket_in_another_region_is_a_warning_and_case_does_not_matter() -> None:
    def judged(region: str) -> dict[str, Severity]:
        there = replace(READY, buckets={"my-bucket": BucketState(region=region)})
        return worst(judge(run(bucket="my-bucket"), observed=there))

    assert judged("US-EAST4")["bucket"] is Severity.WARNING
    assert "bucket" not in judged("EUROPE-WEST4")


def test_account_that_others_make_has_to_be_there() -> None:
    assert about(judge(run(service_account="runner@p.iam.gserviceaccount.com")), "service account").severity is Severity.ERROR


def test_service_that_is_off_has_to_be_switched_on_first() -> None:
    done = after(desire(run(), facts()), READY)
    assert done.service is not None
    off = replace(done, service=replace(done.service, is_off=True))
    assert about(judge(run(), observed=off), "service").do == "run: relight on"


def test_whoever_deploys_without_being_an_invoker_cannot_test() -> None:
    finding = about(judge(run(invokers=("user:you@example.com",))), "test")
    assert finding.severity is Severity.WARNING
    assert finding.why is not None
    assert "Google would refuse it, after about two minutes of waiting" in finding.why
    assert finding.fit == '[deploy.cloudrun]\ninvokers = ["user:you@example.com", "user:me@example.com"]'


@pytest.mark.parametrize(
    "invoker", ["user:me@example.com", "user:Me@Example.com", "domain:example.com", "allUsers", "allAuthenticatedUsers"]
)
def test_whoever_deploys_is_an_invoker_in_several_ways(invoker: str) -> None:
    assert not [found for found in judge(run(invokers=(invoker,))) if found.check in ("test", "invokers")]


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("me@example.com", "user:me@example.com"),
        ("runner@my-project.iam.gserviceaccount.com", "serviceAccount:runner@my-project.iam.gserviceaccount.com"),
        ("serviceaccount:a@b.iam.gserviceaccount.com", "serviceAccount:a@b.iam.gserviceaccount.com"),
        ("email:me@example.com", "user:me@example.com"),
        ("example.com", "domain:example.com"),
        ("allusers", "allUsers"),
    ],
)
def test_invoker_without_its_kind_is_an_error_with_the_line_that_fits(said: str, meant: str) -> None:
    finding = about(judge(run(invokers=("group:team@example.com", said))), "invokers")
    assert (finding.severity, finding.what) == (Severity.ERROR, f'"{said}" is no member as Google names them')
    assert finding.fit == f'[deploy.cloudrun]\ninvokers = ["group:team@example.com", "{meant}"]'
    assert not [found for found in judge(run(invokers=(meant,))) if found.check == "invokers"]


@pytest.mark.parametrize(
    "said", ["", "me", "user:", "user:me", "@example.com", "domain:a@b", "principal://", "principal:x", "a b@c"]
)
def test_invoker_of_which_nobody_knows_what_it_means_is_left_to_its_author(said: str) -> None:
    finding = about(judge(run(invokers=("me@example.com", said))), "invokers")
    assert (finding.severity, finding.fit) == (Severity.ERROR, None)
    assert finding.what == f'"me@example.com", "{said}" are no members as Google names them'
    assert finding.do == "write each in one of these ways"


@pytest.mark.parametrize(
    "member",
    [
        "user:a@example.com",
        "group:b@example.com",
        "serviceAccount:c@p.iam.gserviceaccount.com",
        "domain:example.com",
        "principal://iam.googleapis.com/locations/global/workforcePools/p/subject/s",
        "principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/*",
    ],
)
def test_members_as_google_names_them_are_taken(member: str) -> None:
    assert not [found for found in judge(run(invokers=(member,))) if found.check == "invokers"]


# --- shapes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "fit"),
    [
        ({"cpu": 3}, 'cpu = 4\nmemory = "8GiB"'),
        ({"cpu": 1, "memory": Bytes(8 * GIB)}, 'cpu = 2\nmemory = "8GiB"'),
        ({"cpu": 8, "memory": Bytes(GIB)}, 'cpu = 8\nmemory = "4GiB"'),
        ({"cpu": 8, "memory": Bytes(64 * GIB)}, 'cpu = 8\nmemory = "32GiB"'),
        ({"cpu": 2, "gpu": Gpu.L4}, 'cpu = 4\nmemory = "16GiB"'),
        ({"cpu": 8, "gpu": Gpu.RTX_PRO_6000}, 'cpu = 20\nmemory = "80GiB"'),
    ],
)
def test_shape_that_does_not_exist_is_told_the_nearest(keys: dict[str, Any], fit: str) -> None:
    assert about(judge(run(**keys)), "shape").fit == f"[deploy.cloudrun]\n{fit}"


def test_one_of_something_is_not_told_as_several() -> None:
    small = run(cpu=1, memory=Bytes(8 * GIB), concurrency=4)
    findings = judge(small, observed=replace(READY, quotas={quota.CPU_QUOTA: 1000, quota.MEMORY_QUOTA: 40 * GIB}))
    assert about(findings, "shape").what == "8GiB with 1 CPU without a GPU; possible: 512MiB to 4GiB"
    assert [found.what for found in findings if found.check == "quota"] == ["1 CPU of 1 CPU", "8GiB of 40GiB"]
    alone = config(models={"smol": replace(SMOL, parallel=1)}, run={"concurrency": 4})
    assert about(judge(alone), "concurrency").what == "4 come in, 1 decoded at a time"


@given(st.integers(1, 64), st.integers(1, 256 * GIB), st.sampled_from([None, *Gpu]))
def test_nearest_shape_exists_and_is_no_smaller_where_one_is_large_enough(cpu: int, memory: int, gpu: Gpu | None) -> None:
    found = nearest(Shape(cpu, memory, gpu))
    assert shape_faults(found) == []
    if memory <= largest_memory(gpu) and cpu <= {None: 8, Gpu.L4: 8, Gpu.RTX_PRO_6000: 44}[gpu]:
        assert (found.cpu >= cpu, found.memory >= memory) == (True, True)


def test_gpu_stands_in_some_regions() -> None:
    l4 = {"gpu": Gpu.L4, "cpu": 8, "memory": Bytes(32 * GIB)}
    assert about(judge(run(**l4, region="europe-west6")), "region").fit == '[deploy.cloudrun]\nregion = "europe-west1"'
    assert about(judge(run(**l4, region="us-central1")), "region").severity is Severity.WARNING
    assert about(judge(run(**l4)), "region").severity is Severity.PASS


def test_gpu_is_never_billed_by_request() -> None:
    gpu = run(gpu=Gpu.L4, cpu=8, memory=Bytes(32 * GIB), billing=Billing.REQUEST)
    assert about(judge(gpu), "billing").fit == '[deploy.cloudrun]\nbilling = "instance"'
    assert about(judge(run(billing=Billing.INSTANCE)), "billing").severity is Severity.NOTE


# --- does it fit -----------------------------------------------------------------------------------------------------


def test_memory_counts_weights_cache_and_front_door() -> None:
    finding = about(judge(run(cpu=1, memory=Bytes(GIB // 2), concurrency=8)), "memory")
    # 98 MB of weights, 23,040 bytes × 8,192 tokens × 2, 256 MiB to compute in, 96 for the front door.
    size = 98_000_000 + 23_040 * 8192 * 2 + 352 * (1 << 20)
    assert finding.severity is Severity.ERROR
    assert finding.what.startswith(f"about {Bytes(size)} of 512MiB")
    assert finding.fit == '[deploy.cloudrun]\ncpu = 1\nmemory = "1GiB"'


@pytest.mark.parametrize(
    ("models", "known"),
    [
        ({"cloud": CLOUD}, Facts(models=(), inputs="ab")),
        ({"smol": replace(SMOL, task=Task.EMBED)}, None),
        ({"smol": replace(SMOL, task=Task.RERANK)}, None),
        ({"v": Model(source="hf:a/b", engine=EngineKind.VLLM)}, facts(ModelFacts(name="v"))),
    ],
)
def test_snapshots_are_nothing_to_models_that_take_none(models: dict[str, Model], known: Facts | None) -> None:
    found = judge(config(models=models, prefixes=Prefixes(include_history=True)), known)
    assert "snapshots" not in worst(found)
    in_bucket = judge(config(models=models, run={"bucket": "b"}, prefixes=Prefixes(include_history=True)), known)
    assert "snapshots" not in worst(in_bucket)


def test_chat_without_a_place_for_snapshots_is_noted() -> None:
    assert about(judge(config()), "snapshots").severity is Severity.NOTE


def test_models_that_take_turns_are_a_note() -> None:
    two = config(models={"a": SMOL, "b": SMOL}, run={"memory": Bytes(2 * GIB)}, prefixes=Prefixes(learn=False))
    known = facts(*(replace(facts().models[0], name=name, weights_bytes=GIB) for name in "ab"))
    assert about(judge(two, known), "memory").severity is Severity.NOTE


def test_model_beyond_the_largest_memory_is_told_the_context_that_fits() -> None:
    shape = {"cpu": 8, "memory": Bytes(32 * GIB), "concurrency": 8}
    wish = config(models={"smol": replace(SMOL, context=65_536)}, run=shape, prefixes=Prefixes(learn=False))
    finding = about(judge(wish, facts(BIG)), "memory")
    assert finding.severity is Severity.ERROR
    assert finding.fit is not None
    fitting = tomllib.loads(finding.fit)["models"]["smol"]["context"]
    smaller = config(models={"smol": replace(SMOL, context=fitting)}, run=shape, prefixes=Prefixes(learn=False))
    assert about(judge(smaller, facts(BIG)), "memory").severity is Severity.PASS
    larger = config(models={"smol": replace(SMOL, context=fitting + 1024)}, run=shape, prefixes=Prefixes(learn=False))
    assert about(judge(larger, facts(BIG)), "memory").severity is Severity.ERROR


def test_weights_fetched_for_a_gpu_are_files_in_memory_as_well() -> None:
    wish = run(gpu=Gpu.L4, cpu=4, memory=Bytes(16 * GIB), weights=Placement.BUCKET)
    finding = about(judge(wish, facts(BIG)), "memory")
    assert "weights, as files 18GiB" in finding.what
    assert finding.fit == '[deploy.cloudrun]\ncpu = 6\nmemory = "20GiB"'


def test_gpu_memory_holds_weights_and_cache() -> None:
    l4 = {"gpu": Gpu.L4, "cpu": 8, "memory": Bytes(32 * GIB), "concurrency": 8}
    finding = about(judge(config(models={"smol": SMOL}, run=l4), facts(BIG)), "gpu memory")  # 18 + 4 + 1 GiB of 22.5
    assert finding.severity is Severity.ERROR
    assert finding.fit is not None
    context = tomllib.loads(finding.fit)["models"]["smol"]["context"]
    smaller = config(models={"smol": replace(SMOL, context=context)}, run=l4)
    assert about(judge(smaller, facts(BIG)), "gpu memory").severity is Severity.PASS


def test_weights_that_do_not_fit_with_any_context_ask_for_others() -> None:
    l4 = {"gpu": Gpu.L4, "cpu": 8, "memory": Bytes(32 * GIB), "concurrency": 8}
    finding = about(judge(config(run=l4), facts(replace(BIG, weights_bytes=30 * GIB))), "gpu memory")
    assert finding.fit is None
    assert finding.do is not None
    assert "smaller weights" in finding.do


def test_start_that_no_probe_waits_for_is_an_error() -> None:
    slow = facts(BIG, load_bytes_per_s=10e6)
    finding = about(judge(run(cpu=8, memory=Bytes(32 * GIB), weights=Placement.IMAGE), slow), "start")
    assert finding.severity is Severity.ERROR
    assert finding.fit == '[deploy.cloudrun]\nweights = "bucket"'
    assert about(judge(run()), "start").what == "about 3s from nothing (assumed, not measured), 1m allowed"


def test_large_weights_in_an_image_are_a_warning() -> None:
    finding = about(judge(run(cpu=8, memory=Bytes(32 * GIB), weights=Placement.IMAGE), facts(BIG)), "weights")
    assert finding.fit == '[deploy.cloudrun]\nweights = "bucket"'


def test_weights_that_are_not_here_cannot_be_sent() -> None:
    finding = about(judge(run(), facts(ModelFacts(name="smol"))), "weights")
    assert finding.do == "run: relight models pull smol"


def test_weights_without_a_digest_cannot_lie_in_a_bucket() -> None:
    known = facts(replace(facts().models[0], sha256=None))
    findings = [found for found in judge(run(weights=Placement.BUCKET), known) if found.check == "weights"]
    assert findings[0].severity is Severity.ERROR


def test_vllm_without_a_gpu_is_an_error() -> None:
    wish = config(models={"v": Model(source="hf:a/b", engine=EngineKind.VLLM)})
    assert [found.severity for found in judge(wish, facts(ModelFacts(name="v"))) if found.check == "weights"] == [
        Severity.NOTE,
        Severity.ERROR,
    ]


def test_request_has_to_live_through_a_wake_and_the_longest_answer() -> None:
    finding = about(judge(run(timeout=Duration(60))), "timeout")
    assert finding.what == "1m, smol may take 6m53s: a wake of 3s, and 4096 tokens at 10 a second"
    assert finding.fit == '[deploy.cloudrun]\ntimeout = "7m"'
    fast = facts(replace(facts().models[0], tokens_per_s=80.0))
    assert about(judge(run(timeout=Duration(60)), fast), "timeout").severity is Severity.PASS


def test_answer_is_never_longer_than_the_context() -> None:
    small = config(models={"smol": replace(SMOL, context=1024)}, run={"timeout": Duration(60)})
    assert "and 1024 tokens at 10 a second" in about(judge(small), "timeout").what


def test_answer_of_a_provider_may_outlast_the_platform() -> None:
    cloud = config(models={"cloud": replace(CLOUD, timeout=Duration(3600))})
    finding = about(judge(cloud), "timeout")
    assert (finding.fit, finding.do) == (None, "lower timeout of cloud")


def test_provider_that_may_take_as_long_as_the_platform_is_fine_but_for_a_long_wake() -> None:
    fine = about(judge(config(models={"cloud": CLOUD}), Facts(models=(), inputs="ab")), "timeout")
    assert (fine.severity, fine.what) == (Severity.PASS, "10m holds a wake and the longest answer, but for 2s")
    longer = config(models={"cloud": replace(CLOUD, timeout=Duration(630))})
    assert about(judge(longer, Facts(models=(), inputs="ab")), "timeout").severity is Severity.WARNING
    with_weights = config(models={"cloud": CLOUD, "smol": replace(SMOL, max_tokens=100)})
    assert about(judge(with_weights, facts(BIG)), "timeout").fit == '[deploy.cloudrun]\ntimeout = "14m"'


def test_timeout_beyond_an_hour_is_an_error() -> None:
    assert about(judge(run(timeout=Duration(7200))), "timeout").fit == '[deploy.cloudrun]\ntimeout = "1h"'


def test_concurrency_below_what_is_decoded_wastes_and_equal_to_it_turns_away() -> None:
    assert about(judge(run(concurrency=1)), "concurrency").fit == "[deploy.cloudrun]\nconcurrency = 2"
    assert about(judge(run(concurrency=2)), "concurrency").severity is Severity.NOTE
    assert about(judge(run(concurrency=2, max_instances=2)), "concurrency").severity is Severity.PASS


def test_instances_that_are_kept_awake_say_what_they_cost() -> None:
    finding = about(judge(run(min_instances=1)), "instances")
    assert finding.what == "1 kept awake, $78.84 a month"
    assert about(judge(run(min_instances=3, max_instances=2)), "instances").severity is Severity.ERROR


def test_front_door_alone_needs_little() -> None:
    finding = about(judge(config(models={"cloud": CLOUD})), "size")
    assert finding.fit == '[deploy.cloudrun]\ncpu = 1\nmemory = "1GiB"'
    small = config(models={"cloud": CLOUD}, run={"cpu": 1, "memory": Bytes(GIB)})
    assert "size" not in worst(judge(small))


# --- who, and what is kept -------------------------------------------------------------------------------------------


def test_service_that_nobody_may_use_would_not_start() -> None:
    assert about(judge(config(auth=Auth())), "callers").severity is Severity.ERROR


@pytest.mark.parametrize(
    "open_to_all",
    [
        config(auth=Auth(), server=Server(public=True)),
        config(auth=Auth(), run={"invokers": ("allUsers",)}),
    ],
)
def test_models_without_keys_say_what_strangers_can_cost(open_to_all: Config) -> None:
    finding = about(judge(open_to_all), "callers")
    assert finding.severity is Severity.WARNING
    assert finding.why == "they may use the models; $10.08 a day at most, with 1 at work"
    assert finding.fit == '[auth]\nkeys = { secret = "RELIGHT_KEYS" }'


def test_public_assistant_wants_a_budget_and_an_open_network() -> None:
    public = config(assistant=Assistant(model="smol", public=True), run={"ingress": Ingress.INTERNAL})
    assert {"budget", "network"} <= set(worst(judge(public)))
    fine = config(assistant=Assistant(model="smol", public=True, budget=Budget(tokens_per_day=5)))
    assert not {"budget", "network"} & set(worst(judge(fine)))


@pytest.mark.parametrize(("content", "severity"), [(Content.FULL, Severity.WARNING), (Content.REDACTED, Severity.NOTE)])
def test_content_in_the_log_says_how_long_it_is_kept(content: Content, severity: Severity) -> None:
    finding = about(judge(config(log=Log(content=content)), observed=replace(READY, log_retention_days=400)), "log")
    assert finding.severity is severity
    assert finding.why is not None
    assert "kept for 400 days" in finding.why


def test_conversations_in_a_bucket_want_a_key() -> None:
    kept = config(run={"bucket": "b"}, prefixes=Prefixes(include_history=True))
    assert about(judge(kept), "snapshots").fit == '[prefixes]\nkey = { secret = "RELIGHT_PREFIXES_KEY" }'


def test_settings_that_the_platform_overrules_are_told() -> None:
    wish = config(
        server=Server(grace=Duration(30), max_body=Bytes(64 << 20)),
        limits=Limits(requests_per_minute=5),
        run={"max_instances": 2},
    )
    assert {"grace": Severity.WARNING, "body": Severity.NOTE, "limits": Severity.WARNING}.items() <= worst(judge(wish)).items()


# --- words -----------------------------------------------------------------------------------------------------------


def test_lines_of_toml_are_what_the_configuration_reads(tmp_path: Path) -> None:
    lines = [
        run_toml(memory=Bytes(32 * GIB), timeout=Duration(600), invokers=["user:a@b"], cpu=8, zonal_redundancy=False),
        toml(model_table("a/b.c"), source="file:x.gguf", context=4096),
    ]
    (tmp_path / "relight.toml").write_text("\n".join(lines))
    read = load(tmp_path / "relight.toml", environ={}).config
    assert read.models["a/b.c"].context == 4096
    assert (read.deploy.cloudrun.memory, read.deploy.cloudrun.timeout) == (Bytes(32 * GIB), Duration(600))


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "$0.00"),
        (0.0012345, "$0.0012"),
        (0.05, "$0.05"),
        (0.489, "$0.49"),
        (9.9, "$9.90"),
        (1036.9, "$1037"),
        (0.00001, "$0.00001"),
    ],
)
def test_amounts_keep_the_digits_that_matter(amount: float, text: str) -> None:
    assert usd(amount) == text


# --- the doctor ------------------------------------------------------------------------------------------------------


def test_doctor_checks_offline_and_says_what_only_the_cloud_knows(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(gguf())
    (tmp_path / "relight.toml").write_text(
        '[models.smol]\nsource = "file:m.gguf"\ncontext = 2048\n[server]\npublic = true\n[deploy.cloudrun]\ncpu = 3\n'
    )
    case, _ = judged(load(tmp_path / "relight.toml", environ={}), None)
    checks: dict[str, Check] = {check.check: check for check in target_checks(case, "nobody is signed in")}
    assert checks["cloudrun: shape"].result is Result.FAIL
    assert checks["cloudrun: shape"].advice == '[deploy.cloudrun] cpu = 4 memory = "8GiB"'
    assert checks["cloudrun: project"].result is Result.FAIL
    assert checks["cloudrun: callers"].result is Result.WARN
    assert checks["cloudrun: memory"].result is Result.PASS
    unasked = checks["cloudrun: in the cloud"].seen
    assert unasked.startswith("not asked (nobody is signed in): credentials: who asks; billing account:")


def test_doctor_warns_of_what_the_cloud_did_not_say_and_of_notes_with_lines_that_would_fit(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(gguf())
    (tmp_path / "relight.toml").write_text(
        '[models.smol]\nsource = "file:m.gguf"\n[server]\npublic = true\n[deploy.cloudrun]\nproject = "my-project"\n'
    )
    case, _ = judged(load(tmp_path / "relight.toml", environ={}), replace(READY, quotas=None))
    checks: dict[str, Check] = {check.check: check for check in target_checks(case, None)}
    assert checks["cloudrun: quota"].result is Result.WARN
    assert checks["cloudrun: quota"].advice == (
        "to have it checked: gcloud services enable cloudquotas.googleapis.com --project=my-project"
    )
    assert "cloudrun: in the cloud" not in checks
    assert (checks["cloudrun: APIs"].result, checks["cloudrun: APIs"].advice) == (Result.PASS, None)
    assert checks["cloudrun: concurrency"].result is Result.WARN
    assert checks["cloudrun: concurrency"].advice is not None


def _roomy(observed: Observed) -> Observed:
    """With as much CPU and memory as anybody could want."""
    many = {quota.CPU_QUOTA: 10**6, quota.MEMORY_QUOTA: 10**15}
    return replace(observed, quotas={**(observed.quotas or {}), **many})

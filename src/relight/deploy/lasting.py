"""Does the platform wait long enough: for a start, and for a request's wake and answer. Pure checks; ask nothing of the cloud."""

from __future__ import annotations

from collections.abc import Iterator

from relight.config.deploy import Placement
from relight.config.kinds import Kind, kind
from relight.config.schema import EngineKind
from relight.deploy import fit
from relight.deploy.findings import Case, Finding, error, passed, run_toml, warning
from relight.values import Duration, format_duration

_MOST_TIMEOUT_S = 3600
# Tokens a second where nothing was measured: a small model on a few CPUs, and one of some billions on a GPU.
_CPU_RATE, _GPU_RATE = 10.0, 30.0
# What an answer may take beyond the timeout: it is estimated, and a provider's default timeout is Cloud Run's, ten minutes.
_SLACK = 0.05
_LONG_WAKE_S = 10.0


def start(case: Case) -> Iterator[Finding]:
    """Whether the probe waits for as long as a start takes."""
    has_gpu, placement = case.config.deploy.cloudrun.gpu is not None, case.desired.placement
    cold, probe = fit.cold_s(case.facts, placement, has_gpu=has_gpu), case.desired.template.startup_probe
    rate = "measured" if case.facts.load_bytes_per_s else "assumed, not measured"
    seen = f"about {format_duration(round(cold, 1))} from nothing ({rate}), {format_duration(probe.budget_s)} allowed"
    if fit.start_is_too_long(case.facts, placement, has_gpu=has_gpu):
        other = run_toml(weights="bucket") if placement is Placement.IMAGE else None
        why = f"a start that takes more than {format_duration(fit.MOST_START_S)} counts as failed"
        yield error("start", seen, why, fit=other, do="use smaller weights, or a finer quantization of them")
    else:
        yield passed("start", seen)


def timeout(case: Case) -> Iterator[Finding]:
    """Whether a request that comes first lives until its answer is whole."""
    run = case.config.deploy.cloudrun
    if run.timeout > _MOST_TIMEOUT_S or run.timeout < 1:
        why = "Cloud Run takes 1 s to 1 h"
        yield error("timeout", str(run.timeout), why, fit=run_toml(timeout=Duration(min(max(run.timeout, 1), _MOST_TIMEOUT_S))))
        return
    longest = list(_longest(case))
    slow = [
        (wake + answer, name, said) for name, wake, answer, said in longest if wake + answer > run.timeout + _slack(case, wake)
    ]
    for needed, name, said in slow:
        why = "the platform ends the request with a 504 then, in the middle of the answer"
        better = run_toml(timeout=Duration(-(-needed // 60) * 60)) if needed <= _MOST_TIMEOUT_S else None
        do = None if better else f"lower {'max_tokens' if kind(case.config.models[name]) is Kind.OURS else 'timeout'} of {name}"
        yield warning(
            "timeout", f"{run.timeout}, {name} may take {format_duration(round(needed))}: {said}", why, fit=better, do=do
        )
    if not slow:
        over = max((wake + answer for _, wake, answer, _ in longest), default=0) - run.timeout
        all_but = f", but for {format_duration(round(over, 1))}" if over > 0 else ""
        yield passed("timeout", f"{run.timeout} holds a wake and the longest answer{all_but}")


def _slack(case: Case, wake: float) -> float:
    """Seconds beyond the timeout that nobody is told of."""
    return 0.0 if wake > _LONG_WAKE_S else case.config.deploy.cloudrun.timeout * _SLACK


def _longest(case: Case) -> Iterator[tuple[str, float, float, str]]:
    """Name, seconds of the wake and of the longest answer, and their reason, of each model."""
    has_gpu = case.config.deploy.cloudrun.gpu is not None
    cold = fit.cold_s(case.facts, case.desired.placement, has_gpu=has_gpu)
    for name, model in case.config.models.items():
        known = case.facts.model(name)
        if kind(model) is Kind.PROVIDER:
            wake = fit.cold_s(case.facts, Placement.IMAGE, has_gpu=has_gpu)
            yield name, wake, float(model.timeout), f"its timeout is {model.timeout}"
        elif kind(model) is Kind.OURS and model.engine is not EngineKind.SCRIPTED:
            rate = (known.tokens_per_s if known else None) or (_GPU_RATE if has_gpu else _CPU_RATE)
            tokens = min(model.max_tokens, model.context)
            said = f"a wake of {format_duration(round(cold, 1))}, and {tokens} tokens at {rate:g} a second"
            yield name, cold, tokens / rate, said

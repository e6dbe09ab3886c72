"""Who can reach the service, what is kept of what they say, and what the platform does to both. Pure checks."""

from __future__ import annotations

from collections.abc import Iterator

from relight.config.deploy import Ingress
from relight.config.schema import Content
from relight.deploy import fit
from relight.deploy.findings import Case, Finding, error, note, passed, run_toml, toml, warning
from relight.deploy.price import usd
from relight.values import Bytes, Duration, format_bytes

_PLATFORM_GRACE_S = 10
_MOST_BODY = 32 << 20
_KEPT_DAYS = 30


def callers(case: Case) -> Iterator[Finding]:
    """Who may use it, and whether anybody may."""
    config, run = case.config, case.config.deploy.cloudrun
    has_keys = config.auth.keys.secret is not None
    keys = toml("auth", keys={"secret": "RELIGHT_KEYS"})
    if {"allUsers", "allAuthenticatedUsers"} & set(run.invokers) and not has_keys:
        yield warning("callers", "anybody, without a key", f"they may use the models{_ceiling(case)}", fit=keys)
    elif run.invokers:
        asked = " and have a key" if has_keys else ""
        yield passed("callers", f"{', '.join(run.invokers)}{asked}")
    elif has_keys:
        yield passed("callers", "whoever has a key" + ("; the assistant answers anybody" if config.assistant.public else ""))
    elif config.server.public:
        yield warning("callers", "anybody, without a key (server.public)", f"they may use the models{_ceiling(case)}", fit=keys)
    elif config.assistant.public:
        yield passed("callers", "anybody asks the assistant; nobody else has a key")
    else:
        why = "no keys, no invokers, and nothing is public: the front door refuses to start"
        yield error("callers", "nobody", why, fit=keys, do="make one: relight keys create NAME")
    if config.assistant.public and not (config.assistant.budget.tokens_per_day or config.assistant.budget.usd_per_day):
        why = f"anybody may ask as much as they like{_ceiling(case)}"
        yield warning("budget", "the public assistant has none", why, fit=toml("assistant.budget", tokens_per_day=2_000_000))


def network(case: Case) -> Iterator[Finding]:
    """Whether the page can be reached from where people are."""
    ingress = case.config.deploy.cloudrun.ingress
    if ingress is not Ingress.ALL and case.config.assistant.public:
        why = "visitors get a 404 from Google before anything else is asked"
        yield warning("network", f'ingress = "{ingress}" with a public assistant', why, fit=run_toml(ingress="all"))
    else:
        yield passed("network", f"ingress {ingress}")


def content(case: Case) -> Iterator[Finding]:
    """What is kept of what was said."""
    kept = (case.observed and case.observed.log_retention_days) or _KEPT_DAYS
    where = f"kept for {kept} days in Cloud Logging, for everybody who may read the project's logs"
    none = toml("log", content="none")
    said = case.config.log.content
    if said is Content.FULL:
        yield warning("log", "everything that is said is logged", where, fit=none)
    elif said is Content.REDACTED:
        yield note("log", "what is said is logged, with addresses, numbers and keys starred", where, fit=none)
    else:
        yield passed("log", "nothing of what is said")
    keeps = case.config.prefixes.include_history and fit.takes_snapshots(case.config)
    if keeps and case.desired.uses_bucket and case.config.prefixes.key.secret is None:
        why = "conversations lie in the bucket, plain, as long as it keeps them"
        yield warning("snapshots", "with what users said", why, fit=toml("prefixes", key={"secret": "RELIGHT_PREFIXES_KEY"}))


def platform(case: Case) -> Iterator[Finding]:
    """Settings that the platform overrules."""
    config, run = case.config, case.config.deploy.cloudrun
    if config.server.grace >= _PLATFORM_GRACE_S:
        why = "the platform kills after 10 s, in the middle of what was to end in peace"
        yield warning("grace", str(config.server.grace), why, fit=toml("server", grace=Duration(8)))
    if config.server.max_body > _MOST_BODY:
        why = "Cloud Run takes 32MiB over HTTP/1"
        yield note(
            "body",
            f"server.max_body is {format_bytes(config.server.max_body)}",
            why,
            fit=toml("server", max_body=Bytes(_MOST_BODY)),
        )
    if config.limits.store == "memory" and run.max_instances > 1 and _limits(case):
        why = f"each of {run.max_instances} instances counts for itself, and forgets with its end"
        yield warning("limits", "counted in memory", why, do='set limits.store = "redis://HOST:PORT/DB", or max_instances = 1')
    if fit.learns(config) and not case.desired.uses_bucket and config.prefixes.bake == ():
        why = "files go with the instance, so none is made there: long prompts are read anew after each wake"
        do = "or bake them: relight prefixes record, relight bake"
        yield note("snapshots", "none baked, no bucket", why, fit=run_toml(bucket=case.desired.bucket), do=do)


def _limits(case: Case) -> bool:
    limits, budget = case.config.limits, case.config.assistant.budget
    return any((limits.requests_per_minute, limits.tokens_per_day, budget.tokens_per_day, budget.usd_per_day))


def _ceiling(case: Case) -> str:
    """The most that strangers can make of it in a day."""
    most = case.config.deploy.cloudrun.max_instances
    return "" if case.costs is None else f"; {usd(case.costs.hour * 24 * most)} a day at most, with {most} at work"

from __future__ import annotations

import pytest

from relight.config.checks import cross_checks
from relight.config.origin import DEFAULT
from relight.config.schema import Auth, Config, Limits, Model, Prefixes, SecretName, Server, Service

SMOL = Model(source="file:smol.gguf")


def problems(config: Config) -> list[str]:
    return [str(problem) for problem in cross_checks(config, lambda _: DEFAULT)]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_loopback_host_needs_no_permission(host: str) -> None:
    assert problems(Config(models={"smol": SMOL}, server=Server(host=host))) == []


def test_reachable_host_is_refused_with_the_reason_and_the_way_out() -> None:
    (problem,) = problems(Config(models={"smol": SMOL}, server=Server(host="0.0.0.0")))  # noqa: S104
    assert problem.startswith('server.host: "0.0.0.0" can be reached from other machines, and no keys are configured')
    assert "server.public = true" in problem
    assert 'relight keys create NAME, and set auth.keys = { secret = "RELIGHT_KEYS" }' in problem


def test_reachable_host_with_permission_is_fine() -> None:
    assert problems(Config(models={"smol": SMOL}, server=Server(host="0.0.0.0", public=True))) == []  # noqa: S104


def test_reachable_host_with_keys_is_fine() -> None:
    auth = Auth(keys=SecretName(secret="RELIGHT_KEYS"))
    assert problems(Config(models={"smol": SMOL}, server=Server(host="0.0.0.0"), auth=auth)) == []  # noqa: S104


@pytest.mark.parametrize("store", ["memory", "redis://127.0.0.1:6379/0", "rediss://me:hush@redis.example.com", "redis://[::1]:1"])
def test_store_that_limits_can_be_kept_in_is_fine(store: str) -> None:
    assert problems(Config(models={"smol": SMOL}, limits=Limits(store=store))) == []


@pytest.mark.parametrize(
    "store", ["", "redis", "disk", "http://:hush@h", "redis://", "redis://:hush@h:70000", "redis://h:x/hush"]
)
def test_other_store_is_refused_and_not_shown(store: str) -> None:
    (problem,) = problems(Config(models={"smol": SMOL}, limits=Limits(store=store)))
    assert problem.startswith('limits.store: should be "memory", or the address of a Redis like')
    assert "hush" not in problem


def test_no_model_at_all_points_to_init() -> None:
    (problem,) = problems(Config(service=Service(default_model="smol")))
    assert problem.startswith("models: no model is configured")
    assert "relight init" in problem


def test_default_model_that_is_not_there_suggests_the_nearest() -> None:
    (problem,) = problems(Config(service=Service(default_model="smoll"), models={"smol": SMOL, "big": SMOL}))
    assert problem == 'service.default_model: no model is called "smoll"; did you mean "smol"?'


def test_pattern_that_is_none_is_refused_with_its_fault() -> None:
    (problem,) = problems(Config(models={"smol": SMOL}, prefixes=Prefixes(strip=("a(", "b"))))
    assert "prefixes.strip" in problem
    assert "no regular expression: missing ), unterminated subpattern" in problem

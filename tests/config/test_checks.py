from __future__ import annotations

import pytest

from relight.config.checks import cross_checks, is_loopback
from relight.config.origin import DEFAULT
from relight.config.schema import Config, EngineKind, Model, Server, Service

SMOL = Model(source="file:smol.gguf")


def problems(config: Config) -> list[str]:
    return [str(problem) for problem in cross_checks(config, lambda _: DEFAULT)]


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1.2.3", "::1", "0:0:0:0:0:0:0:1", "localhost", "LOCALHOST", "::ffff:127.0.0.1"]
)
def test_host_of_this_machine_only_is_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",  # noqa: S104
        "::",
        "",
        "10.0.0.1",
        "192.168.1.5",
        "localhost.example.org",
        "127.0.0.1.example.org",
        "my-host",
        "127.1",
        "::2",
        "a\0",
    ],
)
def test_host_that_others_may_reach_is_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_loopback_host_needs_no_permission(host: str) -> None:
    assert problems(Config(models={"smol": SMOL}, server=Server(host=host))) == []


def test_reachable_host_is_refused_with_the_reason_and_the_way_out() -> None:
    (problem,) = problems(Config(models={"smol": SMOL}, server=Server(host="0.0.0.0")))  # noqa: S104
    assert problem.startswith('server.host: "0.0.0.0" can be reached from other machines, and no keys are configured')
    assert "server.public = true" in problem


def test_reachable_host_with_permission_is_fine() -> None:
    assert problems(Config(models={"smol": SMOL}, server=Server(host="0.0.0.0", public=True))) == []  # noqa: S104


def test_no_model_at_all_points_to_init() -> None:
    (problem,) = problems(Config(service=Service(default_model="smol")))
    assert problem.startswith("models: no model is configured")
    assert "relight init" in problem


def test_default_model_that_is_not_there_suggests_the_nearest() -> None:
    (problem,) = problems(Config(service=Service(default_model="smoll"), models={"smol": SMOL, "big": SMOL}))
    assert problem == 'service.default_model: no model is called "smoll"; did you mean "smol"?'


def test_llama_model_without_weights_is_refused_and_a_scripted_one_is_not() -> None:
    (problem,) = problems(Config(models={"real": Model(), "demo": Model(engine=EngineKind.SCRIPTED)}))
    assert problem.startswith("models.real.source: missing: llama.cpp needs weights; set source =")

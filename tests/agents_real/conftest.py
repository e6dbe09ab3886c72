"""Runs the clients, a few at a time, while the tests wait for what became of each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.agents_real.clients import Client
from tests.agents_real.matrix import Matrix
from tests.agents_real.pins import read_pins
from tests.agents_real.scenes import GAPS, NEED_CONNECT, REAL, Outcome, Scene, Service, play, scripted_config, started
from tests.serve.process import weights_of

_AT_ONCE = 3


class Stage:
    """Where the scenes of a service are played, before the tests ask for their outcome."""

    def __init__(self, service: Service, folder: Path, pool: ThreadPoolExecutor) -> None:
        self._service = service
        self._folder = folder
        self._pool = pool
        self._playing: dict[tuple[str, Scene], Future[Outcome]] = {}

    def begin(self, client: Client, scene: Scene) -> Future[Outcome]:
        """Have it played as soon as there is room."""
        at = (client.name, scene)
        if at not in self._playing:
            folder = self._folder / f"{client.name}-{scene}"
            self._playing[at] = self._pool.submit(play, client, scene, self._service, folder)
        return self._playing[at]


@pytest.fixture(scope="session")
def scripted_stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("scripted")
    config = folder / "relight.toml"
    config.write_text(scripted_config(folder), encoding="utf-8")
    with _stage(config, request) as stage:
        yield stage


@pytest.fixture(scope="session")
def real_stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    config = tmp_path_factory.mktemp("weighty") / "relight.toml"
    config.write_text(REAL, encoding="utf-8")
    weights_of(config, "real")
    with _stage(config, request) as stage:
        yield stage


@pytest.fixture(scope="session")
def matrix() -> Iterator[Matrix]:
    matrix = Matrix()
    yield matrix
    if os.environ.get("RELIGHT_MATRIX") == "1":
        matrix.write(f"**{client}, {scene}**: {why}." for (client, scene), why in {**GAPS, **NEED_CONNECT}.items())


@contextmanager
def _stage(config: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A service and its stage; all scenes that are tested on it are begun, in their order."""
    with started(config) as service, ThreadPoolExecutor(_AT_ONCE) as pool:
        stage = Stage(service, config.parent, pool)
        for client, scene in _asked(request):
            stage.begin(client, scene)
        yield stage
        pool.shutdown(cancel_futures=True)


def _asked(request: pytest.FixtureRequest) -> Iterator[tuple[Client, Scene]]:
    if "PYTEST_XDIST_WORKER" in os.environ:
        return  # this process runs some of the tests only, and is not told which
    for item in request.session.items:
        if isinstance(item, pytest.Function) and request.fixturename in item.fixturenames:
            params: dict[str, Any] = dict(item.callspec.params)
            if read_pins()[params["client"].name].lacking is None:
                yield params["client"], params["scene"]

"""A Redis that is there is waited for, however busy the machine is: a service asks it with little patience."""

from __future__ import annotations

import pytest

from tests.serve.process import PATIENCE_S


@pytest.fixture(autouse=True)
def _patient(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("real"):
        monkeypatch.setattr("relight.access.store._SOCKET_TIMEOUT_S", PATIENCE_S)
        monkeypatch.setattr("relight.access.reach._PATIENCE_S", PATIENCE_S)

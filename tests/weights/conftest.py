"""What tests of weights start from: no proxies, no tokens, and a file server on this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.weights.server import FileServer
from tests.weights.setting import Waits

_OUTSIDE = ("HF_TOKEN", "HF_ENDPOINT", "RELIGHT_OLLAMA_REGISTRY", "STORAGE_EMULATOR_HOST", "GOOGLE_OAUTH_ACCESS_TOKEN")
_PLATFORM = ("K_SERVICE", "CLOUD_RUN_JOB", "GCE_METADATA_HOST")


@pytest.fixture(autouse=True)
def _no_outside_world(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*_OUTSIDE, *_PLATFORM, "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as running:
        yield running


@pytest.fixture
def other_server() -> Iterator[FileServer]:
    with FileServer() as running:
        yield running


@pytest.fixture
def waits() -> Waits:
    return Waits()

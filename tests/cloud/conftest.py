"""A project of Google's on this machine, and somebody who is signed in to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from relight.cloud.google import Google
from relight.deploy.context import Entry
from tests.cloud.fake.cloud import Cloud
from tests.cloud.fake.server import served


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deployments without what takes longer than all the rest, for tests that make a hundred of them."""
    # What an image is made of: packed in `test_building`.
    tiny = [Entry("Dockerfile", b"FROM scratch\n")]
    monkeypatch.setattr("relight.cli.applying.Site._context", lambda *_, **__: nullcontext(tiny))
    # A third of what a request takes: it looks through the environment for proxies.
    monkeypatch.setattr("requests.sessions.get_environ_proxies", lambda *_, **__: {})


@pytest.fixture
def cloud() -> Cloud:
    """An empty project, in which nothing is enabled."""
    return Cloud()


@pytest.fixture
def address(cloud: Cloud) -> Iterator[str]:
    """Where it answers."""
    with served(cloud) as found:
        cloud.address = found
        yield found


@pytest.fixture
def google(cloud: Cloud, address: str) -> Google:
    """The project, asked by Google's own clients; waiting takes no time."""
    from google.auth.credentials import AnonymousCredentials

    return Google(
        AnonymousCredentials(),
        project=cloud.project,
        region="europe-west4",
        endpoint=address,
        sleep=cloud.slept.append,
    )

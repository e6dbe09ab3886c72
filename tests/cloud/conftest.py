"""A project of Google's on this machine, and somebody who is signed in to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from relight.cloud.google import Google
from tests.cloud.fake.cloud import Cloud
from tests.cloud.fake.server import served


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

from __future__ import annotations

import pytest

from relight.loopback import is_loopback


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

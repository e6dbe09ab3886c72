"""Whose program asks: told by the kernel, of real connections."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp.test_utils import make_mocked_request

from relight.bridge import peer
from relight.bridge.bridge import Bridge, Options
from relight.bridge.identity import NoTokens
from relight.errors import Forbidden
from tests.bridge.bridging import CHAT, request_body, spanned
from tests.bridge.platform import Platform, says

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="read of Linux's own list")

ASK = """
import encodings.idna, json, os, sys, urllib.error, urllib.request
os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
request = urllib.request.Request(sys.argv[1], b'{"messages": []}', {"content-type": "application/json"})
try:
    print(urllib.request.urlopen(request).status)
except urllib.error.HTTPError as error:
    print(error.code, json.loads(error.read())["error"]["message"])
"""
NOBODY = 65534


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield found


def test_own_connection_is_told(listening: socket.socket) -> None:
    here = listening.getsockname()
    assert peer.is_told()
    with socket.create_connection(here) as ours:
        assert peer.owner(ours.getsockname(), here) == os.getuid()


def test_program_that_speaks_the_newer_protocol_is_told_as_well(listening: socket.socket) -> None:
    here = listening.getsockname()
    with socket.socket(socket.AF_INET6) as ours:
        ours.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        ours.connect((f"::ffff:{here[0]}", here[1]))
        assert peer.owner(("127.0.0.1", ours.getsockname()[1]), here) == os.getuid()


def test_connection_that_was_let_go_belongs_to_nobody(listening: socket.socket) -> None:
    """The kernel lists it as the administrator's, who may pass."""
    here = listening.getsockname()
    ours = socket.create_connection(here)
    client = ours.getsockname()
    accepted, _ = listening.accept()
    ours.close()
    with accepted:
        assert peer.owner(client, here) is None
    assert not peer.may_pass(peer.owner(client, here))


def test_machine_that_cannot_be_tried_is_taken_for_one_that_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever keeps us from trying does not turn the guard off."""

    def late(*_: object, **__: object) -> socket.socket:
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", late)
    assert peer.is_told()


def test_machine_that_lists_nothing_does_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "_LISTS", (tmp_path / "tcp",))
    assert not peer.is_told()


async def test_guard_is_tried_before_anybody_can_connect(listening: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    here = listening.getsockname()
    listening.close()
    found: list[int] = []

    def tried() -> bool:
        with socket.socket() as ours:
            found.append(ours.connect_ex(here))
        return True

    monkeypatch.setattr(peer, "is_told", tried)
    bridge = Bridge(Options("http://127.0.0.1:9", port=here[1], wakes=False), NoTokens())
    try:
        await bridge.start()
    finally:
        await bridge.stop()
    assert found == [errno.ECONNREFUSED]


async def test_unknown_owner_is_looked_for_again_and_a_known_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[peer.Place, bool]] = []

    def owner(client: peer.Place, here: peer.Place) -> int | None:
        asked.append((client, threading.current_thread() is threading.main_thread()))
        return None if len(asked) == 1 else os.getuid()

    async with Platform(answers=[says(200, b"{}")]).running() as platform, spanned(platform) as span:
        monkeypatch.setattr(peer, "owner", owner)
        assert [(await span.client.get("/v1/models")).status for _ in range(3)] == [403, 200, 200]
    assert len({client for client, _ in asked}) == 1
    assert [is_main for _, is_main in asked] == [False, False]


@pytest.mark.parametrize("is_gone", [False, True])
async def test_connection_without_another_end_is_refused(is_gone: bool) -> None:
    bridge = Bridge(Options("http://127.0.0.1:9", port=0, wakes=False), NoTokens())
    request = make_mocked_request("GET", "/v1/models")
    if is_gone:
        request.protocol.transport = None
    try:
        assert isinstance(await bridge._refusal(request), Forbidden)
    finally:
        await bridge.stop()


def test_own_programs_and_the_administrators_may_pass() -> None:
    assert [peer.may_pass(uid) for uid in (os.getuid(), 0, NOBODY - 1, None)] == [True, True, False, False]


@pytest.mark.real
@pytest.mark.skipif(os.geteuid() != 0, reason="starts a program of another user")
@pytest.mark.parametrize(
    ("all_users", "said"), [(False, "403 bridge: it is for programs of the user who started it"), (True, "200")]
)
async def test_program_of_another_user_is_refused_unless_all_may(all_users: bool, said: str) -> None:
    async with Platform(answers=[says(200, b"{}")]).running() as platform, spanned(platform, all_users=all_users) as span:
        assert span.bridge.is_guarded is not all_users
        assert (await span.client.ask(CHAT, request_body(CHAT, "mine", stream=False))).status == 200
        argv = [sys.executable, "-I", "-c", ASK, f"{span.client.address}{CHAT}", str(NOBODY)]
        done = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, timeout=60, check=False)
        assert done.stdout.strip() == said, done.stderr
        assert len(platform.asked(CHAT)) == 1 + all_users

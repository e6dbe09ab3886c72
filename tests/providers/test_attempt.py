"""A provider that cannot be reached, does not speak as it should, or says nothing; on both event loops."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from relight.errors import (
    ProviderTimeout,
    ProviderUnavailable,
)
from relight.providers.provider import Provider
from tests.providers.asker import CHAT, asking
from tests.providers.stand_in import CHUNKED, StandIn, Turned, answer, error, raw, target

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"])


@pytest.fixture
def dead_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def test_refused_connection_is_asked_again_and_says_why(dead_port: int) -> None:
    clock = Turned()
    provider = Provider(target(f"http://127.0.0.1:{dead_port}/v1?k=hidden"), clock, random=lambda: 0.5)
    asked = asyncio.create_task(provider.ask(CHAT, b"{}", stream=True))
    assert [await clock.pass_wait(), await clock.pass_wait()] == [0.25, 0.5]
    with pytest.raises(ProviderUnavailable, match="cannot be reached") as caught:
        await asked
    assert caught.value.hint == "check models.cloud.url and the network"
    assert "hidden" not in str(caught.value)
    await provider.close()


async def test_provider_that_comes_up_meanwhile_answers(dead_port: int) -> None:
    clock = Turned()
    provider = Provider(target(f"http://127.0.0.1:{dead_port}/v1"), clock)
    asked = asyncio.create_task(provider.ask(CHAT, b"{}", stream=False))
    wait_s = await clock.asked.get()
    peer = StandIn(answer())
    server = await asyncio.start_server(peer._serve, "127.0.0.1", dead_port)
    await clock.advance(wait_s)
    got = await asked
    assert (got.retries, await got.read()) == (1, b'{"ok": true}')
    await provider.close()
    server.close()
    for end in peer.ends:
        end.writer.transport.abort()


async def test_unknown_host_is_told_as_such() -> None:
    provider = Provider(target("http://nowhere.invalid/v1", retries=0), Turned())
    with pytest.raises(ProviderUnavailable, match=r"nowhere\.invalid"):
        await provider.ask(CHAT, b"{}", stream=False)
    await provider.close()


@pytest.fixture
async def full_port() -> AsyncIterator[int]:
    """A port whose connections are never taken, nor refused: its queue is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        waiting = []
        for _ in range(4):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
            waiting.append(sock)
        yield port
        for sock in waiting:
            sock.close()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse what their queue does not hold")
async def test_connection_that_never_comes_about_times_out_and_is_asked_again(full_port: int) -> None:
    clock = Turned()
    patient = replace(target(f"http://127.0.0.1:{full_port}/v1", retries=1), connect_timeout_s=0.1)
    provider = Provider(patient, clock)
    asked = asyncio.create_task(provider.ask(CHAT, b"{}", stream=False))
    await clock.pass_wait()
    with pytest.raises(ProviderTimeout, match="could not be reached within 100ms"):
        await asked
    await provider.close()


async def test_plain_server_behind_an_https_address_is_told_as_such() -> None:
    async def bewildered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(bewildered, "127.0.0.1", 0)
    provider = Provider(target(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"), Turned())
    with pytest.raises(ProviderUnavailable, match="does not speak TLS") as caught:
        await provider.ask(CHAT, b"{}", stream=False)
    assert "http://" in (caught.value.hint or "")
    await provider.close()
    server.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    try:
        subprocess.run([*made, "-subj", "/CN=127.0.0.1", "-keyout", key, "-out", cert], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no openssl here to make a certificate with")
    return cert, key


async def test_certificate_that_nobody_vouches_for_is_refused_before_the_key_is_sent(certificate: tuple[Path, Path]) -> None:
    import ssl

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    peer = StandIn(answer())
    server = await asyncio.start_server(peer._serve, "127.0.0.1", 0, ssl=context)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    provider = Provider(target(url), Turned())
    with pytest.raises(ProviderUnavailable, match="not trusted") as caught:
        await provider.ask(CHAT, b"{}", stream=False)
    assert "SSL_CERT_FILE" in (caught.value.hint or "")
    assert peer.seen == []
    await provider.close()
    server.close()


@pytest.mark.parametrize("data", [b"220 mail ready\r\n", b"\x16\x03\x01\x00\x05hello", b"HTTP/1.1 abc\r\n\r\n"])
async def test_garbage_instead_of_http_is_told_as_such(data: bytes) -> None:
    async with asking(raw(data, then="end")) as asker:
        refused = await asker.refused()
        assert isinstance(refused, ProviderUnavailable)
        assert len(asker.peer.seen) == 1


# --- too slow


@pytest.mark.parametrize("stream", [False, True])
async def test_silence_ends_with_the_first_byte_timeout_and_is_not_asked_again(stream: bool) -> None:
    async with asking(raw(b""), answer(), first_byte_timeout_s=0.1) as asker:
        refused = await asker.refused(stream=stream)
        assert isinstance(refused, ProviderTimeout)
        assert "did not begin to answer within 100ms" in refused.message
        assert "models.cloud.first_byte_timeout" in (refused.hint or "")
        assert len(asker.peer.seen) == 1
        await (await asker.peer.arrived.get()).left.wait()


async def test_stream_of_headers_alone_has_not_begun() -> None:
    async with asking(raw(CHUNKED), first_byte_timeout_s=0.1) as asker:
        assert isinstance(await asker.refused(stream=True), ProviderTimeout)
        await (await asker.peer.arrived.get()).left.wait()


async def test_whole_time_bounds_the_first_byte_too() -> None:
    async with asking(raw(b""), timeout_s=0.1) as asker:
        refused = await asker.refused()
        assert isinstance(refused, ProviderTimeout)
        assert "did not complete its answer within 100ms" in refused.message


async def test_time_spent_waiting_counts_as_time_of_the_whole() -> None:
    async with asking(error(503, "busy", retry_after="20"), raw(b""), timeout_s=20.2) as asker:
        asked = asyncio.create_task(asker.refused())
        await asker.clock.pass_wait()
        assert isinstance(await asked, ProviderTimeout)

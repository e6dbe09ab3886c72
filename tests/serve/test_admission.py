"""Without keys only this machine is served, and no web page can pretend to be it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.serve.client import CHAT, MESSAGES, front_door, request_body


@pytest.mark.parametrize("path", [CHAT, MESSAGES, "/status", "/v1/models", "/metrics", "/"])
@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "10.0.0.1", "[2001:db8::1]:80"])
async def test_request_addressed_to_another_name_is_forbidden(tmp_path: Path, path: str, host: str) -> None:
    async with front_door(tmp_path) as door:
        method = "POST" if path in (CHAT, MESSAGES) else "GET"
        call = await door.call(method, path, request_body("text=x"), host=host.encode()).done()
        assert (call.status, call.json()["error"]["code"]) == (403, "forbidden")
        assert "server.public" in call.json()["error"]["hint"]
        assert await door.state() == "asleep"


@pytest.mark.parametrize("host", ["", "localhost", "LOCALHOST:80", "127.0.0.1:8080", "127.0.0.2", "[::1]", "[::1]:80"])
async def test_request_addressed_to_this_machine_is_served(tmp_path: Path, host: str) -> None:
    async with front_door(tmp_path) as door:
        assert (await door.call("GET", "/status", host=host.encode()).done()).status == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost.evil.example", "file://", "http://10.0.0.1"]
)
async def test_request_of_a_foreign_page_is_forbidden_before_it_wakes_anything(tmp_path: Path, origin: str) -> None:
    async with front_door(tmp_path) as door:
        call = await door.ask(headers=[(b"origin", origin.encode())]).done()
        assert call.status == 403
        assert await door.state() == "asleep"
        woken = await door.call("POST", "/models/toy/wake", headers=[(b"origin", origin.encode())]).done()
        assert woken.status == 403
        assert await door.state() == "asleep"
        assert door.log.record()["error"] == "forbidden"


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1", "http://[::1]:5173"])
async def test_request_of_a_page_of_this_machine_is_served(tmp_path: Path, origin: str) -> None:
    async with front_door(tmp_path) as door:
        assert (await door.ask(headers=[(b"origin", origin.encode())]).done()).status == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
async def test_health_probes_are_answered_whatever_they_call_the_host(tmp_path: Path, path: str) -> None:
    async with front_door(tmp_path) as door:
        assert (await door.call("GET", path, host=b"10.4.0.7:8080").done()).status == 200


async def test_public_service_serves_every_name_and_every_page(tmp_path: Path) -> None:
    async with front_door(tmp_path, server={"public": True}) as door:
        body, origin = request_body("text=x"), (b"origin", b"https://blog.example")
        call = await door.call("POST", CHAT, body, [origin], host=b"models.example").done()
        assert call.status == 200


async def test_post_that_another_site_caused_is_forbidden_also_without_an_origin(tmp_path: Path) -> None:
    async with front_door(tmp_path) as door:
        call = door.call("POST", "/models/toy/wake", headers=[(b"sec-fetch-site", b"cross-site")])
        assert (await call.done()).status == 403
        assert await door.state() == "asleep"

"""What browsers ask beforehand and may read afterwards, and what a wrong path, method or body is told in each dialect."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relight.access.keys import create
from tests.serve.client import CHAT, MESSAGES, RESPONSES, Call, Door, front_door
from tests.serve.cloud import clouds, says, secret, streams

pytestmark = pytest.mark.usefixtures("secret")

OLLAMA = "/api/chat"
DIALECTS = (CHAT, MESSAGES, RESPONSES, OLLAMA)
HOME, BLOG = b"http://localhost:3000", b"https://blog.example"
ASKS = [(b"access-control-request-method", b"POST"), (b"access-control-request-headers", b"authorization,content-type")]
KEY, ENTRY = create("page", "2026-11-22")
KEYED: dict[str, Any] = {"sections": {"auth": {"keys": {"secret": "TEST_KEYS"}}}}

__all__ = ["secret"]


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    """A service of this machine that wakes nothing."""
    async with clouds(tmp_path, cloud=(says(), streams())) as (door, _):
        yield door


@pytest.fixture
async def keyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Door]:
    monkeypatch.setenv("TEST_KEYS", str(ENTRY))
    async with clouds(tmp_path, more=KEYED, cloud=(says(), streams())) as (door, _):
        yield door


def preflight(door: Door, path: str, origin: bytes) -> Call:
    return door.call("OPTIONS", path, headers=[(b"origin", origin), *ASKS])


def may_read(call: Call, origin: bytes) -> bool:
    return call.headers.get("access-control-allow-origin") == origin.decode() and call.headers["vary"] == "origin"


# --- beforehand


@pytest.mark.parametrize("path", [*DIALECTS, "/status", "/models/cloud/wake", "/v1/models"])
async def test_page_of_this_machine_is_allowed_beforehand(door: Door, path: str) -> None:
    call = await preflight(door, path, HOME).done()
    assert (call.status, call.body) == (204, b"")
    assert may_read(call, HOME)
    assert "POST" in call.headers["access-control-allow-methods"]
    # A browser takes "*" for every header but this one.
    assert call.headers["access-control-allow-headers"] == "*, authorization"
    assert int(call.headers["access-control-max-age"]) > 0
    assert "access-control-allow-credentials" not in call.headers


@pytest.mark.parametrize("path", [*DIALECTS, "/models/cloud/wake"])
async def test_foreign_page_is_refused_beforehand_in_the_dialect(door: Door, path: str) -> None:
    call = await preflight(door, path, BLOG).done()
    assert call.status == 403
    told = call.json()
    assert (told if path == OLLAMA else told["error"])["code"] == "forbidden"
    assert "access-control-allow-methods" not in call.headers


@pytest.mark.parametrize("path", [*DIALECTS, "/status"])
@pytest.mark.parametrize("origin", [HOME, BLOG, b"null"])
async def test_every_page_may_ask_a_service_with_keys_and_needs_none_beforehand(keyed: Door, path: str, origin: bytes) -> None:
    call = await preflight(keyed, path, origin).done()
    assert call.status == 204
    assert may_read(call, origin)


async def test_every_page_may_ask_a_public_service(tmp_path: Path) -> None:
    async with front_door(tmp_path, server={"public": True}) as door:
        assert (await preflight(door, CHAT, BLOG).done()).status == 204


async def test_preflight_leaves_no_record(door: Door) -> None:
    await preflight(door, CHAT, HOME).done()
    await preflight(door, CHAT, BLOG).done()
    assert door.log.records == []


@pytest.mark.parametrize("headers", [[], [(b"origin", HOME)], [(b"access-control-request-headers", b"x-any")]])
@pytest.mark.parametrize("path", [*DIALECTS, "/status"])
async def test_options_that_asks_for_no_permission_is_405(door: Door, path: str, headers: list[tuple[bytes, bytes]]) -> None:
    call = await door.call("OPTIONS", path, headers=headers).done()
    assert (call.status, call.headers["allow"]) == (405, "GET" if path == "/status" else "POST")


# --- afterwards


@pytest.mark.parametrize("stream", [False, True])
async def test_answer_may_be_read_by_the_page_that_asked(tmp_path: Path, stream: bool) -> None:
    act = streams() if stream else says()
    async with clouds(tmp_path, cloud=(act,)) as (door, _):
        call = await door.ask(stream=stream, headers=[(b"origin", HOME)]).done()
    assert call.status == 200
    assert may_read(call, HOME)
    exposed = call.headers["access-control-expose-headers"].split(", ")
    assert {"x-relight-interaction", "x-relight-model", "retry-after"} <= set(exposed)


async def test_refusal_for_a_missing_key_may_be_read_by_a_page(keyed: Door) -> None:
    for call in (keyed.ask(headers=[(b"origin", BLOG)]), keyed.call("GET", "/status", headers=[(b"origin", BLOG)])):
        await call.done()
        assert (call.status, may_read(call, BLOG)) == (401, True)


async def test_page_with_a_key_is_answered(keyed: Door) -> None:
    headers = [(b"origin", BLOG), (b"sec-fetch-site", b"cross-site"), (b"authorization", f"Bearer {KEY}".encode())]
    call = await keyed.ask(headers=headers).done()
    assert (call.status, may_read(call, BLOG)) == (200, True)


async def test_whoever_is_no_page_gets_no_headers_for_pages(door: Door) -> None:
    call = await door.ask().done()
    assert not [name for name in call.headers if name.startswith("access-control")]


# --- HEAD, and what is wrong with a request


async def test_head_that_agents_send_is_answered_quietly(door: Door, keyed: Door) -> None:
    for one in (door, keyed):
        root, hello = await one.get("/", "HEAD"), await one.get("/api/hello", "HEAD")
        assert (root.status, root.body) == (200, b"")
        assert (hello.status, hello.body) == (404, b"")
        assert one.log.lines == []


def told(call: Call, path: str) -> dict[str, Any]:
    """The error, after a look at the envelope of its dialect."""
    body: dict[str, Any] = call.json()
    assert call.headers["content-type"] == "application/json"
    if path.startswith("/api/"):
        assert isinstance(body["error"], str)
        return body
    error: dict[str, Any] = body["error"]
    if path.startswith(MESSAGES):
        assert (body["type"], "param" in error) == ("error", False)
    else:
        assert ("type" in body, error["param"]) == (False, None)
    return error


@pytest.mark.parametrize("path", ["/v1/chat", "/v1/messages/nothing", "/v1/responses/resp_1", "/api/pull", "/api/", "/v1"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_unknown_path_is_404_in_its_dialect(door: Door, method: str, path: str) -> None:
    call = await door.get(path, method)
    assert (call.status, told(call, path)["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", [*DIALECTS, "/v1/messages/count_tokens", "/api/show"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_wrong_method_is_405_in_its_dialect(door: Door, method: str, path: str) -> None:
    call = await door.get(path, method)
    assert (call.status, call.headers["allow"], told(call, path)["code"]) == (405, "POST", "method_not_allowed")


@pytest.mark.parametrize("path", ["/api/tags", "/api/version", "/status", "/v1/models"])
async def test_post_to_what_is_only_read_is_405(door: Door, path: str) -> None:
    call = await door.get(path, "POST")
    assert (call.status, call.headers["allow"], told(call, path)["code"]) == (405, "GET", "method_not_allowed")


@pytest.mark.parametrize("path", DIALECTS)
@pytest.mark.parametrize("kind", [b"text/plain", b"multipart/form-data; boundary=x", b"application/xml"])
async def test_body_that_says_to_be_no_json_is_415_in_its_dialect(door: Door, path: str, kind: bytes) -> None:
    call = await door.call("POST", path, b"{}", [(b"content-type", kind)]).done()
    error = told(call, path)
    assert (call.status, error["code"]) == (415, "unsupported_media_type")
    assert error["hint"] == "send content-type: application/json"
    assert door.log.record()["error"] == "invalid_request"


@pytest.mark.parametrize(
    "kind",
    [b"application/json", b"Application/JSON; charset=utf-8", b"application/x+json", b"application/x-www-form-urlencoded", b""],
)
async def test_body_that_says_to_be_json_or_nothing_is_read(door: Door, kind: bytes) -> None:
    body = b'{"messages": [{"role": "user", "content": "hi"}]}'
    call = await door.call("POST", CHAT, body, [(b"content-type", kind)]).done()
    assert call.status == 200

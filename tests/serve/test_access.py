"""Who may use a service that has keys, how much of it, and what those hear who may not."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from relight import create_app
from relight.access.keys import create
from relight.errors import ConfigError
from tests.providers.stand_in import KEY, End
from tests.serve.client import CHAT, MESSAGES, RESPONSES, Call, Door, front_door
from tests.serve.cloud import begins, clouds, piece, says, secret

pytestmark = pytest.mark.usefixtures("secret")

OLLAMA = "/api/chat"
DIALECTS = (CHAT, MESSAGES, RESPONSES, OLLAMA)
MODEL_ROUTES = (
    *DIALECTS,
    *("/v1/completions", "/v1/embeddings", "/v1/rerank", "/v1/messages/count_tokens"),
    *("/api/generate", "/api/embed", "/api/embeddings"),
)
OTHER_ROUTES = (
    *(
        ("GET", path)
        for path in ("/v1/models", "/v1/models/cloud", "/status", "/metrics", "/api/tags", "/api/ps", "/api/version")
    ),
    *(("POST", path) for path in ("/models/cloud/wake", "/models/cloud/sleep", "/api/show")),
)
LAPTOP, LAPTOP_ENTRY = create("laptop", "2026-11-22")
CI, CI_ENTRY = create("ci", "2026-11-22")

__all__ = ["secret"]
Doors = Callable[..., AbstractAsyncContextManager[Door]]


@pytest.fixture
def keyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Doors:
    """Doors that ask for a key, with a provider behind that answers again and again."""
    monkeypatch.setenv("TEST_KEYS", f"{LAPTOP_ENTRY},{CI_ENTRY}")

    @asynccontextmanager
    async def opened(*acts: Any, server: Any = None, **limits: Any) -> AsyncIterator[Door]:
        sections = {"auth": {"keys": {"secret": "TEST_KEYS"}}, "limits": limits}
        more = {"sections": sections, "server": server}
        async with clouds(tmp_path, more=more, cloud=acts or tuple(says("yes") for _ in range(12))) as (door, _):
            yield door

    return opened


def bearer(key: str = LAPTOP) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", f"Bearer {key}".encode())]


def question(path: str, text: str = "hi") -> bytes:
    asked: dict[str, Any] = {"stream": False}
    asked |= {"input": text} if path == RESPONSES else {"messages": [{"role": "user", "content": text}]}
    if path == MESSAGES:
        asked["max_tokens"] = 9
    return json.dumps(asked).encode()


def ask(door: Door, path: str = CHAT, key: str = LAPTOP, text: str = "hi") -> Call:
    return door.call("POST", path, question(path, text), bearer(key))


def check_shape(call: Call, path: str) -> dict[str, Any]:
    """The error, after a look at the envelope of its dialect."""
    told: dict[str, Any] = call.json()
    assert call.headers["content-type"] == "application/json"
    if path.startswith("/api/"):
        assert isinstance(told["error"], str)
        return {**told, "message": told["error"]}
    error: dict[str, Any] = told["error"]
    assert (told.get("type") == "error") is path.startswith("/v1/messages")
    assert ("param" in error) is not path.startswith("/v1/messages")
    return error


# --- a store that could never count


@pytest.mark.parametrize("store", ["redis://127.0.0.1:1/0", "redis://127.0.0.1:1?db=x"], ids=["no client", "no address"])
def test_store_that_could_never_count_is_refused_before_anybody_is_let_in(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if store.endswith("/0"):
        monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    file = tmp_path / "relight.toml"
    file.write_text(f'[limits]\nrequests_per_minute = 5\nstore = "{store}"\n[models.toy]\nengine = "scripted"\n')
    with pytest.raises(ConfigError, match=r"limits\.store"):
        create_app(file)


# --- keys


@pytest.mark.parametrize("path", MODEL_ROUTES)
async def test_model_route_without_a_key_is_401_in_its_dialect(keyed: Doors, path: str) -> None:
    async with keyed() as door:
        call = await door.call("POST", path, question(path)).done()
    error = check_shape(call, path)
    assert (call.status, error["code"], error["source"]) == (401, "unauthorized", "relight")
    if not path.startswith("/api/"):
        assert error["type"] == "authentication_error"
    assert "relight keys create" in error["hint"]
    record = door.log.record()
    assert (record["error"], record["status"]) == ("unauthorized", 401)
    assert "key" not in record


@pytest.mark.parametrize(("method", "path"), OTHER_ROUTES)
async def test_other_route_without_a_key_is_401_and_with_one_is_not(keyed: Doors, method: str, path: str) -> None:
    async with keyed() as door:
        refused = await door.call(method, path, b'{"model": "cloud"}').done()
        taken = await door.call(method, path, b'{"model": "cloud"}', bearer()).done()
    assert (refused.status, check_shape(refused, path)["code"]) == (401, "unauthorized")
    assert taken.status in (200, 400)  # a provider neither wakes nor sleeps


async def test_request_without_a_key_wakes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEYS", str(LAPTOP_ENTRY))
    async with front_door(tmp_path, sections={"auth": {"keys": {"secret": "TEST_KEYS"}}}) as door:
        assert (await door.ask().done()).status == 401
        assert (await door.get("/models/toy/wake", "POST")).status == 401
        assert door.app.front.models["toy"].runner.status().state == "asleep"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/", "/assets/chat.css", "/assets/chat.js"])
async def test_probes_and_the_page_need_no_key(keyed: Doors, path: str) -> None:
    async with keyed() as door:
        assert (await door.get(path)).status == 200
        assert (await door.get(path, "HEAD")).status == 200


@pytest.mark.parametrize("path", DIALECTS)
@pytest.mark.parametrize(
    "headers",
    [
        bearer(),
        [(b"authorization", f"bearer  {LAPTOP} ".encode())],
        [(b"x-api-key", LAPTOP.encode())],
        [(b"authorization", b"Basic dXNlcjpwYXNz"), (b"x-api-key", LAPTOP.encode())],
    ],
    ids=["bearer", "lower-case", "x-api-key", "beside-another-scheme"],
)
async def test_key_is_taken_from_either_header(keyed: Doors, path: str, headers: list[tuple[bytes, bytes]]) -> None:
    async with keyed() as door:
        call = await door.call("POST", path, question(path), headers).done()
    assert call.status == 200
    assert door.log.record()["key"] == "laptop"
    assert LAPTOP.encode() not in b"".join(door.log.raw)


@pytest.mark.parametrize("query", ["key=", "api_key=", "access_token=", "x-api-key="])
async def test_key_in_the_address_is_not_looked_at(keyed: Doors, query: str) -> None:
    async with keyed() as door:
        call = await door.call("POST", CHAT, question(CHAT), query=f"{query}{LAPTOP}".encode()).done()
    assert call.status == 401
    assert LAPTOP.encode() not in b"".join(door.log.raw)


@pytest.mark.parametrize("path", [CHAT, MESSAGES, OLLAMA])
@pytest.mark.parametrize(
    "wrong",
    ["rl_nonesuch", LAPTOP[:-1], LAPTOP + "x", LAPTOP.upper(), KEY, "é", str(LAPTOP_ENTRY)],
    ids=["invented", "cut", "longer", "upper-case", "the-provider's", "not-ascii", "entry"],
)
async def test_wrong_key_is_401_and_not_repeated(keyed: Doors, path: str, wrong: str) -> None:
    async with keyed() as door:
        call = await ask(door, path, wrong).done()
    assert (call.status, check_shape(call, path)["code"]) == (401, "unauthorized")
    assert "not known" in check_shape(call, path)["message"]
    assert wrong.encode() not in call.body + b"".join(door.log.raw)


async def test_records_tell_the_keys_apart(keyed: Doors) -> None:
    async with keyed() as door:
        for key in (LAPTOP, CI):
            assert (await ask(door, key=key).done()).status == 200
    assert [line["interaction"]["key"] for line in door.log.records] == ["laptop", "ci"]


@pytest.mark.parametrize("host", ["models.example", "10.0.0.1:8080"])
@pytest.mark.parametrize("origin", [None, b"https://blog.example"])
async def test_key_opens_the_service_to_other_machines_and_pages(keyed: Doors, host: str, origin: bytes | None) -> None:
    headers = [*bearer(), *([(b"origin", origin), (b"sec-fetch-site", b"cross-site")] if origin else [])]
    async with keyed() as door:
        call = await door.call("POST", CHAT, question(CHAT), headers, host=host.encode()).done()
        status = await door.call("GET", "/status", b"", headers, host=host.encode()).done()
    assert (call.status, status.status) == (200, 200)


async def test_loopback_is_no_excuse_for_having_no_key(keyed: Doors) -> None:
    async with keyed(server={"public": True}) as door:
        assert (await door.call("GET", "/status", host=b"localhost").done()).status == 401


async def test_unknown_path_is_404_with_or_without_a_key(keyed: Doors) -> None:
    async with keyed() as door:
        assert (await door.get("/nothing")).status == 404
        assert (await door.call("GET", "/nothing", headers=bearer()).done()).status == 404


async def test_body_is_not_read_before_the_key_is_known(keyed: Doors) -> None:
    async with keyed() as door:
        call = await door.call("POST", CHAT, None).done()  # never sends one
    assert call.status == 401


async def test_missing_secret_of_the_keys_is_a_configuration_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_KEYS", raising=False)
    with pytest.raises(ConfigError, match=r"auth\.keys: no secret called TEST_KEYS"):
        async with front_door(tmp_path, sections={"auth": {"keys": {"secret": "TEST_KEYS"}}}):
            pass


@pytest.mark.parametrize("value", [LAPTOP, "laptop:abc", f"{LAPTOP_ENTRY},{LAPTOP_ENTRY}"], ids=["itself", "cut", "twice"])
async def test_malformed_keys_are_a_configuration_error_that_shows_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("TEST_KEYS", value)
    with pytest.raises(ConfigError, match=r"TEST_KEYS: entry [12]") as caught:
        async with front_door(tmp_path, sections={"auth": {"keys": {"secret": "TEST_KEYS"}}}):
            pass
    assert LAPTOP not in str(caught.value)
    assert LAPTOP_ENTRY.digest.hex() not in str(caught.value)


# --- limits


@pytest.mark.parametrize("path", DIALECTS)
async def test_one_request_too_many_in_a_minute_is_429_and_says_when_to_come_again(keyed: Doors, path: str) -> None:
    async with keyed(requests_per_minute=2) as door:
        allowed = [(await ask(door, path).done()).status for _ in range(2)]
        refused = await ask(door, path).done()
        other = await ask(door, path, CI).done()
    error = check_shape(refused, path)
    assert (allowed, refused.status, error["code"]) == ([200, 200], 429, "rate_limited")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    if not path.startswith("/api/"):
        assert error["type"] == "rate_limit_error"
    assert other.status == 200
    assert [line["interaction"].get("error") for line in door.log.records] == [None, None, "rate_limited", None]
    assert door.log.records[2]["interaction"]["key"] == "laptop"


@pytest.mark.parametrize("path", DIALECTS)
async def test_answer_that_uses_up_the_day_is_given_and_the_next_is_429(keyed: Doors, path: str) -> None:
    async with keyed(tokens_per_day=1000) as door:  # the provider says that each answer takes 1200
        given = await ask(door, path).done()
        refused = await ask(door, path).done()
        other = await ask(door, path, CI).done()
        wall = door.clock.wall()
    error = check_shape(refused, path)
    assert (given.status, refused.status, other.status) == (200, 429, 200)
    assert (error["code"], int(refused.headers["retry-after"])) == ("over_budget", 86400 - int(wall) % 86400)
    if not path.startswith("/api/"):
        assert error["type"] == ("rate_limit_error" if path == MESSAGES else "insufficient_quota")
    assert door.log.records[1]["interaction"]["error"] == "over_budget"


async def test_client_that_leaves_before_it_hears_the_count_is_charged_all_the_same(keyed: Doors) -> None:
    async with keyed(begins(piece(content="x")), says(), tokens_per_day=1000) as door:
        body = {"stream": True, "messages": [{"role": "user", "content": "word " * 1000}]}
        running = door.call("POST", CHAT, json.dumps(body).encode(), bearer())
        await running.until_bytes(b'"x"')
        running.leave()
        await running.done()
        refused = await ask(door).done()
    assert (refused.status, refused.json()["error"]["code"]) == (429, "over_budget")


async def test_day_of_tokens_ends_at_midnight(keyed: Doors) -> None:
    async with keyed(tokens_per_day=1000) as door:
        await ask(door).done()
        refused = await ask(door).done()
        await door.advance(int(refused.headers["retry-after"]))
        assert (await ask(door).done()).status == 200


async def test_as_many_at_the_same_time_as_may_be_and_one_more_is_429(keyed: Doors) -> None:
    async with keyed(begins(piece(content="x")), says(), says(), concurrency=1) as door:
        stream = json.dumps({"stream": True, "messages": [{"role": "user", "content": "hi"}]}).encode()
        running = door.call("POST", CHAT, stream, bearer())
        await running.until_bytes(b'"x"')
        refused = await ask(door).done()
        other = await ask(door, key=CI).done()
        running.leave()
        await running.done()
        after = await ask(door).done()
    assert (refused.status, refused.json()["error"]["code"], refused.headers["retry-after"]) == (429, "rate_limited", "1")
    assert (other.status, after.status) == (200, 200)


async def test_refused_request_gives_its_place_back(keyed: Doors) -> None:
    async with keyed(concurrency=1) as door:
        assert (await door.call("POST", CHAT, b"{", bearer()).done()).status == 400
        assert (await door.call("POST", CHAT, b'{"model": "nonesuch"}', bearer()).done()).status == 404
        assert (await ask(door).done()).status == 200


async def test_client_that_leaves_gives_its_place_back(keyed: Doors) -> None:
    async with keyed(End.silence, says(), concurrency=1) as door:
        call = ask(door)
        await door.advance(0)
        call.leave()
        await call.done()
        assert (await ask(door).done()).status == 200


@pytest.mark.parametrize("path", DIALECTS)
async def test_prompt_with_more_text_than_may_be_is_413(keyed: Doors, path: str) -> None:
    async with keyed(max_prompt="1KiB") as door:
        small = await ask(door, path, text="a" * 1000).done()
        large = await ask(door, path, text="a" * 1025).done()
    error = check_shape(large, path)
    assert (small.status, large.status, error["code"]) == (200, 413, "request_too_large")
    assert "limits.max_prompt" in error["hint"]


async def test_pictures_do_not_count_as_text(keyed: Doors) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 5000}}
    body = {"messages": [{"role": "user", "content": [{"type": "text", "text": "what is it?"}, picture]}]}
    async with keyed(max_prompt="1KiB") as door:
        assert (await door.call("POST", CHAT, json.dumps(body).encode(), bearer()).done()).status == 200


@pytest.mark.parametrize("path", DIALECTS)
async def test_body_over_the_limit_is_413_in_its_dialect(keyed: Doors, path: str) -> None:
    async with keyed(server={"max_body": "2KiB"}) as door:
        call = await ask(door, path, text="a" * 2048).done()
    assert (call.status, check_shape(call, path)["code"]) == (413, "request_too_large")
    assert "server.max_body" in check_shape(call, path)["hint"]


async def test_without_keys_addresses_are_counted(tmp_path: Path) -> None:
    sections = {"limits": {"requests_per_minute": 1}}
    async with clouds(tmp_path, more={"sections": sections}, cloud=(says(), says())) as (door, _):
        first = await door.call("POST", CHAT, question(CHAT)).done()
        second = await door.call("POST", CHAT, question(CHAT)).done()
    assert (first.status, second.status) == (200, 429)
    assert "key" not in door.log.records[1]["interaction"]


async def test_looking_at_the_service_counts_as_no_request(keyed: Doors) -> None:
    async with keyed(requests_per_minute=1, concurrency=1) as door:
        for _ in range(3):
            assert (await door.call("GET", "/status", headers=bearer()).done()).status == 200
        assert (await ask(door).done()).status == 200

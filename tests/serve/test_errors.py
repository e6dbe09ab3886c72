"""What a client is told when its request cannot be answered, in each dialect's own shape."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.serve.client import CHAT, MESSAGES, PATHS, Call, Door, front_door, request_body


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with front_door(tmp_path, context=256, server={"max_body": 4096}, log={"content": "full"}) as door:
        yield door
        assert not door.log.unbalanced()


def error_of(call: Call, path: str) -> dict[str, Any]:
    """The error, after a look at the envelope of its dialect."""
    body = call.json()
    assert call.headers["content-type"] == "application/json"
    assert int(call.headers["content-length"]) == len(call.body)
    error: dict[str, Any] = body["error"]
    if path.startswith(MESSAGES):
        assert body["type"] == "error"
        assert error["type"].endswith(("_error", "request_too_large"))
    else:
        assert "param" in error
    assert error["source"] in ("relight", "engine")
    assert error["message"]
    assert error["code"]
    return error


@pytest.mark.parametrize("path", PATHS)
async def test_unknown_model_is_404_and_the_known_ones_are_named(door: Door, path: str) -> None:
    call = await door.ask(path=path, model="nonesuch").done()
    error = error_of(call, path)
    assert (call.status, error["code"], error["source"]) == (404, "model_not_found", "relight")
    assert "there is: toy" in error["message"]
    assert door.log.record()["error"] == "invalid_request"
    assert door.log.record()["error_code"] == "model_not_found"
    assert await door.state() == "asleep"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"hello", "is not JSON"),
        (b"[]", "should be a JSON object"),
        (b"null", "should be a JSON object"),
        (b'{"model": 3}', "model: should be text"),
        (b'{"stream": "yes"}', "stream: should be true or false"),
        (b'{"model": "toy", "messages": ' + b"[" * 2000 + b"]" * 2000 + b"}", "is not JSON"),
        (b'{"model": "toy", "x": "\xff\xfe"}', "is not JSON"),
    ],
    ids=["empty", "cut", "text", "list", "null", "model", "stream", "deep", "not-utf8"],
)
async def test_bad_body_is_400_and_says_what_is_wrong(door: Door, path: str, body: bytes, says: str) -> None:
    call = await door.call("POST", path, body).done()
    error = error_of(call, path)
    assert (call.status, error["code"]) == (400, "invalid_request")
    assert says in error["message"]
    assert await door.state() == "asleep"


@pytest.mark.parametrize("model", ["", None])
async def test_empty_model_name_means_the_default_model(door: Door, model: str | None) -> None:
    call = await door.ask("text=yes", model=model).done()
    assert (call.status, call.headers["x-relight-model"]) == (200, "toy")


async def test_missing_model_without_a_default_is_400(tmp_path: Path) -> None:
    async with front_door(tmp_path, models=("one", "two")) as door:
        call = await door.ask().done()
    assert call.status == 400
    assert error_of(call, CHAT)["hint"] == "use one of: one, two"


@pytest.mark.parametrize("path", [*PATHS, "/v1/messages/count_tokens"])
@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD", "OPTIONS"])
async def test_wrong_method_is_405_and_names_the_right_one(door: Door, path: str, method: str) -> None:
    call = await door.call(method, path).done()
    assert (call.status, call.headers["allow"]) == (405, "POST")
    if method == "HEAD":
        assert call.body == b""
        assert int(call.headers["content-length"]) > 0
    else:
        assert error_of(call, path)["code"] == "method_not_allowed"


@pytest.mark.parametrize("path", ["/v1/models", "/status", "/livez", "/readyz", "/metrics", "/", "/v1/models/toy"])
async def test_head_gets_the_headers_of_get_and_no_body(door: Door, path: str) -> None:
    head, get = await door.get(path, "HEAD"), await door.get(path)
    assert head.status == get.status == 200
    assert head.body == b""
    assert head.headers["content-length"] == get.headers["content-length"] == str(len(get.body))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nothing"),
        ("POST", "/v1/chat"),
        ("POST", "/v1/messages/nothing"),
        ("POST", "/models/toy/dance"),
        ("GET", "/v1/models/"),
        ("POST", "/models//wake"),
        ("GET", "/assets/../page.py"),
    ],
)
async def test_unknown_path_is_404_in_the_dialect_of_its_neighbours(door: Door, method: str, path: str) -> None:
    call = await door.call(method, path).done()
    assert call.status == 404
    assert error_of(call, path)["message"].startswith((path, "model:"))
    assert await door.state() == "asleep"


async def test_unknown_model_in_the_list_is_404(door: Door) -> None:
    call = await door.get("/v1/models/nonesuch")
    assert (call.status, call.json()["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("path", PATHS)
async def test_declared_body_over_the_limit_is_413_before_it_is_read(door: Door, path: str) -> None:
    call = await door.call("POST", path, None, [(b"content-length", b"4097")]).done()
    error = error_of(call, path)
    assert (call.status, error["code"]) == (413, "request_too_large")
    assert "4KiB" in error["message"]
    assert "server.max_body" in error["hint"]


async def test_chunked_body_over_the_limit_is_413_as_soon_as_it_is(door: Door) -> None:
    call = door.call("POST", CHAT, None)
    call.feed(b" " * 4000, more=True)
    call.feed(b" " * 97, more=True)
    assert (await call.done()).status == 413


async def test_body_of_exactly_the_limit_is_taken(door: Door) -> None:
    body = request_body("text=ok")
    call = await door.call("POST", CHAT, body + b" " * (4096 - len(body))).done()
    assert call.status == 200


async def test_client_that_leaves_while_it_sends_is_recorded_as_gone(door: Door) -> None:
    call = door.call("POST", CHAT, None)
    call.feed(b'{"mod', more=True)
    call.leave()
    await call.done()
    assert call.sent == []
    assert (door.log.record()["status"], door.log.record()["error"]) == (499, "client_gone")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", PATHS)
async def test_context_overflow_has_both_numbers_in_the_dialects_words(door: Door, path: str, stream: bool) -> None:
    await door.awake()
    text = " ".join(["word"] * 299) + " x"
    call = await door.call("POST", path, request_body(f"text=a {text}", path=path, stream=stream)).done()
    error = error_of(call, path)
    assert (call.status, error["code"]) == (400, "context_length_exceeded")
    if path == MESSAGES:
        assert "prompt is too long: 30" in error["message"]
        assert "tokens > 256 maximum" in error["message"]
        assert error["type"] == "invalid_request_error"
    else:
        assert "maximum context length is 256 tokens. However, your messages resulted in 30" in error["message"]
    record = door.log.record()
    assert (record["error"], record["status"]) == ("context_overflow", 400)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("engine_status", "status", "code"),
    [(400, 400, "engine_rejected"), (429, 400, "engine_rejected"), (500, 503, "engine_failed"), (503, 503, "engine_failed")],
)
async def test_engine_error_keeps_its_words_and_wears_the_dialect(
    door: Door, path: str, engine_status: int, status: int, code: str
) -> None:
    call = await door.ask(f"status={engine_status}", path=path).done()
    error = error_of(call, path)
    assert (call.status, error["code"], error["source"]) == (status, code, "engine")
    assert error["message"] == f"engine: scripted: status={engine_status}"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [False, True])
async def test_engine_that_answers_garbage_is_an_engine_failure(door: Door, path: str, stream: bool) -> None:
    call = await door.ask("garbage=after:0", path=path, stream=stream).done()
    record = door.log.record()
    assert record["error"] in ("engine_failed", "engine_crashed")
    if not stream:
        error = error_of(call, path)
        assert (call.status, error["source"]) == (503, "engine")
        assert "not HTTP" in error["message"]
    else:
        assert call.is_complete
        assert b"engine_failed" in call.body


async def test_app_mounted_under_a_prefix_finds_its_routes(door: Door) -> None:
    assert (await door.call("GET", "/livez", root_path="/ai").done()).body == b"ok\n"
    call = await door.call("POST", MESSAGES, b"{", root_path="/ai").done()
    assert (call.status, call.json()["type"]) == (400, "error")


async def test_internal_error_is_told_without_its_details_and_noted_with_its_kind_and_place(door: Door) -> None:
    await door.awake()
    broken = door.app.front.models["toy"].runner._engine
    door.app.front.models["toy"].runner._engine = object()  # type: ignore[assignment]
    try:
        call = await door.ask().done()
    finally:
        door.app.front.models["toy"].runner._engine = broken
    assert call.status == 500
    assert "socket" not in call.body.decode()
    assert any("AttributeError at address" in note for note in door.log.notes())
    assert door.log.record()["error"] == "internal"


async def test_count_tokens_with_a_stream_flag_is_still_one_answer(door: Door) -> None:
    call = await door.ask(path="/v1/messages/count_tokens", stream=True).done()
    assert (call.status, call.json()) == (200, {"input_tokens": 1})

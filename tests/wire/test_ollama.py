"""What the official Ollama client makes of our lines, listings and errors."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import httpx
import msgspec
import ollama
import pytest
from bench.wire import post

from relight import errors
from relight.errors import ContextOverflow, InvalidRequest, MethodNotAllowed, RelightError
from relight.wire import sse
from relight.wire.dialect import Dialect, Usage
from relight.wire.mending import Needs, encode, fields, mend
from relight.wire.ollama import ModelFacts, OllamaChat, OllamaGenerate, model_name, ps, show, tags, version
from relight.wire.ollama_answer import embed_answer, embedding_answer
from relight.wire.ollama_request import chat_request, embed_request, embedding_request, generate_request
from relight.wire.translation import About, Translated

ABOUT = About(model="smol", id="int_1", created=1_795_314_088)
CONTEXT = 8192
ASK: list[Any] = [{"role": "user", "content": "hi"}]
Engine = Callable[[dict[str, Any]], list[dict[str, Any]] | dict[str, Any]]


def chunk(finish: str | None = None, **delta: object) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


END = {
    "choices": [],
    "usage": {"prompt_tokens": 31, "completion_tokens": 3},
    "timings": {"prompt_n": 1, "cache_n": 30, "prompt_ms": 12.5, "predicted_n": 3, "predicted_ms": 71.754},
}


def answer(message: dict[str, Any], finish: str = "stop") -> dict[str, Any]:
    return {**END, "choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}]}


class Door:
    """Answers the client in memory, asking `engine` as the front door would."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.asked: Translated | None = None
        self.client = ollama.Client(host="http://ollama.test", transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        body = msgspec.json.decode(request.content) if request.content else {}
        dialect: Dialect = OllamaGenerate() if request.url.path == "/api/generate" else OllamaChat()
        translate = generate_request if request.url.path == "/api/generate" else chat_request
        try:
            self.asked = translate(body, ABOUT, CONTEXT)
        except RelightError as error:
            return httpx.Response(error.http_status, json=dialect.error_body(error))
        said, writer = self._engine(self.asked.chat), self.asked.writer
        if isinstance(said, dict):
            return httpx.Response(200, json=writer.whole(said))
        lines = [dialect.heartbeat("smol", "int_1"), *(writer.feed(one) for one in said), writer.finish()]
        return httpx.Response(200, content=b"".join(lines))


def static(path: str, body: dict[str, Any]) -> ollama.Client:
    """A client whose every request to `path` gets the same answer."""

    def respond(request: httpx.Request) -> httpx.Response:
        assert request.url.path == path
        return httpx.Response(200, json=body)

    return ollama.Client(host="http://ollama.test", transport=httpx.MockTransport(respond))


# --- answers


def test_client_reads_a_streamed_chat() -> None:
    door = Door(lambda _: [chunk(role="assistant", content=None), chunk(content="Hel"), chunk(content="lo"), chunk("stop"), END])
    parts = list(door.client.chat("smol", ASK, stream=True))
    assert [part.message.content for part in parts] == ["", "Hel", "lo", ""]
    assert [part.done for part in parts] == [False, False, False, True]
    assert {(part.model, part.created_at) for part in parts} >= {("smol", "2026-11-22T02:21:28Z")}
    last = parts[-1]
    assert (last.done_reason, last.prompt_eval_count, last.eval_count) == ("stop", 31, 3)
    assert (last.prompt_eval_duration, last.eval_duration, last.total_duration) == (12_500_000, 71_754_000, 84_254_000)


def test_client_reads_a_whole_chat() -> None:
    door = Door(lambda _: answer({"content": "Hello", "reasoning_content": "hm"}, "length"))
    told = door.client.chat("smol", ASK)
    assert (told.message.content, told.message.thinking, told.done, told.done_reason) == ("Hello", "hm", True, "length")
    assert (told.prompt_eval_count, told.eval_count) == (31, 3)


def test_client_reads_a_streamed_tool_call() -> None:
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": ""}}
    pieces = [{"index": 0, "function": {"arguments": part}} for part in ('{"pa', 'th": "a"}')]
    door = Door(lambda _: [chunk(tool_calls=[one]) for one in (call, *pieces)] + [chunk("tool_calls"), END])
    parts = list(door.client.chat("smol", ASK, stream=True))
    calls = [call for part in parts for call in part.message.tool_calls or []]
    assert [(call.function.name, call.function.arguments) for call in calls] == [("look", {"path": "a"})]
    assert (parts[-1].done, parts[-1].done_reason) == (True, "stop")


def test_client_reads_a_streamed_completion() -> None:
    door = Door(lambda _: [chunk(reasoning_content="hm"), chunk(content="Hello"), chunk("stop"), END])
    parts = list(door.client.generate("smol", "hi", stream=True))
    assert [(part.response, part.thinking) for part in parts] == [("", None), ("", "hm"), ("Hello", None), ("", None)]
    assert (parts[-1].done, parts[-1].eval_count) == (True, 3)


def test_client_reads_a_whole_completion() -> None:
    told = Door(lambda _: answer({"content": "Hello"})).client.generate("smol", "hi")
    assert (told.response, told.done) == ("Hello", True)


def look_up(path: str) -> str:
    """Look a file up.

    Args:
      path: where it is
    """
    return path


def test_clients_own_tools_images_and_schemas_are_understood() -> None:
    door = Door(lambda _: answer({"content": "{}"}))
    message = {"role": "user", "content": "hi", "images": [b"\x89PNG\r\n"]}
    door.client.chat("smol", [message], tools=[look_up], format={"type": "object"}, options={"seed": 1}, keep_alive="5m")
    assert door.asked is not None
    chat = door.asked.chat
    [tool] = chat["tools"]
    assert (tool["type"], tool["function"]["name"], tool["function"]["parameters"]["required"]) == (
        "function",
        "look_up",
        ["path"],
    )
    assert chat["messages"][0]["content"][1]["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    assert chat["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert (chat["seed"], chat["stream"], door.asked.keep_alive_s) == (1, False, 300.0)


def test_clients_answer_to_a_tool_call_finds_its_call_again() -> None:
    door = Door(lambda _: answer({"content": "ok"}))
    call = ollama.Message.ToolCall(function=ollama.Message.ToolCall.Function(name="look_up", arguments={"path": "a"}))
    said = ollama.Message(role="assistant", tool_calls=[call])
    door.client.chat("smol", [*ASK, said, {"role": "tool", "tool_name": "look_up", "content": "found"}])
    assert door.asked is not None
    _, calling, result = door.asked.chat["messages"]
    assert calling["tool_calls"][0]["function"] == {"name": "look_up", "arguments": '{"path":"a"}'}
    assert result["tool_call_id"] == calling["tool_calls"][0]["id"]


# --- errors


def every_error() -> list[RelightError]:
    classes = [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, RelightError)]
    special: dict[type, RelightError] = {
        MethodNotAllowed: MethodNotAllowed("no such method", allow=("GET",), hint="look"),
        ContextOverflow: ContextOverflow("too long", prompt_tokens=9, context_tokens=8),
    }
    return [special[one] if one in special else one(f"{one.code}: broke", hint="look") for one in classes]


@pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)
def test_client_reads_an_error_body_and_an_error_line(error: RelightError) -> None:
    dialect = OllamaChat()
    body = dialect.error_body(error)
    assert (body["error"], body["code"], body["source"], body["hint"]) == (
        *(error.message, error.code, error.source.value, error.hint),
    )
    refusing = httpx.MockTransport(lambda _: httpx.Response(error.http_status, json=body))
    with pytest.raises(ollama.ResponseError) as caught:
        ollama.Client(host="http://ollama.test", transport=refusing).chat("smol", ASK)
    assert (caught.value.error, caught.value.status_code) == (error.message, error.http_status)
    content = dialect.heartbeat("smol", "int_1") + dialect.error_event(error)
    breaking = httpx.MockTransport(lambda _: httpx.Response(200, content=content))
    with pytest.raises(ollama.ResponseError) as caught:
        list(ollama.Client(host="http://ollama.test", transport=breaking).chat("smol", ASK, stream=True))
    assert caught.value.error == error.message


def test_client_is_told_which_option_cannot_be_set() -> None:
    door = Door(lambda _: answer({"content": "Hello"}))
    with pytest.raises(ollama.ResponseError, match="options: num_gpu, num_thread cannot be set") as caught:
        door.client.chat("smol", ASK, options={"num_thread": 4, "num_gpu": 1, "seed": 1})
    assert caught.value.status_code == 400


def test_lines_are_streamed_by_default() -> None:
    dialects: list[Dialect] = [OllamaChat(), OllamaGenerate()]
    assert {(one.stream_type, one.streams_by_default, one.comments_only_s) for one in dialects} == {
        (b"application/x-ndjson", True, 0)
    }


# --- the tap


@pytest.mark.parametrize(
    ("dialect", "said"), [(OllamaChat(), {"message": {"content": "hi"}}), (OllamaGenerate(), {"response": "hi"})]
)
def test_usage_and_words_are_read_from_lines(dialect: Dialect, said: dict[str, Any]) -> None:
    usage = Usage()
    last = {**said, "done": True, "done_reason": "stop", "prompt_eval_count": 4, "eval_count": 2, "eval_duration": 500_000_000}
    dialect.read({**said, "done": False, "eval_count": 99}, usage)
    dialect.read(last, usage)
    assert usage == Usage(prompt=4, completion=2, finish="stop", decode_s=0.5)
    dialect.read({"error": "broke"}, usage)
    assert usage.error == "broke"
    assert (dialect.text(last), dialect.text({"message": 5}), dialect.text({})) == ("hi", "", "")


# --- listings

FACTS = ModelFacts(
    name="smol",
    context=CONTEXT,
    capabilities=("completion", "tools"),
    size=98_000_000,
    digest="b179c952",
    family="llama",
    parameter_size="135M",
    quantization="Q4_1",
    modified="2026-11-20T10:00:00Z",
    expires="2026-11-22T02:30:00.5Z",
)
UNKNOWN = ModelFacts(name="cloud", context=128_000)


def test_client_lists_models() -> None:
    first, second = static("/api/tags", tags([FACTS, UNKNOWN])).list().models
    assert (first.model, first.size, first.digest) == ("smol", 98_000_000, "b179c952")
    assert first.modified_at is not None
    assert first.modified_at.isoformat() == "2026-11-20T10:00:00+00:00"
    assert first.details is not None
    assert (first.details.family, first.details.parameter_size, first.details.quantization_level) == ("llama", "135M", "Q4_1")
    assert (second.model, second.size) == ("cloud", 0)


def test_client_lists_awake_models() -> None:
    first, second = static("/api/ps", ps([FACTS, UNKNOWN])).ps().models
    assert (first.model, first.name, first.size_vram, first.context_length) == ("smol", "smol", 0, CONTEXT)
    assert first.expires_at is not None
    assert first.expires_at.minute == 30
    assert second.expires_at is None


def test_client_shows_a_model() -> None:
    shown = static("/api/show", show(FACTS)).show("smol")
    assert shown.capabilities == ["completion", "tools"]
    assert shown.modelinfo == {"general.architecture": "llama", "llama.context_length": CONTEXT}
    assert shown.parameters == "num_ctx 8192"


def test_version_reads_as_a_version() -> None:
    assert tuple(map(int, version()["version"].split("."))) >= (0, 12)


def test_tag_that_clients_add_is_no_part_of_the_name() -> None:
    assert [model_name(name) for name in ("smol:latest", "smol", "qwen:0.6b")] == ["smol", "smol", "qwen:0.6b"]


# --- embeddings

VECTORS = {"data": [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0]}], "usage": {"prompt_tokens": 7}}


def test_client_embeds_texts() -> None:
    told = static("/api/embed", embed_answer(VECTORS, ABOUT)).embed("smol", ["a", "b"])
    assert (told.embeddings, told.prompt_eval_count, told.model) == ([[1.0], [2.0]], 7, "smol")


def test_client_embeds_in_the_old_way() -> None:
    assert static("/api/embeddings", embedding_answer(VECTORS)).embeddings("smol", "a").embedding == [1.0]


@pytest.mark.parametrize("given", ["a", ["a", "b"]], ids=str)
def test_texts_are_asked_for_as_floats(given: object) -> None:
    request = {"model": "smol:latest", "input": given, "truncate": True, "dimensions": 64, "options": {"num_ctx": 512}}
    asked = embed_request(request, ABOUT, CONTEXT)
    assert asked == {"model": "smol", "input": given, "encoding_format": "float", "dimensions": 64}
    assert embedding_request({"prompt": "a"}, ABOUT, CONTEXT) == {"model": "smol", "input": "a", "encoding_format": "float"}


def test_input_that_is_no_text_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"^input\.1: should be text, got a number"):
        embed_request({"input": ["a", 5]}, ABOUT, CONTEXT)


# --- the engine itself


def through(socket: str, chat: dict[str, Any]) -> list[dict[str, Any]] | dict[str, Any]:
    """The engine's answer to a chat request that was mended."""
    request = fields(msgspec.json.encode(chat))
    mend(request, Needs(context=CONTEXT, max_tokens=8))
    raw = post(socket, "/v1/chat/completions", msgspec.json.decode(encode(request)))
    assert raw.startswith(b"HTTP/1.1 200"), raw
    if chat["stream"]:
        return [msgspec.json.decode(one) for one in sse.payloads(raw) if one != b"[DONE]"]
    whole: dict[str, Any] = msgspec.json.decode(raw.partition(b"\r\n\r\n")[2])
    return whole


EVERY_OPTION = {
    "temperature": 0.7,
    "top_p": 0.9,
    "top_k": 20,
    "min_p": 0.05,
    "typical_p": 0.9,
    "seed": 1,
    "stop": ["\n\n"],
    "repeat_penalty": 1.1,
    "repeat_last_n": 64,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.1,
    "num_keep": 4,
    "mirostat": 0,
    "mirostat_tau": 5.0,
    "mirostat_eta": 0.1,
    "num_predict": 6,
    "num_ctx": 2048,
}


@pytest.mark.real
def test_client_is_answered_by_the_engine_with_every_option(engine: str) -> None:
    door = Door(lambda chat: through(engine, chat))
    parts = list(door.client.chat("smol", ASK, stream=True, options=EVERY_OPTION, think=False))
    last = parts[-1]
    assert "".join(part.message.content or "" for part in parts)
    assert (last.done, last.prompt_eval_count, last.eval_count) == (True, 31, len(parts) - 2)
    assert (last.eval_duration or 0) > 0


@pytest.mark.real
def test_client_gets_json_of_its_schema_from_the_engine(engine: str) -> None:
    wanted = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"], "additionalProperties": False}
    door = Door(lambda chat: through(engine, chat))
    told = door.client.generate("smol", "Is it fine?", system="Be brief.", format=wanted, options={"num_predict": 40})
    assert isinstance(msgspec.json.decode(told.response or "")["ok"], bool)

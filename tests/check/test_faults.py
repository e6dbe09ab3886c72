"""Each planted fault is found by the check that is about it, and by no other."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from relight.check.verdict import Status
from tests.check.broken_server import Asked, Fault, Json, Sent, broken, refusal
from tests.check.examined import Hurried, examine, fails, of, seen
from tests.serve.process import Served, serve, write_config

CALLING = frozenset({"tools.auto", "tools.parallel", "tools.forced", "tools.required"})
CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service without a fault."""
    vectors = '[models.words]\nengine = "scripted"\ntask = "embed"'
    config = write_config(tmp_path_factory.mktemp("upstream"), model=f"context = 1024\nparallel = 4\n{vectors}")
    with serve(config) as served:
        yield served


@dataclass(frozen=True)
class Case:
    """A fault, and the checks of the dialect that fail for it."""

    name: str
    dialect: str
    fault: Fault
    fails: frozenset[str]


# --- what faults are made of


def deny(is_hit: Callable[[Asked], Any], status: int = 400, message: str = "unknown field") -> Fault:
    """Refuse what is hit."""
    return Fault(lambda asked: refusal(status, message) if asked.method == "POST" and is_hit(asked) else None)


def spoil(change: Callable[[Json], Json | None], *, whole: bool = True, stream: bool = True) -> Fault:
    """Change every object of an answer."""

    def sent(asked: Asked, answer: Sent) -> Sent:
        if answer.status != 200 or asked.method != "POST" or not (stream if answer.is_stream else whole):
            return answer
        return answer.each(change)

    return Fault(sent=sent)


def errors(change: Callable[[Asked, Sent], Sent]) -> Fault:
    """Change what is refused."""
    return Fault(sent=lambda asked, answer: change(asked, answer) if asked.method == "POST" and answer.status >= 400 else answer)


def rub(pattern: bytes, new: bytes) -> Fault:
    """Change the bytes of streams."""

    def sent(_: Asked, answer: Sent) -> Sent:
        return replace(answer, body=re.sub(pattern, new, answer.body)) if answer.is_stream else answer

    return Fault(sent=sent)


def choices(change: Callable[[Json], None]) -> Callable[[Json], Json]:
    """Change each choice of a chat's answer."""

    def apply(value: Json) -> Json:
        for choice in value.get("choices", ()):
            change(choice)
        return value

    return apply


def calls(change: Callable[[Json], None]) -> Callable[[Json], Json]:
    """Change each call, or piece of one, of a chat's answer."""

    def apply(choice: Json) -> None:
        message: Json = choice.get("delta") or choice.get("message") or {}
        for call in message.get("tool_calls") or ():
            change(call)

    return choices(apply)


def without(*names: str) -> Callable[[Json], Json]:
    return lambda value: {name: one for name, one in value.items() if name not in names}


def unless(kind: str) -> Callable[[Json], Json | None]:
    """Leave out the events of a kind."""
    return lambda value: None if value.get("type") == kind else value


def history_calls(asked: Asked) -> list[Json]:
    """Calls in the history, as a chat or as items have them."""
    in_chat = [call for turn in asked.turns for call in turn.get("tool_calls") or ()]
    functions = [{**call.get("function", {}), "id": call.get("id")} for call in in_chat]
    return functions + [turn for turn in asked.turns if turn.get("type") == "function_call"]


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def finish_stop(choice: Json) -> None:
    choice["finish_reason"] = choice.get("finish_reason") and "stop"


def cut_arguments(call: Json) -> None:
    function = call.get("function", {})
    function["arguments"] = function.get("arguments", "").replace("}", "")


def misname(call: Json) -> None:
    if "name" in call.get("function", {}):
        call["function"]["name"] = "wether"


def one_id(call: Json) -> None:
    if "id" in call:
        call["id"] = "call_1"


def left_as_text(asked: Asked) -> Sent | None:
    """The call stays in the words of the model."""
    if asked.json.get("tool_choice") != "auto":
        return None
    said = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
    usage = {"prompt_tokens": 99, "completion_tokens": 9}
    if not asked.json.get("stream"):
        choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        return Sent(200, json.dumps({"choices": [choice], "usage": usage}).encode(), {"content-type": "application/json"})
    chunks: list[Json] = [{"delta": {"content": said}, "finish_reason": None}, {"delta": {}, "finish_reason": "stop"}]
    events = "".join(f"data: {json.dumps({'choices': [{'index': 0, **chunk}]})}\n\n" for chunk in chunks)
    return Sent(200, f"{events}data: [DONE]\n\n".encode(), {"content-type": "text/event-stream"})


def is_long(asked: Asked) -> bool:
    return len(asked.body) > 4000 and len(asked.body) < 100_000


def cut_prompt(asked: Asked) -> Asked | None:
    return asked.saying("Hello") if is_long(asked) else None


def in_stream(asked: Asked, answer: Sent) -> Sent:
    """The refusal comes once the stream has begun."""
    if not is_long(asked):
        return answer
    return Sent(200, b"data: " + answer.body + b"\n\n", {"content-type": "text/event-stream"})


def llama_words(asked: Asked, answer: Sent) -> Sent:
    if not is_long(asked):
        return answer
    return refusal(400, "request (1200 tokens) exceeds the available context size (1024 tokens), try increasing it")


def any_model(asked: Asked) -> Asked | None:
    return asked.changed(model="toy") if asked.json.get("model") else None


def case(name: str, dialect: str, fault: Fault, *found: str) -> Any:
    checks = frozenset(one if one.split(".")[0] in ("models", "hello", "embeddings") else f"{dialect}.{one}" for one in found)
    return pytest.param(Case(name, dialect, fault, checks), id=f"{dialect}: {name}")


def detail(_: Asked, answer: Sent) -> Sent:
    """Errors as FastAPI words them."""
    message = json.loads(answer.body)["error"]["message"]
    return replace(answer, body=json.dumps({"detail": message}).encode())


def scripted_none(asked: Asked) -> Asked | None:
    """The model calls although it may not."""
    if asked.json.get("tool_choice") != "none":
        return None
    return asked.saying('#script tool=weather args={"city": "Oslo"}').changed(tool_choice="auto")


def forget_choice(asked: Asked) -> Asked | None:
    choice = asked.json.get("tool_choice")
    kind = choice.get("type") if isinstance(choice, dict) else choice
    return asked.saying("#script text=Sure!").changed(tool_choice=None) if kind not in (None, "auto", "none") else None


def forget_schema(asked: Asked) -> Asked | None:
    """The schema is passed over, and the model says what it likes."""
    if not any(name in asked.json for name in ("response_format", "text")):
        return None
    return asked.saying("#script text=Sure!").changed(response_format=None, text=None)


def delta(kind: str, change: Callable[[Json], None]) -> Callable[[Json], Json]:
    """Change the events of one kind."""

    def apply(value: Json) -> Json:
        if value.get("type") == kind:
            change(value)
        return value

    return apply


def nameless(asked: Asked) -> Any:
    return any(call.get("name") == "no_such_tool" for call in history_calls(asked)) and asked.json.get("tools")


HISTORY = ("history.tools", "history.empty", "history.invalid", "history.unknown", "history.no_id")


def has_role(role: str) -> Callable[[Asked], bool]:
    return lambda asked: any(turn.get("role") == role for turn in asked.turns)


def has_item(kind: str) -> Callable[[Asked], bool]:
    return lambda asked: any(turn.get("type") == kind for turn in asked.turns)


def has_parts(asked: Asked) -> bool:
    return any(isinstance(turn.get("content"), list) for turn in asked.turns)


def is_call_of(test: Callable[[Json], Any]) -> Callable[[Asked], bool]:
    return lambda asked: any(test(call) for call in history_calls(asked))


def is_cut(call: Json) -> bool:
    return bool(call["arguments"]) and not is_json(call["arguments"])


def is_unlimited(asked: Asked) -> bool:
    return "messages" in asked.json and not {"max_tokens", "max_completion_tokens"} & set(asked.json)


def is_wordless(asked: Asked) -> Any:
    return history_calls(asked) and not asked.json.get("tools")


def silence(choice: Json) -> None:
    choice["message"] = {"role": "assistant", "content": ""}


def take_thread(asked: Asked) -> Asked | None:
    return asked.changed(thread=None) if "thread" in asked.json else None


def take_previous(asked: Asked) -> Asked | None:
    return asked.changed(previous_response_id=None) if "previous_response_id" in asked.json else None


def other_words(event: Json) -> None:
    event["delta"] = "?"


def no_usage(event: Json) -> None:
    del event["message"]["usage"]


def openai_shape(_: Asked, answer: Sent) -> Sent:
    return replace(answer, body=json.dumps({"error": json.loads(answer.body)["error"]}).encode())


def openai_list(asked: Asked, answer: Sent) -> Sent:
    if asked.path != "/v1/models":
        return answer
    return replace(answer, body=json.dumps(without("has_more", "first_id")(json.loads(answer.body))).encode())


def untold(asked: Asked, answer: Sent) -> Sent:
    """Nobody says how many answers are given at once."""
    return replace(answer, body=re.sub(rb'"parallel":\d+,', b"", answer.body)) if asked.path == "/v1/models" else answer


def blind(asked: Asked) -> Asked | None:
    """The template shows the model no tools, unless it has to call one."""
    choice = asked.json.get("tool_choice")
    kind = choice.get("type") if isinstance(choice, dict) else choice
    return asked.changed(tools=None, tool_choice=None) if kind in (None, "auto") else None


PICTURES = ("image_url", "input_image", "image")


def has_picture(asked: Asked) -> bool:
    parts = [part for turn in asked.turns if isinstance(turn.get("content"), list) for part in turn["content"]]
    return any(part.get("type") in PICTURES for part in parts) or any("images" in turn for turn in asked.turns)


def drop_picture(asked: Asked) -> Asked | None:
    """The words are passed on, and the picture is not."""
    if not has_picture(asked):
        return None
    turns = [without("images")(turn) for turn in asked.turns]
    for turn in turns:
        if isinstance(turn["content"], list):
            turn["content"] = [part for part in turn["content"] if part.get("type") not in PICTURES]
    return asked.changed(**{"messages" if "messages" in asked.json else "input": turns})


def twice(asked: Asked, answer: Sent) -> Sent:
    """Two answers of one place."""
    if asked.json.get("n") != 2 or answer.status != 200:
        return answer
    body = json.loads(answer.body)
    return replace(answer, body=json.dumps({**body, "choices": body["choices"] * 2}).encode())


def vectors(change: Callable[[list[Json]], list[Json]]) -> Fault:
    """Change the list of vectors."""

    def sent(asked: Asked, answer: Sent) -> Sent:
        if asked.path != "/v1/embeddings" or answer.status != 200:
            return answer
        body = json.loads(answer.body)
        return replace(answer, body=json.dumps({**body, "data": change(body["data"])}).encode())

    return Fault(sent=sent)


def zeros(data: list[Json]) -> list[Json]:
    return [{**one, "embedding": [0.0] * 8} for one in data]


def halves(data: list[Json]) -> list[Json]:
    """Packed as half as many bytes."""
    return [
        {**one, "embedding": one["embedding"][: len(one["embedding"]) // 2 // 4 * 4]}
        if isinstance(one["embedding"], str)
        else one
        for one in data
    ]


LATE = b'data: {"choices":[{"delta":{"content":"x"}}]}\n\ndata: [DONE]'
OH = b'data: {"error":{"message":"oh"}}\n\ndata: [DONE]'
ERRORS = ("errors.json", "errors.type", "errors.model")
CASES = [
    case("no [DONE]", "chat", rub(rb"data: \[DONE\]\n\n", b""), "letter"),
    case("no finish_reason in streams", "chat", rub(rb'"finish_reason":"\w+"', b'"finish_reason":null'), "stream"),
    case("an event that is no JSON", "chat", rub(rb"data: \[DONE\]", b"data: {oops\n\ndata: [DONE]"), "stream"),
    case("words behind the end", "chat", rub(rb"data: \[DONE\]", LATE), "stream"),
    case("an error on the way", "chat", rub(rb"data: \[DONE\]", OH), "stream"),
    case("no streams", "chat", deny(lambda asked: asked.json.get("stream")), "stream"),
    case("streams without JSON", "chat", rub(rb"data: \{", b"data: {{"), "stream"),
    case("no choices", "chat", spoil(without("choices"), stream=False), "plain"),
    case("no words", "chat", spoil(choices(silence), stream=False), "plain"),
    case("no usage in whole answers", "chat", spoil(without("usage"), stream=False), "usage"),
    case("no usage in streams", "chat", spoil(without("usage"), whole=False), "usage"),
    case("stop for every end", "chat", spoil(choices(finish_stop)), "finish", "tools.reason"),
    case("no lists of parts", "chat", deny(has_parts), "parts"),
    case("half a character", "chat", rub("ü".encode(), b"\xc3"), "unicode"),
    case("a character replaced", "chat", rub("世".encode(), "\ufffd".encode()), "unicode"),
    case("schema passed over", "chat", Fault(forget_schema), "schema"),
    case("large max_tokens refused", "chat", deny(lambda asked: asked.json.get("max_tokens", 0) > 1024), "clamp"),
    case("max_tokens demanded", "chat", deny(is_unlimited), "no_limit"),
    case("max_completion_tokens refused", "chat", deny(lambda asked: "max_completion_tokens" in asked.json), "newer_limit"),
    case("1 MiB refused", "chat", deny(lambda asked: len(asked.body) > 1 << 20, 413), "large"),
    case("tools refused", "chat", deny(lambda asked: asked.json.get("tools")), *CALLING, "tools.none", *HISTORY),
    case("tool_choice passed over", "chat", Fault(forget_choice), "tools.forced", "tools.required"),
    case("tool_choice none passed over", "chat", Fault(scripted_none), "tools.none"),
    case("arguments cut", "chat", spoil(calls(cut_arguments)), *CALLING),
    case("calls without an index", "chat", spoil(calls(lambda call: call.pop("index", None)), whole=False), *CALLING),
    case("calls without an id", "chat", spoil(calls(lambda call: call.pop("id", None))), *CALLING),
    case("one id for two calls", "chat", spoil(calls(one_id)), "tools.parallel"),
    case("a name that was not offered", "chat", spoil(calls(misname)), *CALLING),
    case("calls left as text", "chat", Fault(left_as_text), "tools.auto", "tools.parallel"),
    case("tool results refused", "chat", deny(has_role("tool")), *HISTORY, "history.no_tools"),
    case("500 for arguments that are no JSON", "chat",
         deny(is_call_of(is_cut), 500), "history.invalid"),
    case("no arguments refused", "chat", deny(is_call_of(lambda call: not call["arguments"])), "history.empty"),
    case("unknown tools refused", "chat", deny(nameless), "history.unknown"),
    case("calls without tools refused", "chat", deny(is_wordless), "history.no_tools"),
    case("missing ids refused", "chat", deny(is_call_of(lambda call: not call["id"])), "history.no_id"),
    case("unknown fields refused", "chat", deny(lambda asked: "store" in asked.json, 422), "extras"),
    case("developer refused", "chat", deny(has_role("developer")), "roles"),
    case("long prompts cut", "chat", Fault(cut_prompt), "overflow"),
    case("long prompts refused in llama.cpp's words", "chat", errors(llama_words), "overflow"),
    case("long prompts refused in the stream", "chat", errors(in_stream), "overflow"),
    case("500 for long prompts", "chat", deny(is_long, 500, "boom"), "overflow"),
    case("500 for half a body", "chat", deny(lambda asked: asked.body and not is_json(asked.body.decode()), 500), "errors.json"),
    case("500 for a wrong type", "chat", deny(lambda asked: isinstance(asked.json.get("messages"), int), 500), "errors.type"),
    case("any model", "chat", Fault(any_model), "errors.model"),
    case("errors in another shape", "chat", errors(detail), *ERRORS, "overflow"),
    case("busy without Retry-After", "chat", Fault(is_busy=True), "together"),
    case("slots that are never free again", "chat", Fault(slots=4), "gone"),
    case("models for OpenAI's clients alone", "chat", Fault(sent=openai_list), "models.union"),
    case("greetings get 500", "chat", Fault(lambda asked: refusal(500, "") if asked.method == "HEAD" else None), "hello"),
    case("more slots than are usual, never free again", "chat", Fault(sent=untold, slots=10), "gone"),
    *(case("the model never sees the tools", dialect, Fault(blind), "tools.shown")
      for dialect in ("chat", "responses", "messages", "ollama")),
    *(case("pictures dropped", dialect, Fault(drop_picture), "image") for dialect in ("chat", "responses", "messages", "ollama")),
    case("500 for pictures", "chat", deny(has_picture, 500, "boom"), "image"),
    case("500 for two answers", "chat", deny(lambda asked: "n" in asked.json, 500, "boom"), "n"),
    case("two answers of one place", "chat", Fault(sent=twice), "n"),
    case("no route for vectors", "chat", deny(lambda asked: asked.path == "/v1/embeddings", 404), "embeddings"),
    case("base64 refused", "chat", deny(lambda asked: asked.json.get("encoding_format") == "base64"), "embeddings"),
    case("base64 cut", "chat", vectors(halves), "embeddings"),
    case("vectors of nothing", "chat", vectors(zeros), "embeddings"),
    case("one vector for two texts", "chat", vectors(lambda data: data[:1]), "embeddings"),
    case("no message_start", "messages", spoil(unless("message_start"), whole=False), "stream"),
    case("no message_stop", "messages", spoil(unless("message_stop"), whole=False), "stream"),
    case("no message_delta", "messages", spoil(unless("message_delta"), whole=False), "stream"),
    case("no content_block_stop", "messages", spoil(unless("content_block_stop"), whole=False), "stream"),
    case("indices from 1", "messages", rub(rb'"index":0', b'"index":1'), "stream"),
    case("events without names", "messages", rub(rb"event: \w+\n", b""), "stream"),
    case("no input_tokens at the start", "messages", spoil(delta("message_start", no_usage), whole=False), "letter"),
    case("tool_choice passed over", "messages", Fault(forget_choice), "tools.forced", "tools.required"),
    case("system inside refused", "messages", deny(has_role("system")), "system_inside"),
    case("betas refused", "messages", deny(lambda asked: "?beta" in asked.path), "extras"),
    case("threads taken", "messages", Fault(take_thread), "thread"),
    case("500 for counting", "messages", deny(lambda asked: "count_tokens" in asked.path, 500), "count_tokens"),
    case("errors in OpenAI's shape", "messages", errors(openai_shape), *ERRORS, "thread"),
    case("numbers that do not rise", "responses", rub(rb'"sequence_number":\d+', b'"sequence_number":1'), "letter"),
    case("no response.created", "responses", spoil(unless("response.created"), whole=False), "stream"),
    case("no response.completed", "responses", spoil(unless("response.completed"), whole=False), "stream"),
    case("items never done", "responses", spoil(unless("response.output_item.done"), whole=False), "stream"),
    case("words that were not told", "responses",
         spoil(delta("response.output_text.delta", other_words), whole=False), "stream"),
    case("reasoning refused", "responses", deny(has_item("reasoning")), "items"),
    case("other tools refused", "responses",
         deny(lambda asked: any(tool.get("type") != "function" for tool in asked.json.get("tools", ()))), "kinds"),
    case("a response that never was", "responses", Fault(take_previous), "previous"),
    case("schema passed over", "responses", Fault(forget_schema), "schema"),
    case("500 for arguments that are no JSON", "responses",
         deny(is_call_of(is_cut), 500), "history.invalid"),
    case("never done", "ollama", spoil(lambda one: {**one, "done": False}, whole=False), "stream"),
    case("no done_reason", "ollama", spoil(without("done_reason")), "letter", "finish"),
    case("no counts", "ollama", spoil(without("eval_count", "prompt_eval_count")), "usage"),
    case("no tags", "ollama", Fault(lambda asked: refusal(500, "") if asked.path == "/api/tags" else None), "tags"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
async def test_fault_is_found_by_its_check_alone(upstream: Served, case: Case) -> None:
    async with broken(upstream.base, case.fault) as server:
        patience: dict[str, Any] = (
            {} if case.fault.slots is None else {"settle_s": 0.5}
        )  # where nothing will come, it does not matter how long
        report = await examine(server.url, case.dialect, **patience)
    assert fails(report) == case.fails, [finding for finding in report.findings if finding.status is Status.FAIL]


@pytest.mark.parametrize("dialect", ["chat", "messages", "responses", "ollama"])
async def test_server_without_a_fault_passes_every_check(upstream: Served, dialect: str) -> None:
    async with broken(upstream.base, Fault()) as server:
        report = await examine(server.url, dialect)
    assert not fails(report), [finding for finding in report.findings if finding.status is Status.FAIL]
    assert of(report, Status.UNSUPPORTED) <= {"chat.n"}
    assert of(report, Status.UNSURE) == {"keepalive"}


async def test_model_that_never_sees_tools_is_told_with_both_counts_and_what_to_do(upstream: Served) -> None:
    async with broken(upstream.base, Fault(blind)) as server:
        only = frozenset({"tools.shown", "tools.auto"})
        report = await examine(server.url, "chat", only=only, words={})
    (found,) = [one for one in report.findings if one.check == "chat.tools.shown"]
    assert re.fullmatch(r"the model never sees the tools: (\d+) tokens with and without", found.seen)
    assert "--chat-template-file" in found.advice
    assert seen(report, "chat.tools.auto").endswith("it never sees them (tools.shown)")
    says = {one.agent: one.says for one in report.agents}
    assert set(says.values()) == {"will not work: chat.tools.shown fails"}
    assert "opencode" in says
    assert not {"aider", "open-webui"} & set(says)  # they call no tools, which alone was asked for


async def test_slots_that_the_server_tells_are_all_tried(upstream: Served) -> None:
    def told(asked: Asked) -> Sent | None:
        if asked.path != "/v1/models":
            return None
        models = {"data": [{"id": "toy", "context_length": 1024, "relight": {"parallel": 20}}]}
        return Sent(200, json.dumps(models).encode(), {"content-type": "application/json"})

    only = frozenset({"gone"})
    async with broken(upstream.base, Fault(told, slots=20)) as server:
        report = await examine(server.url, "chat", only=only, settle_s=0.5)
    assert fails(report) == {"chat.gone"}
    assert seen(report, "chat.gone").startswith("20 answers were left")
    async with broken(upstream.base, Fault(told)) as server:
        report = await examine(server.url, "chat", only=only)
    assert seen(report, "chat.gone").startswith("20 answers were left (of 20 slots)")


async def test_several_answers_are_refused_or_passed_over_without_being_a_fault(upstream: Served) -> None:
    only = frozenset({"n"})
    report = await examine(upstream.base, "chat", model="toy", only=only)
    assert seen(report, "chat.n") == "passed over: one answer came where two were asked for"
    async with broken(upstream.base, deny(lambda asked: "n" in asked.json, 400, "one is enough")) as server:
        report = await examine(server.url, "chat", only=only)
    assert seen(report, "chat.n") == "refused: status 400: one is enough"
    assert of(report, Status.UNSUPPORTED) == {"chat.n"}


async def test_limit_with_retry_after_is_waited_for_as_agents_do(upstream: Served) -> None:
    count = itertools.count()

    def limited(asked: Asked) -> Sent | None:
        if asked.method != "POST" or next(count) % 3:
            return None
        return refusal(429, "too many", **{"retry-after": "7"})

    async with broken(upstream.base, Fault(limited)) as server:
        report = await examine(server.url, "chat", clock=Hurried())
    assert not fails(report), [finding for finding in report.findings if finding.status is Status.FAIL]
    assert next(count) > 60


async def test_agent_that_does_not_stream_works_where_streams_are_broken(upstream: Served) -> None:
    async with broken(upstream.base, deny(lambda asked: asked.json.get("stream"))) as server:
        report = await examine(server.url, "chat", is_quick=True, context=32768)
    says = {one.agent: one.says for one in report.agents}
    assert says["openhands"] == "should work; not shown: chat.no_limit"  # without an end it is asked in a stream alone
    assert says["opencode"] == "will not work: chat.stream fails"


async def test_missing_dialect_is_unsupported_and_its_agents_will_not_work(upstream: Served) -> None:
    gone = Fault(lambda asked: refusal(404, "no such path") if asked.path.startswith(RESPONSES) else None)
    async with broken(upstream.base, gone) as server:
        report = await examine(server.url, "chat", "responses", is_quick=True)
    assert of(report, Status.UNSUPPORTED) == {"responses.plain", "responses.stream"}
    assert not [finding for finding in report.findings if finding.check.startswith("responses.tools")]
    says = {one.agent: one for one in report.agents}
    assert says["codex"].says == "will not work: needs responses, missing"
    assert says["codex"].status is Status.UNSUPPORTED
    assert says["continue"].status is Status.FAIL  # the context of the model is too small for it

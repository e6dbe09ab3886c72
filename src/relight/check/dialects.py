"""What one dialect alone has: the fields that its agents send, and the routes beside the main one."""

from __future__ import annotations

from typing import Any, Final

from relight.check.http import Auth, Reply
from relight.check.question import Json, Question, Turn, number, obj, objs, text
from relight.check.tools import TIME, WEATHER
from relight.check.unit import FEW, HELLO, Check, Place
from relight.check.verdict import Outcome, failed, passed, shown, unsupported, unsure

_MISSING: Final = (404, 405, 501)
_EXTRAS: Final[dict[str, Json]] = {
    "chat": {
        "store": False,
        "metadata": {"from": "relight check"},
        "prompt_cache_key": "relight-check",
        "reasoning_effort": "low",
        "user": "relight-check",
        "parallel_tool_calls": True,
        "service_tier": "auto",
    },
    "responses": {
        "include": ["reasoning.encrypted_content"],
        "parallel_tool_calls": True,
        "reasoning": {"summary": "auto"},
        "prompt_cache_key": "relight-check",
        "client_metadata": {"from": "relight check"},
        "service_tier": "auto",
    },
    "messages": {
        "thinking": {"type": "adaptive"},
        "context_management": {"edits": []},
        "metadata": {"user_id": '{"from":"relight check"}'},
        "output_config": {"effort": "medium"},
        "service_tier": "auto",
    },
    "ollama": {"keep_alive": "5m", "think": False},
}
_BETAS: Final = {"anthropic-version": "2023-06-01", "anthropic-beta": "claude-code-20250219,context-management-2025-06-27"}


async def _extras(place: Place) -> Outcome:
    is_messages = place.tongue.name == "messages"
    how: dict[str, Any] = {"headers": _BETAS, "query": "?beta=true"} if is_messages else {}
    heard = await place.ask(place.question(HELLO, max_tokens=FEW, more=_EXTRAS[place.tongue.name]), **how)
    return failed(heard.problem) if heard.problem else passed("unknown fields are passed over")


async def _roles(place: Place) -> Outcome:
    """OpenCode's title request and others: a developer, two users in a row, a system message late, the assistant last."""
    turns = (
        Turn("developer", "You are brief."),
        Turn("user", "Hello."),
        Turn("user", "Hello again."),
        Turn("assistant", "Hello."),
        Turn("system", "Be even briefer."),
        place.user(HELLO),
        Turn("assistant", ""),
    )
    heard = await place.ask(Question(turns, FEW, stream=place.streams))
    return failed(heard.problem) if heard.problem else passed("taken")


async def _several(place: Place) -> Outcome:
    heard = await place.ask(place.question(HELLO, stream=False, max_tokens=FEW, more={"n": 2}))
    if heard.refusal is not None and (heard.reply.status or 0) < 500:
        return unsupported(f"refused: {heard.problem}")
    if heard.problem:
        return failed(heard.problem)
    places = [number(choice.get("index")) for choice in objs((heard.reply.json() or {}).get("choices"))]
    if len(places) == 1:
        return unsupported("passed over: one answer came where two were asked for")
    return passed("two answers came") if places == [0, 1] else failed(f"two answers were asked for, and these came: {places}")


async def _system_inside(place: Place) -> Outcome:
    turns = (Turn("user", "Hello."), Turn("system", "You are brief."), place.user(HELLO))
    heard = await place.ask(Question(turns, FEW, stream=place.streams))
    return failed(heard.problem) if heard.problem else passed("taken")


async def _thread(place: Place) -> Outcome:
    said = place.question(HELLO, stream=False, more={"thread": {"type": "create"}})
    heard = await place.ask(said, headers={"anthropic-beta": "message-threads-2026-08-12"})
    if heard.refusal is None:
        return failed("a thread is taken without being kept: the next turn would forget everything")
    if heard.reply.status == 400 and heard.refusal.code == "thread_unsupported_request":
        return passed("refused so that clients send the whole history")
    return failed(f"refused with {heard.reply.status} {shown(heard.refusal.code, 40)!r}: clients do not know that they may go on")


async def _count(place: Place) -> Outcome:
    body = {"model": place.session.model, "messages": [{"role": "user", "content": HELLO}]}
    reply = await _post(place, "/v1/messages/count_tokens", body)
    if reply.status in _MISSING:
        return unsupported("count_tokens is not there")
    tokens = number((reply.json() or {}).get("input_tokens"))
    return passed(f"{tokens} tokens") if reply.is_fine and tokens else failed(f"no count: {reply.came}")


async def _items(place: Place) -> Outcome:
    """A turn of Codex's: developer messages, reasoning that is sealed, a call and its output, nothing in `instructions`."""
    items: list[Json] = [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "You are brief."}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": place.user("Hello.").text}]},
        {"type": "reasoning", "summary": [], "encrypted_content": "c2VhbGVk"},
        {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city": "Oslo"}'},
        {"type": "function_call_output", "call_id": "call_1", "output": "12 degrees"},
    ]
    heard = await place.ask(Question((), FEW, stream=place.streams, tools=(WEATHER,), more={"input": items}))
    return failed(heard.problem) if heard.problem else passed("taken")


async def _kinds(place: Place) -> Outcome:
    """Tools that are no functions: what can be served is, the rest is passed over."""
    inner = {"type": "function", "name": TIME.name, "description": TIME.description, "parameters": TIME.schema}
    tools = [
        {"type": "function", "name": WEATHER.name, "description": WEATHER.description, "parameters": WEATHER.schema},
        {"type": "namespace", "name": "clock", "description": "Clocks.", "tools": [inner]},
        {"type": "web_search"},
    ]
    heard = await place.ask(place.question(HELLO, max_tokens=FEW, more={"tools": tools}))
    return failed(heard.problem) if heard.problem else passed("taken")


async def _previous(place: Place) -> Outcome:
    said = place.question(HELLO, stream=False, more={"previous_response_id": "resp_relight_check"})
    heard = await place.ask(said)
    if heard.refusal is None:
        return failed("an answer to a response that never was: the history would be lost unseen")
    if heard.reply.status in (400, 404):
        return passed(f"refused: {shown(heard.refusal.message, 80)}")
    return failed(heard.problem or "")


async def _show(place: Place) -> Outcome:
    reply = await _post(place, "/api/show", {"model": place.session.model})
    if reply.status in _MISSING:
        return unsupported("/api/show is not there")
    able = (reply.json() or {}).get("capabilities")
    if not reply.is_fine or not isinstance(able, list):
        return failed(f"no capabilities: {reply.came}")
    return (
        passed(f"can {', '.join(map(str, able))}") if "tools" in able else unsure(f"no tools among {', '.join(map(str, able))}")
    )


async def _tags(place: Place) -> Outcome:
    reply = await place.session.line.ask("GET", "/api/tags", within_s=place.session.settings.request_s)
    names = [text(one.get("model")) or text(one.get("name")) for one in objs((reply.json() or {}).get("models"))]
    return passed(f"{len(names)} listed") if reply.is_fine and names else failed(f"no models: {reply.came}")


async def _version(place: Place) -> Outcome:
    reply = await place.session.line.ask("GET", "/api/version", within_s=place.session.settings.request_s)
    version = text(obj(reply.json()).get("version"))
    return passed(version) if version else failed(f"no version: {reply.came}")


async def _post(place: Place, path: str, body: Json) -> Reply:
    return await place.session.line.ask("POST", path, body, within_s=place.session.settings.request_s, auth=Auth.BEARER)


_IGNORE: Final = "pass over fields that you do not know"
_MESSAGES: Final = ("messages",)
_RESPONSES: Final = ("responses",)
_OLLAMA: Final = ("ollama",)

CHECKS: Final = (
    Check("extras", "fields that agents send", _extras, "every agent sends some", _IGNORE),
    Check(
        "roles", "roles in any order", _roles, "OpenCode's titles, Aider, agents that were interrupted",
        "mend what the template rejects", dialects=("chat",),
    ),
    Check(
        "n", "several answers to one question", _several, "programs that choose the best of several answers",
        "give each its index in choices, or answer 400", needs=("plain",), dialects=("chat",),
    ),
    Check(
        "system_inside", "system inside messages", _system_inside, "Claude Code puts 9 KB there",
        "take the role system anywhere", dialects=_MESSAGES,
    ),
    Check(
        "thread", "threads are refused so that clients know", _thread,
        "tool runners of Anthropic's clients lose the conversation",
        "answer 400 with details.error_code thread_unsupported_request", dialects=_MESSAGES,
    ),
    Check("count_tokens", "tokens are counted beforehand", _count, "clients that fit a prompt", "serve it", dialects=_MESSAGES),
    Check(
        "items", "a turn of Codex's", _items, "Codex sends developer messages and sealed reasoning back",
        "take every kind of item", dialects=_RESPONSES,
    ),
    Check(
        "kinds", "tools that are no functions", _kinds, "Codex offers a namespace and a web search",
        "serve what is a function, pass over the rest", dialects=_RESPONSES,
    ),
    Check(
        "previous", "a previous response is known or refused", _previous, "who relies on it loses the conversation",
        "keep responses, or answer 400", dialects=_RESPONSES,
    ),
    Check(
        "show", "capabilities are told", _show, "clients offer tools only where the model has them", "tell them",
        dialects=_OLLAMA,
    ),
    Check("tags", "models are listed", _tags, "clients list them", "serve /api/tags", dialects=_OLLAMA),
    Check("version", "a version is told", _version, "clients ask it first", "serve /api/version", dialects=_OLLAMA),
)  # fmt: skip

"""Whether tools can be called, forced and forbidden, and whether a history of calls is taken, however badly a model began it.

What depends on a model's will (a call that nobody forces) is told apart from what the server does with it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from relight.check.question import Call, Finish, Question, Tool, Turn, misfit
from relight.check.unit import FEW, Check, Heard, Place, Run
from relight.check.unread import resembles_call, unread_call
from relight.check.verdict import Outcome, Status, failed, passed, shown, unsure

WEATHER: Final = Tool(
    "weather",
    "How the weather is in a city.",
    {
        "type": "object",
        "properties": {"city": {"type": "string", "enum": ["Oslo", "Lima"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
)
TIME: Final = Tool(
    "time",
    "What time it is in a zone.",
    {
        "type": "object",
        "properties": {"zone": {"type": "string", "enum": ["UTC", "CET"]}},
        "required": ["zone"],
        "additionalProperties": False,
    },
)
TOOLS: Final = (WEATHER, TIME)
_BY_NAME: Final = {tool.name: tool for tool in TOOLS}
ASK: Final = "How is the weather in Oslo? Use the tool weather."
_ASK_TWICE: Final = "How is the weather in Oslo, and how in Lima? Call the tool weather twice, once for each, at the same time."
_WITH_CHOICE: Final = ("chat", "responses", "messages")
# Where arguments are text, which need not be JSON; elsewhere they are an object.
_AS_TEXT: Final = ("chat", "responses")
_THANKS: Final = "Thank you. Reply with the one word OK."
_TOKENS: Final = 96


def _wrong(heard: Heard, place: Place) -> str | None:
    """What is wrong with the calls of an answer."""
    if heard.problem:
        return heard.problem
    for call in heard.answer.calls:
        if call.name not in _BY_NAME:
            return f"calls {shown(call.name, 30)!r}, which was not offered"
        if (why := misfit(call.arguments, _BY_NAME[call.name].schema)) is not None and heard.answer.finish != Finish.LENGTH:
            return f"calls {call.name}, but {why}"
    if place.tongue.has_choice:
        ids = [call.id for call in heard.answer.calls]
        if not all(ids) or len(set(ids)) < len(ids):
            return "calls without an id, or two with the same"
    return None


async def _auto(place: Place) -> Outcome:
    return await _willing(place, ASK, 1)


async def _parallel(place: Place) -> Outcome:
    return await _willing(place, _ASK_TWICE, 2)


async def _willing(place: Place, words: str, wanted: int) -> Outcome:
    """Ask for calls that the model may leave."""
    seen, said = [], ""
    for stream in place.forms:
        choice = "auto" if place.tongue.has_choice else None
        heard = await place.ask(place.question(words, tools=TOOLS, choice=choice, stream=stream, max_tokens=_TOKENS))
        if (wrong := _wrong(heard, place)) is not None:
            return failed(wrong)
        if not heard.answer.calls and (left := unread_call(heard.answer.text, _BY_NAME)):
            return failed(f"the model called, and the server left it as text: {shown(left, 60)!r}")
        seen.append(len(heard.answer.calls))
        said = heard.answer.text
    if min(seen) >= wanted:
        return passed(f"{wanted} called, as they should be")
    return unsure(f"tools are taken, but the model called {min(seen)} of {wanted}: {_reason_not_to_call(place, said)}")


def _reason_not_to_call(place: Place, said: str) -> str:
    if resembles_call(said, _BY_NAME):
        return f"what it wrote is none: {shown(said, 60)!r}"
    match place.session.found.get(f"{place.tongue.name}.tools.shown"):
        case Status.FAIL:
            return "it never sees them (tools.shown)"
        case Status.PASS:
            return "it sees them, so that is its own choice"
        case _:
            return "its own choice, as far as can be seen"


async def _forced(place: Place) -> Outcome:
    return await _demanded(place, "weather", (WEATHER,))


async def _required(place: Place) -> Outcome:
    return await _demanded(place, "required", TOOLS)


async def _demanded(place: Place, choice: str, tools: tuple[Tool, ...]) -> Outcome:
    """A demanded call does not depend on the model: a grammar writes it."""
    for stream in place.forms:
        said = place.question(ASK, tools=tools, choice=choice, stream=stream, max_tokens=_TOKENS)
        heard = await place.ask(said)
        place.session.heard[f"{place.tongue.name}.{place.name}"] = heard
        form = "streamed: " if stream else "whole: "
        if (wrong := _wrong(heard, place)) is not None:
            return failed(form + wrong)
        if not heard.answer.calls:
            return failed(f"{form}a call was demanded, and text came: {shown(heard.answer.text, 40)!r}")
        if choice != "required" and {call.name for call in heard.answer.calls} != {choice}:
            return failed(f"{form}{choice} was demanded, and {shown(heard.answer.calls[0].name, 30)} was called")
        if heard.answer.finish == Finish.LENGTH and misfit(heard.answer.calls[0].arguments, WEATHER.schema):
            return unsure("the call was cut off before it could be judged")
    return passed("called, with arguments that fit the schema")


async def _none(place: Place) -> Outcome:
    heard = await place.ask(place.question(ASK, tools=TOOLS, choice="none"))
    if heard.problem:
        return failed(heard.problem)
    if heard.answer.calls:
        return failed(f"calls were forbidden, and {shown(heard.answer.calls[0].name, 30)} was called")
    return passed("no call")


async def _reason(place: Place) -> Outcome:
    heard = place.session.heard.get(f"{place.tongue.name}.tools.forced")
    if heard is None or not heard.answer.calls:
        return unsure("no call was seen")
    if heard.answer.finish != Finish.TOOLS:
        return failed(f"a call ends with {str(heard.answer.finish)!r}")
    return passed("a call ends as a call")


_CALL: Final = Call("call_00000001", "weather", '{"city": "Oslo"}')


def _history(place: Place, call: Call, answers: str | None, **more: Any) -> Question:
    turns = (
        Turn("system", "You are brief."),
        place.user("How is the weather in Oslo?"),
        Turn("assistant", None, (call,)),
        Turn("tool", "12 degrees, rain", answers=answers),
    )
    return Question(**{"turns": turns, "tools": TOOLS, "stream": place.streams, "max_tokens": FEW, **more})


async def _told(place: Place) -> Outcome:
    """Two rounds: the call that was answered, then another question."""
    first = _history(place, _CALL, _CALL.id)
    heard = await place.ask(first)
    if heard.problem:
        return failed(heard.problem)
    again = replace(first, turns=(*first.turns, Turn("assistant", heard.answer.text or "12 degrees."), place.user(_THANKS)))
    heard = await place.ask(again)
    return failed(heard.problem) if heard.problem else passed("a call, its result and the next question are taken")


def _broken(call: Call, answers: str | None = _CALL.id, **more: Any) -> Run:
    """A history with this call in it has to be taken: it is there to stay, and would end the conversation."""

    async def run(place: Place) -> Outcome:
        heard = await place.ask(_history(place, call, answers, **more))
        if heard.reply.status is not None and heard.reply.status >= 500:
            return failed(f"{heard.problem} (agents ask again and again)")
        return failed(heard.problem) if heard.problem else passed("taken")

    return run


_BRICK: Final = "one bad call of the model ends the whole conversation, for every turn sends it again"
_MEND: Final = "mend such a call before the template sees it"
_CALLS: Final = "agents work by calling tools"

CHECKS: Final = (
    Check(
        "tools.auto", "tools offered", _auto, _CALLS,
        "recognise the model's calls (llama.cpp: --jinja and a template with tools; vLLM: --enable-auto-tool-choice)",
    ),
    Check(
        "tools.parallel", "two calls at once", _parallel, "agents read several files at once",
        "give each call an index and an id",
    ),
    Check(
        "tools.forced", "a named tool is demanded", _forced, "structured output of LangChain and others",
        "enforce it by a grammar", dialects=_WITH_CHOICE,
    ),
    Check(
        "tools.required", "some tool is demanded", _required, "LlamaIndex, pydantic-ai and smolagents",
        "enforce it by a grammar", dialects=_WITH_CHOICE,
    ),
    Check(
        "tools.none", "tools are forbidden", _none, "summaries are asked for with the tools of the conversation",
        "do not let the model call", dialects=_WITH_CHOICE,
    ),
    Check(
        "tools.reason", "a call says that it is one", _reason, "no agent that is known breaks on it, but a strict client may",
        "end an answer that calls as a call", needs=("tools.forced",), dialects=_WITH_CHOICE,
    ),
    Check(
        "history.tools", "a call and its result go back", _told, "every turn of an agent after the first",
        "use a template that knows tool results",
    ),
    Check(
        "history.empty", "a call without arguments", _broken(replace(_CALL, arguments="")), _BRICK, _MEND,
    ),
    Check(
        "history.invalid", "a call whose arguments are no JSON", _broken(replace(_CALL, arguments='{"city": "Os')), _BRICK, _MEND,
        dialects=_AS_TEXT,
    ),
    Check(
        "history.unknown", "a call of a tool that is not offered", _broken(replace(_CALL, name="no_such_tool")), _BRICK, _MEND,
    ),
    Check("history.no_tools", "calls in the history, no tools offered", _broken(_CALL, tools=()), "titles and summaries", _MEND),
    Check(
        "history.no_id", "a call without an id", _broken(replace(_CALL, id=None), None), _BRICK, _MEND, dialects=("chat",),
    ),
)  # fmt: skip

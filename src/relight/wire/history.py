"""Mendings of a conversation, so that one bad turn cannot brick it; must not know which engine or client it is. No I/O.

Each is one function: it changes the messages, which are the caller's own, and says in how many places. What it makes up is the
same each time: a prompt that begins as the last one did is read from the cache. Histories that are whole are left alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from relight.decoding import NOT_JSON
from relight.wire.dialect import objects, words
from relight.wire.translation import Json

Mending = Callable[[list[Any]], int]

NOT_RUN: Final = "This call was not run."
_NAMELESS: Final = "unknown"
_OF_A_FUNCTION: Final = ("custom", "name", "arguments")
_TEXT_KINDS: Final = {"refusal": "refusal", "input_text": "text", "output_text": "text"}


def mend_history(messages: list[Any], wanted: frozenset[str], counts: dict[str, int]) -> bool:
    """Do what is wanted, by name, and count it; true when that changed anything."""
    if _is_plain(messages):
        return False
    changed = False
    for name, mending in MENDINGS.items():
        if name in wanted and (places := mending(messages)):
            counts[name] = counts.get(name, 0) + places
            changed = True
    return changed


def _is_plain(messages: list[Any]) -> bool:
    """Whether at a glance nothing can be wrong: words alone, as most conversations are, and no two answers at the end."""
    for message in messages:
        if not isinstance(message, dict) or "tool_calls" in message or message.get("role") == "tool":
            return False
        content = message.get("content", 0)
        if not isinstance(content, str) and not (isinstance(content, list) and all(map(_is_part, content))):
            return False
    return len(messages) < 2 or not (messages[-1].get("role") == messages[-2].get("role") == "assistant")


def _is_part(part: object) -> bool:
    return isinstance(part, dict) and part.get("type") in ("text", "image_url", "input_audio")


# --- messages -------------------------------------------------------------------------------------------------------------


def content_shapes(messages: list[Any]) -> int:
    """Content that is an object, a number or a truth value becomes text, and so does a part that is text alone."""
    places = 0
    for message in objects(messages):
        content = message.get("content")
        if isinstance(content, list):
            parts = [_part(part) for part in content]
            if parts != content:
                message["content"], places = parts, places + 1
        elif content is not None and not isinstance(content, str):
            message["content"], places = _text(content), places + 1
    return places


def _part(part: Any) -> Any:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    key = _TEXT_KINDS.get(words(part.get("type"))) if isinstance(part, dict) else None
    return {"type": "text", "text": words(part.get(key))} if key is not None else part


def empty_content(messages: list[Any]) -> int:
    """A message with neither content nor calls says nothing, and says so: `null` is content to the engine, no key is not."""
    places = 0
    for message in objects(messages):
        if "content" not in message and not message.get("tool_calls"):
            message["content"], places = "", places + 1
    return places


def last_answers(messages: list[Any]) -> int:
    """Answers in a row at the end become one: llama.cpp continues one, and refuses several."""
    begin = len(messages)
    while begin and _is_plain_answer(messages[begin - 1]):
        begin -= 1
    row = messages[begin:]
    if len(row) < 2:
        return 0
    messages[begin:] = [{**row[0], "content": joined(*(one.get("content") for one in row))}]
    return len(row) - 1


def _is_plain_answer(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") == "assistant" and not message.get("tool_calls")


def joined(*contents: object) -> object:
    """Several contents as one."""
    texts = [one for one in contents if isinstance(one, str | None)]
    if len(texts) == len(contents):
        return "\n\n".join(text for text in texts if text)
    return [part for one in contents for part in _parts(one)]


def _parts(content: object) -> list[Any]:
    if isinstance(content, list):
        return content
    return [{"type": "text", "text": content}] if isinstance(content, str) and content else []


# --- calls ----------------------------------------------------------------------------------------------------------------


def call_shapes(messages: list[Any]) -> int:
    """Calls are a list of functions, each with a name; what is none is left out."""
    places = 0
    for message in objects(messages):
        calls = message.get("tool_calls")
        if calls is None:
            continue
        listed = [calls] if isinstance(calls, dict) else calls if isinstance(calls, list) else []
        shaped = [call for call in map(_shaped, objects(listed)) if call is not None]
        if shaped != calls:
            message["tool_calls"], places = shaped, places + 1
            if not shaped:
                del message["tool_calls"]
    return places


def _shaped(call: Json) -> Json | None:
    function = call.get("function")
    if isinstance(function, str):
        function = {"name": function, "arguments": call.get("arguments", "{}")}
    if not isinstance(function, dict):
        custom = call.get("custom")
        if isinstance(custom, dict):
            function = {"name": custom.get("name"), "arguments": _text({"input": words(custom.get("input"))})}
        elif "name" in call:
            function = {"name": call["name"], "arguments": call.get("arguments", "{}")}
        else:
            return None
    if not words(function.get("name")).strip():
        function = {**function, "name": _NAMELESS}
    return {**{key: said for key, said in call.items() if key not in _OF_A_FUNCTION}, "type": "function", "function": function}


def call_arguments(messages: list[Any]) -> int:
    """No arguments become `{}`; what is no JSON object becomes one that keeps its text as `_raw`."""
    return sum(tool_arguments(call["function"]) for _, call in _calls(messages))


def tool_arguments(function: Json) -> bool:
    """`call_arguments` for one call; true when that changed it."""
    said = function.get("arguments", "")
    if isinstance(said, dict):
        return False
    if not isinstance(said, str):
        said = _text(said)
    is_nothing = not said.strip() or said.strip() == "null"
    if not is_nothing and _is_object(said):
        return False
    function["arguments"] = "{}" if is_nothing else _text({"_raw": said})
    return True


def call_ids(messages: list[Any]) -> int:
    """Every call has an id that no other in its message has, and every result right behind it names the call that it is of."""
    places = 0
    for at, calls in _turns(messages):
        known: set[str] = set()
        renamed: list[tuple[Any, str]] = []
        for place, call in enumerate(calls):
            said = call.get("id")
            new = said if isinstance(said, str) and said and said not in known else f"call_{at}_{place}"
            known.add(new)
            renamed.append((said, new))
            places += new != said
            call["id"] = new
        places += _named_results(messages, at, renamed)
    return places


def _named_results(messages: list[Any], at: int, renamed: list[tuple[Any, str]]) -> int:
    """Each result of a turn is given the first call that it can be of; true to what it says, then in order."""
    places, waiting = 0, _Waiting(renamed)
    for result in _results(messages, at):
        said = result.get("tool_call_id")
        new = waiting.take(said)
        if new is None:
            if not isinstance(said, str):
                result["tool_call_id"], places = f"call_{at}_none", places + 1
        elif said != new:
            result["tool_call_id"], places = new, places + 1
    return places


class _Waiting:
    """The calls of a turn that wait for a result: what each said as its id, and its id now. A client says how many."""

    def __init__(self, renamed: list[tuple[Any, str]]) -> None:
        self._open = {new for _, new in renamed}
        self._in_order = deque(new for _, new in renamed)
        self._by_said: dict[str, deque[str]] = {}
        for said, new in renamed:
            self._by_said.setdefault(repr(said), deque()).append(new)

    def take(self, said: Any) -> str | None:
        """The id of the first call that a result can be of, if it says `said`."""
        # What was taken in order is still listed here, and no longer there.
        listed = self._by_said.get(repr(said), deque()) if said is not None else deque[str]()
        while listed and listed[0] not in self._open:
            listed.popleft()
        new = listed.popleft() if listed else None
        if new is None and not (isinstance(said, str) and said):
            while self._in_order and self._in_order[0] not in self._open:
                self._in_order.popleft()
            new = self._in_order[0] if self._in_order else None
        if new is not None:
            self._open.discard(new)
        return new


def lone_results(messages: list[Any]) -> int:
    """A result goes right behind its call; one whose call is not there is told as what it is, by the user."""
    places = 0
    rows: list[list[Any]] = []  # each message, with the results that belong behind it
    open_calls: dict[str, list[Any]] = {}
    behind: list[Any] | None = None  # the row that a result would stand in here
    for message in messages:
        if not isinstance(message, dict) or message.get("role") != "tool":
            behind = None
            rows.append([message])
            if isinstance(message, dict) and message.get("role") == "assistant" and message.get("tool_calls"):
                behind = rows[-1]
                open_calls |= {words(call.get("id")): behind for call in objects(message["tool_calls"])}
        elif (row := open_calls.pop(words(message.get("tool_call_id")), None)) is None:
            rows.append([_told_by_user(message)])
            behind, places = None, places + 1
        else:
            row.append(message)
            places += row is not behind
    messages[:] = [message for row in rows for message in row]
    return places


def _end_of_results(messages: list[Any], at: int) -> int:
    end = at + 1
    while end < len(messages) and isinstance(messages[end], dict) and messages[end].get("role") == "tool":
        end += 1
    return end


def _told_by_user(result: Json) -> Json:
    name = words(result.get("name"))
    lead = f"Result of {name}:" if name else "Result of an earlier tool call:"
    return {"role": "user", "content": joined(lead, result.get("content"))}


def call_results(messages: list[Any]) -> int:
    """A call without a result gets one that says that it was not run."""
    new: dict[int, list[Json]] = {}  # where they go
    for at, calls in _turns(messages):
        answered = {words(result.get("tool_call_id")) for result in _results(messages, at)}
        missing = [call for call in calls if words(call.get("id")) and call["id"] not in answered]
        if missing:
            results = [{"role": "tool", "tool_call_id": call["id"], "content": NOT_RUN} for call in missing]
            new[_end_of_results(messages, at)] = results
    if new:
        messages[:] = [one for at in range(len(messages) + 1) for one in (*new.get(at, ()), *messages[at : at + 1])]
    return sum(map(len, new.values()))


def _turns(messages: list[Any]) -> Iterator[tuple[int, list[Json]]]:
    """The messages with calls: where they stand, and their calls."""
    for at, message in enumerate(messages):
        if isinstance(message, dict) and message.get("role") == "assistant" and (calls := objects(message.get("tool_calls"))):
            yield at, calls


def _calls(messages: list[Any]) -> Iterator[tuple[int, Json]]:
    for at, calls in _turns(messages):
        yield from ((at, call) for call in calls if isinstance(call.get("function"), dict))


def _results(messages: list[Any], at: int) -> list[Json]:
    """The results that stand right behind a message."""
    return objects(messages[at + 1 : _end_of_results(messages, at)])


def _is_object(text: str) -> bool:
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except NOT_JSON:
        return False


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()


MENDINGS: Final[dict[str, Mending]] = {
    "content_shapes": content_shapes,
    "call_shapes": call_shapes,
    "empty_content": empty_content,
    "call_arguments": call_arguments,
    "call_ids": call_ids,
    "lone_results": lone_results,
    "call_results": call_results,
    "last_answers": last_answers,
}
"""In the order in which they are made: each relies on those before it."""

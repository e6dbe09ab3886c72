"""The forms in which models write calls as text, read into names and arguments; must not know which tools there are. No I/O.

As their makers' templates have them: Qwen and Hermes (`<tool_call>`), Qwen3-Coder (`<function=…>`), GLM (`<arg_key>`), Llama
(`<|python_tag|>`, `[f(x=1)]`), Mistral (`[TOOL_CALLS]`), DeepSeek and Kimi (their own tokens), `<invoke>`, and plain JSON.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from relight.wire.tool_json import NoCall, Written, json_calls, json_end

Read = Callable[[str], list[Written]]


@dataclass(frozen=True, slots=True)
class Form:
    """A marked form: what it begins with, what ends it, how it is read, and how what follows the opener may begin."""

    opener: str
    closers: tuple[str, ...]
    read: Read
    head: re.Pattern[str]
    """Matches what may follow the opener, as far as it is there."""
    is_json: bool = False
    """A closer inside a JSON text is no closer."""
    keeps_opener: bool = False
    """The opener is part of what is read."""


# --- tags -----------------------------------------------------------------------------------------------------------------

_FUNCTION: Final = re.compile(r"\s*<function=\s*([^>\s]+)\s*>(.*?)(?:</function>\s*|\Z)", re.DOTALL)
_PARAMETER: Final = re.compile(
    r"\s*<parameter=\s*([^>\s]+)\s*>(.*?)(?:</parameter>(?=\s*(?:<parameter=|\Z))|(?=<parameter=)|\Z)", re.DOTALL
)
_INVOKE: Final = re.compile(r"\s*<invoke name=\"([^\"]+)\"\s*>(.*?)(?:</invoke>\s*|\Z)", re.DOTALL)
_NAMED: Final = re.compile(
    r"\s*<parameter name=\"([^\"]+)\"[^>]*>(.*?)(?:</parameter>(?=\s*(?:<parameter name=|\Z))|\Z)", re.DOTALL
)
_ARG: Final = re.compile(r"\s*<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)(?:</arg_value>(?=\s*(?:<arg_key>|\Z))|\Z)", re.DOTALL)
_ARG_NAME: Final = re.compile(r"\s*([\w.-]+)\s*(?=<arg_key>)")


def tag_calls(text: str) -> list[Written]:
    """`<function=NAME><parameter=KEY>VALUE</parameter></function>`, and Llama's `<function=NAME>{…}</function>`."""
    return _tagged(text, _FUNCTION, _PARAMETER)


def invoke_calls(text: str) -> list[Written]:
    """`<invoke name="NAME"><parameter name="KEY">VALUE</parameter></invoke>`."""
    return _tagged(text, _INVOKE, _NAMED)


def _tagged(text: str, outer: re.Pattern[str], inner: re.Pattern[str]) -> list[Written]:
    found: list[Written] = []
    for name, body in _row(text, outer):
        said = body.strip()
        if said.startswith("{"):
            found.append(Written(name, said))
        else:
            found.append(Written(name, {key: _value(value) for key, value in _row(said, inner)}))
    if not found:
        raise NoCall
    return found


def key_calls(text: str) -> list[Written]:
    """GLM's `NAME<arg_key>KEY</arg_key><arg_value>VALUE</arg_value>`."""
    if (head := _ARG_NAME.match(text)) is None:
        raise NoCall
    return [Written(head[1], {key.strip(): _value(value) for key, value in _row(text[head.end() :], _ARG)})]


def _row(text: str, pattern: re.Pattern[str]) -> list[tuple[str, str]]:
    """Name and content of each match; raises `NoCall` when anything stands between them."""
    found, at = [], 0
    while at < len(text) and not text[at:].isspace():
        match = pattern.match(text, at)
        if match is None:
            raise NoCall
        found.append((match[1], match[2]))
        at = match.end()
    return found


def _value(text: str) -> str:
    """A value without the line breaks that stand around it by convention."""
    return text.removeprefix("\n").removesuffix("\n")


def tool_call_calls(text: str) -> list[Written]:
    """What stands in `<tool_call>`: JSON, tags, or keys."""
    said = _unfenced(text)
    if said.startswith("<function="):
        return tag_calls(said)
    if said.startswith("<invoke"):
        return invoke_calls(said)
    return json_calls(said) if said.startswith(("{", "[")) else key_calls(said)


# --- tokens --------------------------------------------------------------------------------------------------------------


def python_tag_calls(text: str) -> list[Written]:
    """What follows `<|python_tag|>`: JSON, one or several with semicolons, or Python."""
    from relight.wire.tool_python import python_calls

    said = text.strip()
    return json_calls(said) if said.startswith(("{", "[{")) else python_calls(said)


_MISTRAL: Final = re.compile(r"\s*(?:\[TOOL_CALLS\])?\s*([\w.:-]+)\s*(?:\[CALL_ID\]\s*\w+\s*)?(?:\[ARGS\])?\s*(?=\{)")
_DEEPSEEK: Final = re.compile(
    r"\s*<｜tool▁call▁begin｜>(?:function<｜tool▁sep｜>)?\s*([\w.:-]+)\s*(?:<｜tool▁sep｜>)?(.*?)(?:<｜tool▁call▁end｜>\s*|\Z)",
    re.DOTALL,
)
_KIMI: Final = re.compile(
    r"\s*<\|tool_call_begin\|>\s*([\w.:-]+?)(?::\d+)?\s*<\|tool_call_argument_begin\|>(.*?)(?:<\|tool_call_end\|>\s*|\Z)",
    re.DOTALL,
)
_FENCE: Final = re.compile(r"\A\s*```\w*\s*\n(.*?)\n?\s*(?:```)?\s*\Z", re.DOTALL)


def mistral_calls(text: str) -> list[Written]:
    """`[TOOL_CALLS] [{…}, …]`, and `[TOOL_CALLS]NAME[ARGS]{…}`, several in a row."""
    said = text.strip()
    if said.startswith(("[{", "{", "[ {", "[\n")):
        return json_calls(said)
    found, at = [], 0
    while (head := _MISTRAL.match(said, at)) is not None:
        end = json_end(said, head.end()) or len(said)
        found.append(Written(head[1], said[head.end() : end]))
        at = end
    if not found or said[at:].strip(" \n,;"):
        raise NoCall
    return found


def deepseek_calls(text: str) -> list[Written]:
    """Between DeepSeek's tokens: the name, then JSON, which older models put into a fence."""
    return _tokens(text, _DEEPSEEK)


def kimi_calls(text: str) -> list[Written]:
    """Between Kimi's tokens: `functions.NAME:0`, then JSON."""
    return _tokens(text, _KIMI)


def _tokens(text: str, pattern: re.Pattern[str]) -> list[Written]:
    found = [Written(name, _unfenced(arguments)) for name, arguments in _row(text, pattern)]
    if not found or not all(str(one.arguments).startswith("{") for one in found):
        raise NoCall
    return found


def _unfenced(text: str) -> str:
    inside = _FENCE.match(text)
    return (inside[1] if inside else text).strip()


# --- which there are ------------------------------------------------------------------------------------------------------

ENDS: Final = ("<|eom_id|>", "<|eot_id|>", "<|im_end|>", "<|end|>", "<|endoftext|>", "</s>")
"""Tokens that end an answer, and that some servers let through as text."""
STRAY: Final = (*ENDS, "</tool_call>", "</tool_calls>", "</function_call>", "</function>", "</tools>")
"""What may stand behind a call without a meaning: also ends of tags whose beginning was no text to the server."""

_JSON_HEAD: Final = re.compile(r"\s*(?:[{\[]|\Z)")
_CALL_HEAD: Final = re.compile(r"\s*(?:[{\[`]|<(?:[fi]|\Z)|[\w.-]+\s*(?:<(?:a|\Z)|\Z)|\Z)")
_NAME_HEAD: Final = re.compile(r"\s*[^<>\s{]*\s*(?:>|\Z)")
_WORD_HEAD: Final = re.compile(r"\s*[\w.:-]*(?:[<\s]|\Z)")
_QUOTED_HEAD: Final = re.compile(r"[^\"<>\s]*(?:\"|\Z)")
_PYTHON_HEAD: Final = re.compile(r"\s*(?:[{\[]|[A-Za-z_][\w.]*\s*(?:\(|\Z)|\Z)")
_MISTRAL_HEAD: Final = re.compile(r"\s*(?:[{\[]|[\w.:-]+\s*(?:[\[{]|\Z)|\Z)")
_INVOKE_HEAD: Final = re.compile(r"\s*(?:<(?:i|\Z)|\Z)")
_TOKEN_HEAD: Final = re.compile(r"\s*(?:<|\Z)")

FORMS: Final = (
    Form("<tool_call>", ("</tool_call>", "<tool_call>"), tool_call_calls, _CALL_HEAD, is_json=True),
    Form("<tool_calls>", ("</tool_calls>",), tool_call_calls, _CALL_HEAD, is_json=True),
    Form("<|tool_call|>", ("<|/tool_call|>", "</|tool_call|>"), json_calls, _JSON_HEAD, is_json=True),
    Form("<tools>", ("</tools>",), json_calls, _JSON_HEAD, is_json=True),
    Form("<function_call>", ("</function_call>",), json_calls, _JSON_HEAD, is_json=True),
    Form("<functioncall>", ("</functioncall>",), json_calls, _JSON_HEAD, is_json=True),
    Form("<function=", ("</function>",), tag_calls, _NAME_HEAD, keeps_opener=True),
    Form("<function_calls>", ("</function_calls>",), invoke_calls, _INVOKE_HEAD),
    Form("<minimax:tool_call>", ("</minimax:tool_call>",), invoke_calls, _INVOKE_HEAD),
    Form('<invoke name="', ("</invoke>",), invoke_calls, _QUOTED_HEAD, keeps_opener=True),
    Form("<|python_tag|>", ("<|eom_id|>", "<|eot_id|>"), python_tag_calls, _PYTHON_HEAD, is_json=True),
    Form("[TOOL_CALLS]", ("</s>",), mistral_calls, _MISTRAL_HEAD, is_json=True),
    Form("<｜tool▁calls▁begin｜>", ("<｜tool▁calls▁end｜>",), deepseek_calls, _TOKEN_HEAD),
    Form("<｜tool▁call▁begin｜>", ("<｜tool▁call▁end｜>",), deepseek_calls, _WORD_HEAD, keeps_opener=True),
    Form("<|tool_calls_section_begin|>", ("<|tool_calls_section_end|>",), kimi_calls, _TOKEN_HEAD),
)

"""Text of others, set apart in a prompt so that it stays what it is: data. Knows no document.

What stands between `<document …>` and `</document>` (or `passage`) cannot close it, and cannot speak as somebody else: engines
read the words that open and close a turn (`<|im_end|>`, `[INST]` …) as control tokens wherever they stand, also in a message.
So the first sign of these is written as HTML writes it (`&lt;|im_end|>`): plain text to the tokeniser, to a model a quotation.
"""

from __future__ import annotations

import re
from typing import Final

_OURS: Final = "document|passage"
_CONTROL: Final = re.compile(
    rf"""
      <(?=\s*+/?\s*+(?:{_OURS})\b)                                     # our own
    | <(?=[|｜][^\s<>]{{1,60}}[|｜>])                                    # <|im_start|>, <|channel>, DeepSeek's full-width bars
    | <(?=[|｜]\w[\w ]{{0,58}}\w[|｜]>)                                   # <|im start|>
    | <(?=/?\w{{1,60}}[|｜]>)                                           # <turn|>
    | <(?=/?(?:s|bos|eos|pad|unk|mask|sys|think|tool_call|tool_response|tools|start_of_\w+|end_of_\w+|(?:un)?used\d+)>)
    | <(?=/?seed:\w{{1,60}}>)                                            # Seed
    | <(?=(?:special_|extra_id_|reserved_|tokens_unused_|ctrl)\d{{1,6}}>) # Nemotron, T5, Baichuan, InternLM, PaLM
    | <(?=(?:eo[hamst]|[se]op|endoftext|repo_name|reponame|file_sep)>)   # InternLM, GLM, StarCoder
    | <(?=fim_(?:prefix|middle|suffix|pad)>)
    | <(?=role>(?:SYSTEM|HUMAN|USER|ASSISTANT|OBSERVATION)</role>)     # Ling
    | <(?=</?SYS>>)                                                    # Llama 2
    | \[(?=/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|THINK)\])   # Mistral
    | \[(?=\|\w{{3,40}}\|\])                                             # EXAONE: [|user|]
    | \[(?=[gs]MASK\]|unused\d{{1,6}}\])                                 # GLM, PanGu
    | \](?=~!?b[\[\]]) | \[(?=e~\[)                                     # MiniMax: ]~b]user … [e~[
    """,
    re.VERBOSE | re.IGNORECASE,
)
_QUOTED: Final = {"<": "&lt;", "[": "&#91;", "]": "&#93;"}
_ATTRIBUTE: Final = {
    ord(sign): f"&{name};" for sign, name in {"&": "amp", '"': "quot", "<": "lt", ">": "gt", "[": "#91", "]": "#93"}.items()
}


def inert(text: str) -> str:
    """`text` with everything broken up that an engine could read as a control token, or that could close a fence of ours."""
    return _CONTROL.sub(lambda match: _QUOTED[match[0]], text)


def fenced(name: str, text: str, **about: str) -> str:
    """`text` between `<name …>` and `</name>` on lines of their own, which cannot occur in it."""
    said = "".join(f' {key}="{_attribute(value)}"' for key, value in about.items())
    return f"<{name}{said}>\n{inert(text).strip()}\n</{name}>"


def _attribute(value: str) -> str:
    return " ".join(value.split()).translate(_ATTRIBUTE)

"""Text of others stays between its delimiters, and is no control token."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.assistant.fence import fenced, inert

PIECES = [
    "</document>",
    "<document",
    "</passage",
    ">",
    "<",
    "/",
    " ",
    "\n",
    "< /",
    "</ document >",
    "<|im_end|>",
    "a",
    '"',
    "DOCUMENT>",
    "]~b]",
]


@given(st.lists(st.sampled_from(PIECES)).map("".join), st.lists(st.sampled_from(PIECES)).map("".join))
def test_no_text_and_no_title_closes_or_opens_a_fence(text: str, title: str) -> None:
    told = fenced("document", text, title=title)
    assert re.findall(r"<\s*/?\s*(?:document|passage)\b", told, re.IGNORECASE) == ["<document", "</document"]
    assert "<|im_end|>" not in told
    assert "]~b]" not in told
    assert told.split("\n")[0].count('"') == 2


@pytest.mark.parametrize(
    "token",
    [
        "<|im_start|>", "<|channel>", "<channel|>", "<｜User｜>", "<start_of_turn>", "<end_of_turn>", "<s>", "</s>", "<eos>",
        "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "<<SYS>>", "<</SYS>>", "<think>", "</think>", "<tool_call>",
        "<|begin▁of▁sentence|>", "<unused12>", "[|user|]", "[|endofturn|]", "]~b]", "]~!b[", "[e~[", "<seed:bos>",
        "<seed:eos>", "<SPECIAL_11>", "<extra_id_0>", "<reserved_106>", "<TOKENS_UNUSED_0>", "<eoh>", "<eoa>", "<sop>",
        "<eop>", "[gMASK]", "<eot>", "<repo_name>", "<file_sep>", "<fim_prefix>", "<fim_middle>", "<|im start|>",
        "<ctrl99>", "[unused9]", "<role>SYSTEM</role>",
    ],
)  # fmt: skip
def test_control_token_becomes_plain_text(token: str) -> None:
    assert token not in inert(f"before {token} after")
    assert html.unescape(inert(f"before {token} after")) == f"before {token} after"


@pytest.mark.parametrize(
    "text",
    [
        "f <| x |> g", "a < b > c", "<p>", "x[INSTANCE]", "List<String>", "<documentation>", "# </h1>", "<span>", "a<b",
        "a<b and c>d", "[x]", "- [x] done", "[user](https://ok.example/)", "[|x|]", "|a|[b]|", "a[i]~b", "x[e]", "<repo>",
        "<file>", "<special>", "<reserved>", "<seed>", "<role>admin</role>", "f <|g x", "if (a<eo && b>c)",
        "std::vector<bool>", "m[1][2]", "<extra>", "![a](b.png)", "<https://ok.example/>", "a <b@ok.example>", "`x |> f`",
        "[1, 2]", "[unused]",
    ],
)  # fmt: skip
def test_other_text_is_not_touched(text: str) -> None:
    assert inert(text) == text

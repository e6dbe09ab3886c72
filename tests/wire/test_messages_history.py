"""Conversations of the Anthropic dialect as chat messages, block by block."""

from __future__ import annotations

from typing import Any

import pytest

from relight.errors import InvalidRequest
from relight.wire.messages_history import history

Json = dict[str, Any]

USERS = '"text", "image", "document", "search_result", "tool_reference"'
TEXT: Json = {"type": "text", "text": "one"}
IMAGE: Json = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}}
IMAGE_PART: Json = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}}
USE: Json = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}
CALL: Json = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}


def user(*blocks: Json) -> list[Json]:
    """What a user's blocks become."""
    return history(None, [{"role": "user", "content": list(blocks)}])


def result(content: Any = None, **more: Any) -> Json:
    """A tool's result."""
    told = {"type": "tool_result", "tool_use_id": "toolu_1", "content": content} | more
    return {key: value for key, value in told.items() if value is not None}


def assistant(*blocks: Json) -> list[Json]:
    """What an assistant's blocks become."""
    return history(None, [{"role": "assistant", "content": list(blocks)}])


def refused(*messages: Any, system: Any = None) -> str:
    with pytest.raises(InvalidRequest) as caught:
        history(system, list(messages))
    return caught.value.message


def test_string_and_one_block_of_text_are_the_same() -> None:
    assert user(TEXT) == history(None, [{"role": "user", "content": "one"}]) == [{"role": "user", "content": "one"}]


@pytest.mark.parametrize("system", ["Be brief.", [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]])
def test_system_prompt_comes_first(system: Any) -> None:
    assert history(system, [{"role": "user", "content": "hi"}])[0] == {"role": "system", "content": "Be brief."}


def test_system_message_at_the_start_joins_the_system_prompt() -> None:
    messages = [{"role": "system", "content": "Second."}, {"role": "user", "content": "hi"}]
    assert history("First.", messages) == [{"role": "system", "content": "First.\nSecond."}, {"role": "user", "content": "hi"}]


def test_system_message_in_the_middle_stays_there() -> None:
    messages = [{"role": "user", "content": "hi"}, {"role": "system", "content": [TEXT]}, {"role": "user", "content": "again"}]
    assert [message["role"] for message in history("First.", messages)] == ["system", "user", "system", "user"]


def test_two_users_in_a_row_are_one() -> None:
    messages = [{"role": "user", "content": "hi"}, {"role": "user", "content": [TEXT, IMAGE]}]
    texts = [{"type": "text", "text": "hi"}, {"type": "text", "text": "one"}]
    assert history(None, messages) == [{"role": "user", "content": [*texts, IMAGE_PART]}]


# --- what a user says


def test_images_become_data_urls() -> None:
    assert user(TEXT, IMAGE) == [{"role": "user", "content": [TEXT, IMAGE_PART]}]


def test_image_on_the_web_keeps_its_address() -> None:
    image = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    assert user(image)[0]["content"] == [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]


@pytest.mark.parametrize("url", ["file:///etc/passwd", "/etc/passwd", "gopher://x", "data:text/html,x"])
def test_image_that_the_engine_would_read_from_elsewhere_is_refused(url: str) -> None:
    image = {"type": "image", "source": {"type": "url", "url": url}}
    assert refused({"role": "user", "content": [image]}).startswith("messages.0.content.0.source.url: should begin with https://")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ({"type": "text", "media_type": "text/plain", "data": "body"}, "Title\nContext\nbody"),
        ({"type": "content", "content": "body"}, "Title\nContext\nbody"),
        ({"type": "content", "content": [TEXT, TEXT]}, "Title\nContext\none\none"),
    ],
)
def test_document_of_text_is_read_under_its_title(source: Json, told: str) -> None:
    document = {"type": "document", "title": "Title", "context": "Context", "source": source, "citations": {"enabled": True}}
    assert user(document) == [{"role": "user", "content": told}]


@pytest.mark.parametrize("kind", ["base64", "url", "file"])
def test_document_that_is_no_text_is_refused(kind: str) -> None:
    document = {"type": "document", "source": {"type": kind, "data": "JVBE"}}
    assert refused({"role": "user", "content": [document]}) == "messages.0.content.0.source.type: only text can be read here"


def test_document_cannot_hold_a_document() -> None:
    inner = {"type": "document", "source": {"type": "content", "content": [{"type": "document"}]}}
    assert refused({"role": "user", "content": [inner]}).startswith("messages.0.content.0.source.content.0.type: should be")


def test_search_result_is_read_under_its_title_and_source() -> None:
    found = {"type": "search_result", "title": "Title", "source": "https://example.com", "content": [TEXT]}
    assert user(found) == [{"role": "user", "content": "Title\nhttps://example.com\none"}]


# --- results of tools


@pytest.mark.parametrize(
    ("block", "told"),
    [
        (result("done"), "done"),
        (result([TEXT, TEXT]), "one\none"),
        (result(), ""),
        (result([]), ""),
        (result([{"type": "tool_reference", "tool_name": "Bash"}]), "Bash"),
        (result("done", is_error=False), "done"),
        (result("no such file", is_error=True), "Error:\nno such file"),
        (result("Error: no such file", is_error=True), "Error: no such file"),
        (result("<tool_use_error>no</tool_use_error>", is_error=True), "<tool_use_error>no</tool_use_error>"),
        (result(is_error=True), "Error"),
    ],
)
def test_result_of_a_tool_becomes_a_tool_message(block: Json, told: str) -> None:
    assert user(block) == [{"role": "tool", "tool_call_id": "1", "content": told}]


def test_results_come_before_what_was_said_beside_them() -> None:
    assert user(TEXT, result("a"), result("b", tool_use_id="other")) == [
        {"role": "tool", "tool_call_id": "1", "content": "a"},
        {"role": "tool", "tool_call_id": "other", "content": "b"},
        {"role": "user", "content": "one"},
    ]


def test_image_in_a_result_is_shown_by_the_user_after_it() -> None:
    assert user(result([TEXT, IMAGE]), TEXT) == [
        {"role": "tool", "tool_call_id": "1", "content": "one\n[image, see below]"},
        {"role": "user", "content": [IMAGE_PART, TEXT]},
    ]


# --- what the assistant said


def test_calls_stand_beside_the_text() -> None:
    assert assistant(TEXT, USE) == [{"role": "assistant", "content": "one", "tool_calls": [CALL]}]
    assert assistant(USE, USE | {"id": "toolu_2", "input": {}}) == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [CALL, {"id": "2", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        }
    ]


def test_thinking_is_kept_apart_and_what_was_thought_in_secret_is_left_out() -> None:
    thinking = {"type": "thinking", "thinking": "hm", "signature": "AAAA"}
    secret = {"type": "redacted_thinking", "data": "AAAA"}
    assert assistant(thinking, secret, TEXT, thinking, TEXT) == [
        {"role": "assistant", "content": "oneone", "reasoning_content": "hm\nhm"}
    ]
    assert assistant(thinking) == [{"role": "assistant", "content": "", "reasoning_content": "hm"}]


def test_what_hosted_tools_did_is_left_out() -> None:
    hosted: list[Json] = [
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
    ]
    assert assistant(*hosted, TEXT) == [{"role": "assistant", "content": "one"}]


def test_assistant_that_said_nothing_is_left_out() -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": []}, {"role": "user", "content": "b"}]
    assert history(None, messages) == [{"role": "user", "content": "a\nb"}]


def test_answer_that_was_begun_stays_at_the_end() -> None:
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "The best answer is ("}]
    assert history(None, messages)[-1] == {"role": "assistant", "content": "The best answer is ("}


# --- what is refused, by its place


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("hi", "messages.0: should be an object, got a string"),
        ({"content": "hi"}, 'messages.0.role: should be "user", "assistant" or "system", got nothing'),
        ({"role": "tool", "content": "x"}, 'messages.0.role: should be "user", "assistant" or "system", got "tool"'),
        ({"role": "user"}, "messages.0.content: should be a string or a list of blocks, got nothing"),
        ({"role": "user", "content": ["x"]}, "messages.0.content.0: should be an object, got a string"),
        ({"role": "user", "content": [TEXT, {"type": "text"}]}, "messages.0.content.1.text: should be a string, got nothing"),
        (
            {"role": "user", "content": [USE]},
            f'messages.0.content.0.type: should be {USERS} or "tool_result", got "tool_use"',
        ),
        (
            {"role": "assistant", "content": [result("x")]},
            'messages.0.content.0.type: should be "text", "thinking", "redacted_thinking" or "tool_use", got "tool_result"',
        ),
        ({"role": "system", "content": [IMAGE]}, 'messages.0.content.0.type: should be "text", got "image"'),
        ({"role": "user", "content": [{"type": "image"}]}, "messages.0.content.0.source: should be an object, got nothing"),
        (
            {"role": "user", "content": [{"type": "image", "source": {"type": "file"}}]},
            'messages.0.content.0.source.type: should be "base64" or "url", got "file"',
        ),
        (
            {"role": "user", "content": [{"type": "tool_result"}]},
            "messages.0.content.0.tool_use_id: should be a string, got nothing",
        ),
        (
            {"role": "user", "content": [result([{"type": 5}])]},
            f"messages.0.content.0.content.0.type: should be {' or'.join(USERS.rsplit(',', 1))}, got a whole number",
        ),
        (
            {"role": "assistant", "content": [USE | {"input": "{}"}]},
            "messages.0.content.0.input: should be an object, got a string",
        ),
        ({"role": "assistant", "content": [USE | {"id": None}]}, "messages.0.content.0.id: should be a string, got nothing"),
    ],
)
def test_bad_message_is_refused_by_its_place(message: Any, told: str) -> None:
    assert refused(message) == told


def test_place_counts_from_the_first_message() -> None:
    good = {"role": "user", "content": "hi"}
    assert refused(good, good, good, {"role": "user", "content": [{"type": "sound"}]}).startswith("messages.3.content.0.type: ")


@pytest.mark.parametrize("messages", [None, "hi", {}])
def test_messages_that_are_no_list_are_refused(messages: Any) -> None:
    with pytest.raises(InvalidRequest, match="messages: should be a list, got"):
        history(None, messages)


def test_conversation_without_messages_is_refused() -> None:
    assert refused() == "messages: is empty"


@pytest.mark.parametrize(
    ("system", "told"),
    [
        (5, "system: should be a string or a list of blocks, got a whole number"),
        ([IMAGE], 'system.0.type: should be "text", got "image"'),
    ],
)
def test_bad_system_prompt_is_refused_by_its_place(system: Any, told: str) -> None:
    assert refused({"role": "user", "content": "hi"}, system=system) == told

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.wire import sse

NAMES = st.sampled_from((None, "ping", "message_delta", "response.completed"))
WORDS = st.text(st.characters(codec="utf-8"), max_size=20)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """A stream of events and comments, with either kind of line end."""
    blocks = draw(
        st.lists(
            st.one_of(
                st.builds(lambda data, name: sse.event({"text": data}, name=name), WORDS, NAMES),
                st.builds(sse.comment, WORDS),
                st.just(b":\n\n"),
                st.just(b"data: [DONE]\n\n"),
            ),
            max_size=8,
        )
    )
    end = draw(st.sampled_from((b"\n", b"\r\n")))
    return b"".join(blocks).replace(b"\n", end)


@st.composite
def chunked(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A stream, and the same cut anywhere."""
    stream = draw(streams())
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    edges = [0, *cuts, len(stream)]
    return stream, [stream[start:end] for start, end in itertools.pairwise(edges)]


def test_event_is_one_line_of_json_between_its_name_and_a_blank_line() -> None:
    assert sse.event({"a": "x\ny", "b": "ü"}, name="ping") == 'event: ping\ndata: {"a":"x\\ny","b":"ü"}\n\n'.encode()


def test_event_without_a_name_has_no_event_line() -> None:
    assert sse.event([1]) == b"data: [1]\n\n"


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "a\rb"])
def test_comment_with_line_ends_stays_one_line(text: str) -> None:
    assert sse.comment(text) == b": a b\n\n"


@given(chunked())
def test_events_of_any_cut_are_those_of_the_whole(case: tuple[bytes, list[bytes]]) -> None:
    stream, chunks = case
    events = sse.Events()
    assert b"".join(events.feed(chunk) for chunk in chunks) == stream


@given(chunked())
def test_event_is_complete_as_soon_as_its_last_byte_is_there(case: tuple[bytes, list[bytes]]) -> None:
    stream, chunks = case
    events, boundary, fed, got = sse.Events(), sse.Boundary(), b"", b""
    for chunk in chunks:
        got += events.feed(chunk)
        boundary.feed(chunk)
        fed += chunk
        is_whole = not fed or fed.endswith((b"\n\n", b"\n\r\n"))
        assert boundary.is_between_events == is_whole
        assert (got == fed) == is_whole
    assert got == stream


@given(chunked())
def test_payloads_are_the_data_of_the_events_in_order(case: tuple[bytes, list[bytes]]) -> None:
    stream, chunks = case
    events = sse.Events()
    found = [payload for chunk in chunks for payload in sse.payloads(events.feed(chunk))]
    text = stream.decode().replace("\r\n", "\n")
    expected = [line[6:] for line in text.split("\n") if line.startswith("data: ")]
    assert [payload.decode() for payload in found] == expected


def test_payload_without_a_space_after_the_colon_is_read() -> None:
    assert sse.payloads(b'data:{"a":1}\n\n') == [b'{"a":1}']


def test_unfinished_event_is_kept_for_later() -> None:
    events = sse.Events()
    assert events.feed(b"data: 1\n\ndata: ") == b"data: 1\n\n"
    assert events.feed(b"2\n") == b""
    assert events.feed(b"\n") == b"data: 2\n\n"


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_event_beyond_the_limit_is_let_go_and_the_next_one_is_read(end: bytes) -> None:
    events = sse.Events()
    whole = b"data: " + json.dumps({"text": "x" * (3 << 20)}).encode() + end + end + b"data: 7" + end + end
    found = []
    for start in range(0, len(whole), 60_001):
        found += sse.payloads(events.feed(whole[start : start + 60_001]))
        assert len(events._tail) <= (1 << 20)
    assert found == [b"7"]


def test_rest_of_an_event_that_was_let_go_is_never_taken_for_an_event() -> None:
    events = sse.Events()
    events.feed(b'data: {"text":"' + b"x" * (1 << 20))
    assert sse.payloads(events.feed(b'data: {\\"usage\\":1}"}\n\n')) == []


def test_boundary_stands_between_events_before_the_first_byte() -> None:
    assert sse.Boundary().is_between_events


@given(st.lists(st.sampled_from((b"data: 1", b": a", b"event: x\ndata: {}", b"id: 7")), min_size=1), st.booleans(), st.data())
def test_bounds_are_those_of_the_event_around_a_place(blocks: list[bytes], is_crlf: bool, data: st.DataObject) -> None:
    line_end = b"\r\n" if is_crlf else b"\n"
    events = [block.replace(b"\n", line_end) + 2 * line_end for block in blocks]
    chosen = data.draw(st.integers(0, len(events) - 1))
    before = len(b"".join(events[:chosen]))
    place = before + data.draw(st.integers(0, len(events[chosen]) - 2 * len(line_end) - 1))
    assert sse.bounds(b"".join(events), place) == (before, before + len(events[chosen]))

"""The log of a service: what is asked of Cloud Logging, what is made of its entries, and following it."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.clock import Clock
from relight.cloud.google import Google
from relight.cloud.journal import POLL_S, Entry, Query, Window, entries, escaped, failure_lines, follow
from relight.cloud.work import Silent
from relight.errors import CloudError, WakeTimeout
from relight.telemetry.interaction import HttpFacts, Interaction, Origin, Phase
from relight.telemetry.sinks import JsonLines
from tests.cloud.fake.cloud import Cloud
from tests.cloud.fake.logging import Filter
from tests.cloud.fake.server import Refused

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
MINE = Query(service="portfolio")
FIRST, SECOND = "portfolio-00001-abc", "portfolio-00002-def"


class Told(Silent):
    """Remembers what stayed."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture(autouse=True)
def enabled(cloud: Cloud) -> None:
    cloud.usage.enable("logging")


def texts(google: Google, query: Query = MINE, limit: int = 100) -> list[str]:
    return [entry.text for entry in entries(google, query, limit=limit)]


def interaction(clock: Clock, *, fails: bool = False) -> dict[str, Any]:
    """The line that the front door writes of a request, as Cloud Logging keeps it."""
    written: list[bytes] = []
    sink = JsonLines(written.append)
    it = Interaction(clock, Origin("portfolio", FIRST), HttpFacts("POST", "/v1/chat/completions", "203.0.113.7", "curl"))
    it.dialect, it.model, it.status, it.prompt_tokens, it.completion_tokens = "chat", "smol", 200, 31, 8
    it.mode, it.mode_by, it.mode_confidence = "projects", "classifier", 0.93
    it.enter(Phase.WAKE)
    it.enter(Phase.PREFILL)
    if fails:
        it.status = 503
        it.fail(WakeTimeout("model smol: not awake after 120 s"))
    else:
        it.first_token()
    sink.closed(it.close())
    line: dict[str, Any] = json.loads(written[0])
    return line


class Ticking:
    """A clock on which every look takes a quarter of a second."""

    def __init__(self) -> None:
        self.moment = 0.0

    def now(self) -> float:
        self.moment += 0.25
        return self.moment

    def wall(self) -> float:
        return NOON.timestamp()

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody waits here")


# --- what is asked


def test_last_entries_come_the_oldest_first_over_pages(google: Google, cloud: Cloud) -> None:
    for number in range(10):
        cloud.logging.add("portfolio", FIRST, "INFO", f"line {number}")

    assert texts(google, limit=7) == [f"line {number}" for number in range(3, 10)]
    assert len(cloud.calls) == 3


def test_other_services_and_regions_are_not_ours(google: Google, cloud: Cloud) -> None:
    cloud.logging.add("portfolio", FIRST, "INFO", "mine")
    cloud.logging.add("another", FIRST, "INFO", "not mine")
    cloud.logging.add("portfolio", FIRST, "INFO", "not here", region="us-central1")

    assert texts(google) == ["mine"]


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ({"revision": SECOND}, ["second"]),
        ({"severity": "WARNING"}, ["second", "wrong"]),
        ({"since": NOON + timedelta(seconds=2)}, ["second", "wrong"]),
        ({"text": "WRONG"}, ["wrong"]),
        ({"errors": True}, ["wrong"]),
        ({"revision": FIRST, "severity": "ERROR"}, ["wrong"]),
    ],
)
def test_query_narrows_what_is_found(google: Google, cloud: Cloud, more: dict[str, Any], found: list[str]) -> None:
    cloud.logging.add("portfolio", FIRST, "INFO", "first")
    cloud.logging.add("portfolio", SECOND, "WARNING", "second")
    cloud.logging.add("portfolio", FIRST, "ERROR", "wrong")

    assert texts(google, Query(service="portfolio", **more)) == found


def test_text_that_looks_like_a_filter_is_only_text(google: Google, cloud: Cloud) -> None:
    cloud.logging.add("portfolio", FIRST, "INFO", 'says "or" severity>=ERROR \\')
    cloud.logging.add("portfolio", FIRST, "ERROR", "something else")

    assert texts(google, Query(service="portfolio", text='"or" severity>=ERROR \\')) == ['says "or" severity>=ERROR \\']


def test_failed_requests_are_errors_whoever_is_at_fault(google: Google, cloud: Cloud) -> None:
    for fails in (True, False):
        cloud.logging.add("portfolio", FIRST, what=interaction(Ticking(), fails=fails))

    found = entries(google, Query(service="portfolio", errors=True), limit=9)

    assert [entry.record and entry.record["error"] for entry in found] == ["wake_timeout"]


def test_what_an_interaction_says_better_is_left_out(google: Google, cloud: Cloud) -> None:
    cloud.logging.add("portfolio", FIRST, "DEBUG", {"message": "opened int_1", "opened": {"id": "int_1"}})
    cloud.logging.add("portfolio", FIRST, "INFO", log="requests", httpRequest={"status": 200, "requestMethod": "GET"})
    refusal = {"status": 403, "requestMethod": "GET", "requestUrl": "https://portfolio.run.app/", "latency": "0.003s"}
    cloud.logging.add("portfolio", FIRST, "WARNING", log="requests", httpRequest=refusal)

    assert texts(google) == ["403 GET https://portfolio.run.app/ 0.003s"]


def test_refusal_is_told_with_what_to_do(google: Google, cloud: Cloud) -> None:
    cloud.fail("entries:list", Refused(403, "PERMISSION_DENIED", "Permission 'logging.logEntries.list' denied"), times=9)

    with pytest.raises(CloudError, match=r"could not read the log: Permission 'logging.logEntries.list' denied"):
        entries(google, MINE, limit=1)


# --- what an entry says


def test_interaction_is_one_readable_line(google: Google, cloud: Cloud) -> None:
    cloud.logging.add("portfolio", FIRST, what=interaction(Ticking()))

    (entry,) = entries(google, MINE, limit=9)

    assert entry.text == (
        "200 chat smol  mode projects 0.93 (classifier)  31+8 tokens  wake 0.25 s  first token 0.75 s  total 1.25 s"
    )
    assert entry.record is not None
    assert entry.record["tokens"] == {"prompt": 31, "completion": 8}
    assert (entry.source, entry.revision, entry.severity) == ("stdout", FIRST, "INFO")


def test_what_the_platform_says_of_a_revision_is_its_message(google: Google, cloud: Cloud) -> None:
    said = {"status": {"code": 9, "message": "Ready condition status changed to False for Revision"}}
    cloud.logging.add("portfolio", FIRST, "ERROR", log="audit", protoPayload=said)
    cloud.logging.add("portfolio", FIRST, "WARNING", "Container called exit(1).", log="system")

    found = entries(google, MINE, limit=9)

    assert [(entry.source, entry.text) for entry in found] == [
        ("audit", "Ready condition status changed to False for Revision"),
        ("system", "Container called exit(1)."),
    ]


def test_unknown_objects_are_shown_whole(google: Google, cloud: Cloud) -> None:
    cloud.logging.add("portfolio", FIRST, "INFO", {"a": 1})

    assert texts(google) == ['{"a":1}']


def test_nothing_that_a_log_says_drives_a_terminal() -> None:
    assert escaped("\x1b[31mred\x9b\r\n\tfine → ok\u202e\n") == "\\x1b[31mred\\x9b\\r\n\tfine → ok\\u202e"


@pytest.mark.parametrize(
    ("stamp", "found"),
    [
        ("2026-11-22T12:00:00.123456789Z", NOON + timedelta(microseconds=123456)),
        ("2026-11-22T12:00:00.5Z", NOON + timedelta(seconds=0.5)),
        ("2026-11-22T12:00:00Z", NOON),
    ],
)
def test_times_have_any_number_of_digits(google: Google, cloud: Cloud, stamp: str, found: datetime) -> None:
    cloud.logging.add("portfolio", FIRST, "INFO", "x")["timestamp"] = stamp

    assert entries(google, MINE, limit=1)[0].time == found


# --- following


def test_followed_log_goes_on_with_what_is_new(google: Google, cloud: Cloud) -> None:
    for number in range(8):
        cloud.logging.add("portfolio", FIRST, "INFO", f"line {number}", delay=2 * number)

    found = [entry.text for entry in itertools.islice(follow(google, MINE, now=lambda: NOON), 8)]

    assert found == [f"line {number}" for number in range(8)]
    assert set(cloud.slept) == {POLL_S}


def test_followed_log_begins_behind_what_was_shown(google: Google, cloud: Cloud) -> None:
    for number in range(6):
        cloud.logging.add("portfolio", FIRST, "INFO", f"line {number}", delay=0 if number < 3 else 4)
    shown = entries(google, MINE, limit=2)

    found = [entry.text for entry in itertools.islice(follow(google, MINE, after=shown), 3)]

    assert [entry.text for entry in shown] == ["line 1", "line 2"]
    assert found == ["line 3", "line 4", "line 5"]


def test_followed_log_begins_now_unless_told(google: Google, cloud: Cloud) -> None:
    cloud.logging.add("portfolio", FIRST, "INFO", "before", at=NOON - timedelta(seconds=1))
    cloud.logging.add("portfolio", FIRST, "INFO", "after", at=NOON)

    assert next(follow(google, MINE, now=lambda: NOON)).text == "after"


def entry(name: str, second: float) -> Entry:
    when = NOON + timedelta(seconds=second)
    return Entry(time=when, id=name, severity="INFO", revision=FIRST, source="stdout", text=name)


def names(found: list[Entry]) -> str:
    return "".join(one.id for one in found)


def test_entries_that_come_late_are_put_in_order_within_one_look() -> None:
    window = Window(NOON)

    assert names(window.take([entry("a", 1), entry("c", 3)])) == ""
    assert names(window.take([entry("a", 1), entry("b", 2), entry("c", 3), entry("d", 4)])) == "abc"
    assert names(window.take([entry("d", 4)])) == "d"


def test_entry_that_comes_later_still_is_shown_late_and_once() -> None:
    window = Window(NOON)
    window.take([entry("c", 30)])
    window.take([entry("d", 31)])

    assert names(window.take([entry("a", 5), entry("c", 30), entry("d", 31)])) == "ad"
    assert names(window.take([entry("a", 5)])) == ""


def test_window_moves_with_the_newest_entry_and_never_before_its_beginning() -> None:
    window = Window(NOON)

    window.take([entry("a", 10)])
    assert window.begin == NOON
    window.take([entry("b", 100)])
    assert window.begin == NOON + timedelta(seconds=70)


@given(st.lists(st.lists(st.integers(0, 29)), max_size=8))
def test_every_entry_is_shown_exactly_once(looks: list[list[int]]) -> None:
    window, shown, there = Window(NOON), list[Entry](), set[int]()
    for arrived in [*looks, [], []]:
        there |= set(arrived)
        shown += window.take([entry(f"{second:02}", second) for second in sorted(there)])

    assert sorted(one.id for one in shown) == [f"{second:02}" for second in sorted(there)]


# --- the last words of a revision


def test_last_words_are_waited_for(google: Google, cloud: Cloud) -> None:
    cloud.logging.add("portfolio", SECOND, "ERROR", "error: relight.toml: no\n\nTraceback", delay=3)
    cloud.logging.add("portfolio", SECOND, "ERROR", "Container called exit(1).", log="system", delay=4)
    cloud.logging.add("portfolio", FIRST, "ERROR", "of another revision")

    assert failure_lines(google, "portfolio", SECOND, Silent()) == [
        "error: relight.toml: no",
        "Traceback",
        "Container called exit(1).",
    ]
    assert cloud.slept == [2.0, 3.0, 5.0]


def test_revision_that_said_nothing_is_not_waited_for_for_ever(google: Google, cloud: Cloud) -> None:
    assert failure_lines(google, "portfolio", SECOND, Silent()) == []
    assert sum(cloud.slept) == 20.0


def test_log_that_cannot_be_read_hides_no_failure(google: Google, cloud: Cloud) -> None:
    cloud.fail("entries:list", Refused(403, "PERMISSION_DENIED", "denied"))
    told = Told()

    assert failure_lines(google, "portfolio", SECOND, told) == []
    assert told.lines == ["its log cannot be read: cloud: could not read the log: denied"]


# --- the fake reads filters as strictly as Google


@pytest.mark.parametrize(
    "text", ["severity>>=ERROR", "(severity>=ERROR", "severity>=LOUD", "colour=1", "severity", 'severity>="ERROR" x']
)
def test_filter_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        Filter(text)

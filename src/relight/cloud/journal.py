"""What a service wrote, as Cloud Logging keeps it: asked for, followed, and the last words of a revision that failed.

Asked by plain requests: Google's client for logs speaks REST only in an older layer, which takes neither our retries nor our time
limits, and importing it costs a quarter of a second for the one call that is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from relight.cloud.google import Google
from relight.cloud.work import Show
from relight.errors import CloudError

POLL_S: Final = 3.0
"""Between two looks at a log that is followed: a project may look 60 times a minute."""
_OVERLAP: Final = timedelta(seconds=30)
"""How late an entry may arrive that a follower still sees."""
_PAGE: Final = 1000
# Until a revision's last words are there, in seconds; then once more for the rest of them.
_APPEAR_S: Final = (2.0, 3.0, 5.0, 10.0)
_REST_S: Final = 5.0
_LAST: Final = 50
SEVERITIES: Final = ("DEFAULT", "DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL", "ALERT", "EMERGENCY")
"""Of Cloud Logging, the least first."""


class Query(Struct, frozen=True, kw_only=True):
    """What is looked for. `severity`: this and worse; `text`: anywhere in an entry; `errors`: only what went wrong."""

    service: str
    revision: str | None = None
    since: datetime | None = None
    severity: str | None = None
    text: str | None = None
    errors: bool = False


class Entry(Struct, frozen=True, kw_only=True):
    """One entry. `source` is who wrote it: stdout, stderr, requests (Google's front), system or audit (Cloud Run itself).

    `text` can be shown on a terminal: what would drive one is escaped. `record` is an interaction of Relight's.
    """

    time: datetime
    id: str
    severity: str
    revision: str
    source: str
    text: str
    record: dict[str, Any] | None = None


def entries(google: Google, query: Query, *, limit: int) -> list[Entry]:
    """The last `limit` entries, the oldest first. Raises `CloudError`."""
    return _pages(google, filter_of(google, query), order="timestamp desc", limit=limit)[::-1]


def follow(
    google: Google, query: Query, *, after: Sequence[Entry] = (), now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Iterator[Entry]:
    """Entries as they come, for ever, beginning behind those of `after`, else with `query.since`, else now.

    In order as far as they arrive within one look. Each look asks again for the last half minute, because entries arrive seconds
    late; none is given twice. Raises `CloudError`.
    """
    window = Window(query.since or now(), after)
    while True:
        wanted = filter_of(google, replace(query, since=window.begin))
        yield from window.take(_pages(google, wanted, order="timestamp asc", limit=None))
        google.sleep(POLL_S)


class Window:
    """The part of a log that is read again and again: tells what is new, and holds that back for one look to put it in order."""

    def __init__(self, since: datetime, after: Sequence[Entry] = ()) -> None:
        self._since = after[0].time if after else since
        self._newest = max([self._since, *(entry.time for entry in after)])
        self._seen = {entry.id: entry.time for entry in after}
        self._held: list[Entry] = []

    @property
    def begin(self) -> datetime:
        """Since when to read next."""
        return max(self._since, self._newest - _OVERLAP)

    def take(self, found: Sequence[Entry]) -> list[Entry]:
        """What can be shown after a look that found these, in order."""
        horizon = self._held[-1].time if self._held else None
        new = [entry for entry in found if entry.id not in self._seen]
        self._seen |= {entry.id: entry.time for entry in new}
        self._newest = max([self._newest, *(entry.time for entry in new)])
        self._seen = {name: time for name, time in self._seen.items() if time >= self.begin}
        waiting = sorted([*self._held, *new], key=lambda entry: (entry.time, entry.id))
        ready = [entry for entry in waiting if horizon is not None and entry.time <= horizon]
        self._held = waiting[len(ready) :]
        return ready


def failure_lines(google: Google, service: str, revision: str, show: Show) -> list[str]:
    """The last lines of a revision that failed, and what the platform says of it; waits up to 20 s for them to appear.

    Empty where there are none, or none can be read: that is told to `show`, and hides no failure.
    """
    show.doing(f"reading what {revision} wrote last")
    query = Query(service=service, revision=revision)
    try:
        for pause in _APPEAR_S:
            if entries(google, query, limit=_LAST):
                google.sleep(_REST_S)
                break
            google.sleep(pause)
        found = entries(google, query, limit=_LAST)
    except CloudError as error:
        show.say(f"its log cannot be read: {error.message}")
        return []
    return [line for entry in found for line in entry.text.splitlines() if line.strip()]


def filter_of(google: Google, query: Query) -> str:
    """The filter in Cloud Logging's language.

    Two kinds of lines are left out, because an interaction is told a third time, better: that it was opened, and that Google's
    front passed on an answer.
    """
    parts = [
        'resource.type="cloud_run_revision"',
        f"resource.labels.service_name={_quoted(query.service)}",
        f"resource.labels.location={_quoted(google.region)}",
        "NOT jsonPayload.opened.id:*",
        f'NOT (logName="projects/{google.project}/logs/run.googleapis.com%2Frequests" AND httpRequest.status<400)',
    ]
    if query.revision is not None:
        parts.append(f"resource.labels.revision_name={_quoted(query.revision)}")
    if query.since is not None:
        parts.append(f'timestamp>="{query.since.astimezone(UTC).isoformat().replace("+00:00", "Z")}"')
    if query.severity is not None:
        parts.append(f"severity>={query.severity}")
    if query.errors:
        parts.append("(severity>=ERROR OR jsonPayload.interaction.error:*)")
    if query.text is not None:
        parts.append(_quoted(query.text))
    return " AND ".join(parts)


def _pages(google: Google, wanted: str, *, order: str, limit: int | None) -> list[Entry]:
    found: list[Entry] = []
    token = ""
    while limit is None or len(found) < limit:
        size = _PAGE if limit is None else min(_PAGE, limit - len(found))
        body = {"resourceNames": [f"projects/{google.project}"], "filter": wanted, "orderBy": order, "pageSize": size}
        more = {"pageToken": token} if token else {}
        page = google.rest("read the log", "POST", "logging.googleapis.com", "/v2/entries:list", body=body | more)
        found += [_entry(told) for told in page.get("entries", [])]
        # A page may be empty and still not be the last.
        if not (token := page.get("nextPageToken", "")):
            break
    return found


def _entry(told: dict[str, Any]) -> Entry:
    payload = told.get("jsonPayload") or {}
    record = payload.get("interaction")
    return Entry(
        time=_time(told.get("timestamp") or told.get("receiveTimestamp") or ""),
        id=told.get("insertId", ""),
        severity=told.get("severity", "DEFAULT"),
        revision=told.get("resource", {}).get("labels", {}).get("revision_name", ""),
        source=_SOURCES.get(name := told.get("logName", "").rpartition("/")[2].rpartition("%2F")[2], name),
        text=escaped(_text(told, payload)),
        record=record if isinstance(record, dict) else None,
    )


_SOURCES: Final = {"system_event": "audit", "activity": "audit"}


def _text(told: dict[str, Any], payload: dict[str, Any]) -> str:
    """What an entry says, wherever its writer put it."""
    from msgspec import json

    if "textPayload" in told:
        return str(told["textPayload"])
    if "message" in payload:
        return str(payload["message"])
    if said := (told.get("protoPayload") or {}).get("status", {}).get("message"):
        return str(said)
    if request := told.get("httpRequest"):
        parts = (request.get(name) for name in ("status", "requestMethod", "requestUrl", "latency"))
        return " ".join(str(part) for part in parts if part is not None)
    return json.encode(payload or told.get("protoPayload") or {}).decode()


def _time(text: str) -> datetime:
    """A time of Google's, which may have nine digits behind the second, or none."""
    whole, _, rest = text.removesuffix("Z").partition(".")
    try:
        found = datetime.fromisoformat(whole).replace(tzinfo=UTC)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
    return found + timedelta(microseconds=int(f"{rest:0<6}"[:6])) if rest.isdecimal() else found


def escaped(text: str) -> str:
    """`text` without what would drive a terminal: lines and tabs stay, other control characters are written out."""
    kept = "".join(char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode() for char in text)
    return kept.rstrip("\n")


def _quoted(text: str) -> str:
    escapes = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escapes}"'

"""Cloud Logging: entries of services, listed by a filter that is read as strictly as Google reads it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from google.cloud.logging_v2.types import ListLogEntriesRequest, LogEntry
from google.protobuf import json_format

from tests.cloud.fake.server import Api, Fake, Refused, Request, Route

Test = Callable[[dict[str, Any]], bool]
_SEVERITIES: Final = ("DEFAULT", "DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL", "ALERT", "EMERGENCY")
_LOGS: Final = {
    "stdout": "run.googleapis.com%2Fstdout",
    "stderr": "run.googleapis.com%2Fstderr",
    "requests": "run.googleapis.com%2Frequests",
    "system": "run.googleapis.com%2Fvarlog%2Fsystem",
    "audit": "cloudaudit.googleapis.com%2Fsystem_event",
}
_FIELDS: Final = ("resource.type", "resource.labels", "logName", "severity", "timestamp", "httpRequest", "jsonPayload")
_TOKEN: Final = re.compile(r'\s*(?:(?P<text>"(?:[^"\\]|\\.)*")|(?P<mark>>=|<=|[()=<>:])|(?P<word>[\w.*-]+))')


class Logging(Api):
    """What services wrote. Entries are shown some requests after they were written, as in life."""

    def __init__(self, fake: Fake) -> None:
        super().__init__(fake)
        self.entries: list[dict[str, Any]] = []
        """What can be seen; `add` puts them there."""
        self.page = 3
        """Entries of a page; few, so that everybody has to turn it."""
        self.filters: list[str] = []
        """What was asked for."""
        self._added = 0
        self._began = datetime(2026, 11, 22, 12, tzinfo=UTC)

    # --- for tests, and for the other APIs

    def add(
        self,
        service: str,
        revision: str,
        severity: str = "DEFAULT",
        what: str | dict[str, Any] = "",
        *,
        log: str = "stdout",
        at: datetime | None = None,
        delay: int = 0,
        region: str = "europe-west4",
        **more: Any,
    ) -> dict[str, Any]:
        """Write a text, or a JSON object, that can be seen `delay` requests later; `more` are fields of an entry.

        Of an object that a program wrote, Cloud Run takes what it knows as fields of the entry. Without `at`, an entry is a
        second younger than the one before. Returns the entry.
        """
        self._added += 1
        when = at or self._began + timedelta(seconds=self._added)
        if isinstance(what, dict):
            what = dict(what)
            severity = what.pop("severity", severity)
            what.pop("time", None)
            more |= {"httpRequest": what.pop("httpRequest")} if "httpRequest" in what else {}
            what = what["message"] if set(what) == {"message"} else what
        entry = {
            "insertId": f"entry-{self._added}",
            "logName": f"projects/{self.fake.project}/logs/{_LOGS[log]}",
            "resource": {
                "type": "cloud_run_revision",
                "labels": {
                    "project_id": self.fake.project,
                    "service_name": service,
                    "revision_name": revision,
                    "location": region,
                    "configuration_name": service,
                },
            },
            "timestamp": when.isoformat().replace("+00:00", "Z"),
            "receiveTimestamp": when.isoformat().replace("+00:00", "Z"),
            "severity": severity,
            **({"textPayload": what} if isinstance(what, str) and what else {}),
            **({"jsonPayload": what} if isinstance(what, dict) else {}),
            **more,
        }
        known = {name: found for name, found in entry.items() if name != "protoPayload"}
        json_format.ParseDict(known, LogEntry.pb()())
        if delay:
            self.fake.later(delay, lambda: self.entries.append(entry))
        else:
            self.entries.append(entry)
        return entry

    # --- the API

    def routes(self) -> list[Route]:
        return [("POST", "/v2/entries:list", self._list)]

    def _list(self, request: Request) -> dict[str, Any]:
        request.only()
        asked = request.message(ListLogEntriesRequest)
        usage = getattr(self.fake, "usage", None)
        if usage is not None:
            usage.demand("logging")
        if list(asked.resource_names) != [f"projects/{self.fake.project}"]:
            raise Refused(403, "PERMISSION_DENIED", f"Permission denied for {list(asked.resource_names)}")
        if asked.order_by not in ("", "timestamp asc", "timestamp desc") or asked.page_size < 0 or asked.page_size > 1000:
            raise Refused(400, "INVALID_ARGUMENT", "order_by or page_size: not valid")
        self.filters.append(asked.filter)
        matches = Filter(asked.filter).test
        found = [entry for entry in self.entries if matches(entry)]
        found.sort(key=lambda entry: (entry["timestamp"], entry["insertId"]), reverse=asked.order_by.endswith("desc"))
        start, size = int(asked.page_token or 0), min(asked.page_size or self.page, self.page)
        end = start + size
        return {"entries": found[start:end]} | ({"nextPageToken": str(end)} if end < len(found) else {})


class Filter:
    """The part of the filter language that is sent: comparisons, presence, substrings, NOT, AND, OR, brackets."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        place = 0
        while text[place:].strip():
            match = _TOKEN.match(text, place)
            if match is None or match.lastgroup is None:
                raise Refused(400, "INVALID_ARGUMENT", f"Unparseable filter: syntax error at column {place + 1}")
            self._tokens.append((match.lastgroup, match[match.lastgroup]))
            place = match.end()
        self.test = self._every() if self._tokens else lambda entry: True
        if self._tokens:
            raise self._wrong()

    def _wrong(self) -> Refused:
        return Refused(400, "INVALID_ARGUMENT", f"Unparseable filter: unexpected {self._tokens[:1]}")

    def _take(self, *texts: str) -> bool:
        if self._tokens and self._tokens[0][0] != "text" and self._tokens[0][1] in texts:
            self._tokens.pop(0)
            return True
        return False

    def _every(self) -> Test:
        tests = [self._some()]
        while self._take("AND"):
            tests.append(self._some())
        return lambda entry: all(test(entry) for test in tests)

    def _some(self) -> Test:
        tests = [self._one()]
        while self._take("OR"):
            tests.append(self._one())
        return lambda entry: any(test(entry) for test in tests)

    def _one(self) -> Test:
        if self._take("NOT"):
            inner = self._one()
            return lambda entry: not inner(entry)
        if self._take("("):
            inner = self._every()
            if not self._take(")"):
                raise self._wrong()
            return inner
        if not self._tokens or self._tokens[0][0] == "mark":
            raise self._wrong()
        kind, word = self._tokens.pop(0)
        if kind == "text":
            sought = _plain(word).lower()
            return lambda entry: any(sought in text.lower() for text in _texts(entry))
        return self._comparison(word)

    def _comparison(self, field: str) -> Test:
        if not any(field == name or field.startswith(f"{name}.") for name in _FIELDS) or len(self._tokens) < 2:
            raise Refused(400, "INVALID_ARGUMENT", f"Field not found: '{field}'.")
        (_, sign), (kind, value) = self._tokens.pop(0), self._tokens.pop(0)
        if sign == ":" and value == "*":
            return lambda entry: _value(entry, field) is not None
        wanted: Any = _plain(value) if kind == "text" else value
        if field == "severity":
            if wanted not in _SEVERITIES:
                raise Refused(400, "INVALID_ARGUMENT", f"severity: unknown value {wanted}")
            return lambda entry: _compared(_SEVERITIES.index(entry["severity"]), sign, _SEVERITIES.index(wanted))
        if field == "timestamp":
            bound = datetime.fromisoformat(wanted)
            return lambda entry: _compared(datetime.fromisoformat(entry["timestamp"]), sign, bound)
        if kind == "word":
            number = float(wanted)
            return lambda entry: (found := _value(entry, field)) is not None and _compared(float(found), sign, number)
        return lambda entry: _compared(_value(entry, field), sign, wanted)


def _compared(found: Any, sign: str, wanted: Any) -> bool:
    if sign == "=":
        return bool(found == wanted)
    if sign not in (">=", "<=", "<", ">"):
        raise Refused(400, "INVALID_ARGUMENT", f"the fake does not know the operator {sign}")
    return bool({">=": found >= wanted, "<=": found <= wanted, "<": found < wanted, ">": found > wanted}[sign])


def _value(entry: dict[str, Any], field: str) -> Any:
    found: Any = entry
    for name in field.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for inner in value.values() for text in _texts(inner)]
    return [text for inner in value for text in _texts(inner)] if isinstance(value, list) else [str(value)]


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1])

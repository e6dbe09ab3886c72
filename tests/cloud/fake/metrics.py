"""Cloud Monitoring: the series of Cloud Run's metrics, aligned and added up as it is asked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tests.cloud.fake.paging import paged
from tests.cloud.fake.server import Api, Fake, Refused, Request, Route

_KINDS = {
    "run.googleapis.com/container/instance_count": ("GAUGE", "INT64"),
    "run.googleapis.com/container/billable_instance_time": ("DELTA", "DOUBLE"),
    "run.googleapis.com/request_count": ("DELTA", "INT64"),
}
_ALIGNERS = {
    "GAUGE": {"ALIGN_NONE", "ALIGN_NEXT_OLDER", "ALIGN_MAX", "ALIGN_MEAN"},
    "DELTA": {"ALIGN_NONE", "ALIGN_SUM", "ALIGN_RATE"},
}
_QUERY = (
    "filter",
    "interval.startTime",
    "interval.endTime",
    "aggregation.alignmentPeriod",
    "aggregation.perSeriesAligner",
    "aggregation.crossSeriesReducer",
    "pageToken",
    "pageSize",
    "view",
)


@dataclass
class Point:
    """A value of a series at its end; of a DELTA: in the minute before."""

    metric: str
    service: str
    at: datetime
    value: float
    revision: str = ""
    region: str = "europe-west4"
    labels: tuple[tuple[str, str], ...] = ()


class Metrics(Api):
    """Points, in any order; tests add them with `add`."""

    def __init__(self, fake: Fake) -> None:
        super().__init__(fake)
        self.points: list[Point] = []
        self.may_see = True

    def add(self, metric: str, service: str, at: datetime, value: float, **more: Any) -> None:
        labels = tuple(sorted(more.pop("labels", {}).items()))
        self.points.append(Point(f"run.googleapis.com/{metric}", service, at, value, labels=labels, **more))

    def routes(self) -> list[Route]:
        return [("GET", r"/v3/projects/(?P<project>[^/]+)/timeSeries", self._list)]

    def _list(self, request: Request, project: str) -> dict[str, Any]:
        query = request.only(*_QUERY)
        self.fake.usage.demand("monitoring")  # type: ignore[attr-defined]  # of Cloud
        if not self.may_see or project != self.fake.project:
            raise Refused(403, "PERMISSION_DENIED", f"Permission monitoring.timeSeries.list denied on resource {project}.")
        wanted = _filter(query.get("filter", ""))
        start, end = _time(query, "interval.startTime"), _time(query, "interval.endTime")
        if start > end:
            raise _invalid("interval.startTime: after interval.endTime")
        found = [one for one in self.points if _meets(one, wanted) and start < one.at <= end]
        series, token = paged(self._series(found, query, start, end), query, most=2)
        return {"timeSeries": series, **({"nextPageToken": token} if token else {})}

    def _series(self, found: list[Point], query: dict[str, str], start: datetime, end: datetime) -> list[dict[str, Any]]:
        if not found:
            return []
        kind, values = _KINDS[found[0].metric]
        aligner = query.get("aggregation.perSeriesAligner", "ALIGN_NONE")
        period = query.get("aggregation.alignmentPeriod", "")
        if aligner not in _ALIGNERS[kind]:
            raise _invalid(f"aggregation.perSeriesAligner: {aligner} cannot be applied to metrics with kind {kind}")
        groups: dict[tuple[Any, ...], list[Point]] = {}
        for one in sorted(found, key=lambda one: one.at, reverse=True):
            groups.setdefault((one.revision, one.labels), []).append(one)
        if aligner == "ALIGN_NONE":
            return [_told(points, kind, values) for points in groups.values()]
        seconds = _seconds(period)
        if seconds < 60:
            raise _invalid("aggregation.alignmentPeriod: must be at least 60 seconds")
        if aligner != "ALIGN_SUM" or end - start > timedelta(seconds=seconds):
            raise _invalid(f"the fake aligns whole intervals by ALIGN_SUM only, got {aligner} of {period}")
        total = sum(one.value for one in found)
        if query.get("aggregation.crossSeriesReducer") != "REDUCE_SUM":
            raise _invalid("the fake reduces by REDUCE_SUM only")
        return [_told([Point(found[0].metric, found[0].service, end, total)], kind, values)]


def _told(points: list[Point], kind: str, values: str) -> dict[str, Any]:
    first = points[0]
    key = "int64Value" if values == "INT64" else "doubleValue"
    return {
        "metric": {"type": first.metric, "labels": dict(first.labels)},
        "resource": {"type": "cloud_run_revision", "labels": {"service_name": first.service, "revision_name": first.revision}},
        "metricKind": kind,
        "valueType": values,
        "points": [
            {
                "interval": {"startTime": one.at.isoformat(), "endTime": one.at.isoformat()},
                # 64 bits are text in JSON.
                "value": {key: str(int(one.value)) if values == "INT64" else one.value},
            }
            for one in points
        ],
    }


def _filter(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in text.split(" AND "):
        match = re.fullmatch(r'(metric\.type|resource\.type|resource\.labels\.(?:service_name|location)) ?= ?"([^"]+)"', part)
        if match is None:
            raise _invalid(f"filter: could not parse {part!r}")
        found[match[1]] = match[2]
    if found.get("metric.type") not in _KINDS or found.get("resource.type") != "cloud_run_revision":
        raise _invalid("filter: must name one metric.type that there is, and its resource.type")
    return found


def _meets(one: Point, wanted: dict[str, str]) -> bool:
    said = {"metric.type": one.metric, "resource.labels.service_name": one.service, "resource.labels.location": one.region}
    return all(said.get(name, text) == text for name, text in wanted.items())


def _time(query: dict[str, str], name: str) -> datetime:
    try:
        found = datetime.fromisoformat(query[name])
    except (KeyError, ValueError):
        raise _invalid(f"{name}: must be a time") from None
    if found.tzinfo is None:
        raise _invalid(f"{name}: must have an offset")
    return found


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+)s", text)
    if match is None:
        raise _invalid(f"aggregation.alignmentPeriod: {text!r} is no duration")
    return float(match[1])


def _invalid(text: str) -> Refused:
    return Refused(400, "INVALID_ARGUMENT", f"Field {text}")

"""What Cloud Monitoring has counted of a service on Cloud Run, minutes late. Knows no price and no standing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from relight.cloud.google import Google

_METRICS: Final = "run.googleapis.com/"
_LEAST_PERIOD_S: Final = 60


def total(google: Google, name: str, metric: str, since: datetime, now: datetime) -> float:
    """The sum of a metric of a service, over all of its revisions and labels. Raises `CloudError`."""
    # One period, as long as the interval: a longer one would count what was before it.
    period = max(_LEAST_PERIOD_S, int((now - since).total_seconds()))
    aggregation = {
        "aggregation.alignmentPeriod": f"{period}s",
        "aggregation.perSeriesAligner": "ALIGN_SUM",
        "aggregation.crossSeriesReducer": "REDUCE_SUM",
    }
    found = series(google, name, metric, now - timedelta(seconds=period), now, aggregation)
    return sum(value(point) for one in found for point in one["points"])


def series(  # noqa: PLR0913, PLR0917 - what a query is
    google: Google, name: str, metric: str, since: datetime, now: datetime, aggregation: dict[str, str] | None = None
) -> list[dict[str, Any]]:
    """The series of a metric of a service, as Monitoring has them; `metric` is like `request_count`. Raises `CloudError`."""
    parts = (
        f'metric.type="{_METRICS}{metric}"',
        'resource.type="cloud_run_revision"',
        f'resource.labels.service_name="{name}"',
        f'resource.labels.location="{google.region}"',
    )
    params = {"filter": " AND ".join(parts), "interval.startTime": _stamp(since), "interval.endTime": _stamp(now)}
    found: list[dict[str, Any]] = []
    token: dict[str, str] = {}
    path = f"/v3/projects/{google.project}/timeSeries"
    while True:
        what, query = f"read {metric}", {**params, **(aggregation or {}), **token}
        page = google.rest(what, "GET", "monitoring.googleapis.com", path, params=query)
        found += page.get("timeSeries", [])
        if not page.get("nextPageToken"):
            return found
        token = {"pageToken": page["nextPageToken"]}


def value(point: dict[str, Any]) -> float:
    """The number of a point: 64 bits are text in JSON."""
    return float(next(iter(point["value"].values())))


def _stamp(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


__all__ = ["series", "total", "value"]

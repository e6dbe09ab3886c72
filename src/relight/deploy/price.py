"""What a step changes about the cost, in words. Knows amounts only as they are handed to it."""

from __future__ import annotations

from relight.deploy.facts import Costs
from relight.deploy.service import Settings
from relight.deploy.warm import Timed
from relight.values import counted

_HOURS = 730
_BUILD_MINUTES = 5  # assumed
_PING_S = 0.1  # the least that is billed; it takes a few milliseconds


class Words:
    """Says what things cost; without `costs`, what they are paid by."""

    def __init__(self, costs: Costs | None) -> None:
        self._costs = costs

    def images(self, image_bytes: int | None, count: int) -> str:
        """A repository that keeps `count` images."""
        if self._costs is None or image_bytes is None:
            return "by what its images take"
        return f"up to {usd(self._costs.image_gb_month * image_bytes * count / 1e9)} a month for {count} images"

    def bucket(self) -> str:
        """An empty bucket."""
        return "nothing while it is empty"

    def stored(self, size: int) -> str:
        """`size` bytes in a bucket."""
        return "by its size" if self._costs is None else f"{usd(self._costs.bucket_gb_month * size / 1e9)} a month"

    def secret(self) -> str:
        """One version of a secret."""
        price = "" if self._costs is None else f"{usd(self._costs.secret_month)} a month, "
        return f"{price}the first six of a billing account are free"

    def build(self, *, is_paid: bool) -> str:
        """A build."""
        if not is_paid:
            return "nothing"
        if self._costs is None:
            return "by the minute"
        return f"about {usd(self._costs.build_minute * _BUILD_MINUTES)}, for {_BUILD_MINUTES} minutes"

    def revision(self) -> str:
        """A revision: what it costs to work."""
        if self._costs is None:
            return "nothing while nobody talks to it"
        tail = f", {usd(self._costs.tail)} for the idle time after each visit" if self._costs.tail else ""
        return f"{usd(self._costs.hour)} an hour awake, {usd(self._costs.wake)} a wake{tail}; the test wakes it once"

    def kept(self, settings: Settings) -> str:
        """Instances that are kept awake."""
        if settings.min_instances == 0:
            return "nothing is kept awake"
        if self._costs is None:
            return f"{settings.min_instances} kept awake, and paid for"
        month = self._costs.idle_hour * _HOURS * settings.min_instances
        return f"{usd(month)} a month for {settings.min_instances} kept awake"

    def schedule(self, timed: Timed) -> str:
        """A job of Cloud Scheduler, with what it makes of a month."""
        if self._costs is None:
            return "by the job, and what it keeps awake" if timed.kept_hours else "by the job"
        job = f"{usd(self._costs.schedule_month)} a month (three jobs of a billing account are free)"
        if timed.kept_hours:
            kept = self._costs.idle_hour * timed.kept_hours
            return f"{usd(kept)} a month for {counted(round(timed.kept_hours), 'hour')} of instances kept; {job}"
        if timed.pings:
            each = self._costs.hour / 3600 * _PING_S + self._costs.request
            return f"{usd(each * timed.pings)} a month for {counted(round(timed.pings), 'ping')}; {job}"
        return job

    def test(self) -> str:
        """One question to a revision."""
        return "one wake" if self._costs is None else usd(self._costs.wake + self._costs.tail)


def usd(amount: float) -> str:
    """`$0.0012`, `$0.49`, `$1037`: two digits that matter below a dollar, cents up to a hundred, dollars beyond."""
    if amount >= 100:
        return f"${amount:.0f}"
    if amount >= 0.1 or amount == 0:
        return f"${amount:.2f}"
    return f"${float(f'{amount:.2g}'):.10f}".rstrip("0")

"""From exec to connectable, to the first answer, and what an idle front door weighs."""

from __future__ import annotations

import subprocess
import sys
import time

from bench.report import Report
from bench.wire import ENVIRONMENT, EXAMPLE, connect, front_door, get, rss_mib

RUNS = 15


def run() -> Report:
    """Measure; each run starts a front door and a bare interpreter in turn."""
    connectable, answered, weight, bare = [], [], [], []
    for _ in range(RUNS):
        began = time.perf_counter()
        with front_door(EXAMPLE) as (process, address):
            connect(address).close()
            connectable.append((time.perf_counter() - began) * 1000)
            get(address, "/livez")
            answered.append((time.perf_counter() - began) * 1000)
            weight.append(rss_mib(process.pid))
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], env=ENVIRONMENT, check=True)
        bare.append((time.perf_counter() - began) * 1000)
    report = Report("Start-up of the front door (engine asleep)")
    report.add("exec to connectable", "ms", connectable, "<= 60")
    report.add("exec to first /livez answered", "ms", answered, "<= 350")
    report.add("resident memory, idle", "MiB", weight, "<= 60")
    report.add("bare interpreter, start to end", "ms", bare)
    return report

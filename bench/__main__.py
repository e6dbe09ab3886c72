"""`python -m bench [NAME…]`: run the benchmarks, print tables, write JSON to bench/results."""

from __future__ import annotations

import sys
from collections.abc import Callable

from bench import (
    agents,
    assistant,
    contention,
    instance,
    knowledge,
    modes,
    parallel,
    prefixes,
    redaction,
    startup,
    streaming,
    wake,
)
from bench.gateways import comparison as gateways
from bench.report import Report

BENCHES: dict[str, Callable[[], Report]] = {
    "startup": startup.run,
    "wake": wake.run,
    "instance": instance.run,
    "prefixes": prefixes.run,
    "agents": agents.run,
    "parallel": parallel.run,
    "streaming": streaming.run,
    "contention": contention.run,
    "assistant": assistant.run,
    "modes": modes.run,
    "knowledge": knowledge.run,
    "redaction": redaction.run,
    "gateways": gateways.run,
}


def main(names: list[str]) -> int:
    """Run those named, or all."""
    unknown = set(names) - set(BENCHES)
    if unknown:
        print(f"bench: no such benchmark: {', '.join(sorted(unknown))}; there are: {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    for name in names or BENCHES:
        report = BENCHES[name]()
        print(report.show())
        print(f"  -> {report.save(name).relative_to(report.save(name).parents[2])}\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

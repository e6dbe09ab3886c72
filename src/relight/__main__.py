"""Entry point. `relight serve` binds its port here, before anything heavy is imported; the rest is `cli.main`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # `typing` itself would cost every start some 15 ms before the port is bound
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> None:
    """Run the command line and leave with its exit code."""
    bound = None
    serves = len(sys.argv) > 1 and sys.argv[1] == "serve"
    if serves:
        from relight.cli.early import bind, heed_signals, wants_early

        heed_signals()
        bound = bind(sys.argv[2:]) if wants_early(sys.argv) else None

    from relight.cli.main import run

    code = run(obj=bound)
    if serves:
        _leave(code)
    sys.exit(code)


def _leave(code: int) -> NoReturn:
    """End at once, with nothing left to do: an interpreter that shuts down while a thread is inside a library (a detector that
    is still being loaded) aborts, and a stop would look like a crash."""
    import os

    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()

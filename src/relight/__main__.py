"""Entry point. `relight serve` binds its port here, before anything heavy is imported; the rest is `cli.main`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    bound = None
    if len(sys.argv) > 1 and sys.argv[1] == "serve":
        from relight.cli.early import bind, wants_early

        bound = bind(sys.argv[2:]) if wants_early(sys.argv) else None

    from relight.cli.main import run

    sys.exit(run(obj=bound))


if __name__ == "__main__":
    main()

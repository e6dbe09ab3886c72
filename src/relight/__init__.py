"""Relight runs AI services that go dark when idle and relight on request.

`relight.create_app(config)` is the service as an ASGI app, imported when it is asked for.
"""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` itself would cost every start some 15 ms before the port is bound
if TYPE_CHECKING:
    from typing import Any

    from relight.serve.compose import create_app

__version__ = "0.1.0"
__all__ = ["__version__", "create_app"]


def __getattr__(name: str) -> Any:
    if name == "create_app":
        from relight.serve.compose import create_app

        return create_app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

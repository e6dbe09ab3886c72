"""Relight runs AI services that go dark when idle and relight on request.

`relight.create_app(config)` is the service as an ASGI app, imported when it is asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relight.serve.compose import create_app

__version__ = "0.1.0"
__all__ = ["__version__", "create_app"]


def __getattr__(name: str) -> Any:
    if name == "create_app":
        from relight.serve.compose import create_app

        return create_app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Whether a server does what coding agents need: short questions, what came, and what that means for whom."""

from typing import Final

USER_AGENT: Final = "relight-check"
"""What it calls itself. Our own server learns nothing from its questions: they come once."""

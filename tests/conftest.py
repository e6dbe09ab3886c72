"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# Time limits belong to the test run: an example that takes a moment longer on a busy machine is no finding.
settings.register_profile("relight", deadline=None)
settings.load_profile("relight")

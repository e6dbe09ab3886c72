"""What holds for all tests."""

from __future__ import annotations

import pytest
from hypothesis import settings

# Time limits belong to the test run: an example that takes a moment longer on a busy machine is no finding.
settings.register_profile("relight", deadline=None)
settings.load_profile("relight")

_PROGRAMS_S = 300  # for a test that starts programs; the others have what pyproject.toml says


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Nor is a program that takes longer to start there."""
    for item in items:
        if item.get_closest_marker("real") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(_PROGRAMS_S))

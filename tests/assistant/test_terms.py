"""Words as they are looked up."""

from __future__ import annotations

import pytest

from relight.assistant.terms import terms


def test_case_accents_and_the_plural_do_not_count() -> None:
    assert terms("The Cafés of İzmir, e\u0301te\u0301: C++") == ["cafe", "izmir", "ete", "c++"]


@pytest.mark.timeout(60)
def test_run_of_accents_takes_no_longer_than_other_text() -> None:
    # Sorted by `normalize`, as many take minutes.
    assert terms("e" + "\u0301\u0316" * 200_000 + "a") == ["ea"]

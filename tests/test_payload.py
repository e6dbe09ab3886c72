from __future__ import annotations

from io import BytesIO

from relight.payload import payload


def test_small_body_is_sent_as_it_is_and_a_large_one_in_pieces() -> None:
    small, large = b"x" * 1000, b"x" * (2 << 20)
    assert payload(small) is small
    told = payload(large)
    assert isinstance(told, BytesIO)
    assert told.read() == large

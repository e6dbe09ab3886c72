from __future__ import annotations

from relight.config.suggest import instead, nearest


def test_nearest_finds_a_slip_of_the_finger_whatever_the_case() -> None:
    assert nearest("prot", ["host", "port", "public"]) == "port"
    assert nearest("IDLE_AFTR", ["idle_after", "context"]) == "idle_after"


def test_nearest_finds_nothing_when_nothing_is_like_it() -> None:
    assert nearest("colours", ["host", "port"]) is None
    assert nearest("x", []) is None


def test_instead_lists_what_is_known_when_nothing_is_like_it() -> None:
    assert instead("prot", ["port"]) == 'did you mean "port"?'
    assert instead("colours", ["port", "host"]) == "known here: host, port"
    assert instead("colours", []) == "there is none"

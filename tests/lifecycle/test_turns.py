"""Whose turn it is: small before large, keys in turn, nobody overtaken for ever, and no slot twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relight.errors import EngineCrashed, QueueFull, QueueTimeout
from relight.lifecycle.turns import SMALL_BYTES, Claim, Deny, Grant, Turns

SMALL, LARGE = 100, SMALL_BYTES + 1


def turns(slots: int = 1, depth: int = 100, patience_s: float = 60.0) -> Turns:
    return Turns(slots, depth=depth, patience_s=patience_s)


def granted(verdicts: list[Grant | Deny]) -> list[int]:
    return [verdict.request for verdict in verdicts if isinstance(verdict, Grant)]


def order_of(it: Turns, first: int) -> list[int]:
    """Who gets the only slot, one after another, when each is done at once."""
    order = [first]
    while following := granted(it.done(order[-1], 0.0)):
        order += following
    return order


def test_free_slot_is_granted_at_once() -> None:
    it = turns(slots=2)
    assert granted(it.ask(1, Claim(), 0.0)) == [1]
    assert granted(it.ask(2, Claim(), 0.0)) == [2]
    assert it.ask(3, Claim(), 0.0) == []
    assert (it.running, it.waiting) == (2, 1)


def test_small_request_passes_large_ones_that_wait() -> None:
    it = turns()
    it.ask(1, Claim("a", LARGE), 0.0)
    it.ask(2, Claim("a", LARGE), 0.0)
    it.ask(3, Claim("a", SMALL), 0.0)
    assert order_of(it, 1) == [1, 3, 2]


def test_large_request_is_overtaken_four_times_and_then_goes_first() -> None:
    it = turns()
    it.ask(0, Claim("a", LARGE), 0.0)
    it.ask(1, Claim("a", LARGE), 0.0)
    for request in range(2, 10):
        it.ask(request, Claim("a", SMALL), 0.0)
    assert order_of(it, 0) == [0, 2, 3, 4, 5, 1, 6, 7, 8, 9]


def test_keys_take_turns_whoever_has_sent_more() -> None:
    it = turns()
    it.ask(0, Claim("busy", SMALL), 0.0)
    for request in range(1, 4):
        it.ask(request, Claim("busy", SMALL), 0.0)
    it.ask(10, Claim("quiet", LARGE), 0.0)
    it.ask(11, Claim("quiet", LARGE), 0.0)
    order = order_of(it, 0)
    assert order.index(10) < order.index(3)
    assert sorted(order) == [0, 1, 2, 3, 10, 11]


def test_key_with_a_running_request_lets_another_key_have_the_second_slot() -> None:
    it = turns(slots=2)
    it.ask(1, Claim("busy", SMALL), 0.0)
    it.ask(2, Claim("busy", SMALL), 0.0)
    it.ask(3, Claim("busy", SMALL), 0.0)
    it.ask(4, Claim("quiet", SMALL), 0.0)
    assert granted(it.done(1, 1.0)) == [4]


def test_small_request_gets_the_lowest_slot_and_large_the_highest() -> None:
    it = turns(slots=3)
    assert it.ask(1, Claim("a", LARGE), 0.0) == [Grant(1, 2)]
    assert it.ask(2, Claim("a", SMALL), 0.0) == [Grant(2, 0)]
    assert it.ask(3, Claim("a", LARGE), 0.0) == [Grant(3, 1)]


def test_conversation_that_goes_on_gets_the_slot_that_holds_its_beginning() -> None:
    it = turns(slots=3)
    it.ask(1, Claim("a", 50_000), 0.0)
    it.ask(2, Claim("a", 20_000), 0.0)
    it.done(1, 1.0)
    it.done(2, 1.0)
    assert it.ask(3, Claim("a", 21_000), 1.0) == [Grant(3, 1)]
    assert it.ask(4, Claim("a", 51_000), 1.0) == [Grant(4, 2)]
    it.done(4, 2.0)
    assert it.ask(5, Claim("b", 51_000), 2.0) == [Grant(5, 2)]


def test_full_queue_is_refused_at_once_with_the_measured_wait() -> None:
    it = turns(depth=1)
    it.ask(1, Claim(), 0.0)
    it.done(1, 8.0)  # a turn takes eight seconds
    it.ask(2, Claim(), 8.0)
    it.ask(3, Claim(), 8.0)
    (verdict,) = it.ask(4, Claim(), 8.0)
    assert isinstance(verdict, Deny)
    assert isinstance(verdict.error, QueueFull)
    assert verdict.error.retry_after_s == 16.0


def test_request_whose_patience_is_over_is_refused_and_the_others_stay() -> None:
    it = turns(patience_s=10.0)
    it.ask(1, Claim(), 0.0)
    it.ask(2, Claim(), 0.0)
    it.ask(3, Claim(), 5.0)
    assert it.deadline == 10.0
    (verdict,) = it.tick(10.0)
    assert isinstance(verdict, Deny)
    assert verdict.request == 2
    assert isinstance(verdict.error, QueueTimeout)
    assert it.deadline == 15.0


def test_engine_that_is_gone_takes_no_turn_with_it() -> None:
    it = turns()
    it.ask(1, Claim(), 0.0)
    it.ask(2, Claim(), 0.0)
    (verdict,) = it.clear()
    assert isinstance(verdict, Deny)
    assert isinstance(verdict.error, EngineCrashed)
    assert (it.running, it.waiting, it.deadline) == (0, 0, None)
    assert granted(it.ask(3, Claim(), 0.0)) == [3]
    assert it.done(1, 1.0) == []
    assert it.running == 1


@given(
    slots=st.integers(1, 4),
    steps=st.lists(st.tuples(st.sampled_from(["ask", "done", "tick"]), st.integers(0, 3), st.booleans(), st.integers(0, 30))),
)
def test_every_request_is_granted_or_denied_once_and_no_slot_is_given_twice(
    slots: int, steps: list[tuple[str, int, bool, int]]
) -> None:
    it, now, asked = turns(slots, depth=5, patience_s=40.0), 0.0, 0
    holding: dict[int, int] = {}
    ended: set[int] = set()
    waiting: list[int] = []

    def hear(verdicts: list[Grant | Deny]) -> None:
        for verdict in verdicts:
            assert verdict.request not in holding
            assert verdict.request not in ended
            if verdict.request in waiting:
                waiting.remove(verdict.request)
            if isinstance(verdict, Grant):
                assert verdict.slot not in holding.values()
                holding[verdict.request] = verdict.slot
            else:
                ended.add(verdict.request)

    for kind, who, is_small, seconds in steps:
        now += seconds
        if kind == "ask":
            asked += 1
            waiting.append(asked)
            hear(it.ask(asked, Claim(f"k{who}", SMALL if is_small else LARGE), now))
        elif kind == "done" and (holding or waiting):
            request = (list(holding) + waiting)[who % (len(holding) + len(waiting))]
            holding.pop(request, None)
            if request in waiting:
                waiting.remove(request)
            ended.add(request)
            hear(it.done(request, now))
        else:
            hear(it.tick(now))
        assert it.running == len(holding) <= slots
        assert it.waiting == len(waiting) <= 5
        assert not waiting or len(holding) == slots, "somebody waits beside a free slot"
        assert not waiting or it.deadline is not None

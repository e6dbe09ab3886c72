from __future__ import annotations

import hmac
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.access.tickets import VALID_DAYS, Tickets
from relight.errors import ConfigError, Forbidden

SECRET = b"sixteen bytes or more"
DAY_S = 86400
NOW = 20_000.5 * DAY_S
ID = "int_019a0c8f3e2b5c6d7e8f9a0b"


def test_ticket_is_good_for_its_interaction_on_every_instance_with_the_secret() -> None:
    ticket = Tickets(SECRET).ticket(ID, NOW)
    Tickets(SECRET).check(ID, ticket, NOW)
    assert ticket == quote(ticket, safe="")
    assert len(ticket) == len("4e20.") + 22


def test_ticket_of_another_interaction_is_refused_with_what_to_do() -> None:
    tickets = Tickets(SECRET)
    with pytest.raises(Forbidden) as caught:
        tickets.check(ID, tickets.ticket("int_other", NOW), NOW)
    assert caught.value.message == "ticket: does not belong to this interaction"
    assert caught.value.hint == "send the ticket that came with the answer to this very interaction"
    assert caught.value.http_status == 403


def test_ticket_lasts_seven_days_and_no_longer() -> None:
    tickets = Tickets(SECRET)
    ticket = tickets.ticket(ID, NOW)
    tickets.check(ID, ticket, NOW + VALID_DAYS * DAY_S)
    with pytest.raises(Forbidden, match="is 8 days old, and 7 is the most; ask again"):
        tickets.check(ID, ticket, NOW + (VALID_DAYS + 1) * DAY_S)


def test_ticket_of_a_clock_a_little_ahead_is_taken_and_one_of_next_week_is_not() -> None:
    tickets = Tickets(SECRET)
    ticket = tickets.ticket(ID, NOW)
    tickets.check(ID, ticket, NOW - DAY_S)
    with pytest.raises(Forbidden, match="is from the future"):
        tickets.check(ID, ticket, NOW - 2 * DAY_S)


def test_day_of_a_ticket_cannot_be_made_younger() -> None:
    tickets = Tickets(SECRET)
    day, _, tag = tickets.ticket(ID, NOW).partition(".")
    forged = f"{int(day, 16) + 5:x}.{tag}"
    with pytest.raises(Forbidden, match="does not belong"):
        tickets.check(ID, forged, NOW + 10 * DAY_S)


def test_without_a_secret_tickets_of_another_process_are_refused_and_the_message_says_why() -> None:
    mine, other = Tickets(), Tickets()
    mine.check(ID, mine.ticket(ID, NOW), NOW)
    with pytest.raises(Forbidden, match="do not survive a restart and are not known to other instances"):
        mine.check(ID, other.ticket(ID, NOW), NOW)


def test_secret_used_elsewhere_makes_no_ticket() -> None:
    ticket = Tickets(SECRET).ticket(ID, NOW)
    plain = hmac.digest(SECRET, f"{int(NOW // DAY_S):x}.{ID}".encode(), "sha256")
    with pytest.raises(Forbidden):
        Tickets(plain).check(ID, ticket, NOW)
    assert Tickets(SECRET + b"!").ticket(ID, NOW) != ticket


@pytest.mark.parametrize("secret", [b"", b"short", b"x" * 15])
def test_secret_that_could_be_guessed_is_refused(secret: bytes) -> None:
    with pytest.raises(ConfigError, match=rf"^feedback: the secret has {len(secret)} bytes, and 16 are the least"):
        Tickets(secret, where="feedback")


@pytest.mark.parametrize(
    "ticket", ["", ".", "4e20", "4e20.", "4e20.x", "x" * 10_000, "-1." + "A" * 22, "٤." + "A" * 22, "4e20." + "A" * 22 + "\n"]
)
def test_text_that_is_no_ticket_is_refused(ticket: str) -> None:
    with pytest.raises(Forbidden, match="is none of ours"):
        Tickets(SECRET).check(ID, ticket, NOW)


@given(st.text(), st.text(), st.text())
def test_whatever_is_sent_is_refused_unless_it_was_issued(first: str, second: str, ticket: str) -> None:
    tickets = Tickets(SECRET)
    issued = tickets.ticket(first, NOW)
    tickets.check(first, issued, NOW)
    with pytest.raises(Forbidden):
        tickets.check(first, ticket, NOW)
    if first != second:
        with pytest.raises(Forbidden):
            tickets.check(second, issued, NOW)


@given(st.binary(min_size=16), st.integers(0, 10**10), st.text(), st.data())
def test_ticket_with_one_character_changed_is_refused(secret: bytes, now: int, interaction: str, data: st.DataObject) -> None:
    tickets = Tickets(secret)
    issued = tickets.ticket(interaction, now)
    place = data.draw(st.integers(0, len(issued) - 1))
    changed = issued[:place] + data.draw(st.characters().filter(lambda char: char != issued[place])) + issued[place + 1 :]
    with pytest.raises(Forbidden):
        tickets.check(interaction, changed, now)

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from bench import redaction
from hypothesis import given
from hypothesis import strategies as st

from relight.telemetry.redact import change_all, redact

DIGITS = "0123456789"
MEBIBYTE = 1 << 20


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("use sk-proj-Ab3dEf6hIj9kLm2n now", "use [key] now"),
        ("sk-ant-api03-AAAA_bbbb-1234", "[key]"),
        ("key=ghp_16C7e42F292c6912E7710c838347Ae178B4a", "key=[key]"),
        ("github_pat_11ABCDEFG0123456789", "[key]"),
        ("xoxb-123456789012-abcdef", "[key]"),
        ("hf_AbCdEfGh1JkLmNoPqR", "[key]"),
        ("AKIAIOSFODNN7EXAMPLE", "[key]"),
        ("AIzaSyA-1234567890abcdefghij", "[key]"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.SflKxwRJ_adQ", "[token]"),
        ("Authorization: Bearer abc123def456", "Authorization: Bearer [secret]"),
        ("password: hunter22", "password: [secret]"),
        ("password=hunter22&x=1", "password=[secret]"),
        ('{"password": "hunter22", "a": 1}', '{"password": "[secret]", "a": 1}'),
        ("api_key='topsecretvalue'", "api_key='[secret]'"),
        ("API-KEY=topsecretvalue", "API-KEY=[secret]"),
        ("my password is hunter22", "my password is [secret]"),
        ("write to jane.doe+spam@mail.example.co.uk.", "write to [email]."),
        ("<jane@example.com>", "<[email]>"),
        ("from 203.0.113.7:443", "from [ip]:443"),
        ("from 203.0.113.7.", "from [ip]."),
        ("call 030 12345678", "call [phone]"),
        ("call +49 30 12345678 today", "call [phone] today"),
        ("call +1 (555) 123-4567", "call [phone]"),
        ("call (030) 1234567-8", "call [phone]"),
        ("it is 4111 1111 1111 1111.", "it is [card]."),
        ("card 4111-1111-1111-1111, thanks", "card [card], thanks"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc=\n-----END RSA PRIVATE KEY-----\nafter", "[private key]\nafter"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE and no end", "[private key]"),
    ],
)
def test_secret_or_person_is_starred(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "version 3.11.7",
        "Python 3.14.0rc2 on Linux 6.8.0-45",
        "Windows 10.0.19041.1",
        "on 2026-11-21",
        "at 2026-11-21 23:41:21",
        "at 2026-11-21T23:41:21.123Z",
        "from 09:30 to 17:00 on 21.11.2026",
        "pi is 3.14159265358979",
        "1,234,567,890 people",
        "loss 0.000123456789",
        "sha b179c9523d0e6a0f98a330c7562b6827",
        "pip install scikit-learn lodash@4.17.21",
        "skeletonization and skillfulnesses",
        "import sk_learn_compatible_estimator",
        "the sk-learn-compatible-estimator",
        "the password is required",
        "the secret garden and a password manager",
        "bearer tokens are described there",
        "password = os.environ['DB']",
        "secret = load_secret(name)",
        "@app.get('/x')",
        "for i in range(10): x[i] = a[i] @ b[i]",
        "def f(a: int = 12345678) -> None:",
        "SELECT * FROM t WHERE id = 42 AND year BETWEEN 1999 AND 2026",
        "see https://example.com/a/b?c=12#d",
        "",
    ],
)
def test_harmless_text_stays(text: str) -> None:
    assert redact(text) == text


def test_every_string_in_a_value_is_redacted_and_nothing_else() -> None:
    value = {"messages": [{"content": ["jane@example.com", 4111111111111111, None, True]}], "user": "sk-proj-Ab3dEf6hIj9kLm2n"}
    expected = {"messages": [{"content": ["[email]", 4111111111111111, None, True]}], "user": "[key]"}
    assert change_all(value, redact) == expected


@given(
    st.text(),
    st.text(alphabet=st.sampled_from("abcdefghijklmnop" + DIGITS), min_size=16, max_size=40).filter(
        lambda t: re.search(r"\d", t)
    ),
)
def test_key_is_starred_wherever_it_stands(before: str, key: str) -> None:
    assert redact(f"{before} sk-{key}").endswith("[key]")


# What a pattern could begin with again and again. Quadratic time would be minutes for a MiB of these, not a second.
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "unit",
    [
        *("1", "1.", "01 ", "(01)", "4111 ", "AB12 ", "+1 ", "2a:", "12-", "phone at at at "),
        *(
            "-eyJ",
            "eyJa.",
            "sk-",
            "sk-1",
            "secret-",
            "token=",
            "pass=",
            "password=a.",
            "password  =  ",
            "key ",
            "Bearer ",
            "://a:",
        ),
        *("x@", "a.b@c-", "a [at] b.", "a at b dot ", "\n", "-----BEGIN PRIVATE KEY-----", "-----BEGIN "),
    ],
)
def test_a_mebibyte_that_tempts_a_pattern_takes_no_minutes(unit: str) -> None:
    text = (unit * (MEBIBYTE // len(unit) + 1))[:MEBIBYTE]
    assert len(redact(text)) <= 2 * MEBIBYTE


def test_what_is_nested_too_deeply_is_left_out_instead_of_failing() -> None:
    value: object = "end"
    for _ in range(900):
        value = [value]
    assert "[nested too deeply]" in str(change_all(value, redact))


# --- measured ----------------------------------------------------------------------------------------------------------


def test_cases_are_what_they_say() -> None:
    found = redaction.cases()
    assert len({case.text for case in found}) == len(found) >= 250
    for case in found:
        assert (case.kind == "none") == (not case.hidden)
        assert case.kind in (*redaction.KINDS, "none")
        assert case.set in ("tuned", "fresh")
        assert all(part and part in case.text for part in case.hidden), case.text


@pytest.mark.parametrize(
    ("kind", "recall", "precision"),
    [
        ("email", 1.0, 1.0),
        ("phone", 0.97, 0.99),
        ("key", 0.96, 1.0),
        ("card", 0.96, 1.0),
        ("ip", 1.0, 1.0),
        ("account", 1.0, 1.0),
    ],
)
def test_as_much_is_starred_as_was_once_reached(kind: str, recall: float, precision: float) -> None:
    score = redaction.scores(redaction.cases())[kind]
    assert score.recall >= recall
    assert score.precision >= precision


def test_texts_that_the_rules_were_not_made_for_are_starred_nearly_as_well() -> None:
    fresh = redaction.cases("fresh")
    found = redaction.scores(fresh).values()
    assert sum(score.gone for score in found) / sum(score.parts for score in found) >= 0.9
    assert sum(score.right for score in found) == sum(score.stars for score in found)


@pytest.mark.parametrize(("name", "share"), [("tuned", 0.99), ("fresh", 1.0)])
def test_harmless_texts_stay_as_they_are(name: str, share: float) -> None:
    stayed, plain = redaction.kept(redaction.cases(name))
    assert stayed / plain >= share


def test_what_is_starred_stays_so() -> None:
    for once in {redact(case.text) for case in redaction.cases()}:
        assert redact(once) == once


@given(st.text(max_size=30), st.integers(0, 10**15 - 1), st.sampled_from(["", " ", "-", "."]))
def test_card_number_is_starred_however_it_is_grouped(before: str, digits: int, gap: str) -> None:
    body = f"4{digits:015d}"[:15]
    check = next(last for last in range(10) if luhn(body + str(last)))
    card = body + str(check)
    text = f"{before} card {gap.join(card[at : at + 4] for at in range(0, 16, 4))}"
    assert redact(text).endswith("card [card]")


def luhn(number: str) -> bool:
    """By the table of doubled digits, unlike the code."""
    return sum(int("0246813579"[int(d)]) if place % 2 else int(d) for place, d in enumerate(reversed(number))) % 10 == 0


def test_lines_are_read_together_only_where_a_value_may_stand_on_the_next() -> None:
    assert redact("Password:\nhunter22\nafter") == "Password:\n[secret]\nafter"
    assert redact("the password\n12345678") == "the password\n12345678"


def test_lone_number_is_taken_for_an_answer() -> None:
    assert redact("4155552671") == "[phone]"
    assert redact(" 415 555 2671\n") == " [phone]\n"
    assert redact("it took 4155552671") == "it took 4155552671"
    assert redact("20261122") == "20261122"


def test_patterns_are_compiled_by_prepare_and_not_by_an_import() -> None:
    code = """
from relight.telemetry import redact
rules = [redact.ALONE, *redact.NUMBERS, *redact._RULES]
before = sum("pattern" in vars(rule) for rule in rules)
redact.prepare()
print(before, sum("pattern" in vars(rule) for rule in rules) == len(rules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "True"]

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.telemetry.redact import change_all, redact

DIGITS = "0123456789"


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
        ("call 030 12345678", "call [number]"),
        ("call +49 30 12345678 today", "call [number] today"),
        ("call +1 (555) 123-4567", "call [number]"),
        ("call (030) 1234567-8", "call [number]"),
        ("it is 4111 1111 1111 1111.", "it is [number]."),
        ("card 4111-1111-1111-1111, thanks", "card [number], thanks"),
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


@given(st.text(alphabet="sk-_pasword:= is\"'@.1234567890eyJ()+ \nAKIA"), st.text(alphabet="sk-@. 12\n"))
def test_redacting_twice_is_redacting_once(head: str, tail: str) -> None:
    once = redact(head + tail)
    assert redact(once) == once


@given(
    st.text(),
    st.text(alphabet=st.sampled_from("abcdefghijklmnop" + DIGITS), min_size=16, max_size=40).filter(
        lambda t: re.search(r"\d", t)
    ),
)
def test_key_is_starred_wherever_it_stands(before: str, key: str) -> None:
    assert redact(f"{before} sk-{key}").endswith("[key]")


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "1",
        "-eyJ",
        "sk-",
        "sk-1",
        "password ",
        "password  =  ",
        "x@",
        "1.",
        "1 ",
        "-----BEGIN PRIVATE KEY-----",
        "a.b@c-",
        "(1",
    ],
)
def test_time_grows_with_the_text_and_not_faster(unit: str) -> None:
    def cost(length: int) -> float:
        text = (unit * (length // len(unit) + 1))[:length]
        best = float("inf")
        for _ in range(3):
            began = time.process_time()
            redact(text)
            best = min(best, time.process_time() - began)
        return best

    small, large = cost(20_000), cost(160_000)
    assert large < 24 * small + 0.02  # eight times the text; a quadratic one would cost sixty-four times


def test_what_is_nested_too_deeply_is_left_out_instead_of_failing() -> None:
    value: object = "end"
    for _ in range(900):
        value = [value]
    assert "[nested too deeply]" in str(change_all(value, redact))

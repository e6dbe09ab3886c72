from __future__ import annotations

import pytest

from relight.config.address import provider_fault


@pytest.mark.parametrize(
    "url",
    [
        "https://api.openai.com/v1",
        "https://api.example.com",
        "https://example.com/openai/deployments/x?api-version=2026-01-01",
        "http://127.0.0.1:11434/v1",
        "http://localhost:8000/v1/",
        "http://[::1]:8000/v1",
    ],
)
def test_base_address_of_a_provider_is_fine_with_a_key(url: str) -> None:
    assert provider_fault(url, has_key=True) is None


def test_key_does_not_travel_in_the_clear() -> None:
    fault = provider_fault("http://vllm.lan:8000/v1", has_key=True)
    assert fault == "is not encrypted, so the key would travel in the clear; use https://, or leave out api_key"
    assert provider_fault("http://vllm.lan:8000/v1", has_key=False) is None


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("api.openai.com/v1", "should be the base address of a provider"),
        ("ftp://api.openai.com/v1", "should be the base address of a provider"),
        ("https:///v1", "should be the base address of a provider"),
        ("https://host:port/v1", "should be the base address of a provider"),
        ("https://host:0/v1", "should be the base address of a provider"),
        ("https://[::1/v1", "should be the base address of a provider"),
        ("https://host/v1\r\nX-A: b", "should be the base address of a provider"),
        ("https://ho st/v1", "should be the base address of a provider"),
        ("", "should be the base address of a provider"),
        ("https://me:hush@host/v1", "should hold no user name or password"),
        ("https://host/v1#x", "should not hold a #"),
        ("https://host/v1/chat/completions", "should be the base address, to which /chat/completions is added"),
        ("https://host/v1/responses/", "should be the base address, to which /responses is added"),
    ],
)
def test_url_that_is_no_base_address_is_refused_without_its_secrets(url: str, words: str) -> None:
    fault = provider_fault(url, has_key=False)
    assert fault is not None
    assert fault.startswith(words)
    assert "hush" not in fault

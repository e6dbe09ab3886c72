"""The example as its README shows it: the real model, the real detector, a real browser."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.serve.assistant_stand_in import hosting
from tests.serve.chromium import Watch
from tests.serve.process import Served, serve

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

PORTFOLIO = Path(__file__).parents[2] / "examples/portfolio"
CONTENT = " ".join(" ".join(file.read_text(encoding="utf-8").split()) for file in sorted((PORTFOLIO / "content").glob("*.md")))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The example itself, with snapshots in a folder of the test's own."""
    env = {
        "RELIGHT_SERVER__PORT": "0",
        "RELIGHT_PREFIXES__DIR": str(tmp_path_factory.mktemp("prefixes")),
        "RELIGHT_LOG__CONTENT": "redacted",
        # The same answer every time.
        **{
            f"RELIGHT_ASSISTANT__MODES__{mode}__TEMPERATURE": "0"
            for mode in ("PROJECTS", "CONTACT", "EXPERIENCE", "WRITING", "PERSONAL")
        },
    }
    with serve(PORTFOLIO / "relight.toml", env=env) as served:
        yield served


def ask(service: Served, **said: Any) -> dict[str, Any]:
    request = urllib.request.Request(f"{service.base}/chat", json.dumps(said).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return dict(json.loads(answer.read()))


@pytest.mark.parametrize(
    ("question", "mode", "fact"),
    [
        ("What have you built?", "projects", "Tidemark, Parcelbook, Hushlog and Lanternfish"),
        ("When are you available?", "contact", "March 2027"),
        ("What did you study?", "experience", "computer science"),
        ("Where can I read your articles?", "writing", "anselm.example/notes"),
        ("Do you have pets?", "personal", "Biscuit"),
    ],
)
def test_small_model_answers_in_the_words_of_the_knowledge(service: Served, question: str, mode: str, fact: str) -> None:
    said = ask(service, message=question, html=True)
    assert said["mode"] == mode
    assert said["by"] in ("rules", "classifier")
    assert fact in said["reply"]
    assert said["usage"]["completion_tokens"] > 0
    assert said["html"].startswith("<p>")
    assert said["sources"][0]["source"].startswith("content/")
    for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z])", said["reply"]):
        assert sentence in CONTENT


def test_what_is_out_of_scope_costs_nothing(service: Served) -> None:
    said = ask(service, message="Write me a Python script that sorts a list.")
    assert (said["mode"], said["by"], said["model"]) == ("general", "default", "assistant")
    assert said["usage"] == {"prompt_tokens": 0, "completion_tokens": 0}


def test_visitor_of_another_site_asks_and_rates_in_the_widget(service: Served, browser: Browser) -> None:
    host = f'<!doctype html><title>A site</title><script src="{service.base}/widget.js" defer></script>'
    policy = f"default-src 'none'; script-src {service.base}; connect-src {service.base}"
    watch = Watch()
    with hosting({"/": (host, policy)}) as site, browser.new_context() as context:
        page = watch.over(context.new_page())
        page.goto(site)
        page.get_by_role("button", name="Ask Mira").click()
        page.get_by_role("textbox").fill("Where can I read your articles?")
        page.get_by_role("textbox").press("Enter")
        page.get_by_text("anselm.example/notes").first.wait_for(timeout=60_000)
        page.get_by_text("writing", exact=True).first.wait_for()
        page.get_by_role("button", name=re.compile("good|helpful|up", re.IGNORECASE)).first.click()
        service.until(lambda: any('"feedback"' in line for line in service.lines))
    (line,) = [json.loads(line) for line in service.lines if '"feedback"' in line]
    rated = service.record_of(line["feedback"]["interaction"])
    assert (line["feedback"]["rating"], rated["mode"], rated["dialect"]) == ("up", "writing", "assistant")
    assert watch.complaints == []


def test_page_of_the_service_itself_shows_the_assistant(service: Served, browser: Browser) -> None:
    watch = Watch()
    with browser.new_context() as context:
        page = watch.over(context.new_page())
        page.goto(service.base)
        page.get_by_role("button", name="When are you available?").click()
        page.get_by_text("Mira is available from March 2027").first.wait_for(timeout=60_000)
    assert watch.complaints == []

"""The chat page: its files, and what a person sees in a real browser.

Tests that take `base_url` say nothing about who serves: set RELIGHT_PAGE_URL to run them against a server that is up.
Those that take `site` move the stand-in's engine by hand.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from relight.access.keys import create
from relight.serve import pages
from tests.serve.chromium import SCREENS, Watch, contrast
from tests.serve.process import PATIENCE_S, serve, write_config
from tests.serve.stand_in import StandIn, running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# --- files ------------------------------------------------------------------------------------------------------


def test_all_files_of_the_chat_page_together_stay_small() -> None:
    assets = [pages.page(), *(pages.asset(name) for name in _referred(pages.CHAT))]

    assert sum(len(asset.body) for asset in assets if asset) < 50_000


def test_pages_refer_to_every_asset_and_to_nothing_else() -> None:
    assert {*_referred(pages.CHAT), *_referred(pages.ASSISTANT)} == pages.ASSETS


@pytest.mark.parametrize("name", [pages.CHAT, pages.ASSISTANT])
def test_page_names_every_module_that_its_script_will_import(name: str) -> None:
    referred = _referred(name)
    sources = [asset.body for module in referred if module.endswith(".js") and (asset := pages.asset(module))]
    imported = {found.decode() for source in sources for found in re.findall(rb'(?m)^import .* from "\./([^"]+)"', source)}

    assert imported - set(referred) == set()


def _referred(page: str) -> list[str]:
    return [name.decode() for name in re.findall(rb'(?:src|href)="assets/([^"]+)"', pages.page(page).body)]


@pytest.mark.parametrize("name", [pages.CHAT, pages.ASSISTANT])
def test_page_holds_nothing_inline_that_the_policy_forbids(name: str) -> None:
    document = pages.page(name).body

    assert not re.search(rb"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", document)


def test_scripts_never_parse_html() -> None:
    sources = b"".join(asset.body for name in pages.ASSETS if (asset := pages.asset(name))) + pages.widget({}).body

    assert not re.search(rb"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|srcdoc|eval\(|new Function", sources)


def test_unknown_asset_is_not_looked_for() -> None:
    assert pages.asset("../app.py") is None
    assert pages.asset("__init__.py") is None


def test_asset_has_type_and_quoted_tag_of_its_content() -> None:
    style, script = pages.asset("chat.css"), pages.asset("chat.js")

    assert style is not None
    assert script is not None
    assert style.content_type == "text/css; charset=utf-8"
    assert re.fullmatch(r'"[0-9a-f]{20}"', style.etag)
    assert style.etag != script.etag


# --- browser ----------------------------------------------------------------------------------------------------


@pytest.fixture
def site() -> Iterator[StandIn]:
    with running(StandIn()) as stand_in:
        yield stand_in


@pytest.fixture
def sleeper() -> Iterator[StandIn]:
    with running(StandIn(asleep=True)) as stand_in:
        yield stand_in


@pytest.fixture
def base_url() -> Iterator[str]:
    if url := os.environ.get("RELIGHT_PAGE_URL"):
        yield url.rstrip("/")
        return
    with running(StandIn()) as stand_in:
        yield stand_in.url


@pytest.fixture
def page(browser: Browser, watch: Watch) -> Iterator[Page]:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    yield watch.over(context.new_page())
    context.close()


def _send(page: Page, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.keyboard.press("Enter")


def _finished(page: Page, number: int = 1) -> None:
    from playwright.sync_api import expect

    expect(page.locator(".turn.assistant[aria-busy=false]")).to_have_count(number, timeout=60_000)


def _answer(page: Page) -> str:
    return page.locator(".turn.assistant .text").last.inner_text()


@pytest.mark.real
def test_message_sent_is_answered_with_figures(page: Page, base_url: str) -> None:
    page.goto(base_url)

    _send(page, "Hello there")
    _finished(page)

    assert _answer(page)
    assert re.search(r"\d+ tokens .*first token after [\d.]+ m?s", page.locator(".stats").inner_text())
    assert page.locator(".turn.user .text").inner_text() == "Hello there"


@pytest.mark.real
def test_second_message_carries_the_whole_conversation(page: Page, site: StandIn) -> None:
    page.goto(site.url)

    _send(page, "one")
    _finished(page)
    _send(page, "two")
    _finished(page, 2)

    first, second = site.sent("/v1/chat/completions")
    assert first["stream"]
    assert first["stream_options"] == {"include_usage": True}
    assert [(message["role"], message["content"].strip()) for message in second["messages"]] == [
        ("user", "one"),
        ("assistant", "You said: one"),
        ("user", "two"),
    ]


@pytest.mark.real
def test_page_and_title_carry_the_name_of_the_service(page: Page, site: StandIn) -> None:
    from playwright.sync_api import expect

    page.goto(site.url)

    expect(page).to_have_title("portfolio")
    expect(page.get_by_role("heading", level=1)).to_have_text("portfolio")


@pytest.mark.real
def test_opened_page_wakes_the_model_once(page: Page, sleeper: StandIn) -> None:
    from playwright.sync_api import expect

    page.goto(sleeper.url)
    expect(page.locator("#state")).to_have_text(re.compile("^waking, about [1-4] s$"))
    sleeper.awaken()
    expect(page.locator("#state")).to_have_text("awake")

    assert len(sleeper.sent("/models/smol/wake")) == 1


@pytest.mark.real
def test_page_nobody_sees_neither_wakes_nor_asks(page: Page, sleeper: StandIn) -> None:
    from playwright.sync_api import expect

    page.add_init_script("window.unseen = true; Object.defineProperty(document, 'hidden', { get: () => window.unseen })")
    page.goto(sleeper.url)
    expect(page.locator("#model option")).to_have_count(1)
    page.wait_for_load_state("networkidle")

    assert {path for _, path, _, _ in sleeper.requests} & {"/status", "/models/smol/wake"} == set()

    page.evaluate("window.unseen = false; document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator("#state")).to_have_text(re.compile("^waking"))
    assert len(sleeper.sent("/models/smol/wake")) == 1


@pytest.mark.real
def test_engine_that_failed_is_told_with_its_reason(page: Page, site: StandIn) -> None:
    from playwright.sync_api import expect

    site.states["smol"] = "failed"
    page.goto(site.url)

    expect(page.locator("#state")).to_have_text("failed")
    expect(page.locator("#lead")).to_have_text("weights are not there")


@pytest.mark.real
def test_waiting_answer_says_how_long_and_counts_down(page: Page, sleeper: StandIn) -> None:
    from playwright.sync_api import expect

    sleeper.eta_s, sleeper.note = 2.5, "waking smol, about 2.5s left"
    page.goto(sleeper.url)
    page.evaluate(NOTE_WAITING)  # on a busy machine nobody sees every word in its second
    _send(page, "Hello")
    waiting = page.locator(".waiting")

    expect(page.locator("body")).to_have_attribute("data-told", re.compile("waking, about 3 s.*waking, about 2 s"))
    sleeper.awaken()
    _finished(page)

    assert _answer(page) == "You said: Hello"
    expect(waiting).to_be_hidden()


@pytest.mark.real
def test_time_left_is_read_from_the_stream_where_status_knows_none(page: Page, sleeper: StandIn) -> None:
    from playwright.sync_api import expect

    sleeper.eta_s = None
    sleeper.note = "waking smol, about 1m30s left"
    page.goto(sleeper.url)
    _send(page, "Hello")

    expect(page.locator(".waiting")).to_have_text(re.compile("^waking, about (90|8[0-9]) s$"))


@pytest.mark.real
@pytest.mark.parametrize("how", ["button", "escape"])
def test_stopped_answer_keeps_what_came_and_frees_the_server(page: Page, site: StandIn, how: str) -> None:
    from playwright.sync_api import expect

    page.goto(site.url)
    _send(page, "slow walk")
    expect(page.locator(".turn.assistant .text")).to_contain_text("You said: slow walk")

    if how == "button":
        page.get_by_role("button", name="Stop the answer").click()
    else:
        page.keyboard.press("Escape")
    _finished(page)

    assert _answer(page) == "You said: slow walk"
    assert page.locator(".stats").inner_text().startswith("Stopped.")
    assert site.client_gone.wait(PATIENCE_S)
    expect(page.get_by_label("Message", exact=True)).to_be_focused()


@pytest.mark.real
def test_reload_restores_conversation_and_draft(page: Page, base_url: str) -> None:
    page.goto(base_url)
    _send(page, "Remember me")
    _finished(page)
    said = _answer(page)
    page.get_by_label("Message", exact=True).fill("half a thou")

    page.reload()

    assert page.locator(".turn.user .text").inner_text() == "Remember me"
    assert _answer(page) == said
    assert page.get_by_label("Message", exact=True).input_value() == "half a thou"


@pytest.mark.real
def test_reload_in_mid_answer_keeps_it_marked_as_interrupted(page: Page, site: StandIn) -> None:
    from playwright.sync_api import expect

    page.goto(site.url)
    _send(page, "slow walk")
    expect(page.locator(".turn.assistant .text")).to_contain_text("You said: slow walk")

    page.reload()

    assert _answer(page) == "You said: slow walk"
    assert page.locator(".stats").inner_text().startswith("Interrupted before it was complete.")
    assert page.locator(".trouble").is_hidden()
    site.release()
    page.get_by_role("button", name="Retry").click()
    expect(page.locator(".turn.assistant .text")).to_have_text("You said: slow walk and on")


@pytest.mark.real
@pytest.mark.parametrize(
    ("message", "who", "words"),
    [
        ("refuse relight", "Relight could not answer", "smol: 64 requests wait already. Try again in a moment."),
        ("refuse engine", "The engine failed", "smol: 64 requests wait already. Try again in a moment."),
        ("refuse provider", "The provider failed", "smol: 64 requests wait already. Try again in a moment."),
        ("crash", "The engine failed", "Engine ended with signal 9."),
        ("break", "No connection", "The connection ended before the answer was complete."),
    ],
)
def test_failure_is_told_in_words_with_who_failed(page: Page, site: StandIn, message: str, who: str, words: str) -> None:
    page.goto(site.url)

    _send(page, message)
    _finished(page)

    assert page.locator(".trouble").inner_text().split() == f"{who} {words}".split()
    assert page.get_by_role("button", name="Retry").is_visible()


@pytest.mark.real
def test_server_that_is_gone_is_told_in_words(page: Page) -> None:
    with running(StandIn()) as stand_in:
        page.goto(stand_in.url)
        page.locator("[data-state=awake]").wait_for()

    _send(page, "Hello")
    _finished(page)

    assert page.locator(".trouble").inner_text().split("\n")[0] == "No connection"
    assert "check that it is running" in page.locator(".trouble").inner_text().lower()


@pytest.mark.real
def test_conversation_too_long_offers_a_new_one(page: Page, site: StandIn) -> None:
    page.goto(site.url)
    _send(page, "refuse long")
    _finished(page)

    page.get_by_role("button", name="Start a new conversation").click()

    assert page.locator(".turn").count() == 0
    assert page.locator("#welcome").is_visible()


@pytest.mark.real
def test_new_conversation_can_be_taken_back(page: Page, base_url: str) -> None:
    page.goto(base_url)
    _send(page, "Keep me")
    _finished(page)

    page.get_by_role("button", name="New conversation").click()
    assert page.locator(".turn").count() == 0
    page.get_by_role("button", name="Bring back the last conversation").click()

    assert page.locator(".turn.user .text").inner_text() == "Keep me"


@pytest.mark.real
def test_markdown_becomes_nodes_and_never_markup(page: Page, site: StandIn) -> None:
    page.goto(site.url)

    _send(page, "markdown")
    _finished(page)

    text = page.locator(".turn.assistant .text")
    assert text.locator("img, script").count() == 0
    assert "<img src=x onerror=alert(1)>" in text.inner_text()
    assert [link.get_attribute("href") for link in text.locator("a").all()] == [
        "https://example.org/notes",
        "https://example.org/a?b=1",
    ]
    assert {link.get_attribute("rel") for link in text.locator("a").all()} == {"noopener noreferrer"}
    assert text.locator("ol > li > ul > li").count() == 2
    assert text.locator("pre code").inner_text() == "def wake(model: str) -> float:\n    return 0.8  # seconds"
    assert text.locator("strong").inner_text() == "both"
    assert text.locator("p > code").inner_text() == "relight serve"


@pytest.mark.real
def test_copy_puts_the_answer_on_the_clipboard(page: Page, site: StandIn) -> None:
    page.goto(site.url)
    _send(page, "take this")
    _finished(page)

    page.get_by_role("button", name="Copy").click()
    page.get_by_role("button", name="Copied").wait_for()

    assert page.evaluate("navigator.clipboard.readText()") == "You said: take this "


@pytest.mark.real
def test_picker_appears_for_many_models_and_is_remembered(page: Page) -> None:
    with running(StandIn(models=("smol", "large"))) as stand_in:
        page.goto(stand_in.url)
        page.get_by_label("Model").select_option("large")
        _send(page, "Hello")
        _finished(page)
        page.reload()
        page.locator("#model option").first.wait_for(state="attached")

        assert page.get_by_label("Model").input_value() == "large"
        assert stand_in.sent("/v1/chat/completions")[0]["model"] == "large"


@pytest.mark.real
def test_everything_works_by_keyboard(page: Page, base_url: str) -> None:
    from playwright.sync_api import expect

    page.goto(base_url)
    box = page.get_by_label("Message", exact=True)
    expect(box).to_be_focused()

    page.keyboard.type("first")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("second")
    page.keyboard.press("Enter")
    _finished(page)
    assert page.locator(".turn.user .text").inner_text() == "first\nsecond"

    page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("button", name="Retry")).to_be_focused()
    page.keyboard.press("Enter")
    expect(box).to_be_focused()
    _finished(page)
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("/")
    expect(box).to_be_focused()
    assert box.input_value() == ""


@pytest.mark.real
def test_finished_answer_is_announced(page: Page, site: StandIn) -> None:
    from playwright.sync_api import expect

    page.goto(site.url)
    _send(page, "speak")

    expect(page.get_by_role("status")).to_have_text("Answer: You said: speak")


@pytest.mark.real
def test_every_control_has_a_name(page: Page, base_url: str) -> None:
    page.goto(base_url)
    _send(page, "Hello")
    _finished(page)

    tree = page.locator("body").aria_snapshot()
    controls = re.findall(r"- (button|textbox|combobox|link)\b(.*)", tree)

    assert {"button", "textbox"} <= {role for role, _ in controls}
    assert [f"{role}{rest}" for role, rest in controls if not re.match(r' "[^"]+"', rest)] == []
    assert {"banner", "main", "contentinfo"} <= set(re.findall(r"- (\w+)", tree))


@pytest.mark.real
def test_page_stays_on_its_origin_and_complains_of_nothing(page: Page, base_url: str, watch: Watch) -> None:
    page.goto(base_url)
    _send(page, "Hello")
    _finished(page)
    page.reload()
    page.locator(".turn").first.wait_for()

    assert [url for url in watch.requests if not url.startswith((f"{base_url}/", "data:"))] == []
    assert watch.complaints == []


@pytest.mark.real
def test_policy_refuses_inline_script(page: Page, base_url: str) -> None:
    from playwright.sync_api import Error

    served = page.goto(base_url)
    assert served is not None
    assert served.headers["content-security-policy"] == pages.CSP

    with pytest.raises(Error, match="Content Security Policy"):
        page.add_script_tag(content="window.broken = true")


@pytest.mark.real
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible_in_both_schemes(browser: Browser, site: StandIn, scheme: str) -> None:
    context = browser.new_context(color_scheme="dark" if scheme == "dark" else "light")
    page = context.new_page()
    page.goto(site.url)
    _send(page, "markdown")
    _finished(page)
    _send(page, "refuse")
    _finished(page, 2)

    ratios = {selector: _contrast(page, selector) for selector in LEGIBLE}
    context.close()

    assert {selector: ratio for selector, ratio in ratios.items() if ratio < 4.5} == {}


@pytest.mark.real
def test_chosen_scheme_survives_a_reload(browser: Browser, base_url: str) -> None:
    context = browser.new_context(color_scheme="light")
    page = context.new_page()
    page.goto(base_url)
    before = page.evaluate(GROUND)

    page.get_by_role("button", name="Switch to dark colours").click()
    dark = page.evaluate(GROUND)
    page.reload()

    assert dark != before
    assert page.evaluate(GROUND) == dark
    assert page.get_by_role("button", name="Switch to light colours").is_visible()
    context.close()


@pytest.mark.real
@pytest.mark.parametrize("screen", SCREENS)
def test_nothing_is_wider_than_the_screen(browser: Browser, site: StandIn, screen: str) -> None:
    width, height = SCREENS[screen]
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    page.goto(site.url)
    _send(page, "markdown " + "w" * 300)
    _finished(page)
    _send(page, "long")
    _finished(page, 2)

    overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    at_end = page.evaluate("document.documentElement.scrollHeight - innerHeight - scrollY")
    context.close()

    assert overflow <= 0
    assert at_end < 2


# --- a service with keys ----------------------------------------------------------------------------------------

KEY = "rl_test-0123456789"


@pytest.fixture
def locked() -> Iterator[StandIn]:
    with running(StandIn(key=KEY, asleep=True)) as stand_in:
        yield stand_in


def _enter(page: Page, key: str) -> None:
    page.locator("#door input").fill(key)
    page.get_by_role("button", name="Open").click()


@pytest.mark.real
def test_service_with_keys_asks_for_one_in_a_field_that_hides_it(page: Page, locked: StandIn) -> None:
    from playwright.sync_api import expect

    page.goto(locked.url)

    expect(page.locator("#door")).to_be_visible()
    expect(page.locator("#composer")).to_be_hidden()
    expect(page.locator("#state")).to_have_text("locked")
    expect(page.locator("#wanted")).to_have_text("This service asks for a key.")
    field = page.get_by_label("This service asks for a key.")
    expect(field).to_have_attribute("type", "password")
    expect(field).to_be_focused()
    expect(page.get_by_role("status")).to_have_text("This service asks for a key.")
    assert locked.sent("/models/smol/wake") == []


@pytest.mark.real
def test_right_key_opens_and_goes_with_every_call(page: Page, locked: StandIn) -> None:
    from playwright.sync_api import expect

    page.goto(locked.url)
    _enter(page, f" {KEY} ")
    expect(page.locator("#state")).to_have_text(re.compile("^waking"))
    expect(page.locator("#door")).to_be_hidden()
    expect(page.get_by_label("Message", exact=True)).to_be_focused()
    before = len(locked.requests)
    locked.awaken()
    _send(page, "Hello")
    _finished(page)

    assert _answer(page) == "You said: Hello"
    paths = {path for _, path, _, headers in locked.requests if headers.get("authorization") == f"Bearer {KEY}"}
    assert {"/v1/models", "/status", "/models/smol/wake", "/v1/chat/completions"} <= paths
    assert {headers.get("authorization") for _, _, _, headers in locked.requests[before:]} == {f"Bearer {KEY}"}
    assert KEY not in "".join(path for _, path, _, _ in locked.requests)


@pytest.mark.real
@pytest.mark.parametrize("wrong", ["rl_wrong", "not a kéy"])
def test_wrong_key_is_told_and_another_may_be_tried(page: Page, locked: StandIn, wrong: str) -> None:
    from playwright.sync_api import expect

    page.goto(locked.url)
    _enter(page, wrong)

    expect(page.locator("#wanted")).to_have_text("Wrong key. Check it and try again.")
    field = page.get_by_label("Wrong key. Check it and try again.")
    expect(field).to_have_value("")
    expect(field).to_be_focused()
    expect(field).to_have_attribute("aria-invalid", "true")
    _enter(page, KEY)
    expect(page.locator("#door")).to_be_hidden()


@pytest.mark.real
def test_key_stays_in_its_tab_over_a_reload_and_goes_nowhere_else(page: Page, locked: StandIn) -> None:
    from playwright.sync_api import expect

    page.goto(locked.url)
    _enter(page, KEY)
    expect(page.locator("#door")).to_be_hidden()
    page.reload()
    expect(page.locator("#state")).to_have_text(re.compile("^waking"))

    assert page.locator("#door").is_hidden()
    assert KEY not in page.evaluate("JSON.stringify(localStorage) + document.cookie + location.href")
    other = page.context.new_page()
    other.goto(locked.url)
    expect(other.locator("#door")).to_be_visible()


@pytest.mark.real
def test_wrong_key_is_not_kept(page: Page, locked: StandIn) -> None:
    from playwright.sync_api import expect

    page.goto(locked.url)
    _enter(page, "rl_wrong")
    expect(page.locator("#wanted")).to_have_text(re.compile("^Wrong key"))

    assert page.evaluate("sessionStorage.length") == 0


@pytest.mark.real
def test_key_taken_back_in_mid_conversation_is_asked_for_again_and_nothing_is_lost(page: Page, locked: StandIn) -> None:
    from playwright.sync_api import expect

    locked.awaken()
    page.goto(locked.url)
    _enter(page, KEY)
    expect(page.locator("#state")).to_have_text("awake")
    page.wait_for_load_state("networkidle")
    locked.key = "rl_another"
    _send(page, "Hello")
    _finished(page)

    assert "The service wants another key." in page.locator(".trouble").inner_text()
    expect(page.locator("#wanted")).to_have_text(re.compile("^Wrong key"))
    _enter(page, "rl_another")
    expect(page.locator("#door")).to_be_hidden()
    page.get_by_role("button", name="Retry").click()
    expect(page.locator(".turn.assistant .text")).to_have_text("You said: Hello")


@pytest.mark.real
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_locked_page_is_legible_and_fits_a_phone(browser: Browser, locked: StandIn, scheme: str) -> None:
    width, height = SCREENS["phone"]
    colours = "dark" if scheme == "dark" else "light"
    context = browser.new_context(color_scheme=colours, viewport={"width": width, "height": height})  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(locked.url)
    page.locator("#door").wait_for()

    ratios = {selector: _contrast(page, selector) for selector in (".door label", ".door input", ".open", ".lead", ".state")}
    overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    context.close()

    assert {selector: ratio for selector, ratio in ratios.items() if ratio < 4.5} == {}
    assert overflow <= 0


@pytest.mark.real
def test_service_without_keys_never_shows_the_field(page: Page, site: StandIn) -> None:
    page.goto(site.url)
    _send(page, "Hello")
    _finished(page)

    assert page.locator("#door").is_hidden()
    assert [headers for _, _, _, headers in site.requests if "authorization" in headers] == []


@pytest.mark.real
def test_front_door_with_keys_serves_the_page_to_anybody_and_answers_with_one(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from playwright.sync_api import expect

    text, entry = create("page", "2026-11-22")
    monkeypatch.setenv("PAGE_KEYS", str(entry))
    config = write_config(tmp_path, server='[auth]\nkeys = { secret = "PAGE_KEYS" }')
    with serve(config) as served:
        page.goto(served.base)
        _enter(page, f"{text}x")
        expect(page.locator("#wanted")).to_have_text(re.compile("^Wrong key"))
        _enter(page, text)
        expect(page.locator("#state")).to_have_text("awake")
        _send(page, "Hello there")
        _finished(page)

        assert _answer(page) == "You said: Hello there"
        served.until(served.records)
        assert [record["key"] for record in served.records()] == ["page"]


@pytest.mark.real
def test_model_of_somebody_else_is_not_woken(page: Page, watch: Watch) -> None:
    with running(StandIn(models=(), provided=("cloud",))) as stand_in:
        page.goto(stand_in.url)
        _send(page, "Hello")
        _finished(page)

        assert _answer(page) == "You said: Hello"
        assert stand_in.sent("/models/cloud/wake") == []
    assert watch.complaints == []


@pytest.mark.real
def test_models_that_do_not_chat_are_not_offered(page: Page) -> None:
    with running(StandIn(models=("smol", "large"), vectors=("vec",))) as stand_in:
        page.goto(stand_in.url)
        page.locator("#model option").first.wait_for(state="attached")

        assert page.locator("#model option").all_inner_texts() == ["smol", "large"]


@pytest.mark.real
def test_service_where_no_model_chats_says_so(page: Page, watch: Watch) -> None:
    from playwright.sync_api import expect

    with running(StandIn(models=(), vectors=("vec",))) as stand_in:
        page.goto(stand_in.url)

        expect(page.locator("#state")).to_have_text("no chat")
        expect(page.locator("#lead")).to_have_text("The models of this service do not chat.")
    assert watch.complaints == []


@pytest.mark.real
def test_provider_and_list_say_who_will_answer(page: Page) -> None:
    from playwright.sync_api import expect

    with running(StandIn(provided=("cloud",), lists={"best": ("smol", "cloud")})) as stand_in:
        page.goto(stand_in.url)
        page.get_by_label("Model").select_option("cloud")
        expect(page.locator("#state")).to_have_text("elsewhere")
        expect(page.locator("#lead")).to_have_text("api.example.org will answer.")
        page.get_by_label("Model").select_option("best")
        expect(page.locator("#lead")).to_have_text("smol, or else cloud will answer.")
        assert stand_in.sent("/models/best/wake") == []


LEGIBLE = (
    ".state",
    "h1",
    ".turn.user .text",
    ".turn.assistant .text p",
    ".text p a",
    ".text p > code",
    ".stats",
    ".quiet",
    ".code figcaption",
    ".code pre code",
    ".trouble strong",
    ".trouble p",
    ".trouble .hint",
    ".keys",
    "#message",
)
GROUND = "getComputedStyle(document.documentElement).backgroundColor"
NOTE_WAITING = """() => {
  const note = () => document.querySelectorAll(".waiting").forEach(node => document.body.dataset.told += node.textContent);
  new MutationObserver(note).observe(document.body, { characterData: true, childList: true, subtree: true });
}"""


def _contrast(page: Page, selector: str) -> float:
    return contrast(page.locator(selector))

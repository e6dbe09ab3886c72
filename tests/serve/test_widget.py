"""The assistant's page and the widget: how they are served, and what a visitor sees in a real browser.

The widget stands on a page of another origin, under a policy that allows it no more than it has to have. Tests that take
`base_url` say nothing about who serves: set RELIGHT_ASSISTANT_URL to run them against a service that is up. Those that take
`site` or `sleeper` move the stand-in's model by hand.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from relight.assistant.markdown import TAGS, render
from relight.errors import PathNotFound
from relight.serve import pages
from relight.serve.http import Message, Request
from relight.serve.page import Pages
from tests.assistant.test_markdown import HOSTILE
from tests.serve.assistant_stand_in import ARABIC, MARKDOWN, TICKET, AssistantStandIn, hosting, running
from tests.serve.chromium import SCREENS, Watch, contrast
from tests.serve.process import PATIENCE_S

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

HOST = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/site.css"><title>A site</title></head>
<body><h1>A site</h1><p><a id="first" href="/">Home</a></p><p><a id="ask" href="#" data-relight-open>Ask me</a></p>
<script src="{service}/widget.js" defer {attributes}></script></body></html>"""
POLICY = "default-src 'none'; style-src 'self'; script-src {service}; connect-src {service}; require-trusted-types-for 'script'"
"""Of the host page. Nothing inline, and no script may make markup of a string: this is all that a site has to allow."""


# --- how they are served ----------------------------------------------------------------------------------------


async def _get(handler: Callable[[Request], Any], path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("nothing is read")

    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    await handler(Request({"type": "http", "method": "GET", "path": path, "headers": named}, receive, send))
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}, sent[1]["body"]


async def test_widget_may_be_loaded_by_any_page_and_is_asked_for_again() -> None:
    status, headers, body = await _get(Pages({"title": "Ask"}).widget, "/widget.js")

    assert status == 200
    assert headers["content-type"] == "text/javascript; charset=utf-8"
    assert headers["access-control-allow-origin"] == "*"
    assert headers["cross-origin-resource-policy"] == "cross-origin"
    assert headers["cache-control"] == "no-cache"
    assert headers["content-length"] == str(len(body))
    assert (await _get(Pages({"title": "Ask"}).widget, "/widget.js", if_none_match=headers["etag"]))[0] == 304
    assert (await _get(Pages({"title": "Tell"}).widget, "/widget.js", if_none_match=headers["etag"]))[0] == 200


async def test_service_without_an_assistant_has_the_chat_page_and_no_widget() -> None:
    with pytest.raises(PathNotFound, match="has no assistant"):
        await _get(Pages().widget, "/widget.js")

    assert (await _get(Pages().index, "/"))[2] == pages.page(pages.CHAT).body
    assert (await _get(Pages({}).index, "/"))[2] == pages.page(pages.ASSISTANT).body


def test_no_two_modules_of_the_widget_use_one_name() -> None:
    sources = "\n".join(_source(name) for name in pages.WIDGET_SCRIPTS)
    declared = re.findall(r"(?m)^(?:export )?(?:async )?(?:const |let |class |function\*? )(\w+)", sources)

    assert len(declared) > 40
    assert {name for name in declared if declared.count(name) > 1} == set()


def _source(name: str) -> str:
    return (Path(pages.__file__).parent / name).read_text(encoding="utf-8")


def test_modules_of_the_widget_stand_after_those_they_import_from() -> None:
    for at, name in enumerate(pages.WIDGET_SCRIPTS):
        imported = set(re.findall(r'(?m)^import .* from "\./([^"]+)"', _source(name)))
        assert imported <= set(pages.WIDGET_SCRIPTS[:at]), name


def test_widget_stays_small() -> None:
    import gzip

    body = pages.widget({}).body

    assert len(body) < 68_000
    assert len(gzip.compress(body)) < 20_000
    assert b"export " not in body
    assert not re.search(rb"\d+rem\b", body)


def test_translations_know_the_words_of_the_widget_and_their_numbers() -> None:
    listed = re.findall(r'(?m)^ +(\w+): "(.*)",$', _source("words.js"))
    english = dict(listed[: next(at for at, (key, _) in enumerate(listed) if at and key == listed[0][0])])
    times = {key: [text for other, text in listed if other == key] for key, _ in listed}

    assert set(times) == set(english)
    assert {key for key, texts in times.items() if len(texts) != 5} == set()
    assert {key for key, texts in times.items() if any(("{s}" in text) != ("{s}" in english[key]) for text in texts)} == set()


def test_what_the_service_says_of_itself_cannot_end_the_script() -> None:
    body = pages.widget({"title": '</script><script>alert(1)</script>";alert(1)//\u2028'}).body

    assert b'"title":"</script><script>alert(1)</script>\\";alert(1)//' in body


def test_browser_and_server_let_the_same_elements_through() -> None:
    listed = re.search(r"const ALLOWED = \{(.*?)\n\};", _source("safe.js"), re.DOTALL)

    assert listed is not None
    assert set(re.findall(r"(\w+): (?:\{)", listed[1])) == TAGS


# --- a visitor --------------------------------------------------------------------------------------------------


@pytest.fixture
def page(browser: Browser, watch: Watch) -> Iterator[Page]:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    yield watch.over(context.new_page())
    context.close()


@pytest.fixture
def site() -> Iterator[AssistantStandIn]:
    with running(AssistantStandIn()) as stand_in:
        yield stand_in


@pytest.fixture
def sleeper() -> Iterator[AssistantStandIn]:
    with running(AssistantStandIn(asleep=True)) as stand_in:
        yield stand_in


@pytest.fixture
def base_url() -> Iterator[str]:
    if url := os.environ.get("RELIGHT_ASSISTANT_URL"):
        yield url.rstrip("/")
        return
    with running(AssistantStandIn()) as stand_in:
        yield stand_in.url


@pytest.fixture
def visit(page: Page) -> Iterator[Callable[..., Page]]:
    """Opens somebody's site that embeds the widget of `service`, with `attributes` on its script tag and `css` of its own."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def go(service: str, attributes: str = "", css: str = "", on: Page = page) -> Page:
            policy = POLICY.format(service=service)
            html = HOST.format(service=service, attributes=attributes)
            on.goto(stack.enter_context(hosting({"/": (html, policy), "/site.css": (css, policy)})))
            _button(on).wait_for()
            return on

        yield go


def _button(page: Page) -> Locator:
    return page.locator(".launcher")


def _box(page: Page) -> Locator:
    return page.get_by_label("Message", exact=True)


def _open(page: Page) -> None:
    _button(page).click()
    page.locator(".panel").wait_for()


def _ask(page: Page, text: str, number: int = 1) -> None:
    _say(page, text)
    _finished(page, number)


def _say(page: Page, text: str) -> None:
    _box(page).fill(text)
    _box(page).press("Enter")


def _finished(page: Page, number: int = 1) -> None:
    from playwright.sync_api import expect

    expect(page.locator(".turn.assistant[aria-busy=false]")).to_have_count(number, timeout=60_000)


def _text(page: Page) -> Locator:
    return page.locator(".turn.assistant .text").last


@pytest.mark.real
def test_one_script_tag_on_a_strict_page_is_enough(visit: Callable[..., Page], base_url: str, watch: Watch) -> None:
    page = visit(base_url)
    _open(page)
    _ask(page, "Hello there")

    assert _text(page).inner_text()
    assert page.locator(".turn.user .text").inner_text() == "Hello there"
    assert page.locator(".trouble").is_hidden()
    assert watch.complaints == []


@pytest.mark.real
def test_nothing_is_asked_for_before_it_is_opened(visit: Callable[..., Page], sleeper: AssistantStandIn) -> None:
    page = visit(sleeper.url)
    page.wait_for_load_state("networkidle")

    assert [path for _, path, _, _ in sleeper.requests] == ["/widget.js"]
    assert _button(page).inner_text() == "Ask Mira"


@pytest.mark.real
def test_opening_wakes_the_model_before_the_first_question(visit: Callable[..., Page], sleeper: AssistantStandIn) -> None:
    from playwright.sync_api import expect

    page = visit(sleeper.url)
    _open(page)

    expect(page.locator(".state")).to_have_text(re.compile("^Waking up, about [1-4] s$"))
    assert sleeper.sent("/assistant/wake") == [{}]
    assert sleeper.sent("/chat") == []
    sleeper.awaken()
    expect(page.locator(".state")).to_have_text("Ready")


@pytest.mark.real
def test_awake_model_is_not_asked_after_again(visit: Callable[..., Page], sleeper: AssistantStandIn) -> None:
    """An open tab must not keep the service from going dark."""
    from playwright.sync_api import expect

    sleeper.eta_s = 30.0
    page = visit(sleeper.url)
    page.clock.install()
    _open(page)
    expect(page.locator(".state")).to_have_text(re.compile("^Waking up"))
    sleeper.awaken()
    page.clock.run_for(3000)
    expect(page.locator(".state")).to_have_text("Ready")
    before = len(sleeper.requests)
    page.clock.run_for(120_000)
    page.wait_for_load_state("networkidle")

    assert len(sleeper.requests) == before


@pytest.mark.real
def test_waiting_question_says_how_long_and_is_answered(visit: Callable[..., Page], sleeper: AssistantStandIn) -> None:
    from playwright.sync_api import expect

    page = visit(sleeper.url)
    _open(page)
    _say(page, "Hello")

    expect(page.locator(".waiting")).to_have_text(re.compile("^Waking up, about [1-4] s$"))
    sleeper.awaken()
    _finished(page)
    expect(_text(page)).to_have_text("You asked: Hello")
    expect(page.locator(".waiting")).to_be_hidden()
    expect(page.locator(".state")).to_have_text("Ready")


@pytest.mark.real
def test_model_of_somebody_else_is_ready(visit: Callable[..., Page], watch: Watch) -> None:
    from playwright.sync_api import expect

    with running(AssistantStandIn(is_provided=True)) as site:
        page = visit(site.url)
        _open(page)
        _ask(page, "Hello")

        expect(page.locator(".state")).to_have_text("Ready")
    assert watch.complaints == []


@pytest.mark.real
def test_greeting_and_suggestions_are_the_services(visit: Callable[..., Page], site: AssistantStandIn) -> None:
    page = visit(site.url)
    _open(page)

    assert page.locator(".greeting").inner_text() == site.about["greeting"]
    assert page.locator(".suggestion").all_inner_texts() == site.about["suggestions"]
    assert page.get_by_role("dialog", name="Ask Mira").is_visible()
    page.get_by_role("button", name="Are you free for a project?").click()
    _finished(page)
    assert _text(page).inner_text() == "You asked: Are you free for a project?"
    assert page.locator(".greeting").is_hidden()


@pytest.mark.real
def test_page_may_say_otherwise(visit: Callable[..., Page], site: AssistantStandIn) -> None:
    attributes = (
        'data-title="Hilfe" data-greeting="Guten Tag!" data-suggestions="Eins? | Zwei?" data-position="left" data-theme="dark"'
    )
    page = visit(site.url, attributes)
    _open(page)
    page.wait_for_load_state("networkidle")

    assert page.locator(".title").inner_text() == "Hilfe"
    assert page.locator(".greeting").inner_text() == "Guten Tag!"
    assert page.locator(".suggestion").all_inner_texts() == ["Eins?", "Zwei?"]
    assert _at(page.locator(".panel"), "x") < 100
    assert page.locator(".panel").evaluate("node => getComputedStyle(node).colorScheme") == "dark"


@pytest.mark.real
def test_question_carries_what_was_said_before(visit: Callable[..., Page], site: AssistantStandIn) -> None:
    page = visit(site.url)
    _open(page)
    _ask(page, "one")
    _ask(page, "refuse 0", 2)
    _ask(page, "two", 3)

    first, _, last = site.sent("/chat")
    assert (first["message"], first["history"], first["stream"], first["html"]) == ("one", [], True, True)
    assert re.fullmatch("[0-9a-f]{24}", first["session"])
    assert last["session"] == first["session"]
    assert last["message"] == "two"
    # A question that got no answer is not part of what was said.
    assert last["history"] == [{"role": "user", "content": "one"}, {"role": "assistant", "content": "You asked: one"}]


@pytest.mark.real
def test_text_is_shown_as_it_comes_and_as_markup_at_the_end(visit: Callable[..., Page], site: AssistantStandIn) -> None:
    from playwright.sync_api import expect

    page = visit(site.url)
    _open(page)
    _say(page, "slow **walk**")

    expect(page.locator(".rest")).to_have_text("You asked: slow **walk**")
    expect(page.locator(".badge")).to_have_text("Answered as: small talk")
    site.release()
    _finished(page)
    assert _text(page).locator("strong").inner_text() == "walk"
    assert _text(page).inner_text() == "You asked: slow walk and on"
    assert page.locator(".rest").is_hidden()


@pytest.mark.real
def test_markdown_becomes_elements(visit: Callable[..., Page], site: AssistantStandIn) -> None:
    page = visit(site.url)
    _open(page)
    _ask(page, "markdown")

    text = _text(page)
    links = text.locator("a").all()
    assert [link.get_attribute("href") for link in links] == ["https://example.org/notes", "https://example.org/a?b=1"]
    assert {(link.get_attribute("rel"), link.get_attribute("target")) for link in links} == {("noopener nofollow", "_blank")}
    assert text.locator("ol > li > ul > li").count() == 2
    assert text.locator("pre code").inner_text() == "def wake(model: str) -> float:\n    return 0.8  # seconds"
    assert text.locator("td").nth(1).evaluate("node => getComputedStyle(node).textAlign") == "right"


@pytest.mark.real
def test_answer_that_was_cut_off_says_so(visit: Callable[..., Page], site: AssistantStandIn) -> None:
    page = visit(site.url)
    _open(page)
    _ask(page, "cut")

    assert page.locator(".ended").inner_text() == "Cut off where answers have to end."


@pytest.mark.real
def test_code_and_answer_can_be_copied(visit: Callable[..., Page], site: AssistantStandIn) -> None:
    page = visit(site.url)
    _open(page)
    _ask(page, "markdown")
    copied = "navigator.clipboard.readText()"

    page.get_by_role("button", name="Copy code").click()
    page.locator(".quiet.done").wait_for()
    assert page.evaluate(copied) == "def wake(model: str) -> float:\n    return 0.8  # seconds"
    page.get_by_role("button", name="Copy the answer").click()
    page.locator(".act.done").wait_for()
    assert page.evaluate(copied) == MARKDOWN


@pytest.mark.real
def test_stopped_answer_keeps_what_came_and_frees_the_server(visit: Callable[..., Page], site: AssistantStandIn) -> None:
    from playwright.sync_api import expect

    page = visit(site.url)
    _open(page)
    _say(page, "slow walk")
    expect(page.locator(".rest")).to_have_text("You asked: slow walk")

    page.get_by_role("button", name="Stop the answer").click()
    _finished(page)

    assert page.locator(".rest").inner_text() == "You asked: slow walk"
    assert page.locator(".ended").inner_text() == "Stopped."
    assert site.client_gone.wait(PATIENCE_S)
    expect(_box(page)).to_be_focused()
    with page.expect_response("**/feedback"):
        page.get_by_role("button", name="Poor answer").click()
    assert site.sent("/feedback") == [{"interaction": "int_1", "ticket": TICKET, "rating": "down"}]
    site.release()
    page.get_by_role("button", name="Try again").click()
    expect(_text(page)).to_have_text("You asked: slow walk and on")
    assert [body["message"] for body in site.sent("/chat")] == ["slow walk", "slow walk"]
    assert site.sent("/chat")[1]["history"] == []


@pytest.mark.real
@pytest.mark.parametrize(
    ("question", "says"),
    [
        ("refuse 0", "That was a lot of questions at once. Give me a moment."),
        ("crash", "My engine has stopped. Please ask again in a moment."),
        ("break", "The assistant cannot be reached right now."),
    ],
)
def test_failure_is_told_in_the_services_friendly_words(
    visit: Callable[..., Page], site: AssistantStandIn, question: str, says: str
) -> None:
    page = visit(site.url)
    _open(page)
    _ask(page, question)

    assert page.locator(".trouble p").all_inner_texts() == [says]
    assert page.get_by_role("log").inner_text() == says
    page.get_by_role("button", name="Try again").click()
    _finished(page)
    assert len(site.sent("/chat")) == 2


@pytest.mark.real
def test_retry_is_offered_when_the_server_says_it_is_worth_it(visit: Callable[..., Page], site: AssistantStandIn) -> None:
    from playwright.sync_api import expect

    page = visit(site.url)
    page.clock.install()
    _open(page)
    _say(page, "refuse 30")
    page.clock.run_for(500)
    _finished(page)
    again = page.locator(".trouble button")

    expect(again).to_have_text(re.compile("^Try again in (30|2[0-9]) s$"))
    expect(again).to_be_disabled()
    page.clock.run_for(31_000)
    expect(again).to_have_text("Try again")
    expect(again).to_be_enabled()


@pytest.mark.real
def test_service_that_is_gone_is_told_in_words(visit: Callable[..., Page]) -> None:
    from playwright.sync_api import expect

    with running(AssistantStandIn()) as site:
        page = visit(site.url)
    _open(page)
    expect(page.locator(".state")).to_have_text("No connection")
    _ask(page, "Hello")

    assert page.locator(".trouble p").inner_text() == "The assistant cannot be reached right now."


# --- sources and ratings ----------------------------------------------------------------------------------------


@pytest.mark.real
def test_sources_are_named_and_link_only_to_addresses(visit: Callable[..., Page], site: AssistantStandIn) -> None:
    page = visit(site.url)
    _open(page)
    _ask(page, "sources")

    assert page.locator(".sources li").all_inner_texts() == ["Projects", "About <b>me</b>"]
    links = page.locator(".sources a").all()
    assert [link.get_attribute("href") for link in links] == ["https://mira.example/projects"]
    assert links[0].get_attribute("rel") == "noopener nofollow"


@pytest.mark.real
def test_thumb_up_is_sent_with_the_answers_ticket(visit: Callable[..., Page], site: AssistantStandIn) -> None:
    from playwright.sync_api import expect

    page = visit(site.url)
    _open(page)
    _ask(page, "Hello")
    up = page.get_by_role("button", name="Good answer")
    with page.expect_response("**/feedback"):  # the page thanks at once
        up.click()

    expect(page.locator(".said")).to_have_text("Thank you.")
    expect(up).to_have_attribute("aria-pressed", "true")
    assert site.sent("/feedback") == [{"interaction": "int_1", "ticket": TICKET, "rating": "up"}]


@pytest.mark.real
def test_thumb_down_asks_what_was_wrong(visit: Callable[..., Page], site: AssistantStandIn) -> None:
    from playwright.sync_api import expect

    page = visit(site.url)
    _open(page)
    _ask(page, "Hello")
    page.get_by_role("button", name="Poor answer").click()
    field = page.get_by_label("What was wrong with it?")
    expect(field).to_be_focused()
    field.fill("too short")
    with page.expect_response("**/feedback"):
        page.locator(".comment").get_by_role("button", name="Send").click()

    expect(page.locator(".comment")).to_be_hidden()
    expect(page.locator(".said")).to_have_text("Thank you.")
    rated = {"interaction": "int_1", "ticket": TICKET, "rating": "down"}
    assert site.sent("/feedback") == [rated, {**rated, "comment": "too short"}]


@pytest.mark.real
def test_rating_that_was_not_taken_is_told_and_not_shown_as_given(visit: Callable[..., Page], site: AssistantStandIn) -> None:
    from playwright.sync_api import expect

    site.rating_fails = True
    page = visit(site.url)
    _open(page)
    _ask(page, "Hello")
    page.get_by_role("button", name="Poor answer").click()

    expect(page.locator(".said")).to_have_text("This rating was not taken.")
    expect(page.get_by_role("button", name="Poor answer")).to_have_attribute("aria-pressed", "false")
    expect(page.locator(".comment")).to_be_hidden()
    site.rating_fails = False
    page.get_by_role("button", name="Good answer").click()
    expect(page.locator(".said")).to_have_text("Thank you.")


# --- the conversation is kept -----------------------------------------------------------------------------------


@pytest.mark.real
def test_conversation_draft_and_rating_survive_a_reload_in_this_tab_only(
    visit: Callable[..., Page], site: AssistantStandIn
) -> None:
    from playwright.sync_api import expect

    page = visit(site.url)
    _open(page)
    _ask(page, "**Remember** me")
    page.get_by_role("button", name="Good answer").click()
    expect(page.locator(".said")).to_have_text("Thank you.")
    _box(page).fill("half a thou")
    page.reload()
    _open(page)

    assert _text(page).locator("strong").inner_text() == "Remember"
    expect(page.get_by_role("button", name="Good answer")).to_have_attribute("aria-pressed", "true")
    assert _box(page).input_value() == "half a thou"
    assert page.evaluate("localStorage.length") == 0
    assert page.evaluate("document.cookie") == ""


@pytest.mark.real
def test_new_conversation_forgets_and_can_be_taken_back(visit: Callable[..., Page], site: AssistantStandIn) -> None:
    page = visit(site.url)
    _open(page)
    _ask(page, "Keep me")
    page.get_by_role("button", name="New conversation").click()

    assert page.locator(".turn").count() == 0
    assert page.locator(".greeting").is_visible()
    page.get_by_role("button", name="Bring back the last conversation").click()
    assert page.locator(".turn.user .text").inner_text() == "Keep me"
    page.get_by_role("button", name="New conversation").click()
    _ask(page, "afresh")
    first, second = site.sent("/chat")
    assert second["history"] == []
    assert second["session"] != first["session"]


@pytest.mark.real
def test_reload_in_mid_answer_keeps_it_marked_as_interrupted(visit: Callable[..., Page], site: AssistantStandIn) -> None:
    from playwright.sync_api import expect

    page = visit(site.url)
    _open(page)
    _say(page, "slow walk")
    expect(page.locator(".rest")).to_have_text("You asked: slow walk")
    page.reload()
    _open(page)

    assert page.locator(".rest").inner_text() == "You asked: slow walk"
    assert page.locator(".ended").inner_text() == "Interrupted before it was complete."


@pytest.mark.real
def test_new_conversation_in_mid_answer_leaves_nothing_behind(visit: Callable[..., Page], site: AssistantStandIn) -> None:
    from playwright.sync_api import expect

    page = visit(site.url)
    _open(page)
    _say(page, "slow walk")
    expect(page.locator(".rest")).to_have_text("You asked: slow walk")
    page.get_by_role("button", name="New conversation").click()
    assert site.client_gone.wait(PATIENCE_S)
    _ask(page, "Hello")

    assert page.locator(".turn").count() == 2
    assert _text(page).inner_text() == "You asked: Hello"


# --- keyboard and screen reader ---------------------------------------------------------------------------------


@pytest.mark.real
def test_everything_works_by_keyboard(visit: Callable[..., Page], base_url: str) -> None:
    from playwright.sync_api import expect

    page = visit(base_url)
    page.locator("#ask").focus()
    page.keyboard.press("Tab")
    expect(_button(page)).to_be_focused()
    expect(_button(page)).to_have_attribute("aria-expanded", "false")
    page.keyboard.press("Enter")
    expect(_box(page)).to_be_focused()
    expect(_button(page)).to_have_attribute("aria-expanded", "true")

    page.keyboard.type("first")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("second")
    page.keyboard.press("Enter")
    _finished(page)
    assert page.locator(".turn.user .text").inner_text() == "first\nsecond"
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("button", name="Try again")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator(".panel")).to_be_hidden()
    expect(_button(page)).to_be_focused()
    expect(_button(page)).to_have_attribute("aria-expanded", "false")


@pytest.mark.real
def test_sites_own_link_opens_it(visit: Callable[..., Page], site: AssistantStandIn) -> None:
    from playwright.sync_api import expect

    page = visit(site.url)
    page.get_by_role("link", name="Ask me").click()

    expect(_box(page)).to_be_focused()


@pytest.mark.real
def test_shortcuts_of_the_site_do_not_hear_what_is_typed(visit: Callable[..., Page], site: AssistantStandIn) -> None:
    page = visit(site.url)
    page.evaluate("window.heard = []; document.addEventListener('keydown', event => window.heard.push(event.key))")
    _open(page)
    page.keyboard.type("jk/?")
    page.keyboard.press("Enter")
    _finished(page)

    assert page.evaluate("window.heard") == []
    assert page.locator(".turn.user .text").inner_text() == "jk/?"


@pytest.mark.real
def test_whole_answer_is_announced_and_not_every_word(visit: Callable[..., Page], site: AssistantStandIn) -> None:
    from playwright.sync_api import expect

    page = visit(site.url)
    _open(page)
    log = page.get_by_role("log")
    assert log.get_attribute("aria-live") == "polite"
    _say(page, "slow walk")
    expect(page.locator(".rest")).to_have_text("You asked: slow walk")
    assert log.inner_text() == "Sent."
    site.release()

    expect(log).to_have_text("Answer: You asked: slow walk and on")
    assert page.locator("[aria-live]").count() == 1


@pytest.mark.real
def test_every_control_has_a_name(visit: Callable[..., Page], base_url: str) -> None:
    page = visit(base_url)
    _open(page)
    _ask(page, "Hello")

    tree = page.locator("body").aria_snapshot()
    controls = re.findall(r"- (button|textbox|link|dialog)\b(.*)", tree)
    assert {"button", "textbox", "dialog"} <= {role for role, _ in controls}
    assert [f"{role}{rest}" for role, rest in controls if not re.match(r' "[^"]+"', rest)] == []


@pytest.mark.real
def test_motion_is_left_out_for_who_does_not_want_it(
    browser: Browser, site: AssistantStandIn, visit: Callable[..., Page]
) -> None:
    context = browser.new_context(reduced_motion="reduce")
    page = visit(site.url, on=context.new_page())
    _open(page)
    moving = page.locator(".panel").evaluate("node => node.getAnimations({ subtree: true }).length")
    context.close()

    assert moving == 0


# --- how it looks -----------------------------------------------------------------------------------------------


@pytest.mark.real
def test_right_to_left_page_is_mirrored(visit: Callable[..., Page], site: AssistantStandIn) -> None:
    page = visit(site.url, 'data-dir="rtl" data-lang="ar"')
    _open(page)
    page.locator(".composer textarea").fill("arabic")
    page.keyboard.press("Enter")
    _finished(page)
    panel = page.locator(".panel").bounding_box()
    assert panel is not None

    assert panel["x"] < 100
    assert page.get_by_role("button", name="إجابة جيدة").is_visible()
    assert _at(page.locator(".title"), "x") > _at(page.locator(".tools"), "x")
    assert _at(page.locator(".turn.user .text"), "x") < panel["x"] + panel["width"] / 2
    assert _text(page).locator("p").first.evaluate("node => getComputedStyle(node).direction") == "rtl"
    assert ARABIC.split("\n")[0].replace("**", "") == _text(page).locator("p").first.inner_text()


@pytest.mark.real
def test_answer_of_another_direction_keeps_its_own(visit: Callable[..., Page], site: AssistantStandIn) -> None:
    page = visit(site.url)
    _open(page)
    _ask(page, "arabic")

    assert _text(page).locator("li").first.evaluate("node => getComputedStyle(node).direction") == "rtl"
    assert _at(page.locator(".panel"), "x") > 500


@pytest.mark.real
def test_on_a_phone_it_is_the_whole_screen(browser: Browser, site: AssistantStandIn, visit: Callable[..., Page]) -> None:
    width, height = SCREENS["phone"]
    context = browser.new_context(viewport={"width": width, "height": height}, has_touch=True, is_mobile=True)
    page = visit(site.url, on=context.new_page())
    _button(page).tap()
    page.locator(".panel").wait_for()
    page.locator(".panel").evaluate("node => Promise.all(node.getAnimations().map(({ finished }) => finished))")
    box = page.locator(".panel").bounding_box()
    # A keyboard that comes up by itself would hide the suggested questions; smaller letters would have the phone zoom in.
    typing = page.evaluate("document.querySelector('relight-widget').shadowRoot.activeElement.tagName")
    size = _box(page).evaluate("node => parseFloat(getComputedStyle(node).fontSize)")
    behind = page.evaluate("getComputedStyle(document.documentElement).overflow")
    _box(page).fill("markdown")
    _box(page).press("Enter")
    _finished(page)
    overflow = page.locator(".scroll").evaluate("node => node.scrollWidth - node.clientWidth")
    hidden = _button(page).is_hidden()
    page.get_by_role("button", name="Close").tap()
    after = page.evaluate("getComputedStyle(document.documentElement).overflow")
    context.close()

    assert box == {"x": 0, "y": 0, "width": width, "height": height}
    assert typing == "SECTION"
    assert size >= 16
    assert overflow == 0
    assert hidden
    assert (behind, after) == ("hidden", "visible")


@pytest.mark.real
@pytest.mark.parametrize("accent", ["#facc15", "#000", "#fff", "red", "oklch(0.6 0.2 250)"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_any_accent_is_legible_in_both_schemes(
    browser: Browser, site: AssistantStandIn, visit: Callable[..., Page], accent: str, scheme: str
) -> None:
    context = browser.new_context(color_scheme="dark" if scheme == "dark" else "light")
    page = visit(site.url, f'data-accent="{accent}"', on=context.new_page())
    launcher = contrast(_button(page))
    _open(page)
    page.locator(".panel").evaluate("node => Promise.all(node.getAnimations().map(({ finished }) => finished))")
    state = contrast(page.locator(".state"))
    _ask(page, "markdown")
    _ask(page, "sources", 2)
    page.get_by_role("button", name="Poor answer").last.click()
    page.locator(".tell").last.wait_for()
    seen = (
        ".title",
        ".text p",
        ".text a",
        ".text p code",
        ".user .text",
        ".badge",
        ".code figcaption",
        ".sources a",
        ".tell",
        ".quiet",
    )
    _say(page, "refuse 9")
    page.locator(".trouble p").wait_for()
    ratios = {
        selector: contrast(page.locator(selector)) for selector in (*seen, ".trouble p", ".trouble button", ".act", ".tool")
    }
    context.close()

    assert {name: ratio for name, ratio in {**ratios, "launcher": launcher, "state": state}.items() if ratio < 4.5} == {}


@pytest.mark.real
def test_site_can_theme_it_with_custom_properties(visit: Callable[..., Page], site: AssistantStandIn) -> None:
    css = "html { --relight-accent: rgb(1, 2, 3); --relight-radius: 2px }"
    page = visit(site.url, css=css)
    _open(page)

    assert _button(page).evaluate("node => getComputedStyle(node).backgroundColor") == "rgb(1, 2, 3)"
    assert page.locator(".panel").evaluate("node => getComputedStyle(node).borderRadius") == "2px"


@pytest.mark.real
def test_sites_own_styles_do_not_get_in(visit: Callable[..., Page], site: AssistantStandIn) -> None:
    plain = visit(site.url)
    _open(plain)
    before = [_shape(plain, selector) for selector in (".launcher", ".title", ".suggestion", ".send")]
    css = """html { font-size: 62.5%; letter-spacing: 1em; line-height: 4; text-transform: uppercase }
    body { transform: none; font: italic 40px fantasy } * { box-sizing: content-box; border: 9px solid lime }
    button { display: none; padding: 40px } p, h2, div { color: red; margin: 50px } textarea { width: 9px }"""
    page = visit(site.url, css=css)
    _open(page)

    assert [_shape(page, selector) for selector in (".launcher", ".title", ".suggestion", ".send")] == before


def _shape(page: Page, selector: str) -> Any:
    wanted = "({ color, fontSize, fontStyle, letterSpacing, textTransform, width, height }) => "
    wanted += "[color, fontSize, fontStyle, letterSpacing, textTransform, width, height]"
    return page.locator(selector).first.evaluate(f"node => ({wanted})(getComputedStyle(node))")


def _at(locator: Locator, side: str) -> float:
    box = locator.first.bounding_box()
    assert box is not None
    return float({"x": box["x"], "y": box["y"]}[side])


# --- hostile ----------------------------------------------------------------------------------------------------


def _harm(page: Page) -> dict[str, Any]:
    """What an attack would have left behind."""
    return {
        "title": page.title(),
        "foreign": page.locator(".panel").evaluate(
            "node => [...node.querySelectorAll('.turns *')].map(found => found.localName)"
            ".filter(name => /^(script|iframe|img|style|math|mi|input|object|embed|link|base|meta)$/.test(name))"
        ),
        "handlers": page.locator(".panel").evaluate(
            "node => [...node.querySelectorAll('*')].flatMap(({ attributes }) => [...attributes]).map(({ name }) => name)"
            ".filter(name => name.startsWith('on'))"
        ),
        "links": [
            href
            for link in page.locator(".turns a").all()
            if not (href := link.get_attribute("href") or "https:").startswith("http")
        ],
    }


HARMLESS = {"title": "A site", "foreign": [], "handlers": [], "links": []}


@pytest.mark.real
@pytest.mark.parametrize("question", ["hostile", "raw"])
def test_hostile_answer_does_nothing(visit: Callable[..., Page], site: AssistantStandIn, watch: Watch, question: str) -> None:
    """What a model was talked into saying; and what a server sends that has been taken over."""
    page = visit(site.url)
    _open(page)
    _ask(page, question)

    assert _harm(page) == HARMLESS
    assert [url for url in watch.requests if "evil" in url] == []
    assert watch.complaints == []


@pytest.mark.real
def test_hostile_answer_keeps_what_is_harmless_in_it(visit: Callable[..., Page], site: AssistantStandIn) -> None:
    page = visit(site.url)
    _open(page)
    _ask(page, "raw")

    assert _text(page).locator("p").first.inner_text() == "kept"
    links = [
        (link.inner_text(), link.get_attribute("href"), link.get_attribute("target")) for link in _text(page).locator("a").all()
    ]
    assert links == [("link", None, "_blank"), ("fine", "https://ok.example/", "_blank")]


@pytest.mark.real
def test_hostile_question_is_shown_as_text(visit: Callable[..., Page], site: AssistantStandIn, watch: Watch) -> None:
    page = visit(site.url)
    _open(page)
    question = "<img src=x onerror=\"document.title='broken'\">"
    _ask(page, question)

    assert page.locator(".turn.user .text").inner_text() == question
    assert _harm(page) == HARMLESS
    assert watch.complaints == []


@pytest.mark.real
@pytest.mark.parametrize("where", ["attributes", "service"])
def test_hostile_settings_are_text(visit: Callable[..., Page], watch: Watch, where: str) -> None:
    bad = "<img src=x onerror=document.title=1>"
    about = {"title": bad, "greeting": bad, "suggestions": [bad], "accent": "url(https://evil.example/a)"}
    attributes = " ".join(f"data-{name}='{value if isinstance(value, str) else bad}'" for name, value in about.items())
    site = AssistantStandIn(about=about) if where == "service" else AssistantStandIn()
    with running(site):
        page = visit(site.url, f"{attributes} data-position='x' data-theme='\"><b>'" if where == "attributes" else "")
        _open(page)
        page.wait_for_load_state("networkidle")
        shown = [page.locator(selector).inner_text() for selector in (".title", ".greeting", ".suggestion")]

        assert shown == [bad, bad, bad]
        assert _harm(page) == HARMLESS
        assert "evil" not in (page.locator(".widget").get_attribute("style") or "")
    assert [url for url in watch.requests if "evil" in url] == []
    assert watch.complaints == []


@pytest.mark.real
def test_kept_conversation_that_was_tampered_with_does_nothing(
    visit: Callable[..., Page], site: AssistantStandIn, watch: Watch
) -> None:
    page = visit(site.url)
    _open(page)
    _ask(page, "sources")
    page.evaluate(
        """() => {
          const [place] = Object.keys(sessionStorage).filter(name => name.startsWith("relight."));
          const kept = JSON.parse(sessionStorage.getItem(place));
          kept.turns[1].html = "<img src=x onerror=\\"document.title='broken'\\"><script>document.title='broken'</script>";
          kept.turns[1].sources = [{ title: "x", url: "javascript:document.title='broken'" }];
          addEventListener("pagehide", () => sessionStorage.setItem(place, JSON.stringify(kept)));
        }"""
    )
    page.reload()
    _open(page)

    assert page.locator(".sources li").all_inner_texts() == ["x"]
    assert _harm(page) == HARMLESS
    assert watch.complaints == []


@pytest.mark.real
def test_browser_builds_what_a_parser_would_have_parsed(page: Page, site: AssistantStandIn) -> None:
    """The strict builder loses nothing of what the server's renderer writes."""
    page.goto(site.url)
    rendered = [render(text) for text in (MARKDOWN, ARABIC, "a  \nb\n\n***\n\n> *c* & `<d>`\n\n3. e\n\n~~f~~ \u00a0 g", *HOSTILE)]
    different = page.evaluate(
        """async rendered => {
          const { build } = await import("/assets/safe.js");
          const parser = new DOMParser();
          return rendered.filter(html => {
            const built = document.createElement("body");
            built.append(build(html));
            return built.innerHTML !== parser.parseFromString(html, "text/html").body.innerHTML;
          });
        }""",
        rendered,
    )

    assert different == []


# --- the example ------------------------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize("screen", SCREENS)
def test_site_of_the_example_embeds_it_under_its_own_policy(
    browser: Browser, site: AssistantStandIn, watch: Watch, screen: str
) -> None:
    folder = Path(__file__).parents[2] / "examples/portfolio/site"
    html, css = ((folder / name).read_text(encoding="utf-8") for name in ("index.html", "site.css"))
    width, height = SCREENS[screen]
    context = browser.new_context(viewport={"width": width, "height": height})
    page = watch.over(context.new_page())
    any_policy = "default-src * data:"
    with hosting({"/": (html.replace("http://127.0.0.1:8080", site.url), any_policy), "/site.css": (css, any_policy)}) as host:
        page.goto(host)
        page.get_by_role("link", name="Ask about my work").click()
        _ask(page, "What has Mira built?")
        wider = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        policy = page.locator("meta[http-equiv]").get_attribute("content") or ""
        context.close()

    assert policy.startswith("default-src 'none'")
    assert wider <= 0
    assert watch.complaints == []


# --- the page ---------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_page_shows_what_the_service_says_of_itself(page: Page, site: AssistantStandIn, watch: Watch) -> None:
    from playwright.sync_api import expect

    page.goto(site.url)
    expect(page).to_have_title("Ask Mira")
    expect(page.get_by_role("heading", level=1)).to_have_text("Ask Mira")
    expect(page.locator(".greeting")).to_have_text(site.about["greeting"])
    page.get_by_role("button", name="What have you built?").click()
    _finished(page)

    assert _text(page).inner_text() == "You asked: What have you built?"
    assert page.locator(".badge").inner_text().endswith("small talk")
    assert site.sent("/assistant/wake") == [{}]
    assert [url for url in watch.requests if not url.startswith((f"{site.url}/", "data:"))] == []
    assert watch.complaints == []


@pytest.mark.real
def test_page_that_nobody_sees_does_not_wake_the_model(page: Page, sleeper: AssistantStandIn) -> None:
    from playwright.sync_api import expect

    page.add_init_script("window.unseen = true; Object.defineProperty(document, 'hidden', { get: () => window.unseen })")
    page.goto(sleeper.url)
    page.wait_for_load_state("networkidle")
    assert sleeper.sent("/assistant/wake") == []

    page.evaluate("window.unseen = false; document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator(".state")).to_have_text(re.compile("^Waking up"))
    assert sleeper.sent("/assistant/wake") == [{}]


@pytest.mark.real
def test_page_of_a_service_with_keys_asks_for_one(page: Page) -> None:
    from playwright.sync_api import expect

    with running(AssistantStandIn(key="rl_right")) as site:
        page.goto(site.url)
        field = page.get_by_label("This service asks for a key.")
        expect(field).to_be_focused()
        expect(page.locator(".state")).to_have_text("Locked")
        field.fill("rl_wrong")
        page.get_by_role("button", name="Open").click()
        wrong = page.get_by_label("Wrong key. Check it and try again.")
        expect(wrong).to_have_value("")
        wrong.fill("rl_right")
        page.get_by_role("button", name="Open").click()
        expect(_box(page)).to_be_focused()
        _ask(page, "Hello")

        assert _text(page).inner_text() == "You asked: Hello"
        assert page.locator("#door").is_hidden()


@pytest.mark.real
def test_escape_stops_the_answer_on_the_page(page: Page, site: AssistantStandIn) -> None:
    from playwright.sync_api import expect

    page.goto(site.url)
    _say(page, "slow walk")
    expect(page.locator(".rest")).to_have_text("You asked: slow walk")
    page.keyboard.press("Escape")
    _finished(page)

    assert page.locator(".ended").inner_text() == "Stopped."


@pytest.mark.real
def test_pages_chosen_scheme_survives_a_reload(browser: Browser, site: AssistantStandIn) -> None:
    context = browser.new_context(color_scheme="light")
    page = context.new_page()
    page.goto(site.url)
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    before = page.evaluate(ground)
    page.get_by_role("button", name="Switch to dark colours").click()
    dark = page.evaluate(ground)
    page.reload()
    page.locator(".greeting").wait_for()

    assert dark != before
    assert page.evaluate(ground) == dark
    context.close()


@pytest.mark.real
@pytest.mark.parametrize("screen", SCREENS)
def test_nothing_is_wider_than_the_screen(browser: Browser, site: AssistantStandIn, screen: str) -> None:
    width, height = SCREENS[screen]
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    page.goto(site.url)
    _ask(page, "w" * 300)
    _ask(page, "markdown", 2)
    _ask(page, "long", 3)
    over = "node => [node.scrollWidth - node.clientWidth, node.scrollHeight - node.clientHeight - node.scrollTop]"
    inner, below = page.locator(".scroll").evaluate(over)
    outer, _ = page.locator("html").evaluate(over)
    context.close()

    assert (inner, outer) == (0, 0)
    assert below < 2

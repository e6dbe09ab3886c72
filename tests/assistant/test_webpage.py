"""A page of HTML as somebody reads it."""

from __future__ import annotations

import pytest

from relight.assistant.webpage import read


def body(markup: str) -> str:
    return read(f"<body>{markup}</body>").text


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<h1>A  <em>b</em></h1><p>c<br>d</p>", "# A b\n\nc\nd"),
        ("<ul><li>one</li><li>two<ul><li>deep</li></ul></li></ul>", "- one\n- two\n  - deep"),
        ('<pre><code class="language-rust">fn f() {\n\n  x\n}\n</code></pre>', "```rust\nfn f() {\n\n  x\n}\n```"),
        ("<pre>a ``` b</pre>", "````\na ``` b\n````"),
        ("<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>", "a | b\n1 | 2"),
        ('<p>see <a href="https://a.example/x">there</a>, <a href="/y">here</a></p>', "see [there](https://a.example/x), here"),
        ('<p><a href="javascript:x()">press</a> <img alt="a boat" src="x"></p>', "press a boat"),
        ("<p>run <code>make</code></p>", "run `make`"),
        ("<dl><dt>term</dt><dd>what it is</dd></dl>", "term\n\nwhat it is"),
    ],
)
def test_marks_become_those_of_markdown(markup: str, text: str) -> None:
    assert body(markup) == text


@pytest.mark.parametrize(
    "unread",
    [
        "<script>no</script>",
        "<style>no{}</style>",
        "<nav>no</nav>",
        "<footer>no</footer>",
        "<p hidden>no</p>",
        '<p aria-hidden="true">no</p>',
        "<form><input value=no><button>no</button></form>",
        "<noscript>no</noscript>",
        "<template>no</template>",
        "<!-- no -->",
        "<header><a href=/>no</a></header>",
    ],
)
def test_what_is_no_text_of_the_page_is_left_out(unread: str) -> None:
    assert body(f"{unread}<p>yes</p>{unread}") == "yes"


def test_main_is_read_alone_where_there_is_one() -> None:
    assert body("<div>around</div><main><p>inside</p></main><aside>around</aside>") == "inside"
    assert body("<article>one</article><article>two</article>") == "one\n\ntwo"


def test_title_and_canonical_address_are_known() -> None:
    page = read('<title> A\n page </title><link rel="canonical" href="https://a.example/x"><h1>Other</h1>')
    assert (page.title, page.url) == ("A page", "https://a.example/x")
    assert read("<h1>Heading</h1>").title == "Heading"
    assert read('<link rel="canonical" href="javascript:alert(1)">').url is None


def test_page_without_end_or_bottom_is_read() -> None:
    assert body("<p>open <b>and never closed") == "open and never closed"
    assert body("<div>" * 5000 + "deep") == "deep"

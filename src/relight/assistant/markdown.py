"""Turns a model's Markdown into HTML that may stand on anybody's page. Must not know who asked, nor where it is shown."""

from __future__ import annotations

import re
from collections.abc import Callable, MutableMapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.renderer import RendererHTML
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token

TAGS: Final = frozenset(
    {"p", "br", "hr", "strong", "em", "s", "a", "code", "pre", "blockquote", "ul", "ol", "li", "h3", "h4", "h5", "h6"}
    | {"table", "thead", "tbody", "tr", "th", "td"}
)
"""Every element that an answer may hold. The browser's list (`serve/pages/safe.js`) is the same; a test compares them."""

SCHEMES: Final = frozenset({"http", "https", "mailto", "tel"})
"""Where a link may lead. Without a scheme it would lead into the page that the answer happens to stand on: those lead nowhere."""

MAX_RENDERED: Final = 16 * 1024
"""Characters. What is longer is shown as plain text: no answer is, and Markdown can be written so that each character costs."""

# The same for what no answer looks like, but what takes long to parse (`_is_costly`).
_LONGEST_RUN: Final = 2000  # characters without white space between them
_MOST_BRACKETS: Final = 500  # each that opens is read up to twenty times
_MOST_CELLS: Final = 10_000  # a table's rows are filled up to the width of its head

_SCHEME: Final = re.compile(r"(?:^|[^a-z0-9.+-])(https?)$", re.IGNORECASE)
_SCHEME_REACH: Final = 6  # the longest of them and what stands before

_LANGUAGE_CHARS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+#.-_")
_SIDES: Final = {f"text-align:{side}": side for side in ("left", "right", "center")}
_TOP_HEADING: Final = 3  # above it are the headings of the page and of the conversation


def render(text: str) -> str:
    """The HTML of a reply, whole or cut off anywhere: a fence that is still open runs to the end.

    CommonMark with tables, strikethrough and bare addresses as links. HTML in it is shown as text, an image as its description
    (a remote one would tell its host who reads), a link opens a tab of its own and only ever leads to one of `SCHEMES`.
    What comes out holds `TAGS` and nothing else.
    """
    return _html(_clean(text))[0]


class Blocks:
    """Renders a reply that is still coming, when it is worth it: each answer of `feed` holds the whole reply so far.

    That is at the end of a line, or after `_STRETCH` characters without one; never sooner than `every_s` after the last time, and
    the pause grows with the reply, so that what is sent in all stays in proportion to it. Blocks that can change no more are
    rendered once, others again when a quarter of them is new: so what is parsed in all stays in proportion, too.
    """

    _STRETCH: Final = 120
    _LEAST_NEW: Final = 0.25  # of what is rendered again
    _PAUSE_DOUBLES_AT: Final = 4096  # characters

    def __init__(self, every_s: float = 0.25) -> None:
        self.text = ""
        self._every_s = every_s
        self._due_at = 0.0
        self._shown = 0
        self._settled = ""
        self._open = ""

    def feed(self, text: str, now: float) -> str | None:
        """Add what came at `now` (seconds of any steady clock); the HTML of all so far when it is time to show it again."""
        self.text += text
        self._open += _clean(text)
        if now < self._due_at or not self._is_worth_it():
            return None
        self._due_at = now + self._every_s * (1 + len(self.text) / self._PAUSE_DOUBLES_AT)
        self._shown = len(self.text)
        if self._settled and _is_costly(whole := _clean(self.text)):
            self._settled, self._open = "", whole
        html, settled, lines = _html(self._open)
        shown = self._settled + html
        self._settled += settled
        self._open = "".join(self._open.splitlines(keepends=True)[lines:]) if lines else self._open
        return shown

    def end(self) -> str:
        """The HTML of the whole reply; links whose addresses stand elsewhere in it (`[a]: https://…`) find them only now."""
        return render(self.text)

    def _is_worth_it(self) -> bool:
        new = len(self.text) - self._shown
        return new >= self._LEAST_NEW * len(self._open) and (new >= self._STRETCH or "\n" in self.text[self._shown :])


def _clean(text: str) -> str:
    """Text that can be sent on: no lone half of a pair, and of the characters that end a line only the newline."""
    return text.encode("utf-8", "replace").decode("utf-8").translate(_ONE_KIND_OF_LINE)


_ONE_KIND_OF_LINE: Final = str.maketrans({"\r": None} | dict.fromkeys("\v\f\x1c\x1d\x1e\x85\u2028\u2029", " "))


def _html(text: str) -> tuple[str, str, int]:
    """Sanitised HTML of `text`; the part of it that more text cannot change; and how many lines that part was made of."""
    if _is_costly(text):
        return _plain(text), "", 0
    parser, sanitise = _parser(), _sanitiser()
    references: dict[str, Any] = {}
    tokens = parser.parse(text, references)
    last, line = _last_certain(tokens, whole_lines=text.count("\n"))
    settled = sanitise(parser.renderer.render(tokens[:last], parser.options, references))
    growing = sanitise(parser.renderer.render(tokens[last:], parser.options, references))
    return settled + growing, settled, line


def _last_certain(tokens: Sequence[Token], *, whole_lines: int) -> tuple[int, int]:
    """The index and the line of the last block that is known to be one: CommonMark closes a block before it begins the next, so
    none before it can change. What a line that is still being written begins with is not known yet: `*` may become `**bold`."""
    known = [(at, token.map[0]) for at, token in enumerate(tokens) if token.level == 0 and token.nesting >= 0 and token.map]
    return next(((at, line) for at, line in reversed(known) if line < whole_lines), (0, 0))


def _is_costly(text: str) -> bool:
    """Whether parsing `text` could take longer than any answer does. More text never makes it cheap again."""
    if len(text) > MAX_RENDERED or text.count("[") > _MOST_BRACKETS or any(len(run) > _LONGEST_RUN for run in text.split()):
        return True
    lines = text.split("\n")
    return len(lines) * max(line.count("|") for line in lines) > _MOST_CELLS


def _plain(text: str) -> str:
    from html import escape

    return f"<p>{escape(text)}</p>".replace("\n", "<br>\n")


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False, "linkify": True, "breaks": True})
    parser.enable(["table", "strikethrough", "linkify"])
    # A list that begins under a paragraph looks like an underline until its first item has a letter. Nobody else writes those.
    parser.disable("lheading")
    # Only what says where it leads, and mail: "relight.py" is no address.
    if parser.linkify is not None:
        parser.linkify.set({"fuzzy_link": False, "fuzzy_email": True})
    parser.inline.ruler.at("linkify", _bare_address)
    parser.add_render_rule("image", _describe)
    parser.core.ruler.push("dress", _dress)
    return parser


def _bare_address(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 (markdown-it calls it so)
    """`https://…` as a link, before signs in it are read as Markdown: markdown-it's own rule, except that this one looks for the
    scheme where it has to stand. That one searches the whole paragraph, for each address."""
    if state.linkLevel > 0 or not state.src.startswith("://", state.pos):
        return False
    scheme = _SCHEME.search(state.pending[-_SCHEME_REACH:])
    if scheme is None or state.md.linkify is None:
        return False
    begin = state.pos - len(scheme[1])
    link = state.md.linkify.match_at_start(state.src[begin : begin + _LONGEST_RUN])
    url = link.url.rstrip("*") if link else ""  # emphasis ends here
    address = state.md.normalizeLink(url)
    if not url or not state.md.validateLink(address):
        return False
    if not silent:
        state.pending = state.pending[: -len(scheme[1])]
        state.push("link_open", "a", 1).attrs = {"href": address}
        state.push("text", "", 0).content = state.md.normalizeLinkText(url)
        state.push("link_close", "a", -1)
    state.pos = begin + len(url)
    return True


def _describe(renderer: RendererHTML, tokens: Sequence[Token], at: int, options: Any, env: MutableMapping[str, Any]) -> str:
    """An image as the words that stand for it."""
    from markdown_it.common.utils import escapeHtml

    return escapeHtml(renderer.renderInlineAsText(tokens[at].children or [], options, env))


def _dress(state: Any) -> None:
    """Headings go below the page's own; the side of a table's column becomes an attribute, for styles are not let through."""
    for token in state.tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + _TOP_HEADING - 1)}"
        elif token.type in ("th_open", "td_open") and (side := _SIDES.get(str(token.attrs.pop("style", "")))):
            token.attrs["align"] = side


@cache
def _sanitiser() -> Callable[[str], str]:
    import nh3

    cleaner = nh3.Cleaner(
        tags=set(TAGS),
        clean_content_tags={"script", "style"},
        attributes={"*": set(), "a": {"href"}, "ol": {"start"}, "code": {"class"}},
        attribute_filter=_keep,
        tag_attribute_values={cell: {"align": set(_SIDES.values())} for cell in ("th", "td")},
        set_tag_attribute_values={"a": {"target": "_blank"}},
        link_rel="noopener nofollow",
        url_schemes=set(SCHEMES),
        url_relative="deny",
    )
    return cleaner.clean


def _keep(tag: str, name: str, value: str) -> str | None:
    """What stays of an attribute that is let through at all: a language's name, the number of a list, an address."""
    if (tag, name) == ("code", "class"):
        language = value.removeprefix("language-")
        return value if language != value and len(language) <= 32 and set(language) <= _LANGUAGE_CHARS else None
    if (tag, name) == ("ol", "start"):
        return value if value.isascii() and value.isdigit() else None
    return value

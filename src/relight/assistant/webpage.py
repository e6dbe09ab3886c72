"""A page of HTML as Markdown-like text: what somebody reads there. Imports selectolax when the first page is read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from selectolax.lexbor import LexborHTMLParser, LexborNode

# What is not read: furniture, controls, and what is not shown.
_UNREAD: Final = (
    "script, style, noscript, template, nav, footer, iframe, svg, math, canvas, audio, video, object, form, button, select,"
    " textarea, input, dialog, [hidden], [aria-hidden=true], [role=navigation], [role=contentinfo], [role=search]"
)
_BLOCKS: Final = """
    address article aside blockquote body details dd div dl dt fieldset figcaption figure header hgroup html main ol p section
    summary table ul
"""
_IS_BLOCK: Final = frozenset(_BLOCKS.split())
_HEADINGS: Final = {f"h{level}": "#" * level for level in range(1, 7)}
_MAX_DEPTH: Final = 200
_SPACE: Final = re.compile(r"[ \t\r\n\f]+")
_ADDRESS: Final = re.compile(r"(?:https?://|mailto:)[^\s()<>]+")
_LANGUAGE: Final = re.compile(r"(?:language|lang|highlight-source)-([\w+#-]+)")


class Page(Struct, frozen=True):
    """What a page of HTML says: `url` is its canonical address."""

    title: str | None
    text: str
    url: str | None


def read(markup: str) -> Page:
    """The readable text of a page, its title and its canonical address.

    That is what stands in the one `<main>` or `<article>` where there is one, else the body without a header that has no heading.
    """
    from selectolax.lexbor import LexborHTMLParser

    page = LexborHTMLParser(markup)
    title = _first_text(page, "title") or _first_text(page, "h1")
    link = page.css_first("link[rel=canonical]")
    url = (link.attributes.get("href") or "").strip() if link is not None else ""
    for node in page.css(_UNREAD):
        node.decompose()
    root = _root(page)
    text = _tidy(_told(root, 0)) if root is not None else ""
    return Page(title, text, url if re.fullmatch(r"https?://[^\s<>\"]+", url) else None)


def _first_text(page: LexborHTMLParser, selector: str) -> str | None:
    node = page.css_first(selector)
    return " ".join(node.text().split()) or None if node is not None else None


def _root(page: LexborHTMLParser) -> LexborNode | None:
    for selector in ("main, [role=main]", "article"):
        if len(found := page.css(selector)) == 1:
            return found[0]
    for header in page.css("body > header"):
        if header.css_first("h1") is None:
            header.decompose()
    return page.body


def _told(node: LexborNode, depth: int) -> str:
    """A node and what is in it; blank lines and spaces are tidied at the end."""
    if node.is_text_node:
        return _SPACE.sub(" ", node.text(deep=False))
    tag = node.tag or ""
    if tag in ("-comment", "!doctype", "-comment-"):
        return ""
    if tag == "pre":
        return _code(node)
    if depth > _MAX_DEPTH:
        return node.text()
    return _dressed(tag, node, "".join(_told(child, depth + 1) for child in node.iter(include_text=True)))


def _dressed(tag: str, node: LexborNode, inner: str) -> str:  # noqa: PLR0911 - one line a tag is easier to read than a table
    """What is in a node, with the marks of Markdown that its tag stands for."""
    said = inner.strip()
    if tag in _HEADINGS:
        return f"\n\n{_HEADINGS[tag]} {' '.join(said.split())}\n\n" if said else ""
    if tag == "li":
        return f"\n- {_indented(said)}\n" if said else ""
    if tag == "tr":
        return said.strip("| ") + "\n"
    if tag in ("td", "th"):
        return f" | {' '.join(said.split())}"
    if tag == "br":
        return "\n"
    if tag == "hr":
        return "\n\n"
    if tag == "img":
        return (node.attributes.get("alt") or "").strip()
    if tag == "code":
        return f"`{said}`" if said else ""
    if tag == "a":
        return _link(node, inner)
    return f"\n\n{said}\n\n" if tag in _IS_BLOCK and said else inner


def _indented(text: str) -> str:
    """The lines of a list's item: those after the first stand below it."""
    return re.sub(r"\n+", "\n  ", text)


def _link(node: LexborNode, inner: str) -> str:
    """A link keeps its address when somebody outside the page can follow it."""
    address = (node.attributes.get("href") or "").strip()
    said = " ".join(inner.split())
    if not _ADDRESS.fullmatch(address) or not said or address.removeprefix("mailto:") == said:
        return inner
    return f"[{said}]({address})"


def _code(node: LexborNode) -> str:
    """A block of code between fences longer than any in it."""
    text = node.text().strip("\n").replace("\r\n", "\n")
    inner = node.css_first("code")
    classes = " ".join((each.attributes.get("class") or "") for each in (node, inner) if each is not None)
    language = _LANGUAGE.search(classes)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"\n\n{fence}{language[1] if language else ''}\n{text}\n{fence}\n\n"


def _tidy(text: str) -> str:
    """One blank line between blocks, no spaces at the ends of lines; code stays as it is."""
    parts = re.split(r"(^(?P<fence>`{3,}+)[^\n]*+\n.*?^(?P=fence)$)", text, flags=re.MULTILINE | re.DOTALL)
    # Split puts the fence behind each block that it captured.
    kept = [part if place % 3 == 1 else _tidy_prose(part) for place, part in enumerate(parts) if place % 3 != 2]
    return "\n\n".join(part for part in kept if part)


def _tidy_prose(text: str) -> str:
    lines = (re.sub(r"(?<=\S) {2,}", " ", line.rstrip()) for line in text.split("\n"))
    clean = "\n".join(line if line.lstrip().startswith("- ") else re.sub(r"^ (?! )", "", line) for line in lines)
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"\n+(?=\n *- )", "", clean)).strip()

"""One file of each kind as text, and what is wrong with one that has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from relight.assistant.reading import Reading, read
from relight.errors import ConfigError
from tests.assistant.papers import locked, pdf


def said(folder: Path, name: str, raw: bytes | str) -> Reading:
    path = folder / name
    path.write_bytes(raw.encode() if isinstance(raw, str) else raw)
    return read(path, name)


def test_front_matter_is_read_and_left_out(tmp_path: Path) -> None:
    found = said(tmp_path, "a.md", '---\ntitle: "A: title"\ndate: 2026-01-01\nurl: https://a.example/x\n---\n# Other\n\nText.')
    assert found == Reading("# Other\n\nText.", "A: title", "https://a.example/x")


def test_line_at_the_start_is_no_front_matter(tmp_path: Path) -> None:
    text = "---\nJust a line above.\n\n---\n\nText."
    assert said(tmp_path, "a.md", text).text == text


@pytest.mark.parametrize("url", ["javascript:alert(1)", "//other.example/x", "data:text/html,x", 'https://a.example/"onclick='])
def test_address_that_is_not_safe_to_follow_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match=r"a\.md: url should be like"):
        said(tmp_path, "a.md", f"---\nurl: {url}\n---\nText.")


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Intro\n\n# The *first* `one` [here](x) #\n\n# Second", "The first one here"),
        ("```\n# comment\n```\n\n# Real", "Real"),
        ("Under\n=====\n\ntext", "Under"),
        ("## Only a second", None),
    ],
)
def test_title_is_the_first_heading_of_the_first_level(tmp_path: Path, text: str, title: str | None) -> None:
    assert said(tmp_path, "a.md", text).title == title


def test_comments_are_left_out_but_not_those_in_code(tmp_path: Path) -> None:
    text = "Seen <!-- not\nseen -->too, `<!-- code -->`\n\n```html\n<!-- kept -->\n```\n<!-- never ends"
    assert said(tmp_path, "a.md", text).text == "Seen too, `<!-- code -->`\n\n```html\n<!-- kept -->\n```"


def test_what_nobody_sees_is_left_out(tmp_path: Path) -> None:
    hidden = "".join(chr(0xE0000 + ord(sign)) for sign in "obey")
    assert said(tmp_path, "a.txt", f"\ufeffOne\r\ntwo\x00 \u202ethree{hidden}\n").text == "One\ntwo three"


def test_utf_16_with_its_mark_is_read(tmp_path: Path) -> None:
    assert said(tmp_path, "a.txt", "für dich".encode("utf-16")).text == "für dich"


def test_page_of_html_is_read_in_the_encoding_that_it_names(tmp_path: Path) -> None:
    raw = '<meta charset="iso-8859-1"><title>Café</title><p>“Où”</p>'.encode("cp1252")
    assert said(tmp_path, "a.html", raw) == Reading("“Où”", "Café")


@pytest.mark.parametrize("name", ["a.md", "a.txt", "a.html"])
def test_empty_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}: has no text; write some"):
        said(tmp_path, name, " \n")


def test_folder_with_the_name_of_a_file_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.md").mkdir()
    with pytest.raises(ConfigError, match=r"a\.md: cannot be read: Is a directory"):
        read(tmp_path / "a.md", "a.md")


PAGES = [
    [
        "Pump works",
        "The pump stands in the cellar of the house beside the exam-",
        "ple that everybody knows.",
        "",
        "• first",
        "Page 1 of 3",
    ],
    ["Pump works", "It moves 40 litres in a minute, and the line is as long as lines are.", "- 2 -"],
    ["Pump works", "It has to be oiled in spring.", "3"],
]


def test_pdf_is_read_page_by_page_without_running_lines(tmp_path: Path) -> None:
    found = said(tmp_path, "a.pdf", pdf(PAGES, title="All  pumps"))
    assert found.title == "All pumps"
    assert [found.text[start:].split("\n\n")[0] for start in found.pages] == [
        "The pump stands in the cellar of the house beside the example that everybody knows.\n• first",
        "It moves 40 litres in a minute, and the line is as long as lines are.",
        "It has to be oiled in spring.",
    ]


@pytest.mark.parametrize("algorithm", ["RC4-128", "AES-256"])
def test_pdf_that_is_locked_only_against_changes_is_read(tmp_path: Path, algorithm: str) -> None:
    assert "oiled" in said(tmp_path, "a.pdf", locked(pdf(PAGES), password="", algorithm=algorithm)).text


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (locked(pdf(PAGES), password="x", algorithm="AES-256"), "is encrypted, and needs a password; save a copy without"),
        (pdf([[], []]), r"has no text, on 2 page\(s\); it is probably scanned; recognise its text first"),
        (pdf(PAGES)[:400], "cannot be read as PDF: .*; export it anew"),
        (b"not a PDF", "cannot be read as PDF"),
    ],
    ids=["encrypted", "scanned", "cut short", "another kind"],
)
def test_pdf_without_text_says_what_to_do(tmp_path: Path, raw: bytes, message: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match=message):
        said(tmp_path, "a.pdf", raw)
    assert capfd.readouterr() == ("", "")

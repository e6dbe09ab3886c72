"""Which documents patterns name, what they are called, and how they stand whole in a prompt."""

from __future__ import annotations

from pathlib import Path

import pytest

from relight.assistant import reading
from relight.assistant.knowledge import Document, digest, documents, whole
from relight.errors import ConfigError
from tests.assistant.papers import pdf


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A service's folder, with content beside things that are none."""
    home = tmp_path / "service"
    for name, text in {
        "content/about.md": "# About me\n\nI build things.",
        "content/deep/more.md": "More words.",
        "content/deep/notes.txt": "Plain words.",
        "content/page.html": "<title>A page</title><p>Words.</p>",
        "content/picture.png": "no words",
        "content/.hidden.md": "Hidden words.",
        "content/.git/readme.md": "Hidden words.",
    }.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    return home


def names(globs: list[str], folder: Path) -> list[str]:
    return [document.path for document in documents(globs, folder)]


def test_patterns_name_files_that_can_be_read_each_once_by_their_paths(folder: Path) -> None:
    assert names(["content/**", "content/about.md", "content/*.md"], folder) == [
        "content/about.md",
        "content/deep/more.md",
        "content/deep/notes.txt",
        "content/page.html",
    ]


def test_title_is_what_the_file_says_or_its_name(folder: Path) -> None:
    found = {document.path: document.title for document in documents(["content/**"], folder)}
    assert found == {
        "content/about.md": "About me",
        "content/deep/more.md": "more",
        "content/deep/notes.txt": "notes",
        "content/page.html": "A page",
    }


def test_one_file_by_two_names_is_one_document(folder: Path) -> None:
    (folder / "linked.md").symlink_to(folder / "content/about.md")
    assert names(["content/about.md", "linked.md"], folder) == ["content/about.md"]


def test_file_outside_is_read_but_visitors_do_not_learn_where_it_lies(folder: Path) -> None:
    outside = folder.parent / "shared" / "deep"
    outside.mkdir(parents=True)
    (outside / "rules.md").write_text("Rules.")
    assert names(["../shared/**/*.md"], folder) == ["shared/deep/rules.md"]
    assert names([f"{folder.parent}/shared/**/*.md"], folder) == ["shared/deep/rules.md"]
    assert names([str(outside / "rules.md")], folder) == ["rules.md"]


def test_tilde_is_the_home_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    assert names(["~/content/deep/*.md"], folder / "elsewhere") == ["deep/more.md"]
    with pytest.raises(ConfigError, match="is in the home folder of nobody here"):
        names(["~nobody-of-this-name/a.md"], folder)


def test_brackets_in_a_file_name_or_a_folder_are_no_pattern(tmp_path: Path) -> None:
    home = tmp_path / "[my] service"
    home.mkdir()
    (home / "a[1].md").write_text("One.")
    assert names(["a[1].md"], home) == ["a[1].md"]
    assert names(["*.md"], home) == ["a[1].md"]


@pytest.mark.parametrize(
    ("pattern", "message", "hint"),
    [
        ("contents/*.md", 'assistant.knowledge: "contents/*.md" matches no file', 'did you mean "content/about.md"?'),
        ("content/abuot.md", "matches no file", 'did you mean "content/about.md"?'),
        ("abut.md", "matches no file", 'did you mean "content/about.md"?'),
        ("zzz", "matches no file", "write such a file"),
        ("content", "is a folder", 'name its files: "content/**/*.md"'),
        ("content/*.png", "no file of a kind that can be read, got .png (picture.png)", "known are .md"),
    ],
)
def test_pattern_that_names_nothing_says_what_may_be_meant(folder: Path, pattern: str, message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        documents([pattern], folder)
    assert message in caught.value.message
    assert caught.value.hint is not None
    assert hint in caught.value.hint


def test_file_that_cannot_be_read_is_named_by_its_key_and_path(folder: Path) -> None:
    (folder / "content/bad.md").write_bytes(b"fine\ncaf\xe9")
    with pytest.raises(ConfigError) as caught:
        documents(["content/*.md"], folder)
    assert caught.value.message == 'assistant.knowledge: "content/bad.md": is not UTF-8: byte 0xE9 at offset 8 (line 2)'


def test_file_beyond_the_limit_is_refused_with_both_sizes(folder: Path) -> None:
    with (folder / "content/huge.txt").open("wb") as file:
        file.truncate(reading.MAX_FILE + 1)
    with pytest.raises(ConfigError, match=r"huge.txt\": is 16.0MiB, and a file of knowledge may have 16MiB; split it"):
        documents(["content/*.txt"], folder)


def test_pages_of_a_pdf_are_known(folder: Path) -> None:
    (folder / "paper.pdf").write_bytes(
        pdf([["The first page speaks of pumps."], ["The second page speaks of water."]], title="P")
    )
    (paper,) = documents(["paper.pdf"], folder)
    assert (paper.title, paper.page(paper.text.index("pumps")), paper.page(paper.text.index("water"))) == ("P", 1, 2)
    assert Document("a.md", "A", "text").page(0) is None


def test_whole_is_the_same_for_the_same_files_however_they_are_named(folder: Path) -> None:
    one = whole(documents(["content/**"], folder))
    other = whole(documents(["content/deep/*", "content/*.html", "content/about.md"], folder))
    assert one == other
    assert one.startswith('<document title="About me">\n# About me\n\nI build things.\n</document>\n\n<document title="more">')


def test_digest_changes_with_what_is_said() -> None:
    one = Document("a.md", "A", "text")
    assert digest([one]) == digest([Document("a.md", "A", "text")])
    others = [Document("a.md", "A", "texts"), Document("a.md", "At", "ext"), Document("a.md", "A", "text", "https://a.example")]
    assert len({digest([one]), *(digest([other]) for other in others)}) == 4

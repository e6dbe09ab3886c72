"""Documents cut into passages, passages into windows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relight.assistant.cutting import MOST, MOST_CODE, WINDOW, cut, sentences, windows, words
from relight.assistant.knowledge import Document
from relight.assistant.passages import Passage


def passages(text: str, **about: object) -> tuple[Passage, ...]:
    return cut([Document("a.md", "A", text, **about)])  # type: ignore[arg-type]


def sentence(name: str, count: int) -> str:
    """A sentence of `count` words, each of its own."""
    return " ".join(f"{name}{n}" for n in range(count)) + "."


def paragraph(name: str, count: int, each: int = 10) -> str:
    return " ".join(sentence(f"{name}{n}x", each) for n in range(count // each))


def test_section_is_a_passage_under_its_headings() -> None:
    text = "\n\n".join(f"{heading}\n\n{paragraph(heading[-1], 50)}" for heading in ("# A", "## One", "### Deep", "## Two"))
    found = passages(text)
    assert [(one.headings, words(one.text)) for one in found] == [
        (("A",), 50),
        (("A", "One"), 50),
        (("A", "One", "Deep"), 50),
        (("A", "Two"), 50),
    ]
    assert found[2].title == "A › One › Deep"


def test_small_sections_are_put_together_with_their_headings() -> None:
    (found,) = passages("# A\n\n## One\n\nFirst words.\n\n## Two\n\nSecond words.")
    assert (found.headings, found.text) == (("A",), "## One\n\nFirst words.\n\n## Two\n\nSecond words.")


def test_heading_without_text_is_not_lost() -> None:
    (found,) = passages("# A\n\n## Rust\n\n## Python\n\n### Django\n")
    assert found.headings == ("A",)
    assert [line for line in found.text.split("\n") if line] == ["Rust", "## Python", "Django"]


def test_long_section_goes_on_with_the_last_sentence_of_the_passage_before() -> None:
    text = "\n\n".join(paragraph(name, 100) for name in "abcd")
    found = passages(text)
    assert [one.text.split("\n\n")[0] for one in found[1:]] == [sentences(one.text)[-1] for one in found[:-1]]
    assert max(words(one.text) for one in found) <= MOST + 25


def test_long_paragraph_is_cut_between_sentences() -> None:
    text = paragraph("a", 600)
    found = passages(text)
    assert len(found) > 3
    assert {said for one in found for said in sentences(one.text)} == set(sentences(text))


def test_code_is_whole_however_long_its_section() -> None:
    code = "```python\n" + "\n\n".join(f"# part {n}\nx = {n}" for n in range(150)) + "\n```"
    found = passages(f"{paragraph('a', 100)}\n\n{code}\n\n{paragraph('b', 100)}")
    assert [code in one.text for one in found].count(True) == 1
    assert all(one.text.count("```") % 2 == 0 for one in found)


def test_code_beyond_all_measure_is_cut_by_lines_between_fences() -> None:
    lines = [f"line {n} " + "x" * 80 for n in range(200)]
    found = passages("\n".join(["~~~", *lines, "~~~"]))
    assert len(found) > 2
    assert [line for one in found for line in one.text.split("\n") if line != "~~~"] == lines
    assert all(one.text.startswith("~~~\n") and one.text.endswith("\n~~~") and len(one.text) < MOST_CODE + 100 for one in found)


def test_page_is_that_where_a_passage_begins() -> None:
    one, two = paragraph("a", 150), paragraph("b", 150)
    assert [each.page for each in passages(f"{one}\n\n{two}", pages=(0, len(one) + 2))] == [1, 2]


def test_scripts_without_spaces_have_words() -> None:
    assert words("水泵在地下室里") == 4
    found = passages("水泵在地下室里。" * 200)
    assert len(found) > 3
    assert max(words(one.text) for one in found) <= MOST


def test_word_without_end_is_cut() -> None:
    found = passages("x" * 50_000)
    assert max(len(one.text) for one in found) <= MOST * 41
    assert "".join(one.text for one in found).replace("\n", "") == "x" * 50_000


@given(
    st.lists(st.sampled_from(["# a\n", "## b\n", "word ", "Ends. ", "\n\n", "```\n", "- item\n", "水", "| a | b |\n"])).map(
        "".join
    )
)
def test_no_word_is_lost(text: str) -> None:
    told = " ".join(" ".join((*one.headings, one.text)) for one in passages(text))
    for each in ("a", "b", "word", "Ends", "item", "水"):
        assert (each in text) == (each in told)


def test_windows_are_a_sentence_or_two_behind_their_heading() -> None:
    passage = Passage(Document("a.md", "A", ""), ("A", "One"), paragraph("a", 100))
    found = windows(passage)
    assert len(found) == 4
    assert all(one.startswith("One: ") and words(one) <= WINDOW + 1 for one in found)
    assert windows(Passage(Document("a.md", "A", ""), (), "")) == ["A"]

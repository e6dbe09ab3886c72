"""Passages found for a question, by words, by meaning and by both."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from relight.assistant.embedding import Embedder
from relight.assistant.knowledge import Document, documents
from relight.assistant.library import Library
from relight.assistant.passages import Found
from tests.assistant.concepts import Concepts
from tests.assistant.questions import ASKED, FRESH, FRESH_UNRELATED, UNRELATED, Asked

MIRA = documents(["*"], Path(__file__).parent / "mira")


def find(library: Library, one: Asked) -> tuple[Found, ...]:
    return library.find(one.question, [("user", one.before), ("assistant", "Well.")] if one.before else ())


def recall(library: Library, asked: tuple[Asked, ...]) -> float:
    return sum(any(one.answer in each.passage.text for each in find(library, one)) for one in asked) / len(asked)


@pytest.fixture(scope="module")
def by_words() -> Library:
    return Library(MIRA)


def test_words_alone_find_what_is_asked_in_the_words_of_the_documents(by_words: Library) -> None:
    assert recall(by_words, ASKED[:12]) >= 0.9
    # Half of these are in other words on purpose: that is what an embedder is for.
    assert recall(by_words, ASKED) >= 0.5
    assert recall(by_words, FRESH) >= 0.75


def test_questions_about_something_else_find_nothing(by_words: Library) -> None:
    unrelated = (*UNRELATED, *FRESH_UNRELATED)
    assert sum(bool(by_words.find(question)) for question in unrelated) <= len(unrelated) // 10


@pytest.mark.parametrize("question", ["", "thanks!", "hello", "ok, thank you very much", "!!!", "\ud800"])
def test_what_asks_nothing_finds_nothing_whatever_was_said_before(by_words: Library, question: str) -> None:
    assert by_words.find(question, [("user", "What is Sluice?")]) == ()


def test_short_question_is_about_what_the_user_said_last(by_words: Library) -> None:
    history = [("user", "What is Tideline?"), ("assistant", "Forecasts. Ask me about Sluice!"), ("assistant", "Or rates.")]
    assert "MIT licence" in by_words.find("and the licence?", [("user", "Tell me about Sluice")])[0].passage.text
    assert by_words.find("why?", history)[0].passage.document.title == "Tideline"
    assert "960 euros" in by_words.find("What does a day cost, plus VAT?", history)[0].passage.text


def test_best_comes_first_at_most_k_and_says_why(by_words: Library) -> None:
    found = by_words.find("Which licence does Sluice have?", k=2)
    assert [each.by_words for each in found] == [1, 2]
    assert found[0].score > found[1].score
    assert (found[0].by_meaning, found[0].cosine) == (None, None)
    assert by_words.find("Which licence does Sluice have?") == Library(MIRA).find("Which licence does Sluice have?")


def test_accents_case_and_plural_do_not_count() -> None:
    library = Library(
        [
            Document("a.md", "A", "Das CAFÉ hat große Fenster."),
            Document("b.md", "B", "An engine."),
            Document("c.md", "C", "水泵在地下室里。"),
        ]
    )
    for question, path in {"cafe GROSSE": "a.md", "engines?": "b.md", "地下室": "c.md"}.items():
        assert [each.passage.document.path for each in library.find(question)] == [path]


def test_meaning_finds_what_no_word_finds() -> None:
    library = Library(MIRA, Concepts())
    found = library.find("do you have any pets")
    assert "the dog barks" in found[0].passage.text
    assert (found[0].by_words, found[0].by_meaning) == (None, 1)
    assert found[0].cosine is not None
    assert found[0].cosine > 0.5


def test_passage_found_by_both_goes_before_one_found_by_either() -> None:
    texts = [
        "The price of a dog is high.",
        "Something about the word zebra.",
        "A greyhound.",
        "Nothing at all here.",
        "Grass is green.",
    ]
    library = Library([Document(f"{n}.md", f"T{n}", text) for n, text in enumerate(texts)], Concepts())
    found = library.find("zebra dog price")
    assert found[0].passage.document.path == "0.md"
    assert None not in (found[0].by_words, found[0].by_meaning)
    assert {each.passage.document.path for each in found[1:]} <= {"1.md", "2.md"}


@pytest.mark.parametrize("embedder", [None, Concepts()])
def test_library_without_a_word_finds_nothing(embedder: Embedder | None) -> None:
    assert Library([], embedder).find("Is there anything?") == ()
    assert Library([Document("a.md", "?", "!!!")], embedder).find("Is there a dog?") == ()


def test_index_is_built_once_whoever_asks_first() -> None:
    embedder = Concepts()
    library = Library(MIRA, embedder)
    threads = [threading.Thread(target=library.build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    given = embedder.given
    library.build()
    assert embedder.given == given
    once = Concepts()
    Library(MIRA, once).build()
    assert given == once.given


def test_vectors_are_kept_and_only_what_changed_is_made_anew(tmp_path: Path) -> None:
    first = Library(MIRA, Concepts(), cache=tmp_path)
    first.build()
    changed = (Document("new.md", "New", "A dog costs ten euros."), *MIRA[1:])
    embedder = Concepts()
    second = Library(changed, embedder, cache=tmp_path)
    second.build()
    assert embedder.given == 1
    assert [each.passage for each in second.find("pets")] == [each.passage for each in Library(changed, Concepts()).find("pets")]

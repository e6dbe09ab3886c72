"""Of whom a message speaks. Pure; knows no model.

An assistant that answers for somebody is asked about "you", "her" and "Mira" alike. Vectors of sentences hold these far apart,
so all three become "you" before a message is compared; and whether a message speaks of that person at all, or only of the
visitor, tells what belongs to the service from what merely sounds like it: "what does she charge?", "what should I charge?".
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from relight.assistant.reliance import topic_words
from relight.assistant.wordpiece import words

READING: Final = "as you, 1"
"""Names what `Person.as_you` does, for vectors that are remembered; the number counts changes."""
_AS_YOU: Final = {"she": "you", "her": "your", "hers": "yours", "herself": "yourself"} | {
    "he": "you", "him": "you", "his": "your", "himself": "yourself",
}  # fmt: skip
_YOU: Final = frozenset(("you", "your", "yours", "yourself"))
_I: Final = frozenset(("i", "me", "mine", "my", "myself"))
_WE: Final = frozenset(("our", "ours", "ourselves", "us", "we"))


class Signs(Struct, frozen=True):
    """Whether a message speaks of the person, to whoever answers, of the visitor, or of the visitor's company."""

    person: bool
    you: bool
    visitor: bool
    company: bool


class Person:
    """Whom an assistant answers for."""

    def __init__(self, name: str) -> None:
        """`name` as a configuration has it ("Mira", "Mira Anselm"); each of its words alone means her, too, unless it is one
        that every sentence may hold: Will, May."""
        self._names = frozenset(topic_words(name))

    def as_you(self, text: str) -> str:
        """`text`, whose words stand between spaces, with "you" for the person."""
        found: list[str] = []
        given = text.split()
        for at, word in enumerate(given):
            if word.lower() in self._names:
                # "mira ' s" as `wordpiece.words` cuts it: the sign and the letter go.
                found.append("your" if given[at + 1 : at + 3] == ["'", "s"] else "you")
            else:
                found.append(_AS_YOU.get(word.lower(), word))
        return " ".join(found).replace("your ' s ", "your ")

    def signs(self, text: str) -> Signs:
        """Of whom `text` speaks."""
        said = set(words(text))
        return Signs(not said.isdisjoint(self._names | _AS_YOU.keys()), *(not said.isdisjoint(each) for each in (_YOU, _I, _WE)))

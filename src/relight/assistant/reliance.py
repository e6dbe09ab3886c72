"""How much of its meaning a message owes to what was said before. Pure; a count of words, so that it can be explained.

"and the second one?" says nothing by itself, "what do you charge per day?" says it all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from relight.assistant.wordpiece import words

if TYPE_CHECKING:
    from relight.assistant.conversation import Said

# Words that carry no topic: they connect, point, or ask.
_FUNCTION_WORDS: Final = (
    "a about again all already also am an and another any are as at be been but by can could did do does doing done "
    "earlier else ever exactly first for from had has have having he her here him his hmm how i if in into is it "
    "its just last many may me might more most much must my next no not now of off ok okay on one ones or other our "
    "out over please really second shall she should so some still stuff than that the their them then there these "
    "they thing things third this those to too up us very was we well were what when where which who whom whose why "
    "will with would yes yet you your yours s re ve ll d m t n don before "
)
_FUNCTION: Final = frozenset(_FUNCTION_WORDS.split())
# Thanks and greetings go on with nothing, however short they are.
_COURTESY_WORDS: Final = (
    "a afternoon all alright awesome bye cheers cool day evening fine good goodbye great haha have hello hey hi later lol lot "
    "mind morning much never nice night no ok okay perfect see so super sure thank thanks thx very well wow yes you"
)
_COURTESY: Final = frozenset(_COURTESY_WORDS.split())
_WHOLE: Final = 5  # words with a topic that make a message whole


def topic_words(message: str) -> list[str]:
    """The words of `message` that carry its topic."""
    return [word for word in words(message) if word[0].isalnum() and word not in _FUNCTION]


def reliance(message: str, history: Sequence[Said]) -> float:
    """0 for a message that stands by itself or only is polite, 1 for one that only means something after the user's last."""
    said = {word for word in words(message) if word[0].isalnum()}
    if before(history) is None or (said and said <= _COURTESY):
        return 0.0
    return max(0.0, 1 - len(topic_words(message)) / _WHOLE)


def before(history: Sequence[Said]) -> str | None:
    """What the user said last, if anything."""
    return next((said.text for said in reversed(history) if said.role == "user"), None)

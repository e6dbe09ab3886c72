"""What somebody probably meant. Knows words only; imports difflib only when somebody was wrong."""

from __future__ import annotations

from collections.abc import Collection


def nearest(word: str, known: Collection[str]) -> str | None:
    """The known word most like `word`, if any is like it; case does not count."""
    import difflib

    by_lower = {candidate.lower(): candidate for candidate in known}
    found = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def instead(word: str, known: Collection[str]) -> str:
    """The end of a message about an unknown `word`: the nearest known one, or all of them."""
    if (found := nearest(word, known)) is not None:
        return f'did you mean "{found}"?'
    return f"known here: {', '.join(sorted(known))}" if known else "there is none"

"""What `relight doctor` finds out about the assistant: everything that it needs is loaded once, as `relight serve` does it."""

from __future__ import annotations

from relight.cli.checks import Check, Result
from relight.clock import SystemClock
from relight.config.load import Loaded
from relight.errors import RelightError
from relight.values import estimated_tokens


def assistant_check(loaded: Loaded) -> Check | None:
    """Whether prompts, hooks, knowledge and detector can be used; `None` without an assistant. Imports the hooks."""
    section = loaded.config.assistant
    if not section.is_there:
        return None
    from relight.assistant.prompts import joined
    from relight.serve.equip import desk

    clock, notes = SystemClock(), list[str]()
    began = clock.now()
    try:
        ready = desk(loaded, clock, notes.append).equip()
    except RelightError as error:
        return Check(Result.FAIL, "assistant", error.message, error.hint or "correct it, and try: relight prompt show QUESTION")
    spent_s = clock.now() - began
    longest = max(estimated_tokens(len(joined(ready.prompts.system(name)).encode())) for name in (*section.modes, None))
    known = "" if not section.knowledge else ", all of its knowledge in them"
    if ready.library is not None:
        known = f", {len(ready.library.passages)} passages to look up"
    seen = f"{len(section.modes)} modes, prompts of up to about {longest} tokens{known}; ready after {spent_s:.2f} s"
    if notes:
        return Check(Result.WARN, "assistant", f"{seen}; {'; '.join(notes)}", "what a detector needs: relight modes prepare")
    return Check(Result.PASS, "assistant", seen)

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path

import pytest

from relight.assistant.conversation import Said
from relight.assistant.hooks import Answered, Draft, Hooks, Message
from relight.config.assistant import Hooks as Section
from relight.errors import ConfigError
from relight.values import Duration

MESSAGE = Message("how much?", (Said("user", "hi"),), "s1", ("prices", "other"))
DRAFT = Draft("how much?", (), "s1", "prices", 0.9)


class Noted(list[str]):
    def __call__(self, text: str) -> None:
        self.append(text)


def hooks(folder: Path, code: str, timeout: float = 2.0, **named: str) -> tuple[Hooks, Noted]:
    module = f"hooks_{folder.name}"
    (folder / f"{module}.py").write_text(code, encoding="utf-8")
    noted = Noted()
    section = Section(timeout=Duration(timeout), **{name: f"{module}:{function}" for name, function in named.items()})
    return Hooks(section, folder, noted), noted


async def test_plain_and_async_hooks_are_called_with_typed_arguments(tmp_path: Path) -> None:
    code = """
seen = []
def detect(message):
    return "prices" if "much" in message.text and message.history[0].text == "hi" else None
async def facts(draft):
    return f"{draft.mode} {draft.confidence}"
def after(answered):
    seen.append((answered.interaction, answered.reply))
def told(draft):
    return str(seen)
"""
    found, noted = hooks(tmp_path, code, detect="detect", before_prompt="facts", after_answer="after")
    assert await found.detect(MESSAGE) == "prices"
    assert await found.before_prompt(DRAFT) == "prices 0.9"
    await found.after_answer(Answered("int_1", "s1", "how much?", "Ten.", "prices", None, 12, 0.5))
    assert noted == []
    assert sys.modules[f"hooks_{tmp_path.name}"].seen == [("int_1", "Ten.")]


async def test_hook_that_raises_is_passed_over_without_its_words(tmp_path: Path) -> None:
    found, noted = hooks(tmp_path, "def facts(draft):\n    raise ValueError(draft.text)", before_prompt="facts")
    assert await found.before_prompt(DRAFT) is None
    (line,) = noted
    assert "raised ValueError at hooks_" in line
    assert "how much" not in line


async def test_slow_hooks_are_left_behind(tmp_path: Path) -> None:
    code = """
import asyncio, threading
gate = threading.Event()
def stuck(draft):
    gate.wait()
async def slow(message):
    await asyncio.Event().wait()
"""
    found, noted = hooks(tmp_path, code, timeout=0.02, before_prompt="stuck", detect="slow")
    assert await found.detect(MESSAGE) is None
    for _ in range(16):
        assert await found.before_prompt(DRAFT) is None
    assert "took longer than 0.02 s" in noted[0]
    assert await found.before_prompt(DRAFT) is None
    assert "passed over after 0.02 s (hooks.timeout): 16 calls of it have not returned yet" in noted[-1]
    sys.modules[f"hooks_{tmp_path.name}"].gate.set()


async def test_hook_that_is_stuck_takes_no_place_of_another(tmp_path: Path) -> None:
    code = """
import threading
gate = threading.Event()
def stuck(draft):
    gate.wait()
def detect(message):
    return "prices"
"""
    found, _ = hooks(tmp_path, code, timeout=0.05, before_prompt="stuck", detect="detect")
    await asyncio.gather(*(found.before_prompt(DRAFT) for _ in range(20)))
    found._timeout_s = 30.0
    assert await found.detect(MESSAGE) == "prices"
    sys.modules[f"hooks_{tmp_path.name}"].gate.set()


async def test_calls_beyond_the_places_wait_for_one(tmp_path: Path) -> None:
    code = """
import threading
together, most, lock, full = 0, 0, threading.Lock(), threading.Barrier(16)
def facts(draft):
    global together, most
    with lock:
        together += 1
        most = max(most, together)
    full.wait()  # until there are sixteen
    with lock:
        together -= 1
    return "fact"
"""
    found, noted = hooks(tmp_path, code, timeout=60, before_prompt="facts")
    assert await asyncio.gather(*(found.before_prompt(DRAFT) for _ in range(48))) == ["fact"] * 48
    assert noted == []
    assert sys.modules[f"hooks_{tmp_path.name}"].most == 16


@pytest.mark.parametrize(
    "error", ["SystemExit", "KeyboardInterrupt", "GeneratorExit", "StopIteration", "CancelledError", "TimeoutError"]
)
@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_nothing_that_a_hook_raises_goes_further(tmp_path: Path, kind: str, error: str) -> None:
    code = f"from asyncio import CancelledError\n{kind} facts(draft):\n    raise {error}(draft.text)"
    found, noted = hooks(tmp_path, code, timeout=30, before_prompt="facts")
    assert await found.before_prompt(DRAFT) is None
    (line,) = noted
    assert f"raised {error} at hooks_" in line
    assert "how much" not in line


@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_cancelling_who_asks_a_hook_is_not_held_up(tmp_path: Path, kind: str) -> None:
    code = f"""
import asyncio, threading
gate, begun = threading.Event(), threading.Event()
{kind} facts(draft):
    begun.set()
    {"await asyncio.Event().wait()" if kind == "async def" else "gate.wait()"}
"""
    found, noted = hooks(tmp_path, code, timeout=30, before_prompt="facts")
    asking = asyncio.create_task(found.before_prompt(DRAFT))
    await asyncio.to_thread(sys.modules[f"hooks_{tmp_path.name}"].begun.wait)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert noted == []
    sys.modules[f"hooks_{tmp_path.name}"].gate.set()


async def test_place_is_given_back_where_no_thread_can_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    found, noted = hooks(tmp_path, "def facts(draft):\n    return 'fact'", timeout=30, before_prompt="facts")
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        assert [await found.before_prompt(DRAFT) for _ in range(17)] == [None] * 17
    assert len(noted) == 17
    assert await found.before_prompt(DRAFT) == "fact"


async def test_half_of_a_pair_is_replaced(tmp_path: Path) -> None:
    found, _ = hooks(tmp_path, "def facts(draft):\n    return 'a \\ud800 b'", before_prompt="facts")
    assert await found.before_prompt(DRAFT) == "a ? b"


async def test_wrong_results_are_said_and_left_out(tmp_path: Path) -> None:
    code = "def detect(m):\n    return 'colours'\ndef facts(d):\n    return 3\n"
    found, noted = hooks(tmp_path, code, detect="detect", before_prompt="facts")
    assert await found.detect(MESSAGE) is None
    assert await found.before_prompt(DRAFT) is None
    assert "which is no mode; it may return: prices, other" in noted[0]
    assert "returned a int; it should return text or None" in noted[1]


@pytest.mark.parametrize(
    ("code", "named", "said"),
    [
        ("x = 1", "facts", "has no function facts"),
        ("x = 1", "x", "has no function x"),
        ("raise SystemExit('no')", "facts", "cannot be imported: SystemExit: no"),
        ("raise RuntimeError('no')", "facts", "cannot be imported: RuntimeError: no"),
        ("def (", "facts", "cannot be imported: SyntaxError"),
    ],
)
def test_hook_that_is_not_there_is_refused_at_the_start(tmp_path: Path, code: str, named: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"assistant.hooks.detect: .*{said}"):
        hooks(tmp_path, code, detect=named)


async def test_hooks_of_the_guide_do_what_it_says(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs/assistant.md").read_text(encoding="utf-8")
    (code,) = (block.split("```", 1)[0] for block in guide.split("```python\n")[1:] if block.startswith("# hooks.py"))
    found, noted = hooks(tmp_path, code, detect="detect", before_prompt="before_prompt", after_answer="after_answer")
    assert await found.detect(Message("Where is my invoice?", (), "", ("contact",))) == "contact"
    assert await found.detect(MESSAGE) is None
    assert str(await found.before_prompt(Draft("x", (), "", "contact", 1.0))).startswith("Today is ")
    assert await found.before_prompt(DRAFT) is None
    await found.after_answer(Answered("int_1", "", "x", "", None, "engine_failed", 0, 0.1))
    assert noted == []


def test_missing_module_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no_such_module_x cannot be imported: ModuleNotFoundError"):
        Hooks(Section(detect="no_such_module_x:f"), tmp_path, Noted())

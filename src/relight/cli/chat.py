"""`relight chat`: one answer, or a conversation, in the terminal. Knows how it looks; `talk` knows the wire."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, TextIO

import click

from relight.cli.endpoint import Wanted, address, goes_in_the_clear
from relight.cli.output import config_option, plain, print_json, print_table
from relight.cli.talk import KEY_VARIABLE, Answer, Client
from relight.errors import RelightError, UsageError
from relight.values import Secret

HELP: Final = """\
/new           start a new conversation
/model [NAME]  show the models, or talk to another one
/help          this list
/quit          leave (also Ctrl-D)
Ctrl-C stops an answer; a second Ctrl-C leaves."""


@click.command()
@click.argument("message", nargs=-1)
@click.option("--url", help="Address of a running server; left out: where the configured one listens.")
@click.option("--model", help="Model to talk to; left out: the server's default.")
@click.option("--key", envvar=KEY_VARIABLE, help="Key, where the server asks for one; better in the variable RELIGHT_KEY.")
@click.option("--system", help="Instruction that the whole conversation stands under.")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: reply, model, usage, timings.")
def chat(  # noqa: PLR0913 - one parameter an option
    message: tuple[str, ...],
    *,
    url: str | None,
    key: str | None,
    model: str | None,
    system: str | None,
    config_file: str,
    as_json: bool,
) -> None:
    """Talk to a model: one MESSAGE (or standard input) and its answer, or, with neither, a conversation."""
    text = " ".join(message) or piped(sys.stdin)
    talk = Conversation(_client(url, key, config_file), model=model, system=system)
    if text is not None:
        talk.once(text, as_json=as_json)
        return
    if as_json:
        raise UsageError("relight chat --json: needs a message", hint='call it as: relight chat --json "Hello"')
    talk.loop(_line_reader())


def _client(url: str | None, key: str | None, config_file: str) -> Client:
    """The server that is named, or else where the configured one listens. Raises `UsageError` where a key would go to another
    machine in the clear because a file says so."""
    found = address(Wanted(url, config_file=config_file))
    if key and url is None and goes_in_the_clear(found):
        raise UsageError(
            f"relight chat: the key would go in the clear to {found}, which {config_file} names",
            hint=f"say that it may: --url {found}",
        )
    return Client(found, Secret(KEY_VARIABLE, key) if key else None)


def piped(stream: TextIO) -> str | None:
    """What was piped in as a message, or `None` when `stream` is a terminal. Raises `UsageError` for an empty pipe."""
    if stream.isatty():
        return None
    text = stream.read().strip()
    if not text:
        raise UsageError("relight chat: standard input is empty", hint='pipe a message in, or call it as: relight chat "Hello"')
    return text


class Screen:
    """Writes an answer as it comes; while the model wakes, says on standard error how long it will take."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out, self._err = out, err
        self._ready_at: float | None = None
        self._said = False
        self._last = "\n"
        self._came = threading.Event()
        self._ticker: threading.Thread | None = None

    def waiting(self, left_s: float | None) -> None:
        self._ready_at = None if left_s is None else time.monotonic() + left_s
        if self._err.isatty():
            if self._ticker is None:
                self._ticker = threading.Thread(target=self._tick, daemon=True)
                self._ticker.start()
        elif not self._said:
            print(self._words(), file=self._err, flush=True)
        self._said = True

    def text(self, piece: str) -> None:
        self._stop_ticking()
        # What a model says must not move the cursor or rename the window.
        shown = plain(piece) if self._out.isatty() else piece
        self._out.write(shown)
        self._out.flush()
        self._last = shown[-1:] or self._last

    def close(self) -> None:
        """End the line that was begun, whatever happened."""
        self._stop_ticking()
        if self._last != "\n":
            print(file=self._out, flush=True)

    def _words(self) -> str:
        if self._ready_at is None:
            return "waking"
        left = self._ready_at - time.monotonic()
        return f"waking, about {math.ceil(left)} s" if left > 0 else "waking, any moment"

    def _tick(self) -> None:
        while not self._came.is_set():
            print(f"\r{self._words()}\x1b[K", end="", file=self._err, flush=True)
            self._came.wait(0.25)
        print("\r\x1b[K", end="", file=self._err, flush=True)

    def _stop_ticking(self) -> None:
        if self._ticker is not None:
            self._came.set()
            self._ticker.join()
            self._ticker = None


class Quiet:
    """Hears an answer without showing it."""

    def waiting(self, left_s: float | None) -> None:
        pass

    def text(self, piece: str) -> None:
        pass


@dataclass(slots=True)
class Conversation:
    """What was said so far, and with whom."""

    client: Client
    model: str | None = None
    system: str | None = None
    turns: list[dict[str, str]] = field(default_factory=list)

    def once(self, text: str, *, as_json: bool) -> None:
        """Print the answer to `text`: streamed, or as one JSON object."""
        answer = Answer()
        if as_json:
            self.client.ask(self._messages(text), model=self.model, listener=Quiet(), answer=answer)
            print_json(_summary(answer))
            return
        screen = Screen(sys.stdout, sys.stderr)
        try:
            self.client.ask(self._messages(text), model=self.model, listener=screen, answer=answer)
        finally:
            screen.close()
        _print_figures(answer)

    def loop(self, read: Callable[[str], str]) -> None:
        """Talk until the person leaves; `read` asks for a line and raises `EOFError` at the end."""
        self._choose(self.model)
        click.echo(
            f"Talking to {self.model or 'the default model'} at {self.client.url}. /help lists what else there is.", err=True
        )
        interrupted = False
        while True:
            try:
                line = read("> ").strip()
            except EOFError:
                click.echo()
                return
            except KeyboardInterrupt:
                if interrupted:
                    return
                interrupted = True
                click.echo("\nCtrl-C again or /quit leaves.", err=True)
                continue
            if line in {"/quit", "/exit"}:
                return
            interrupted = self._take(line)

    def _take(self, line: str) -> bool:
        """Obey or answer one line; true when an answer was stopped."""
        try:
            if line.startswith("/"):
                self._obey(*line.split(maxsplit=1))
                return False
            return self._answer(line) if line else False
        except RelightError as error:
            click.echo(f"error: {error}", err=True)
            return False

    def _answer(self, text: str) -> bool:
        answer, screen, stopped = Answer(), Screen(sys.stdout, sys.stderr), False
        try:
            self.client.ask(self._messages(text), model=self.model, listener=screen, answer=answer)
        except KeyboardInterrupt:
            stopped = True
        finally:
            screen.close()
            if answer.reply:
                self.turns += [{"role": "user", "content": text}, {"role": "assistant", "content": answer.reply}]
        if stopped:
            click.echo("stopped; Ctrl-C again leaves", err=True)
        else:
            _print_figures(answer)
        return stopped

    def _obey(self, command: str, argument: str | None = None) -> None:
        if command == "/new":
            self.turns.clear()
            click.echo("A new conversation.", err=True)
        elif command == "/model" and argument:
            self._choose(argument.strip())
            click.echo(f"Talking to {self.model}.", err=True)
        elif command == "/model":
            rows = [(each["id"], _state(each.get("relight", {}))) for each in self.client.models()]
            print_table(("model", "state"), [("> " * (name == self.model) + name, state) for name, state in rows])
        elif command == "/help":
            click.echo(HELP, err=True)
        else:
            click.echo(f"{command}: no such command; /help lists them", err=True)

    def _choose(self, name: str | None) -> None:
        """Talk to `name`, or to the server's default, and have it woken before the first question."""
        models = self.client.models()
        names = [each["id"] for each in models]
        chatting = [each for each in models if _chats(each)]
        default = next((each["id"] for each in chatting if each.get("relight", {}).get("default")), None)
        if name is not None and name not in names:
            raise UsageError(f"{self.client.url}: no model {name!r}", hint=f"there is {', '.join(names) or 'none'}")
        self.model = name or default or next((each["id"] for each in chatting), None)
        if self.model:
            self.client.wake(self.model)

    def _messages(self, text: str) -> list[dict[str, str]]:
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, *self.turns, {"role": "user", "content": text}]


def _chats(listed: dict[str, Any]) -> bool:
    """Whether a listed model chats; a server that does not say so is taken at its list."""
    return "completion" in listed.get("capabilities", ("completion",))


def _state(facts: dict[str, Any]) -> str:
    """The state of a model that is run there; of another, who answers for it."""
    return str(facts.get("state") or " else ".join(facts.get("fallback", ())) or facts.get("backend") or "")


def _line_reader() -> Callable[[str], str]:
    # Windows has no readline; its console edits lines by itself.
    with suppress(ImportError):
        import readline  # noqa: F401 - importing it gives input() line editing and a history
    return input


def _summary(answer: Answer) -> dict[str, object]:
    timings = {
        "first_token_ms": _rounded(answer.first_token_ms),
        "total_ms": _rounded(answer.total_ms),
        "wake_ms": _rounded(answer.wake_ms),
        "tokens_per_s": _rounded(answer.tokens_per_s),
    }
    return {
        "reply": answer.reply,
        "model": answer.model,
        "finish": answer.finish,
        "interaction": answer.interaction,
        "usage": answer.usage,
        "timings": timings,
    }


def _print_figures(answer: Answer) -> None:
    """One dim line about the answer, for people only."""
    if not sys.stderr.isatty():
        return
    tokens, rate, first = answer.usage.get("completion_tokens"), answer.tokens_per_s, answer.first_token_ms
    parts = [f"{tokens} tokens" if tokens else "", f"{rate:.0f} tokens/s" if rate else ""]
    parts.append("" if first is None else f"first token after {first / 1000:.2f} s")
    parts.append("cut off at the token limit" if answer.finish == "length" else "")
    click.secho(" · ".join(filter(None, parts)), dim=True, err=True)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)

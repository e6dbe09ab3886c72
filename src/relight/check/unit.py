"""What one check of an endpoint is made of, and what it may use. Knows no particular check."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from relight.check.http import Auth, Line, Reply
from relight.check.question import Answer, Json, Question, Refusal, Tongue, Turn, obj, text, user
from relight.check.verdict import Outcome, Status, shown
from relight.clock import Clock

DIALECTS: Final = ("chat", "responses", "messages", "ollama")
_MISSING: Final = (404, 405, 501)
_FAILED: Final = "engine_failed"
_MOST_FAILURES: Final = 3
"""Times that a Relight server may say that its engine does not start, before that is believed."""
HELLO: Final = "Reply with the one word OK."
FEW: Final = 8
"""Tokens of an answer that only has to come."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How an endpoint is checked. Times in seconds."""

    timeout_s: float = 300.0
    """What a model may take to wake and begin."""
    request_s: float = 60.0
    """What any later request may take."""
    settle_s: float = 10.0
    """What a slot may take to be free once its client has left."""
    limit_s: float = 90.0
    """What a request may wait, all in all, where the server says that it should come again later."""
    gap_s: float = 20.0
    """Longest time without a real event while a model wakes or reads."""
    dialects: tuple[str, ...] = DIALECTS
    context: int | None = None
    """Tokens that one request may use, where the server does not say."""
    is_quick: bool = False
    """Only what decides whether agents work, each thing in one form."""
    agents: tuple[str, ...] = ()
    """Agents that have to work, by their slugs; none: all of the dialects."""
    puts_to_sleep: bool = False
    """Have a Relight server put the model to sleep first, so that the cold start is seen."""
    only: frozenset[str] = frozenset()
    """Checks to run beside what the way there needs; none: all."""
    words: Mapping[str, str] = field(default_factory=dict)
    """What the user says in a check, by its name ("tools.forced"), in place of its own words: a scripted engine is told so."""


@dataclass(slots=True)
class Session:
    """What is known of the endpoint so far."""

    line: Line
    settings: Settings
    clock: Clock
    model: str = ""
    context: int | None = None
    slots: int | None = None
    """Requests that the model answers at once, where the server says."""
    facts: Json = field(default_factory=dict)
    """What the list of models says of it."""
    is_locked: bool = False
    """It asks for a key."""
    models: Reply = field(default_factory=lambda: Reply("GET /v1/models"))
    """The list of models, as it came."""
    heard: dict[str, Heard] = field(default_factory=dict)
    """Answers that later checks judge as well, by the check that asked."""
    found: dict[str, Status] = field(default_factory=dict)
    is_first_done: bool = False
    """The model has answered once: nothing has to wake any more."""
    tell: Callable[[str], None] = lambda _: None
    """Told why somebody has to wait."""

    @property
    def patience_s(self) -> float:
        """For the next request."""
        return self.settings.request_s if self.is_first_done else self.settings.timeout_s

    async def post(self, path: str, body: Json | bytes, *, within_s: float, **how: Any) -> Reply:
        """Post it, and come again when told to, as agents do, as long as the patience lasts. `how` is what `Line.ask` takes."""
        ends, failures = self.clock.now() + max(within_s, self.settings.limit_s), 0
        while True:
            reply = await self.line.ask("POST", path, body, within_s=within_s, **how)
            wait_s, error = reply.retry_after_s, obj((reply.json() or {}).get("error"))
            failures += error.get("code") == _FAILED
            if wait_s is None or self.clock.now() + wait_s >= ends or failures >= _MOST_FAILURES:
                return reply
            said = shown(self.line.star(text(error.get("message"))), 60)
            self.tell(f"refused with {reply.status}, again in {wait_s:.0f} s ({said})")
            await self.clock.sleep(wait_s)


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer, as bytes and as read."""

    question: Question
    reply: Reply
    answer: Answer
    refusal: Refusal | None

    @property
    def problem(self) -> str | None:
        """Why no client could use it; `None` when every client can."""
        if self.refusal is not None:
            said = self.refusal.message or self.reply.body.decode(errors="replace")
            return f"status {self.reply.status}: {shown(self.reply.hide(said), 120)}"
        if self.reply.broke is not None:
            return self.reply.broke
        if self.answer.error is not None:
            return f"it failed on the way: {shown(self.reply.hide(self.answer.error), 120)}"
        if self.answer.faults:
            return "; ".join(dict.fromkeys(self.answer.faults))
        return None

    @property
    def is_missing(self) -> bool:
        """The server has no such route."""
        return self.reply.status in _MISSING and not (self.refusal is not None and "model" in self.refusal.message.lower())


@dataclass(frozen=True, slots=True)
class Place:
    """Where a check stands: the endpoint, and the dialect that it is for."""

    session: Session
    tongue: Tongue
    name: str
    """Of the check, without the dialect."""

    @property
    def streams(self) -> bool:
        """Whether to stream: as agents do, unless that is what does not work."""
        return self.session.found.get(f"{self.tongue.name}.stream") is Status.PASS

    @property
    def forms(self) -> tuple[bool, ...]:
        """The forms of answers that work: streamed, whole; one of them is enough for who is in a hurry."""
        works = self.session.found
        names = (("stream", True), ("plain", False))
        found = [stream for name, stream in names if works.get(f"{self.tongue.name}.{name}") is Status.PASS]
        return tuple(found[:1] if self.session.settings.is_quick else found)

    @property
    def must_stream(self) -> bool:
        """Answers in one piece do not work. Where they do, their counts are compared: a stream may begin with an estimate."""
        return self.session.found.get(f"{self.tongue.name}.plain") not in (None, Status.PASS)

    def has_begun(self, reply: Reply) -> bool:
        """Whether a word of the answer is there: enough, where that is all that is to be seen."""
        return self.tongue.has_begun([(0.0, reply.unread())])

    def user(self, words: str) -> Turn:
        """What the user says."""
        said = self.session.settings.words
        return user(said.get(f"{self.tongue.name}.{self.name}") or said.get(self.name) or words)

    def question(self, words: str, **more: Any) -> Question:
        """One message of the user's, in the form that works."""
        return Question(**{"turns": (self.user(words),), "stream": self.streams, **more})

    async def ask(self, question: Question, **how: Any) -> Heard:
        """Put it to the endpoint; nothing is raised for what goes wrong. `how` is what `Line.ask` takes."""
        body = self.tongue.body(question, self.session.model)
        path = self.tongue.path + how.pop("query", "")
        how = {"within_s": self.session.patience_s, "what": f"({question.gist})" if question.gist else "", **how}
        return self.read(question, await self.session.post(path, body, **how))

    async def post(self, body: Json | bytes, *, what: str, auth: Auth = Auth.BEARER) -> Heard:
        """Send a body as it is."""
        session = self.session
        reply = await session.post(self.tongue.path, body, what=f"({what})", within_s=session.patience_s, auth=auth)
        return self.read(Question(()), reply)

    def read(self, question: Question, reply: Reply) -> Heard:
        """What came, read in the dialect."""
        if reply.status != 200:
            refusal = self.tongue.refusal(reply.body) if reply.status is not None else None
            return Heard(question, reply, Answer(), refusal)
        if question.stream:
            return Heard(question, reply, self.tongue.told(reply.chunks), None)
        whole = reply.json()
        answer = Answer(faults=["the body is no JSON object"]) if whole is None else self.tongue.whole(whole)
        return Heard(question, reply, answer, None)


Run = Callable[[Place], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to find out in a dialect. `needs` are checks that have to pass first; "a|b" is satisfied by either."""

    name: str
    title: str
    run: Run
    why: str
    """Who breaks without it."""
    advice: str
    """What to do about it."""
    needs: tuple[str, ...] = ("stream|plain",)
    dialects: tuple[str, ...] = DIALECTS


@dataclass(frozen=True, slots=True)
class Layer:
    """One step of the way. Where a gate does not pass, nothing behind it can be known."""

    name: str
    title: str
    run: Callable[[Session], Awaitable[Outcome]]
    why: str
    advice: str
    is_gate: bool = True

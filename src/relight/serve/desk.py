"""What is done with a request to the assistant before a model is asked: its mode, its prompt, as much history as fits.

One desk a service. It is set up in the background once the server listens; a request that comes before that waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct, structs

from relight.assistant.aside import Aside, look_up
from relight.assistant.conversation import Conversation, Said, conversation, fit, recent
from relight.assistant.draft import Draft
from relight.assistant.prompts import Prompts
from relight.background import in_background
from relight.clock import Clock
from relight.config.assistant import ASSISTANT, Assistant, Mode
from relight.errors import Category, InvalidRequest, NotSupported, RelightError, quiet
from relight.serve.front import Backend, Front, Served
from relight.serve.inner import answer_of, at_most, tokens_of
from relight.serve.prepare import ASSISTANT_CHAT, CHAT, Question
from relight.serve.reply import Reply
from relight.telemetry.interaction import Interaction, Phase, session_of
from relight.wire.assistant import AssistantDialect, AssistantWriter, Told, as_chat, ask, sentence
from relight.wire.dialect import Usage
from relight.wire.mending import decoded, fields
from relight.wire.openai import Chat
from relight.wire.translation import About, Json, Translated, Translation

if TYPE_CHECKING:
    from relight.access.budget import Budget
    from relight.access.tickets import Tickets
    from relight.assistant.hooks import Hooks
    from relight.assistant.library import Library
    from relight.assistant.modes import Detection, Detector

_CANDIDATES: Final = 20  # for the first token of a decider's answer
_ANSWER_SHARE: Final = 4  # of the context is kept for an answer that has no limit of its own


class Equipment(Struct, frozen=True):
    """What takes a while to get ready."""

    prompts: Prompts
    detector: Detector | None
    """`None`: there is nothing to choose from."""
    library: Library | None
    """Where passages are looked up, when not all knowledge stands in the prompt."""

    def searched(self, *, can_quote: bool) -> Library | None:
        """Where passages are looked up for a model that quotes, or that does not."""
        return self.library if can_quote or not self.prompts.knowledge else None


class Assisted(Struct, frozen=True):
    """A request as a model is asked."""

    question: Question
    model: str
    message: str
    """What the user said."""
    reply: str | None = None
    """The answer, where no model has to be asked."""


class _Request(Struct, frozen=True):
    """A request to the assistant, whatever its dialect."""

    chat: Json
    mode: str | None
    html: bool = False
    session: str | None = None


@dataclass(slots=True)
class Desk:
    """The assistant of one service. `equip` is run once, in a thread."""

    section: Assistant
    model: str
    """Who answers where no mode says otherwise."""
    equip: Callable[[], Equipment]
    hooks: Hooks
    tickets: Tickets
    budget: Budget
    note: Callable[[str], None]
    dialect: AssistantDialect = field(init=False)
    """How errors are told at `/chat`."""
    _equipped: asyncio.Task[Equipment] | None = field(default=None, init=False)
    _telling: set[asyncio.Task[None]] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self.dialect = AssistantDialect(lambda error: getattr(self.section.says, sentence(error)))

    def prepare(self) -> asyncio.Task[Equipment]:
        """Begin to get everything ready; again is nothing."""
        if self._equipped is None or self.failure is not None:
            self._equipped = asyncio.create_task(self._equip())
        return self._equipped

    @property
    def failure(self) -> BaseException | None:
        """Why it could not be got ready, if so; whoever asks next has it tried again."""
        task = self._equipped
        return task.exception() if task is not None and task.done() and not task.cancelled() else None

    async def ready(self) -> Equipment:
        """Everything, once it is ready; raises `ConfigError` for files that cannot be used."""
        return await asyncio.shield(self.prepare())

    async def _equip(self) -> Equipment:
        try:
            return await in_background(self.equip, "assistant")
        except RelightError as error:
            self.note(f"assistant: {error}")
            raise

    def mode(self, name: str | None) -> Mode:
        """The section of a mode; an empty one where there is none."""
        return self.section.modes.get(name or "") or Mode()

    async def assist(self, question: Question, it: Interaction, reply: Reply, front: Front) -> Assisted:
        """The request as its model is asked. Raises what the conversation, the budget and a wake raise."""
        request = self._read(question)
        if request.session is not None:
            it.session = session_of(request.session)
        equipment = await self.ready()
        await self.budget.check()
        talk = conversation(
            request.chat.get("messages"), max_message=self.section.max_message, max_history=self.section.max_history
        )
        front.keep_content(it, request={"message": talk.message, "history": [structs.asdict(said) for said in talk.history]})
        it.enter(Phase.MODE)
        found = await self._detect(talk, request.mode, it, equipment, front)
        self._tell_mode(found, it, reply)
        mode = self.mode(found.mode)
        model = mode.model or self.model
        backend = front.backends(model)[0]
        aside = Aside(reply=mode.reply) if mode.reply else await self._aside(talk, found, it, equipment, backend)
        it.enter(Phase.QUEUE)
        told = Told(it.id, self.tickets.ticket(it.id, front.clock.wall()), found.mode, found.confidence, found.by, aside.sources)
        draft = Draft(mode, equipment.prompts.system(found.mode), talk, aside.texts, request.chat, it.model)
        if aside.grammar is not None:
            draft = draft.quoting(aside.grammar, self.section.subject)
        dropped = 0 if aside.reply is not None else await self._fit(draft, backend, it, front)
        chat = draft.chat(equipment.prompts.schemas.get(found.mode or ""), dropped)
        return Assisted(_question(question, chat, self._writer(told, request, it)), model, talk.message, aside.reply)

    # --- the request

    def _read(self, question: Question) -> _Request:
        """Whatever its dialect, the request as a chat and the mode that it names."""
        named = question.about.model.partition(":")[2] or None
        if question.path == ASSISTANT_CHAT:
            body = ask(question.body)
            return _Request(as_chat(body, ASSISTANT), self._known(body.mode) or named, body.html, body.session)
        if question.path == CHAT:
            chat = decoded(question.body)
        elif question.translation is not None and question.translation.path == CHAT:
            translated = question.translation.translate(decoded(question.body), question.about)
            if translated.asks_nothing:
                raise NotSupported("the assistant neither wakes nor sleeps by itself; ask it of its model")
            chat = translated.chat
        else:
            raise NotSupported(f"{question.path}: the assistant only chats", hint="ask a model by its own name (GET /v1/models)")
        if chat.get("tools"):
            raise InvalidRequest("tools: the assistant takes none: they are instructions, and those are its author's")
        mode = chat.get("mode")
        return _Request(chat, self._known(mode if isinstance(mode, str) else None) or named)

    def _known(self, mode: str | None) -> str | None:
        if mode is None or mode in self.section.modes:
            return mode
        error = InvalidRequest(f'mode: there is no "{mode[:40]}"', hint=f"there is: {', '.join(self.section.modes) or 'none'}")
        raise quiet(error, "mode: there is no such mode")

    # --- the mode

    async def _detect(
        self, talk: Conversation, explicit: str | None, it: Interaction, equipment: Equipment, front: Front
    ) -> Detection:
        from relight.assistant.modes import Detection

        modes = self.section.modes
        if explicit is None and modes and self.hooks.has("detect"):
            from relight.assistant.hooks import Message

            mode = await self.hooks.detect(Message(talk.message, talk.history, it.session, tuple(modes)))
            if mode is not None:
                return Detection(mode=mode, confidence=1.0, by="hook")
        if explicit is not None or equipment.detector is None:
            by = "explicit" if explicit else "default"
            return Detection(mode=explicit or self.section.default_mode, confidence=1.0 if explicit else None, by=by)
        detector = equipment.detector
        found = await in_background(lambda: detector.detect(talk.message, recent(talk.history)), "mode")
        if found.is_open and self.section.decider is not None:
            return await self._decide(talk, found, it, front)
        return found

    async def _decide(self, talk: Conversation, found: Detection, it: Interaction, front: Front) -> Detection:
        """Have a model choose where the classifier was not sure; what goes wrong there leaves it undecided."""
        from relight.assistant import deciding

        decider = self.section.decider or ""
        asked = deciding.question(self.section.modes, talk.message, talk.history)
        chat: Json = {"model": decider, "messages": asked.messages, "max_tokens": 1, "temperature": 0}
        chat |= {"logprobs": True, "top_logprobs": _CANDIDATES}
        try:
            backend = front.backends(decider)[0]
            if _has_grammar(backend):
                chat["grammar"] = asked.grammar
            answer = await answer_of(front, backend, chat, it.key or it.http.remote)
        except RelightError as error:
            self.note(f"assistant.decider: {decider} did not answer ({error.code}); went on without it")
            return found
        _charge(it, answer, backend)
        text = Chat().text(answer)
        return deciding.settled(found, deciding.read(asked, text, deciding.log_probabilities(answer)))

    def _tell_mode(self, found: Detection, it: Interaction, reply: Reply) -> None:
        it.mode, it.mode_by = found.mode or "", found.by
        it.mode_confidence = None if found.confidence is None else round(found.confidence, 3)
        reply.header(b"x-relight-mode", it.mode.encode())
        reply.header(b"x-relight-mode-by", it.mode_by.encode())
        if it.mode_confidence is not None:
            reply.header(b"x-relight-mode-confidence", f"{it.mode_confidence:.3f}".encode())

    # --- the prompt

    async def _aside(
        self, talk: Conversation, found: Detection, it: Interaction, equipment: Equipment, backend: Backend
    ) -> Aside:
        """What goes with this question alone: passages with their sources, and what the author's hook says."""
        aside = Aside()
        can_quote = self.section.quote and _has_grammar(backend)
        if (library := equipment.searched(can_quote=can_quote)) is not None:
            glance = structs.replace(talk, history=recent(talk.history))
            aside = await in_background(lambda: look_up(library, glance, self.section, can_quote=can_quote), "look-up")
        if self.hooks.has("before_prompt") and aside.reply is None:
            from relight.assistant.hooks import Draft as ToHook

            draft = ToHook(talk.message, talk.history, it.session, found.mode, found.confidence)
            if said := await self.hooks.before_prompt(draft):
                aside = structs.replace(aside, texts=[*aside.texts, said])
        return aside

    async def _fit(self, draft: Draft, backend: Backend, it: Interaction, front: Front) -> int:
        """How many of the oldest messages are left out so that the rest fits the model."""
        context = backend.context if isinstance(backend, Served) else front.config.models[backend.name].context
        room = context - min(draft.mode.max_tokens or context, context // _ANSWER_SHARE)
        dropped = 0
        if at_most(draft.chat(None, 0)) > room:

            async def count(history: Sequence[Said]) -> int:
                chat = draft.chat(None, len(draft.talk.history) - len(history))
                return await tokens_of(backend, chat, lambda: it.enter(Phase.WAKE))

            dropped = await fit(draft.talk.history, room, count)
            it.enter(Phase.QUEUE)
        it.dropped_messages = draft.talk.dropped + dropped
        return dropped

    def _writer(self, told: Told, request: _Request, it: Interaction) -> Callable[[], AssistantWriter]:
        def closing() -> Json:
            spent_s = {phase.value: seconds for phase, seconds in it.finished().items()}
            spent_s["total"] = it.clock.now() - it.opened_at
            if it.first_token_s is not None:
                spent_s["first_token"] = it.first_token_s
            spent = {f"{phase}_ms": round(1000 * seconds, 1) for phase, seconds in spent_s.items()}
            return {"model": it.answered_by, "timings": spent}

        def make() -> AssistantWriter:
            writer = AssistantWriter(told, closing, self.dialect.error_event)
            if request.html:
                writer.renderer = _Html(it.clock)
            return writer

        return make

    # --- after the answer

    def answered(self, assisted: Assisted, reply: str, it: Interaction, *, left: bool) -> None:
        """Tell the author's hook, beside whatever comes next; `left` says that the client did not wait for the end."""
        if not self.hooks.has("after_answer"):
            return
        from relight.assistant.hooks import Answered

        told = Answered(
            interaction=it.id,
            session=it.session,
            message=assisted.message,
            reply=reply,
            mode=it.mode or None,
            error=Category.CLIENT_GONE.value if left else it.category.value if it.category else None,
            tokens=(it.prompt_tokens or 0) + (it.completion_tokens or 0),
            seconds=it.clock.now() - it.opened_at,
        )
        task = asyncio.create_task(self.hooks.after_answer(told))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def finish(self) -> None:
        """Wait for the hooks that are still being told; each has its time."""
        if self._telling:
            await asyncio.wait(self._telling)
        if self._equipped is not None and not self._equipped.done():
            self._equipped.cancel()
        await self.budget.close()

    async def spend(self, it: Interaction, tokens: int) -> None:
        """Count what an answer took out of the day's budget, the questions that the desk itself asked for it included."""
        await self.budget.spend(tokens, it.spent_usd)


def _question(asked_as: Question, chat: Json, writer: Callable[[], AssistantWriter]) -> Question:
    """The same question with another chat; it is told in the dialect that it came in."""
    if asked_as.path == CHAT:
        body = msgspec.json.encode(chat)
        return structs.replace(asked_as, body=body, fields=fields(body))
    if asked_as.path == ASSISTANT_CHAT:
        return structs.replace(asked_as, translation=Translation(CHAT, lambda _, about: Translated(chat, writer())))
    before = asked_as.translation
    assert before is not None  # noqa: S101 - `_read` has refused everything else

    def translate(body: Json, about: About) -> Translated:
        return Translated(chat, before.translate(body, about).writer)

    return structs.replace(asked_as, translation=Translation(CHAT, translate))


def _charge(it: Interaction, answer: Json, backend: Backend) -> None:
    """Note what a question of the desk's own cost: it is paid for as the answer is."""
    usage = Usage()
    Chat().read(answer, usage)
    it.aside_tokens += (usage.prompt or 0) + (usage.completion or 0)
    if not isinstance(backend, Served):
        it.aside_usd += backend.price_of(usage) or 0.0


class _Html:
    """A `Renderer` that knows the time."""

    def __init__(self, clock: Clock) -> None:
        from relight.assistant.markdown import Blocks

        self._clock, self._blocks = clock, Blocks()

    def feed(self, text: str) -> str | None:
        return self._blocks.feed(text, self._clock.now())

    def finish(self) -> str:
        return self._blocks.end()


def _has_grammar(backend: Backend) -> bool:
    return isinstance(backend, Served) and backend.capabilities.grammar


__all__ = ["Assisted", "Desk", "Equipment"]

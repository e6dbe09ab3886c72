"""A request to a model: who asks, who may answer, in what order; and its record, closed exactly once."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from relight.config.assistant import ASSISTANT, Assistant
from relight.errors import Category, ClientGone, InvalidRequest, NotSupported, RelightError, Stopping
from relight.lifecycle.machine import State
from relight.lifecycle.turns import Claim
from relight.serve.admission import Visitor
from relight.serve.asking import Asking
from relight.serve.front import Backend, Front, Served
from relight.serve.http import Request, check_json
from relight.serve.prepare import ASSISTANT_CHAT, Question, can_answer, prepare
from relight.serve.reply import Reply
from relight.serve.watch import Watch
from relight.telemetry.interaction import Interaction
from relight.values import estimated_tokens
from relight.wire.dialect import Dialect, Usage
from relight.wire.mending import Fields, decoded, fields
from relight.wire.translation import About, Translation

if TYPE_CHECKING:
    from relight.serve.desk import Desk

_NEVER_STREAM: Final = frozenset({"/v1/messages/count_tokens", "/v1/embeddings", "/v1/rerank", "/api/embed", "/api/embeddings"})
_BY_TASK: Final = {"/v1/embeddings": "embed", "/api/embed": "embed", "/api/embeddings": "embed", "/v1/rerank": "rerank"}
_TEXT: Final = msgspec.json.Decoder(str | None)
_FLAG: Final = msgspec.json.Decoder(bool | None)
_LAST_WORD_S: Final = 0.3
_BYTES_AN_ESCAPE: Final = 6
_ROOM: Final = 64 << 10
# Another backend may well answer what this one could not: it is down, full, slow, or smaller.
_NEXT_MAY_ANSWER: Final = frozenset(
    {
        Category.ENGINE_FAILED,
        Category.ENGINE_CRASHED,
        Category.QUEUE_FULL,
        Category.WAKE_TIMEOUT,
        Category.CONTEXT_OVERFLOW,
        Category.PROVIDER_UNAVAILABLE,
        Category.PROVIDER_TIMEOUT,
        Category.PROVIDER_REJECTED,
    }
)


class Completions:
    """The POST route of one path of one dialect. With a translation, a backend that does not speak it can answer as well."""

    def __init__(self, front: Front, dialect: Dialect, path: str, translation: Translation | None = None) -> None:
        self._front = front
        self._dialect = dialect
        self._path = path
        self._translation = translation
        self._most = _most_bytes(front.config.assistant) if path == ASSISTANT_CHAT else 0

    async def __call__(self, request: Request) -> None:
        """Answer one request; its record is closed exactly once, whatever happens."""
        it = self._front.open(request)
        it.dialect = self._dialect.name
        reply = Reply(self._front, request, it, self._dialect)
        try:
            await self._serve(request, it, reply)
        except RelightError as error:
            await reply.fail(error)
        except asyncio.CancelledError:
            if not self._front.is_stopping:
                it.fail(Stopping("the request was cancelled by the program that it runs in"))
                raise
            # The server's patience is over. This task ends here in any case, and its client may as well hear why, if it reads.
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORD_S):
                    await reply.fail(_stopped())
        except Exception as error:
            # The HTTP border: what nobody foresaw is told as our own fault, and the record says what it was.
            self._front.sink.note("ERROR", f"internal error in {it.id}: {_where(error)}")
            await reply.fail(RelightError("relight: internal error; it is in the log", hint=f"look for {it.id}"))
        finally:
            if not it.is_closed:
                self._front.close(it)

    async def _serve(self, request: Request, it: Interaction, reply: Reply) -> None:
        if self._front.is_stopping:
            raise Stopping("the server is stopping", retry_after_s=1.0)
        visitor = self._front.gate.admit(request)
        it.key = visitor.key
        check_json(request)
        with await self._front.limiter.enter(visitor.who) as lease:
            try:
                await self._admitted(request, it, reply, visitor)
            finally:
                self._estimate(it)
                await lease.spend(_tokens(it))
                if (desk := self._desk(it)) is not None:
                    await desk.spend(it, _tokens(it))

    async def _admitted(self, request: Request, it: Interaction, reply: Reply, visitor: Visitor) -> None:
        server = self._front.config.server
        body = await request.body(min(server.max_body, self._most) if self._most else server.max_body)
        it.bytes_in = len(body)
        question = self._question(body, it)
        desk = self._desk(it)
        backends = [] if desk is not None else self._backends(question, it.model)
        self._front.check_prompt(question.fields, len(body))
        if self._front.keeps_content and desk is None:  # the assistant keeps what it takes of it
            self._front.keep_content(it, request=decoded(body))
        asking, claim = Asking(self._front, it, reply, self._dialect), Claim(visitor.who, len(body))
        if desk is None:
            answering = self._first_answer(backends, question, asking, claim)
        else:
            answering = self._assisted(desk, question, asking, claim)
        with Watch(request, reply, server.write_timeout, self._front.lookout):
            if it.stream or server.hold_json is not None:
                async with reply.signs_of_life(it.model):
                    await answering
            else:
                await answering

    def _question(self, body: bytes, it: Interaction) -> Question:
        """The request read as far as the front door needs it; raises `InvalidRequest`."""
        found = fields(body)
        it.model = self._front.name(ASSISTANT if self._path == ASSISTANT_CHAT else _text(found, "model"))
        asked = _flag(found, "stream")
        it.stream = (self._dialect.streams_by_default if asked is None else asked) and self._path not in _NEVER_STREAM
        about = About(model=it.model, id=it.id.removeprefix("int_"), created=int(it.wall))
        return Question(self._path, body, found, about, self._translation)

    def _estimate(self, it: Interaction) -> None:
        """What an answer that was left before it told is charged in money: leaving early is not free."""
        provided = self._front.providers.get(it.answered_by)
        if provided is not None and it.cost_usd is None and it.prompt_tokens is None and it.was_asked:
            usage = Usage(prompt=estimated_tokens(it.bytes_asked or it.bytes_in), completion=it.pieces)
            it.abandoned_usd = provided.price_of(usage) or 0.0

    def _desk(self, it: Interaction) -> Desk | None:
        """The assistant, if it is asked."""
        return self._front.desk if it.model.partition(":")[0] == ASSISTANT else None

    async def _assisted(self, desk: Desk, question: Question, asking: Asking, claim: Claim) -> None:
        """Have the assistant prepare the request, and its model answer."""
        it, heard, left = asking.it, [""], False
        assisted = await desk.assist(question, it, asking.reply, self._front)
        if desk.hooks.has("after_answer"):
            asking.listener = heard.append
        try:
            if assisted.reply is not None:
                await asking.ready_made(assisted.reply, assisted.question)
            else:
                await self._first_answer(self._backends(assisted.question, assisted.model), assisted.question, asking, claim)
        except RelightError as error:
            it.fail(error)
            raise
        except asyncio.CancelledError:
            left = True
            raise
        finally:
            desk.answered(assisted, heard[-1], it, left=left)

    def _backends(self, question: Question, model: str) -> list[Backend]:
        """Who may answer, in order; raises `NotSupported`, naming who could."""
        asked = self._front.backends(model)
        able = [backend for backend in asked if can_answer(question, backend.speech)]
        if able:
            return able
        who = [one.name for one in self._front.everybody() if can_answer(question, one.speech)]
        hint = f"these do: {', '.join(who)}" if who else "no model of this service does"
        if self._path in _BY_TASK and not who:
            hint = f'a model of ours does with models.NAME.task = "{_BY_TASK[self._path]}"'
        raise NotSupported(f'{self._path}: the engine of "{model}" ({asked[0].kind}) does not speak it', hint=hint)

    async def _first_answer(self, backends: list[Backend], question: Question, asking: Asking, claim: Claim) -> None:
        it, reply = asking.it, asking.reply
        order = self._bridged(backends, question)
        for backend in order:
            it.backend, it.answered_by = backend.kind, backend.name
            reply.says_who(backend.name)
            try:
                prepared = prepare(question, backend.speech)
                it.mended = prepared.mended  # its answer adds to it
                if isinstance(backend, Served):
                    await asking.engine(backend, prepared, claim)
                else:
                    await asking.provider(backend, prepared)
            except RelightError as error:
                if self._front.is_stopping and not isinstance(error, ClientGone):
                    raise _stopped() from error
                if backend is order[-1] or reply.has_answer or not _may_go_on(error):
                    raise
                it.gave_up_on(backend.name, error)
            else:
                return

    def _bridged(self, backends: list[Backend], question: Question) -> list[Backend]:
        """Whoever bridges a model that is not awake before it. The wake goes on meanwhile."""
        order: list[Backend] = []
        for backend in backends:
            if isinstance(backend, Served) and backend.bridge:
                bridges = [one for one in self._front.backends(backend.bridge) if can_answer(question, one.speech)]
                if bridges and backend.runner.wake().state is not State.AWAKE:
                    order += bridges
            order.append(backend)
        return order


def _most_bytes(assistant: Assistant) -> int:
    """Of a request to `/chat`: every message as long as it may be and written in escapes, with room to spare."""
    return assistant.max_message * (assistant.max_history + 2) * _BYTES_AN_ESCAPE + _ROOM


def _may_go_on(error: RelightError) -> bool:
    """Whether another may answer. What a provider calls malformed is so to all of them."""
    is_malformed = error.category is Category.PROVIDER_REJECTED and error.http_status in (400, 422)
    return error.category in _NEXT_MAY_ANSWER and not is_malformed


def _tokens(it: Interaction) -> int:
    """What an interaction is charged for. One that was left before it told is charged by its size: leaving early is not free."""
    if it.prompt_tokens is None and it.was_asked and it.dialect != "count_tokens":
        return estimated_tokens(it.bytes_asked or it.bytes_in) + it.pieces + it.aside_tokens
    return (it.prompt_tokens or 0) + (it.completion_tokens or 0) + it.aside_tokens


def _text(found: Fields, name: str) -> str | None:
    try:
        return _TEXT.decode(found[name]) if name in found else None
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"request: {name}: should be text ({error})") from error


def _flag(found: Fields, name: str) -> bool | None:
    try:
        return _FLAG.decode(found[name]) if name in found else None
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"request: {name}: should be true or false ({error})") from error


def _where(error: Exception) -> str:
    """Kind and place of an error; its text may quote what was said, and stays out of the log."""
    import traceback

    last = traceback.extract_tb(error.__traceback__)[-1:]
    return f"{type(error).__name__} at {last[0].name}:{last[0].lineno}" if last else type(error).__name__


def _stopped() -> Stopping:
    return Stopping("the server stopped before the answer was complete", retry_after_s=1.0)

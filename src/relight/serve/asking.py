"""One backend asked for one answer: wait for its turn, send, pass the bytes on, know what became of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec
from msgspec import structs

from relight.check import USER_AGENT
from relight.config.assistant import ASSISTANT
from relight.config.mendings import CALLS
from relight.decoding import NOT_JSON
from relight.engines.connection import Exchange
from relight.errors import ContextOverflow, EngineCrashed, EngineFailed, EngineRejected, ProviderUnavailable, RelightError, quiet
from relight.lifecycle.learner import Answered
from relight.lifecycle.runner import Ticket, Turn
from relight.lifecycle.turns import Claim
from relight.prefixes.key import Chain
from relight.prefixes.key import chain as chain_of
from relight.prefixes.stability import Break
from relight.serve.front import Front, Provided, Served, provider_speech
from relight.serve.http import JSON
from relight.serve.passing import Passing
from relight.serve.prepare import CHAT, TEMPLATE_ROLES, Prepared, Question, prepare
from relight.serve.ready_made import ReadyMade
from relight.serve.reply import Reply
from relight.telemetry.interaction import Interaction, Phase
from relight.values import format_bytes
from relight.wire.dialect import Dialect, Tap
from relight.wire.openai import Chat
from relight.wire.translation import Writer

_TRIES: Final = 5
_TRY_AGAIN_S: Final = 0.2
_NO_SLOT: Final = frozenset({"/v1/messages/count_tokens"})
_CHAT: Final = Chat()
_TOO_LARGE: Final = re.compile(r"input \((\d+) tokens\) is too large to process")
_IN_STREAM: Final = "engine: said in its stream that it failed"
_MOST_BYTES: Final = 64 << 20  # of an answer in one piece
_HEADERS: Final = [(b"content-type", JSON)]


class Answer(Protocol):
    """A backend's answer, its head already here."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    def get(self, name: bytes) -> bytes | None:
        """The first header of that name, which is in lower case."""
        ...

    async def piece(self) -> bytes:
        """The next bytes of the body; nothing at its end."""
        ...


class _Unread(EngineCrashed):
    """The engine ended without reading the request.

    One that has just crashed looks awake, and for an instant even takes connections, until its process is seen to be gone.
    It has read nothing, so asking the runner again is safe: by then it knows, and wakes the next one.
    """


class Asking(msgspec.Struct):
    """One request in front of whoever may answer it."""

    front: Front
    it: Interaction
    reply: Reply
    dialect: Dialect
    broken: Break | None = None
    """Where the prompt's beginning parts from the client's last one; what that costs is known with the answer."""
    listener: Callable[[str], None] | None = None
    """Told of the words of the answer at its end."""

    async def engine(self, served: Served, prepared: Prepared, claim: Claim) -> None:
        """Have an engine of ours answer, waking it. Raises what `Ticket` raises, and `EngineCrashed` or `EngineRejected`."""
        if prepared.sleeps is not None:
            await self._move(served, prepared, is_asleep=prepared.sleeps)
            return
        self.front.used(served.name)
        chain = chain_of(prepared.body) if served.shelf is not None and prepared.path == CHAT else Chain()
        self._look_at(served, chain, prepared, claim)
        wanted = None if prepared.path in _NO_SLOT else self._claim(served, chain, claim)
        for more_tries in reversed(range(_TRIES)):
            with served.runner.ask(wanted) as ticket:
                try:
                    if ticket.eta_s is not None and served.shelf is not None:
                        served.shelf.expect(chain)
                    turn = await self._turn(ticket, served, prepared.writer)
                    await self._restore(served, turn, chain)
                    await self._relay(served, turn, prepared)
                    self._learn(served, turn, chain, prepared)
                except _Unread:
                    if not more_tries:
                        raise
                else:
                    break
            await self.front.clock.sleep(_TRY_AGAIN_S)
        if prepared.sleeps_after:
            _sleep_if_idle(served)

    async def provider(self, provided: Provided, prepared: Prepared) -> None:
        """Have a provider answer. Raises what `Provider.ask` raises."""
        if prepared.sleeps is not None:
            await self._moved(prepared, is_asleep=prepared.sleeps)  # somebody else's: nothing of it wakes or sleeps here
            return
        with self.front.elsewhere:
            await self._hire(provided, prepared)

    async def ready_made(self, text: str, question: Question) -> None:
        """Give an answer that no model has to be asked for, in the words of the dialect."""
        self.it.backend = self.it.answered_by = ASSISTANT
        self.reply.says_who(ASSISTANT)
        self.it.enter(Phase.PREFILL)
        prepared = prepare(question, provider_speech(question.about.model))
        await self._pass_on(ReadyMade(text, question.about, stream=self.it.stream), prepared)

    async def _hire(self, provided: Provided, prepared: Prepared) -> None:
        self.it.enter(Phase.PREFILL)
        self.it.bytes_asked = len(prepared.body)
        answer = await provided.provider.ask(prepared.path, prepared.body, stream=self.it.stream)
        try:
            await self._pass_on(answer, prepared)
        except EngineFailed as error:  # whoever reads an answer does not know whose it is
            said = error.message.removeprefix("engine: ")
            raise quiet(ProviderUnavailable(f'model "{provided.name}": {provided.kind}: {said}'), "provider: failed") from None
        finally:
            answer.close()

    async def _move(self, served: Served, prepared: Prepared, *, is_asleep: bool) -> None:
        """Only wake the engine, or put it to sleep, as Ollama's clients ask for it."""
        if is_asleep:
            _sleep_if_idle(served)
        else:
            with served.runner.ask(None) as ticket:
                self.it.enter(Phase.WAKE)
                await ticket.awake()
        await self._moved(prepared, is_asleep=is_asleep)

    async def _moved(self, prepared: Prepared, *, is_asleep: bool) -> None:
        from relight.wire.ollama import line
        from relight.wire.ollama_answer import OllamaWriter

        assert isinstance(prepared.writer, OllamaWriter)  # noqa: S101 - nobody else asks for nothing
        told = line(prepared.writer.loaded(is_asleep=is_asleep))
        if self.it.stream:
            await self.reply.chunk(told)
            await self.reply.end()
        else:
            await self.reply.whole(200, told, JSON)

    async def _turn(self, ticket: Ticket, served: Served, writer: Writer | None) -> Turn:
        """Wait for the engine and for a slot, telling whoever streams."""
        try:
            if (eta_s := ticket.eta_s) is not None:
                self.it.enter(Phase.WAKE)
                if self.it.stream:
                    await self.reply.waking(served.name, eta_s)
                await ticket.awake()
            if not ticket.has_turn:
                self.it.enter(Phase.QUEUE)
            turn = await ticket.turn()
        except EngineCrashed as error:
            raise _Unread(error.message) from error
        self.it.enter(Phase.PREFILL)
        if writer is not None and (wake_s := self.it.finished().get(Phase.WAKE)):
            writer.woke(wake_s)
        return turn

    def _claim(self, served: Served, chain: Chain, claim: Claim) -> Claim:
        """With the slot that holds the beginning of the request, if one is known to."""
        slot = served.shelf.slot_of(chain) if served.shelf is not None and served.pins_slots else None
        return claim if slot is None else structs.replace(claim, prefers=slot)

    def _look_at(self, served: Served, chain: Chain, prepared: Prepared, claim: Claim) -> None:
        """What the request begins with: kept if somebody records, and compared with what its client sent before."""
        if chain.prefix is None or self._is_trial:
            return
        if self.front.recorder is not None:
            self.front.recorder.saw(served.name, chain, prepared.body)
        client = (served.name, claim.who, self.it.http.user_agent)
        self.broken = self.front.watcher.compare(client, chain.prefix, prepared.body)

    async def _restore(self, served: Served, turn: Turn, chain: Chain) -> None:
        """Have the slot know what the request begins with, if there is a snapshot of it."""
        if served.shelf is None or turn.slot is None or chain.prefix is None:
            return
        self.it.enter(Phase.RESTORE)
        try:
            restored = await served.shelf.restore(chain, turn.slot, turn.address)
        except EngineCrashed as error:
            raise _Unread(error.message) from error
        self.it.enter(Phase.PREFILL)
        if restored is not None:
            self.it.restored_tokens = restored.tokens

    def _learn(self, served: Served, turn: Turn, chain: Chain, prepared: Prepared) -> None:
        # What the template refused is not what was read.
        if served.shelf is None or turn.slot is None or TEMPLATE_ROLES in prepared.mended:
            return
        it = self.it
        served.shelf.answered(chain, turn.slot, it.cached_tokens)
        read_s = it.finished().get(Phase.PREFILL, 0.0)
        if served.learner is not None and not self._is_trial:
            answered = Answered(
                chain=chain,
                body=prepared.body,
                slot=turn.slot,
                prompt=it.prompt_tokens,
                cached=it.cached_tokens,
                prefill_s=read_s,
                broken=self.broken,
                interaction=it.id,
            )
            served.learner.saw(answered)

    @property
    def _is_trial(self) -> bool:
        """Whether `relight check` asks."""
        return self.it.http.user_agent == USER_AGENT

    async def _relay(self, served: Served, turn: Turn, prepared: Prepared) -> None:
        body = prepared.body if turn.slot is None or not served.pins_slots else _pin(prepared.body, turn.slot)
        self.it.bytes_asked = len(body)
        try:
            answer = await self.front.connections.post(turn.address, prepared.path, _HEADERS, body)
        except EngineCrashed as error:
            raise _Unread(error.message) if isinstance(error.__cause__, OSError) else error from error.__cause__
        try:
            if answer.status >= 400:
                refusal = _engine_error(answer.status, await answer.read(), served.context)
                if (again := prepared.yielding(refusal.message)) is None:
                    raise refusal
            else:
                again = await self._pass_on(answer, prepared)
        finally:
            answer.close()
        if again is not None:
            await self._relay(served, turn, again)

    async def _pass_on(self, answer: Answer, prepared: Prepared) -> Prepared | None:
        """Give the client its answer. One that is empty is held back, and what is to be asked in its place is returned."""
        is_stream = (answer.get(b"content-type") or b"").startswith(b"text/event-stream")
        heard = self.dialect if prepared.writer is None else _CHAT  # what is told by a writer was asked in OpenAI's words
        tap = Tap(heard, stream=is_stream, keep_text=self.front.keeps_content or self.listener is not None)
        try:
            return await self._told(answer, tap, prepared, is_stream=is_stream)
        finally:
            if self.listener is not None:
                self.listener(tap.text)

    async def _told(self, answer: Answer, tap: Tap, prepared: Prepared, *, is_stream: bool) -> Prepared | None:
        if is_stream and self.it.stream:
            return await self._stream(answer, tap, prepared)
        body = await _collect(answer, tap)
        if self.it.stream:
            raise EngineFailed("engine: was asked for a stream and sent something else")
        passage = prepared.passage
        if passage is not None:
            body = passage.whole(body)
            if passage.is_empty and (again := prepared.again()) is not None:
                return again
        self._note(tap, prepared)
        kind = JSON if passage is not None else answer.get(b"content-type") or JSON
        await self.reply.whole(answer.status, body, kind)
        return None

    async def _stream(self, answer: Answer, tap: Tap, prepared: Prepared) -> Prepared | None:
        reply, passage = self.reply, prepared.passage
        if prepared.writer is not None:
            reply.tell_failure = prepared.writer.failed
        passing = Passing(self.it, reply, tap, passage)
        if isinstance(answer, Exchange):
            answer.at_once = passing.at_once
        while chunk := await answer.piece():
            if out := passing.through(chunk):
                await reply.chunk(out)
        if tap.is_cut_short:
            raise EngineFailed("engine: ended its stream before the answer was complete")
        if passage is not None:
            if passage.is_empty and (again := prepared.again()) is not None:
                reply.is_told = False  # its end was held back
                return again
            if rest := passage.finish():
                await reply.chunk(rest)
        self._note(tap, prepared)
        await reply.end()
        return None

    def _note(self, tap: Tap, prepared: Prepared) -> None:
        usage, it = tap.finish(), self.it
        if prepared.path in _NO_SLOT:
            return  # tokens were counted, not used
        it.prompt_tokens, it.cached_tokens, it.completion_tokens = usage.prompt, usage.cached, usage.completion
        # The engine took for text what the client was told as a call.
        it.finish = "tool_calls" if usage.finish == "stop" and not CALLS.keys().isdisjoint(prepared.mended) else usage.finish
        it.split_decode(usage.decode_s)
        if self.broken is not None:
            self._tell(self.broken)
        provided = self.front.providers.get(it.answered_by)
        if provided is not None:
            it.cost_usd = provided.cost(it)
        if usage.error:
            it.fail(quiet(EngineFailed(f"engine: {usage.error}"), _IN_STREAM) if provided is None else _failed_in_stream())
        if self.front.keeps_content:
            self.front.keep_content(it, reply=tap.text)

    def _tell(self, broken: Break) -> None:
        """Say what kept the prompt from beginning as before, and what that cost."""
        it = self.it
        fresh = (it.prompt_tokens or 0) - (it.cached_tokens or 0)
        lost = min(round(broken.lost * (it.prompt_tokens or 0)), fresh)
        seconds = round(it.finished().get(Phase.PREFILL, 0.0) * lost / fresh, 3) if fresh > 0 else 0.0
        it.prefix_break = {"what": broken.what, "where": broken.where, "tokens": lost, "seconds": seconds, "by": "text"}
        self.front.sink.note(
            "WARNING",
            f"{it.answered_by}: {broken.what} at {broken.where} kept a prompt from beginning as before: about {lost} tokens, "
            f"{seconds:.1f} s (relight prefixes why)",
        )


def _failed_in_stream() -> ProviderUnavailable:
    """For the record alone: the client has the provider's own words, which may quote what was asked."""
    return ProviderUnavailable("provider: said in its stream that it failed")


def _sleep_if_idle(served: Served) -> None:
    """A client of Ollama wants the memory back after its answer (`keep_alive` 0): if nobody else uses the model."""
    status = served.runner.status()
    if not status.running and not status.waiting:
        served.runner.sleep()


async def _collect(answer: Answer, tap: Tap) -> bytes:
    parts, size = [], 0
    while piece := await answer.piece():
        size += len(piece)
        if size > _MOST_BYTES:
            raise EngineFailed(f"engine: its answer is larger than {format_bytes(_MOST_BYTES)}")
        tap.feed(piece)
        parts.append(piece)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _pin(body: bytes, slot: int) -> bytes:
    """The request with the slot that it shall be answered in."""
    text = body.lstrip()
    return b'{"id_slot":%d,%b' % (slot, text[1:]) if text[1:].lstrip()[:1] == b'"' else body


def _engine_error(status: int, body: bytes, context: int) -> RelightError:
    """An engine's error response as one of ours. llama.cpp says an overflow with both numbers."""
    try:
        error: Any = msgspec.json.decode(body)["error"]
        message = str(error["message"])
    except (*NOT_JSON, KeyError, TypeError):
        return EngineFailed(f"engine: answered with status {status} and no reason")
    if error.get("type") == "exceed_context_size_error":
        return ContextOverflow(
            f"prompt: {message}", prompt_tokens=error.get("n_prompt_tokens"), context_tokens=error.get("n_ctx")
        )
    if (too_large := _TOO_LARGE.search(message)) is not None:  # what llama.cpp says, with a 500, of a text to embed
        return ContextOverflow(f"input: {message}", prompt_tokens=int(too_large[1]), context_tokens=context)
    if status < 500:
        return EngineRejected(f"engine: {message}")
    return quiet(EngineFailed(f"engine: {message}"), f"engine: failed with status {status}")

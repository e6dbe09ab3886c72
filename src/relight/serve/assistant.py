"""Routes about the assistant beside `/chat` itself: what the page wants to know, waking its model, and ratings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
from msgspec import Struct

from relight.decoding import NOT_JSON
from relight.errors import InvalidRequest, PathNotFound, RelightError
from relight.serve.front import Front, Served
from relight.serve.http import Request, check_json

if TYPE_CHECKING:
    from relight.serve.desk import Desk

_MOST_BYTES: Final = 16 << 10
_MOST_RATINGS: Final = 3  # of one answer
_MOST_REMEMBERED: Final = 4096
_LONGEST_COMMENT: Final = 2000  # characters


class Feedback(Struct, frozen=True):
    """The body of a rating."""

    interaction: str
    ticket: str
    rating: Literal["up", "down"]
    comment: str = ""


class AssistantRoutes:
    """Answers about the assistant of one service; without one, there is nothing here."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._told: dict[str, int] = {}

    async def none(self, request: Request) -> None:
        """`/chat` of a service that has no assistant."""
        self._desk(request)

    async def about(self, request: Request) -> None:
        """How it presents itself, and how its model is; wakes nothing."""
        desk = self._desk(request)
        page, served = desk.section.page, self._served(desk)
        said: dict[str, Any] = {
            "title": page.title or self._front.config.service.name,
            "greeting": page.greeting,
            "suggestions": page.suggestions,
            "accent": page.accent,
            "modes": list(desk.section.modes),
            "max_message": int(desk.section.max_message),
            **(_state(served) if served is not None else {"state": "provider"}),
        }
        await request.json(200, said, [(b"cache-control", b"no-store")])

    async def wake(self, request: Request) -> None:
        """Wake its model, if it is one of ours, before the first question is asked; answers at once."""
        desk = self._desk(request)
        served = self._served(desk)
        if served is None:
            await request.json(202, {"state": "provider"})
            return
        try:
            with await self._front.limiter.enter(self._front.gate.admit(request).who):
                await desk.budget.check()
            served.runner.wake()
        except RelightError as error:
            await self.refuse(request, error)
            return
        await request.json(202, _state(served))

    async def feedback(self, request: Request) -> None:
        """Take the rating of an answer from who got it."""
        desk = self._desk(request)
        try:
            check_json(request)
            visitor = self._front.gate.admit(request)
            with await self._front.limiter.enter(visitor.who):
                given = _feedback(await request.body(_MOST_BYTES))
                desk.tickets.check(given.interaction, given.ticket, self._front.clock.wall())
            if self._is_news(given.interaction):
                self._note(given)
        except RelightError as error:
            await self.refuse(request, error)
            return
        await request.json(200, {"ok": True})

    async def refuse(self, request: Request, error: RelightError) -> None:
        """Tell an error as `/chat` does, with a sentence for the visitor."""
        from relight.serve.reply import error_headers

        desk = self._desk(request)
        await request.json(error.http_status, desk.dialect.error_body(error), error_headers(error))

    def _is_news(self, interaction: str) -> bool:
        """Whether this rating is written: a thumb, another one, and a comment are enough for one answer."""
        told = self._told.pop(interaction, 0) + 1
        self._told[interaction] = told
        if len(self._told) > _MOST_REMEMBERED:
            self._told.pop(next(iter(self._told)))
        return told <= _MOST_RATINGS

    def _note(self, given: Feedback) -> None:
        """One line in the log, which names the interaction that it is about."""
        said: dict[str, Any] = {"interaction": given.interaction, "rating": given.rating}
        if given.comment and self._front.keeps_content:
            said["comment"] = self._front.kept(given.comment[:_LONGEST_COMMENT])
        self._front.metrics.rated(given.rating)
        self._front.sink.note("INFO", f"rated {given.rating}: {given.interaction}", feedback=said)

    def _desk(self, request: Request) -> Desk:
        if self._front.desk is None:
            raise PathNotFound(f"{request.path}: this service has no assistant", hint="configure [assistant] in relight.toml")
        return self._front.desk

    def _served(self, desk: Desk) -> Served | None:
        first = self._front.backends(desk.model)[0]
        return first if isinstance(first, Served) else None


def _state(served: Served) -> dict[str, Any]:
    status = served.runner.status()
    return {"state": status.state, "eta_s": round(status.eta_s, 1)}


def _feedback(body: bytes) -> Feedback:
    try:
        return msgspec.json.decode(body, type=Feedback)
    except NOT_JSON as error:
        raise InvalidRequest(
            f"request: {error}", hint='send {"interaction": …, "ticket": …, "rating": "up" or "down", "comment": …}'
        ) from error

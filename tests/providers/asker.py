"""Somebody who asks a provider of ours, in front of a stand-in and with a hand-turned clock."""

from __future__ import annotations

import pytest

from relight.errors import RelightError
from relight.providers.answer import Answer
from relight.providers.provider import Provider
from tests.providers.stand_in import KEY, Act, StandIn, Turned, target

CHAT = "/v1/chat/completions"


class Asker:
    """A provider with a hand-turned clock and no chance in its jitter, in front of a stand-in."""

    def __init__(self, script: tuple[Act, ...], **fields: float) -> None:
        self.peer = StandIn(*script)
        self.clock = Turned()
        self.fields = fields

    async def __aenter__(self) -> Asker:
        await self.peer.__aenter__()
        self.target = target(self.peer.url, **self.fields)  # type: ignore[arg-type]
        self.provider = Provider(self.target, self.clock, random=lambda: 0.5)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.provider.close()
        await self.peer.__aexit__()

    async def ask(self, *, stream: bool = False, body: bytes = b"{}") -> Answer:
        return await self.provider.ask(CHAT, body, stream=stream)

    async def refused(self, *, stream: bool = False) -> RelightError:
        with pytest.raises(RelightError) as caught:
            await self.ask(stream=stream)
        # The library's own errors hold the request's headers; nothing that is printed may lead to them.
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
        assert KEY not in str(caught.value)
        return caught.value


def asking(*script: Act, **fields: float) -> Asker:
    return Asker(script, **fields)

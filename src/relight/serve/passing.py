"""A stream on its way from a backend to its client: read, counted, and changed where it has to be. Waits for nothing."""

from __future__ import annotations

import msgspec

from relight.serve.pipe import Passage
from relight.serve.reply import Reply
from relight.telemetry.interaction import Interaction
from relight.wire.dialect import Tap


class Passing(msgspec.Struct):
    """What each piece of one stream goes through."""

    it: Interaction
    reply: Reply
    tap: Tap
    passage: Passage | None
    """`None`: it passes as it is."""

    def through(self, chunk: bytes) -> bytes:
        """What goes out for these bytes of the backend; raises what `Passage.feed` raises."""
        it, passage = self.it, self.passage
        self.tap.feed(chunk)
        it.pieces += 1
        self.reply.is_told = self.tap.is_done
        out = chunk if passage is None else passage.feed(chunk)
        if it.first_token_s is None and (self.tap.first_event_seen if passage is None else passage.has_content):
            it.first_token()
        return out

    def at_once(self, chunk: bytes) -> bool:
        """Pass it on if the client need not be waited for; see `connection.AtOnce`."""
        return self.reply.pass_on(chunk, self.through)

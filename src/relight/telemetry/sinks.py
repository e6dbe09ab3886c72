"""Where records go: JSON lines as Cloud Logging reads them, or one readable line on a terminal. Opens no network."""

from __future__ import annotations

import asyncio
import os
import select
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import msgspec

from relight.errors import Category, Stopping
from relight.telemetry.interaction import Interaction, Phase, Record, Trace


class Sink(Protocol):
    """Takes every interaction twice: when it opens and when it is closed."""

    def opened(self, interaction: Interaction) -> None:
        """A request was admitted; a record that never follows marks a crash."""
        ...

    def closed(self, record: Record) -> None:
        """The request ended, one way or another."""
        ...

    def note(self, severity: str, message: str, **fields: Any) -> None:
        """Say something that belongs to no request (an engine woke, a folder is not writable)."""
        ...


class JsonLines:
    """One object a line, in the form that Cloud Logging understands; every write is of whole lines.

    What was opened waits up to 50 ms for the next line: most requests are closed by then, and a write of its own costs as much
    as all the rest of it. Killed in that time, a process leaves no trace of the request.
    """

    _WAIT_S: Final = 0.05

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._waiting: list[bytes] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._flush: asyncio.TimerHandle | None = None
        self._second = (0, "")

    def opened(self, interaction: Interaction) -> None:
        it = interaction
        fields = {**_trace(it), "opened": {"id": it.id, "service": it.origin.service}}
        self._waiting.append(self._encoded("DEBUG", it.wall, f"opened {it.id}", fields))
        self._write_soon()

    def closed(self, record: Record) -> None:
        it = record.interaction
        request = {
            "requestMethod": it.http.method,
            "requestUrl": it.http.path,
            "status": it.status,
            "requestSize": str(it.bytes_in),
            "responseSize": str(it.bytes_out),
            "userAgent": it.http.user_agent,
            "remoteIp": it.http.remote,
            "latency": f"{record.total_s:.6f}s",
        }
        fields = {"httpRequest": request, **_trace(it), "interaction": record.fields()}
        self._line(severity(it), it.wall, summary(record), fields)

    def note(self, severity: str, message: str, **fields: Any) -> None:
        self._line(severity, time.time(), message, fields)

    def _line(self, severity: str, wall: float, message: str, fields: dict[str, Any]) -> None:
        self._waiting.append(self._encoded(severity, wall, message, fields))
        self._write_out()

    def _write_soon(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # no loop, nobody who would come back
            self._write_out()
            return
        # Not put off by what is written before: a timer for each request would cost more than one too many. That of a loop
        # which has ended never comes.
        if self._flush is None or loop is not self._loop:
            self._loop, self._flush = loop, loop.call_later(self._WAIT_S, self._write_waiting)

    def _write_waiting(self) -> None:
        self._flush = None
        self._write_out()

    def _write_out(self) -> None:
        lines, self._waiting = b"".join(self._waiting), []
        if lines:
            self._write(lines)

    def _encoded(self, severity: str, wall: float, message: str, fields: dict[str, Any]) -> bytes:
        return msgspec.json.encode({"severity": severity, "time": self._stamp(wall), "message": message, **fields}) + b"\n"

    def _stamp(self, wall: float) -> str:
        """RFC 3339 to the microsecond; the part up to the second is kept for the next line."""
        micros = round(wall * 1e6)
        second, rest = divmod(micros, 1_000_000)
        if second != self._second[0]:
            self._second = (second, datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S"))
        return f"{self._second[1]}.{rest:06d}Z"


class TextLines:
    """One line an interaction, for a person at a terminal."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write

    def opened(self, interaction: Interaction) -> None:
        return

    def closed(self, record: Record) -> None:
        # The line is about the end; its JSON form tells the beginning, as access logs do.
        stamp = time.strftime("%H:%M:%S", time.localtime(record.interaction.wall + record.total_s))
        self._write(_one_line(f"{stamp}  {summary(record)}"))

    def note(self, severity: str, message: str, **fields: Any) -> None:
        mark = "" if severity in ("INFO", "DEBUG") else f"{severity.lower()}: "
        self._write(_one_line(f"{time.strftime('%H:%M:%S')}  {mark}{message}"))


def to_stdout(data: bytes) -> None:
    """Write a whole line to standard output at once, unbuffered: nothing is lost when the process is killed.

    A log that cannot be written (its reader left, the disk is full) does not fail the answer that it describes.
    """
    fd = sys.stdout.fileno()
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:  # somebody else made this terminal or pipe non-blocking
            select.select((), (fd,), ())
        except OSError:
            return


def severity(interaction: Interaction) -> str:
    """Cloud Logging's severity: errors are ours or the engine's; what a client did wrong is a warning."""
    if interaction.category is None:
        return "WARNING" if interaction.given_up else "INFO"
    if interaction.code == Stopping.code:
        return "WARNING"  # a deployment is no failure
    if interaction.category in (Category.CLIENT_GONE, Category.INVALID_REQUEST, Category.CONTEXT_OVERFLOW):
        return "WARNING" if interaction.category is not Category.CLIENT_GONE else "INFO"
    return "ERROR" if interaction.status >= 500 or interaction.status == 200 else "WARNING"


def summary(record: Record) -> str:
    """`200 chat smol  31+8 tokens  wake 0.71 s  first token 0.92 s  total 1.03 s`, with the error when there is one."""
    it = record.interaction
    spoke = f"→{it.answered_by}" if it.answered_by not in ("", it.model) else ""
    parts = [f"{it.status} {it.dialect or it.http.method} {it.model or it.http.path}{spoke}"]
    if it.mode_by:
        sure = "" if it.mode_confidence is None else f" {it.mode_confidence:.2f}"
        parts.append(f"mode {it.mode or 'none'}{sure} ({it.mode_by})")
    if it.key:
        parts.append(f"key {it.key}")
    if it.given_up:
        parts.append(f"gave up: {', '.join(sorted({one['model'] for one in it.given_up}))}")
    if it.prompt_tokens is not None:
        cached = f" ({it.cached_tokens} cached)" if it.cached_tokens else ""
        parts.append(f"{it.prompt_tokens}+{it.completion_tokens or 0} tokens{cached}")
    if record.phases.get(Phase.WAKE, 0.0) >= 0.001:
        parts.append(f"wake {record.phases[Phase.WAKE]:.2f} s")
    if it.restored_tokens:
        parts.append(f"restored {it.restored_tokens} tokens in {record.phases[Phase.RESTORE]:.2f} s")
    if it.first_token_s is not None:
        parts.append(f"first token {it.first_token_s:.2f} s")
    parts.append(f"total {record.total_s:.2f} s")
    if it.category is not None:
        parts.append(f"{it.category}: {it.error}")
    return "  ".join(parts)


def _one_line(text: str) -> bytes:
    # Paths, model names and an engine's last words come from outside: on a terminal they must not move the cursor.
    return "".join(char if char.isprintable() else " " for char in text).encode() + b"\n"


def _trace(interaction: Interaction) -> dict[str, Any]:
    trace: Trace | None = interaction.trace
    if trace is None:
        return {}
    project = interaction.origin.project
    fields: dict[str, Any] = {
        "logging.googleapis.com/trace": f"projects/{project}/traces/{trace.trace_id}" if project else trace.trace_id,
        "logging.googleapis.com/trace_sampled": trace.sampled,
    }
    if trace.span_id:
        fields["logging.googleapis.com/spanId"] = trace.span_id
    return fields

"""Where the events of a watch go: JSON lines, lines of text, now and then a line, or a picture on a terminal.

Each renderer has `render`, called with the events that have come since the last time, and `render_summary`, called with the
summary when the watch has run to its end. `LiveRenderer` is painted by a timer, so that it moves while nothing happens.
"""

import asyncio
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Protocol

import msgspec

from asyncflow import Abandoned, Event, Unreachable
from asyncflow.cli.formatting import change_line
from asyncflow.cli.output.live_view import Line, plain
from asyncflow.cli.output.streams import OutputStream

__all__ = ["ChangeRenderer", "JsonRenderer", "LiveRenderer", "ProgressRenderer", "Renderer", "SummaryRenderer"]

_FRAME = 0.2
_PROGRESS = 2.0


class Canvas(Protocol):
    """What a `LiveRenderer` paints on."""

    def paint(self, lines: Sequence[Line]) -> None:
        """Show *lines* instead of what was shown before."""

    def clear(self) -> None:
        """Take the picture away."""

    def print(self, lines: Sequence[Line]) -> None:
        """Write *lines*, to stay."""


class Renderer:
    """A feed that does nothing."""

    def start(self) -> None:
        """Begin; the event loop runs."""

    async def render(self, events: Sequence[Event]) -> None:
        """Show *events*, which are already counted."""

    async def render_summary(self, lines: Sequence[Line]) -> None:
        """Show the summary."""

    def close(self) -> None:
        """End, whatever has happened before."""


class JsonRenderer(Renderer):
    """Every event as a line of JSON, each by itself, as soon as it comes."""

    def __init__(self, outlet: OutputStream) -> None:
        self._outlet = outlet
        self._encoder = msgspec.json.Encoder()

    async def render(self, events: Sequence[Event]) -> None:
        """Write *events*."""
        await self._outlet.write(self._encoder.encode_lines(events))


class SummaryRenderer(Renderer):
    """Nothing but the summary."""

    def __init__(self, outlet: OutputStream) -> None:
        self._outlet = outlet

    async def render_summary(self, lines: Sequence[Line]) -> None:
        """Write the summary."""
        await self._outlet.write("".join(f"{plain(line)}\n" for line in lines))


class ChangeRenderer(SummaryRenderer):
    """A line for every event, with the time of day by *wall_clock*; *kind_of* tells a job's kind where the event does not."""

    def __init__(self, outlet: OutputStream, kind_of: Callable[[str], str], wall_clock: Callable[[], datetime]) -> None:
        super().__init__(outlet)
        self._kind_of = kind_of
        self._wall_clock = wall_clock

    async def render(self, events: Sequence[Event]) -> None:
        """Write a line for each of *events*."""
        time = f"{self._wall_clock():%H:%M:%S}"
        await self._outlet.write("".join(f"{time}  {change_line(event, self._kind(event))}\n" for event in events))

    async def render_summary(self, lines: Sequence[Line]) -> None:
        """Write the summary, apart from the lines."""
        await super().render_summary([[], *lines])

    def _kind(self, event: Event) -> str:
        return self._kind_of(event.job_id) if isinstance(event, Unreachable | Abandoned) else ""


class ProgressRenderer(SummaryRenderer):
    """A line of numbers every two seconds, made by *describe*."""

    def __init__(self, outlet: OutputStream, describe: Callable[[], str]) -> None:
        super().__init__(outlet)
        self._describe = describe
        self._next = 0.0

    def start(self) -> None:
        """Begin to count the seconds."""
        self._next = asyncio.get_running_loop().time() + _PROGRESS

    async def render(self, events: Sequence[Event]) -> None:  # noqa: ARG002 - the numbers count them
        """Write a line if it is time for one."""
        now = asyncio.get_running_loop().time()
        if now >= self._next:
            self._next = now + _PROGRESS
            await self._outlet.write(f"{self._describe()}\n")

    async def render_summary(self, lines: Sequence[Line]) -> None:
        """Write the last line and the summary."""
        await self._outlet.write(f"{self._describe()}\n\n")
        await super().render_summary(lines)


class LiveRenderer(Renderer):
    """A picture on a terminal, made by *picture* five times a second."""

    def __init__(self, screen: Canvas, picture: Callable[[], Sequence[Line]]) -> None:
        self._screen = screen
        self._picture = picture
        self._timer: asyncio.TimerHandle | None = None
        self._is_gone = False

    def start(self) -> None:
        """Paint from now on."""
        with suppress(AttributeError, NotImplementedError):  # Windows
            asyncio.get_running_loop().add_signal_handler(signal.SIGTSTP, self._suspend)
        self._paint()

    def _suspend(self) -> None:
        # The shell should find its screen and its cursor; the next picture is painted afresh.
        self._guarded(self._screen.clear)
        signal.raise_signal(signal.SIGSTOP)

    async def render_summary(self, lines: Sequence[Line]) -> None:
        """Put the summary in the picture's place."""
        self.close()
        if not self._is_gone:
            self._screen.print(lines)

    def close(self) -> None:
        """Take the picture away."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._guarded(self._screen.clear)

    def _paint(self) -> None:
        self._guarded(lambda: self._screen.paint(self._picture()))
        if not self._is_gone:
            self._timer = asyncio.get_running_loop().call_later(_FRAME, self._paint)

    def _guarded(self, draw: Callable[[], None]) -> None:
        try:
            draw()
        except OSError:
            # The terminal was closed; the watch is worth something without it.
            self._is_gone = True

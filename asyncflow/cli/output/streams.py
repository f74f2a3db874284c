"""Standard output and standard error, as coroutines write to them.

A pipe whose reader is slow holds up the one who writes, and nobody else: the event loop goes on. Small pieces are written, each
when the system says that there is room for it, so that neither a thread nor a change of the shared file's mode is needed.
"""

import asyncio
import os
import select
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import TextIO

from asyncflow.cli.exits import ExitCode, Interrupted

__all__ = ["OutputStream", "complain", "emit", "is_writable"]

_PIECE = getattr(select, "PIPE_BUF", 512)


def is_writable(descriptor: int) -> bool:
    """Return whether a small write to *descriptor* would not wait."""
    try:
        _, ready, _ = select.select([], [descriptor], [], 0)
    except (OSError, ValueError):
        return True  # the system cannot tell, as on Windows
    return bool(ready)


class OutputStream:
    """Writes text or bytes to *stream*, all of them, in order; None is a stream that was closed before we came.

    `Interrupted` when standard output takes nothing any more, or nothing at all. Standard error has words for people: where they
    cannot be written the command goes on without.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._is_for_people = stream is sys.stderr and sys.stdout is not None
        self._is_gone = False
        self._stream = stream
        self._descriptor: int | None = None
        if stream is None:
            self._fail("is closed")
            return
        with suppress(OSError, ValueError):  # somebody's buffer
            self._descriptor = stream.fileno()

    async def write(self, content: str | bytes) -> None:
        """Write *content*; the event loop goes on meanwhile."""
        for descriptor in self._pieces(content):
            await self._room(descriptor)

    def put(self, content: str | bytes) -> None:
        """Write *content* and wait until it has gone, where there is no event loop to be held up."""
        for descriptor in self._pieces(content):
            select.select([], [descriptor], [])

    def _pieces(self, content: str | bytes) -> Iterator[int]:
        """Write *content*; yield the descriptor when it has no room, to go on as soon as it has some."""
        if self._is_gone or self._stream is None:
            return
        encoded = content if isinstance(content, bytes) else content.encode(self._stream.encoding or "utf-8", "replace")
        if self._descriptor is None:
            self._stream.write(encoded.decode("utf-8", "replace"))
            return
        view = memoryview(encoded)
        while view and not self._is_gone:
            written = self._write(self._descriptor, view[:_PIECE]) if is_writable(self._descriptor) else 0
            if written:
                view = view[written:]
            else:
                yield self._descriptor

    def _write(self, descriptor: int, piece: memoryview) -> int:
        try:
            return os.write(descriptor, piece)
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            self._fail("was closed")
        except OSError as error:
            self._fail(f"cannot be written: {(error.strerror or 'no reason given').lower()}")
        return len(piece)

    def _fail(self, what: str) -> None:
        if not self._is_for_people:
            raise Interrupted(ExitCode.OUTPUT_CLOSED, f"standard output {what}")
        self._is_gone = True

    async def _room(self, descriptor: int) -> None:
        loop = asyncio.get_running_loop()
        room = asyncio.Event()
        loop.add_writer(descriptor, room.set)
        try:
            await room.wait()
        finally:
            loop.remove_writer(descriptor)


def emit(content: str | bytes) -> None:
    """Write *content* to standard output, for commands without an event loop; `Interrupted` as of an `OutputStream`."""
    OutputStream(sys.stdout).put(content)


def complain(text: str) -> None:
    """Write *text* to standard error, as the command's own words; a closed one is nobody's business."""
    try:
        sys.stderr.write(f"asyncflow: {text}\n")
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):
        pass

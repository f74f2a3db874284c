"""Standard output and standard error, as coroutines write to them.

A pipe whose reader is slow holds up the one who writes, and nobody else: the event loop goes on. Small pieces are written, each
when the system says that there is room for it, so that neither a thread nor a change of the shared file's mode is needed.
"""

import asyncio
import os
import select
import sys
from typing import TextIO

from asyncflow.cli.endings import Interrupted
from asyncflow.cli.exit_codes import ExitCode

__all__ = ["Outlet", "complain", "is_writable"]

_PIECE = getattr(select, "PIPE_BUF", 512)


def is_writable(descriptor: int) -> bool:
    """Return whether a small write to *descriptor* would not wait."""
    try:
        _, ready, _ = select.select([], [descriptor], [], 0)
    except (OSError, ValueError):
        return True  # the system cannot tell, as on Windows
    return bool(ready)


class Outlet:
    """Writes text or bytes to *stream*, all of them, in order. `Interrupted` when nobody reads any more."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._name = "standard error" if stream is sys.stderr else "standard output"
        try:
            self._descriptor: int | None = stream.fileno()
        except (OSError, ValueError):
            self._descriptor = None  # somebody's buffer

    async def write(self, content: str | bytes) -> None:
        """Write *content*; the event loop goes on meanwhile."""
        encoded = content if isinstance(content, bytes) else content.encode(self._stream.encoding or "utf-8", "replace")
        if self._descriptor is None:
            self._stream.write(encoded.decode("utf-8", "replace"))
            return
        view = memoryview(encoded)
        while view:
            if is_writable(self._descriptor):
                view = view[self._write(self._descriptor, view[:_PIECE]) :]
            else:
                await self._room(self._descriptor)

    def _write(self, descriptor: int, piece: memoryview) -> int:
        try:
            return os.write(descriptor, piece)
        except BrokenPipeError as error:
            raise Interrupted(ExitCode.OUTPUT_CLOSED, f"{self._name} was closed") from error

    async def _room(self, descriptor: int) -> None:
        loop = asyncio.get_running_loop()
        room = asyncio.Event()
        loop.add_writer(descriptor, room.set)
        try:
            await room.wait()
        finally:
            loop.remove_writer(descriptor)


def complain(text: str) -> None:
    """Write *text* to standard error, as the command's own words; a closed one is nobody's business."""
    try:
        sys.stderr.write(f"asyncflow: {text}\n")
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):
        pass

"""A few lines at the bottom of a terminal that are repainted in place.

Only what has changed is written, in one piece, so that nothing flickers; the screen is never cleared: what stands above stays.
"""

import os
import sys
from collections.abc import Sequence
from typing import TextIO

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from asyncflow.cli.output.live_view import Line
from asyncflow.cli.output.streams import is_writable

__all__ = ["Screen"]

_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"  # a terminal that knows them shows all in between at once
_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"
_TO_END_OF_LINE, _TO_END_OF_SCREEN = "\x1b[K", "\x1b[J"
_ASCII = str.maketrans({"━": "#", "─": "-", "…": "."})


class Screen:
    """Paints on *stream*, a terminal; with *is_plain* without colours."""

    def __init__(self, stream: TextIO, *, is_plain: bool = False) -> None:
        self._stream = stream
        self._console = Console(file=stream, no_color=True if is_plain else None, highlight=False, markup=False, emoji=False)
        self._is_ascii = not (stream.encoding or "").lower().startswith("utf")
        self._styles: dict[str, tuple[str, str]] = {"": ("", "")}
        self._shown: list[Line] = []
        self._size = (0, 0)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        try:
            size = os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError):
            return 80, 24
        return (size.columns or 80), (size.lines or 24)

    def paint(self, lines: Sequence[Line]) -> None:
        """Show *lines* instead of what was shown before; a terminal that takes nothing at the moment keeps its picture."""
        if not is_writable(self._stream.fileno()):
            return
        size = self.size
        text = self._erase() if size != self._size else self._home()
        if size != self._size:
            self._shown = []
        # What is no longer there is blanked and keeps its place: nothing below the picture moves up and down.
        new = [*lines, *([] for _ in range(len(self._shown) - len(lines)))]
        for number, line in enumerate(new):
            known = number < len(self._shown)
            text += "\r\n" if number else ""
            if not known or line != self._shown[number]:
                text += f"{self._ansi(line, size[0])}{_TO_END_OF_LINE}"
        self._shown, self._size = new, size
        self._write(f"{_BEGIN}{_HIDE}{text}{_END}")

    def clear(self) -> None:
        """Take the picture away."""
        self._write(f"{self._erase()}{_SHOW}")
        self._shown = []

    def print(self, lines: Sequence[Line], *, is_whole: bool = False) -> None:
        """Write *lines*, to stay: cut off where the terminal ends or, with *is_whole*, folded by the terminal."""
        columns = sys.maxsize if is_whole else self.size[0]
        self._write("".join(f"{self._ansi(line, columns)}\n" for line in lines))

    def _home(self) -> str:
        """Return what moves the cursor to the first line of the picture."""
        return f"\r\x1b[{len(self._shown) - 1}A" if len(self._shown) > 1 else "\r"

    def _erase(self) -> str:
        """Return what takes the picture away, where it has been folded by a narrower terminal too."""
        columns = self.size[0]
        rows = sum(max(1, -(-sum(cell_len(text) for text, _ in line) // columns)) for line in self._shown)
        up = f"\x1b[{rows - 1}A" if rows > 1 else ""
        return f"\r{up}{_TO_END_OF_SCREEN}"

    def _ansi(self, line: Line, columns: int) -> str:
        """Return *line* as the terminal wants it, cut off where it is too long for it."""
        room = columns - 1
        text = ""
        for part, style in line:
            if room <= 0:
                break
            cells = cell_len(part)
            shown = part if cells <= room else f"{set_cell_size(part, room - 1)}…"
            before, after = self._codes(style)
            text += f"{before}{shown}{after}"
            room -= cells
        return text.translate(_ASCII) if self._is_ascii else text

    def _codes(self, style: str) -> tuple[str, str]:
        """Return what is written before and after a text in *style*; rich is asked once for each style."""
        if style not in self._styles:
            with self._console.capture() as capture:
                self._console.print(Text("x", style), end="")
            before, _, after = capture.get().partition("x")
            self._styles[style] = (before, after)
        return self._styles[style]

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()

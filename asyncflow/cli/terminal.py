"""What standard output and standard error are connected to."""

import os
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from asyncflow.cli.output.live_view import Line
    from asyncflow.cli.output.renderers import LiveRenderer
    from asyncflow.cli.output.screen import Screen

__all__ = ["is_live", "live_feed", "screen_on"]


def is_live(stream: TextIO | None) -> bool:
    """Return whether *stream* is a terminal on which a picture can be painted."""
    return stream is not None and stream.isatty() and os.environ.get("TERM", "") not in {"dumb", "unknown"}


def screen_on(stream: TextIO, *, no_color: bool) -> "Screen":
    """Return a screen on *stream*, a terminal. rich is loaded here and not before."""
    screen: Screen = import_module("asyncflow.cli.output.screen").Screen(stream, is_plain=no_color)
    return screen


def live_feed(stream: TextIO, picture: Callable[[tuple[int, int]], Sequence["Line"]], *, no_color: bool) -> "LiveRenderer":
    """Return a feed that paints what *picture* gives for a size on *stream*, a terminal."""
    screen = screen_on(stream, no_color=no_color)
    feed: LiveRenderer = import_module("asyncflow.cli.output.renderers").LiveRenderer(screen, lambda: picture(screen.size))
    return feed

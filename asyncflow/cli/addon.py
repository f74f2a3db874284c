"""What runs beside a watch while it lasts, and the options that ask for it.

A companion sees every event, may keep an ending from being acknowledged until it has done its part, adds lines to picture and
summary, and may worsen the exit code. The options stand in a module of their own; `COMPANIONS` in `watch` names it.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from asyncflow.cli.exits import ExitCode

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Collection, Mapping, Sequence

    from asyncflow import Event
    from asyncflow.cli.output.live_view import Line
    from asyncflow.cli.watch_runner import WatchRunner

__all__ = ["Addon", "AddonOptions", "refuse_without"]


class Addon:
    """A companion that does nothing; override what yours does."""

    def run(self, runner: WatchRunner) -> AbstractAsyncContextManager[object]:
        """Return what is entered before the first read, and left, however the watch ends, after the summary is written.

        *runner* has the client, the tally and the watcher; what has to be closed is closed on the way out. `Ending` ends the
        command.
        """
        del runner
        return nullcontext()

    @property
    def job_ids(self) -> AsyncIterable[str] | None:
        """More ids to watch, which may come while the watch goes on; asked once, when `beside` has been entered."""
        return None

    async def on_events(self, events: Sequence[Event]) -> None:
        """Take *events*, which are counted and shown already.

        They are acknowledged when this returns, except those passed to `WatchRunner.defer_ack`, which `WatchRunner.ack`
        acknowledges. The next events are handed out when this returns, so hold the events that take long to handle.
        """

    async def drain(self) -> None:
        """Finish what was begun: all jobs have ended, and endings can still be released. Not called if the watch is cut short."""

    def live_lines(self) -> list[Line]:
        """Return a line or two for the live picture; asked several times a second."""
        return []

    def summary_lines(self) -> list[Line]:
        """Return what the summary says of it."""
        return []

    @property
    def exit_code(self) -> ExitCode:
        """The exit code by what it has met itself; of it and the watch's own, the graver one counts."""
        return ExitCode.SUCCEEDED


@dataclass(frozen=True, slots=True)
class AddonOptions:
    """The options of a companion, and *make*, which returns it if their values ask for one; it is given those of all options."""

    options: Sequence[Callable[[Any], Any]]
    make: Callable[[Mapping[str, Any]], Addon | None]


def refuse_without(option: str, names: Collection[str]) -> None:
    """Raise `click.UsageError` if the command line has a parameter of *names*, which say something to *option* alone.

    In the environment and in a file of settings they are defaults, and wait for their use.
    """
    context = click.get_current_context(silent=True)
    if context is None:
        return
    for parameter in context.command.params:
        name = parameter.name or ""
        if name in names and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{parameter.opts[0]} is about {option}: give that too", context)

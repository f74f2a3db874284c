"""`--web`: a page that shows the watch, served beside it while it lasts."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

import asyncflow
from asyncflow.cli.addon import Addon, AddonOptions, refuse_without
from asyncflow.cli.commands.simulate import is_loopback
from asyncflow.cli.exits import CommandExit, ExitCode
from asyncflow.cli.formatting import one_line
from asyncflow.cli.output.streams import complain

if TYPE_CHECKING:
    from asyncflow import Dashboard, Event, Job
    from asyncflow.cli.output.live_view import Line
    from asyncflow.cli.watch_runner import WatchRunner

__all__ = ["WEB", "Address", "DashboardAddon", "as_web_address", "guarded", "page_at", "with_web_options"]

F = TypeVar("F", bound=Callable[..., Any])
Address = tuple[str, int]

_TOKEN = "ASYNCFLOW_WEB_TOKEN"  # noqa: S105 - the name of a variable
_ANY_PORT = "127.0.0.1:0"
_FOLDER = "downloads"


def as_web_address(_: click.Context, __: click.Parameter, value: str | None) -> Address | None:
    """Return the host and the port that *value* names."""
    if value is None:
        return None
    host, _colon, port = value.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdecimal() or int(port) > 65535:
        # It may be an id that was taken for an address.
        raise click.BadParameter(f"{one_line(value, 60)} is no HOST:PORT; write --web=127.0.0.1:8080, or --web after the ids")
    return host, int(port)


def page_at(make: Callable[..., Dashboard], address: Address, *, is_acting: bool, title: str) -> Dashboard:
    """Return the dashboard that *make* makes, for the page at *address* with the token of the environment."""
    try:
        return make(
            title=title,
            token=os.environ.get(_TOKEN) or None,
            hosts=[address[0]],
            actions=is_acting,
            folder=_FOLDER,
        )
    except asyncflow.UsageError as error:
        raise CommandExit(f"{_TOKEN}: {one_line(error.message)}", ExitCode.USAGE) from error


@asynccontextmanager
async def guarded(dashboard: Dashboard, address: Address) -> AsyncGenerator[str]:
    """Serve *dashboard* while the block lasts, and give its link; `CommandExit` if that cannot be."""
    host, port = address
    async with AsyncExitStack() as stack:
        try:
            link = await stack.enter_async_context(dashboard.serve(host, port))
        except OSError as error:
            reason = (error.strerror or "cannot listen").rpartition("] ")[2].lower()
            raise CommandExit(f"cannot listen at {one_line(host)} port {port}: {reason}", ExitCode.USAGE) from error
        if not is_loopback(host):
            complain("the page can be reached from other machines, and is sent unencrypted: whoever reads along gets its key")
        yield link


class SessionSource:
    """A session, as a dashboard asks for it."""

    def __init__(self, runner: WatchRunner) -> None:
        self._runner = runner
        self.is_over: bool = False
        self.take: Callable[..., None] = _forget

    def begin(self, take: Callable[[Event], None]) -> None:
        """Tell *take* what comes."""
        self.take = take

    def numbers(self) -> dict[str, Any]:
        """Return how many jobs are open, and when they will probably have ended."""
        tally, stats = self._runner.tally, self._runner.stats()
        end = None if stats is None else stats.expected_end_at
        watched = len(tally.running) + len(tally.unread)
        return {"watched": watched, "expected_end": None if end is None else round(end.timestamp())}

    def nudge(self, job_id: str) -> bool:
        """Ask about a job soon."""
        return self._runner.nudge(job_id)

    def is_silent(self, job_id: str) -> bool:
        """Return whether the last read of a job failed."""
        return job_id in self._runner.tally.silent

    async def refresh(self, model: object) -> None:
        """Do nothing: what is new is told."""

    async def find(self, job_id: str) -> Job | None:
        """Return None: records are not kept."""
        del job_id
        return None


class DashboardAddon(Addon):
    """The page, at *address*; it stays after the end until Ctrl-C if it *stays*."""

    def __init__(self, address: Address, *, is_acting: bool, stays: bool) -> None:
        self._address = address
        self._is_acting = is_acting
        self._stays = stays
        self._source: SessionSource | None = None
        self._link = ""

    @asynccontextmanager
    async def run(self, runner: WatchRunner) -> AsyncGenerator[None]:
        """Serve the page while the block lasts."""
        self._source = source = SessionSource(runner)
        name, what = runner.title

        def make(**options: Any) -> Dashboard:  # noqa: ANN401 - those of Dashboard
            return asyncflow.Dashboard(source, runner.client, **options)

        dashboard = page_at(make, self._address, is_acting=self._is_acting, title=what or name)
        if runner.journal is not None:
            await dashboard.recall(runner.journal)
        async with guarded(dashboard, self._address) as self._link:
            complain(f"the page is at {self._link}")
            yield
            if self._stays:
                await _interrupted()

    async def on_events(self, events: Sequence[Event]) -> None:
        """Show what has happened."""
        if self._source is not None:
            self._source.take(*events)

    async def drain(self) -> None:
        """Tell the page that nothing more comes."""
        if self._source is not None:
            self._source.is_over = True
            self._source.take()

    def live_lines(self) -> list[Line]:
        """Return where the page is."""
        return [[(self._link, "dim")]] if self._link else []


async def _interrupted() -> None:
    """Wait for Ctrl-C, which then ends nothing but the wait."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    complain("the page stays; Ctrl-C ends it")
    try:
        loop.add_signal_handler(signal.SIGINT, done.set)
    except NotImplementedError:  # Windows: there it ends the command
        await done.wait()
        return
    try:
        await done.wait()
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def _forget(*_: object) -> None:
    """Nobody listens yet."""


def _make(flags: Mapping[str, Any]) -> DashboardAddon | None:
    if flags["web"] is None:
        refuse_without("--web", ("allow_actions", "web_stay"))
        return None
    return DashboardAddon(flags["web"], is_acting=flags["allow_actions"], stays=flags["web_stay"])


_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--web",
        is_flag=False,
        flag_value=_ANY_PORT,
        callback=as_web_address,
        metavar="[HOST:PORT]",
        help="Show the watch on a page; a free port of this machine unless told.",
    ),
    click.option("--web-stay", is_flag=True, help="Keep the page after the end, until Ctrl-C."),
    click.option("--allow-actions", is_flag=True, help="Let the page cancel songs and save files to ./downloads."),
)
WEB = AddonOptions(_OPTIONS, _make)


def with_web_options(command: F) -> F:
    """Add the options of the page."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command

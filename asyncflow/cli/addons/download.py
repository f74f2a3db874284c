"""Files beside a watch (`--download DIR`), and what every download on the command line shares: options, counts, words."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import click

import asyncflow
from asyncflow import Ended, UsageError
from asyncflow.cli.addon import Addon, AddonOptions, refuse_without
from asyncflow.cli.exits import ExitCode
from asyncflow.cli.formatting import count, one_line, parse_size, problem_text, size
from asyncflow.cli.output.progress import RateMeter
from asyncflow.redaction import digest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

    from asyncflow import Downloader, Event, JobFiles, MediaFile
    from asyncflow.cli.output.live_view import Line
    from asyncflow.cli.watch_runner import WatchRunner

__all__ = ["DOWNLOADING", "DownloadAddon", "FileTally", "download_options", "file_lines", "options_of"]

F = TypeVar("F", bound="Callable[..., Any]")

_STYLES = {"fetched": "green", "present": "dim", "missing": "yellow", "failed": "red"}
_MOST_REASONS = 5
_PATIENCE = 0.5
_PASSING = frozenset({"not_media", "wrong_answer"})
"""Nothing that helps at once, but a host that sends a page instead of a file today may send the file tomorrow."""
_MOST_WAITING = 1000
"""So many ended jobs may wait for their files before the watch is held up: their records are in memory."""


def _as_size(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    try:
        return None if value is None else parse_size(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r}: {error}") from error


def _as_template(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        try:
            asyncflow.Downloader(".", template=value)  # it opens nothing before it is entered
        except UsageError as error:
            raise click.BadParameter(error.message) from error
    return value


def _as_folder(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None and Path(value).exists() and not Path(value).is_dir():
        raise click.BadParameter(f"{one_line(value, 60)}: it is no folder")
    return value


_OPTIONS = (
    click.option(
        "--name",
        "template",
        callback=_as_template,
        metavar="TEMPLATE",
        help="Name files so, such as {kind}-{digest}-{index}.{ext}.",
    ),
    click.option("--sidecar", is_flag=True, help="Write a JSON file for each job beside its files."),
    click.option("--download-rate", callback=_as_size, metavar="SIZE", help="At most so many bytes a second, such as 5MB."),
    click.option(
        "--downloads", type=click.IntRange(1, 64), default=4, show_default=True, metavar="N", help="Files fetched at a time."
    ),
)


def download_options(command: F) -> F:
    """Add the options that every download has."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def options_of(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of `client.downloader` that *flags* stand for."""
    named = {} if flags["template"] is None else {"template": flags["template"]}
    return {"sidecar": flags["sidecar"], "rate": flags["download_rate"], "concurrency": flags["downloads"]} | named


class FileTally:
    """Counts what became of jobs and files."""

    def __init__(self) -> None:
        self.jobs: int = 0
        self.states: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.size_bytes: int = 0
        self.troubled_jobs: int = 0

    def add(self, done: JobFiles) -> None:
        """Count *done*."""
        self.jobs += 1
        self.troubled_jobs += done.error is not None
        for file in done.files:
            self.states[file.state] += 1
            self.size_bytes += file.size_bytes if file.state == "fetched" else 0
        self.reasons.update(problem_text(problem) for problem in done.problems)

    @property
    def code(self) -> ExitCode:
        """The exit code by what became of the files alone."""
        if self.states["failed"] or self.troubled_jobs:
            return ExitCode.LOST
        return ExitCode.BAD_OUTCOME if self.states["missing"] else ExitCode.SUCCEEDED

    def line(self) -> Line:
        """Return the numbers in one line."""
        line: Line = []
        for state, style in _STYLES.items():
            if self.states[state] or state == "fetched":
                line += [("   " if line else "", ""), (f"{self.states[state]:,} {state}", style if self.states[state] else "dim")]
        if self.troubled_jobs:
            line.append((f"   {count(self.troubled_jobs, 'job')} without files", "red"))
        return line

    def why(self) -> list[Line]:
        """Return why files failed, the most frequent reason first."""
        ranked = self.reasons.most_common()
        lines: list[Line] = [[(f"{number:,} x ", "dim"), (reason, "")] for reason, number in ranked[:_MOST_REASONS]]
        if len(ranked) > _MOST_REASONS:
            lines.append([(f"and {count(len(ranked) - _MOST_REASONS, 'other reason')}", "dim")])
        return lines


def file_lines(done: JobFiles, *, only_failed: bool = False) -> list[Line]:
    """Return a line for each file of a job, or for those that failed, and one for what keeps it from having any."""
    name = digest(done.job_id)
    lines = [_file_line(name, file) for file in done.files if not only_failed or file.error is not None]
    if done.error is not None:
        lines.append([(f"{name}    {'':<6}  ", ""), ("failed ", "red"), (f"  {problem_text(done.error)}", "")])
    return lines


def _file_line(name: str, file: MediaFile) -> Line:
    if file.path is not None:
        what = f"{one_line(Path(file.path).name)}  {size(file.size_bytes)}"
    else:
        what = problem_text(file.error) if file.error is not None else one_line(", ".join(file.reasons)) or "no reason given"
    return [
        (f"{name}-{file.index}  {one_line(file.kind, 6):<6}  ", ""),
        (f"{file.state:<7}", _STYLES[file.state]),
        (f"  {what}", ""),
    ]


class DownloadAddon(Addon):
    """Fetches the files of each job that ends into *folder*; an ending is acknowledged when its files are there."""

    def __init__(self, folder: str, options: Mapping[str, Any]) -> None:
        self._folder = folder
        self._options = options
        self._tally = FileTally()
        self._held: dict[str, Event] = {}
        self._speed = RateMeter()
        self._room = asyncio.Event()
        self._runner: WatchRunner
        self._downloader: Downloader

    @asynccontextmanager
    async def run(self, runner: WatchRunner) -> AsyncGenerator[None]:
        """Fetch while the block lasts; what is unfinished then is gone on with another time."""
        self._runner = runner
        self._speed.start(asyncio.get_running_loop().time())
        self._downloader = runner.client.downloader(self._folder, keep_open=True, on_done=self._done, **self._options)
        async with self._downloader:
            yield

    async def on_events(self, events: Sequence[Event]) -> None:
        """Begin with the files of what has ended; raises what has ended the downloads: the folder takes no more, say."""
        for event in events:
            if isinstance(event, Ended) and event.job.media and event.job.job_id not in self._held:
                self._runner.defer_ack(event)
                self._held[event.job.job_id] = event
                self._downloader.add(event.job)
        while len(self._downloader) > _MOST_WAITING and self._downloader.failure is None:
            self._room.clear()
            # The downloader may end without another word.
            with anyio.move_on_after(_PATIENCE):
                await self._room.wait()
        if self._downloader.failure is not None:
            raise self._downloader.failure

    async def drain(self) -> None:
        """Wait for the files that are under way."""
        self._downloader.finish()
        async for _ in self._downloader:
            pass

    def live_lines(self) -> list[Line]:
        """Return how far the files are."""
        stats = self._downloader.stats()
        speed = self._speed.note(asyncio.get_running_loop().time(), stats.received_bytes)
        line: Line = [("  files: ", "dim"), *self._tally.line()]
        if stats.jobs_waiting:
            line.append((f"   {stats.active} under way, {count(stats.jobs_waiting, 'job')} to do, {size(speed)}/s", "dim"))
        return [line]

    def summary_lines(self) -> list[Line]:
        """Return what became of the files."""
        head: Line = [("files: ", ""), *self._tally.line(), (f"   {size(self._tally.size_bytes)}", "dim")]
        return [head, *self._tally.why()]

    @property
    def exit_code(self) -> ExitCode:
        """A file that could not be had is graver than one that the job never had: the watch tells of those."""
        return ExitCode.LOST if self._tally.code is ExitCode.LOST else ExitCode.SUCCEEDED

    def _done(self, done: JobFiles) -> None:
        self._tally.add(done)
        self._room.set()
        event = self._held.pop(done.job_id, None)
        # What another try may get is left for the next watch on the same journal.
        if event is not None and not any(problem.transient or problem.reason in _PASSING for problem in done.problems):
            self._runner.ack(event)


def _make(flags: Mapping[str, Any]) -> DownloadAddon | None:
    if flags["download"] is None:
        refuse_without("--download", ("template", "sidecar", "download_rate", "downloads"))
        return None
    return DownloadAddon(flags["download"], options_of(flags))


DOWNLOADING = AddonOptions(
    (
        click.option("--download", callback=_as_folder, metavar="DIR", help="Fetch the files of each job that ends into DIR."),
        *_OPTIONS,
    ),
    _make,
)

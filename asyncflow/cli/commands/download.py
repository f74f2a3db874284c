"""`asyncflow download`: the files of jobs that have ended."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import click
import msgspec

from asyncflow import Ended, ErrorInfo, Journal
from asyncflow.cli.addons.download import FileTally, download_options, file_lines, options_of
from asyncflow.cli.client import open_client
from asyncflow.cli.exits import Interrupted
from asyncflow.cli.formatting import clock, count, one_line, size, span
from asyncflow.cli.input.ids import collect_ids
from asyncflow.cli.input.options import color_option, files_option, json_option, quiet_option
from asyncflow.cli.output.live_view import Line, plain
from asyncflow.cli.output.progress import RateMeter
from asyncflow.cli.output.streams import OutputStream
from asyncflow.cli.terminal import is_live, live_feed
from asyncflow.cli.watch_runner import run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncflow import AsyncClient, Downloader, Job, JobFiles
    from asyncflow.cli.exits import ExitCode
    from asyncflow.cli.output.renderers import LiveRenderer

__all__ = ["FileLine", "download"]


class FileLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of `--json`: one file, or with the index 0 a job that has none to speak of."""

    job_id: str
    index: int
    kind: str
    state: str
    path: str | None = None
    size_bytes: int = 0
    error: ErrorInfo | None = None
    reasons: tuple[str, ...] = ()


@click.command(
    epilog="""\b
Examples:
  asyncflow download "$JOB_ID" --into out
  asyncflow download --file ids.txt --into out --sidecar
  asyncflow download --journal run.db --into out --download-rate 5MB
  asyncflow download -f - --into out --name "{kind}-{digest}-{index}.{ext}"

\b
Run it again, and only what is missing is fetched; what broke off goes on
where it was. No file that is there is overwritten. Fields of --name:
service kind model created digest index ext; see docs/download.md.

\b
The exit code is 0 when all files are there, 1 when a job lacks some, 5
when one could not be had, 2 when the folder takes none.

\b
Environment: USEAPI_TOKEN, USEAPI_BASE_URL, NO_COLOR
""",
)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@files_option
@click.option("--journal", metavar="JOURNAL", help="Take the jobs that have ended from the journal of a watch.")
@click.option("--into", "folder", metavar="DIR", required=True, help="Where the files go; made if it is missing.")
@download_options
@quiet_option
@json_option("Print a line of JSON for each file; words go to stderr.")
@color_option
def download(
    *,
    ids: Sequence[str],
    files: Sequence[str],
    journal: str | None,
    folder: str,
    quiet: bool,
    as_json: bool,
    no_color: bool,
    **flags: Any,  # noqa: ANN401 - those of `download_options`
) -> int:
    """Fetch all files of jobs into a folder.

    IDs are arguments, lines of a file, or both; the jobs have ended.
    """
    jobs: list[Job | str] = list(_ended_in(journal)) if journal is not None else []
    if ids or files or journal is None:
        known = {job.job_id for job in jobs if not isinstance(job, str)}
        jobs += [job_id for job_id in collect_ids(ids, files) if job_id not in known]
    view = _View(len(jobs), folder, is_json=as_json, is_quiet=quiet, no_color=no_color)

    async def main() -> ExitCode:
        async with open_client() as client:
            await _fetch(client, jobs, folder, options_of(flags), view)
        return view.tally.code

    try:
        return run(main)
    except Interrupted as interrupted:
        left = len(jobs) - view.tally.jobs
        text = f"{interrupted.text}; {left:,} of {count(len(jobs), 'job')} not done: the same command goes on"
        raise Interrupted(interrupted.code, text) from None


async def _fetch(client: AsyncClient, jobs: Sequence[Job | str], folder: str, options: dict[str, Any], view: _View) -> None:
    async with client.downloader(folder, **options) as downloader:
        downloader.add(*jobs)
        view.start(downloader)
        try:
            async for done in downloader:
                await view.take(done)
            await view.finish()
        finally:
            view.close()


def _ended_in(journal: str) -> list[Job]:
    return [entry.event.job for entry in Journal(journal).entries() if isinstance(entry.event, Ended)]


class _View:
    """What is seen of a download of *jobs* jobs: lines, a picture on a terminal, or JSON."""

    def __init__(self, jobs: int, folder: str, *, is_json: bool, is_quiet: bool, no_color: bool) -> None:
        self.tally = FileTally()
        self._jobs = jobs
        self._folder = one_line(folder, 40)
        self._is_quiet = is_quiet
        self._json = OutputStream(sys.stdout) if is_json else None
        self._words = OutputStream(sys.stderr if is_json or is_quiet else sys.stdout)
        self._live: LiveRenderer | None = None
        stream = sys.stderr if is_json else sys.stdout
        # A picture between JSON lines on one terminal would be neither.
        if not is_quiet and is_live(stream) and not (is_json and sys.stdout.isatty()):
            self._live = live_feed(stream, self._picture, no_color=no_color)
        self._downloader: Downloader
        self._speed = RateMeter()
        self._started = 0.0

    def start(self, downloader: Downloader) -> None:
        self._downloader = downloader
        self._started = asyncio.get_running_loop().time()
        self._speed.start(self._started)
        if self._live is not None:
            self._live.start()

    async def take(self, done: JobFiles) -> None:
        self.tally.add(done)
        if self._json is not None:
            await self._json.write(b"".join(msgspec.json.encode(line) + b"\n" for line in _json_lines(done)))
        elif self._live is None:
            await self._words.write("".join(f"{plain(each)}\n" for each in file_lines(done, only_failed=self._is_quiet)))

    async def finish(self) -> None:
        lines = self._summary()
        if self._live is not None:
            await self._live.render_summary(lines)
        elif not self._is_quiet:
            await self._words.write(("" if self._json else "\n") + "".join(f"{plain(line)}\n" for line in lines))

    def close(self) -> None:
        if self._live is not None:
            self._live.close()

    def _elapsed(self) -> float:
        return asyncio.get_running_loop().time() - self._started

    def _summary(self) -> list[Line]:
        elapsed, fetched = self._elapsed(), self.tally.size_bytes
        head = f"{count(self.tally.states.total(), 'file')} of {count(self.tally.jobs, 'job')} in {span(elapsed)}: "
        speed = f"   {size(fetched)}, {size(fetched / max(elapsed, 0.001))}/s" if fetched else ""
        return [[(head, "bold"), *self.tally.line(), (speed, "dim")], *self.tally.why()]

    def _picture(self, screen: tuple[int, int]) -> list[Line]:
        columns, _ = screen
        stats = self._downloader.stats()
        speed = self._speed.note(asyncio.get_running_loop().time(), stats.received_bytes)
        label = f"{self.tally.jobs:,} of {count(self._jobs, 'job')}"
        cells = max(min(columns, 100) - len(label) - 6, 5)
        filled = cells * self.tally.jobs // max(self._jobs, 1)
        margin: Line = [("  ", "")]
        return [
            [("  ", ""), ("asyncflow download", "bold"), (f"  into {self._folder}  {clock(self._elapsed())}", "dim")],
            [("  ", ""), ("━" * filled, "green"), ("─" * (cells - filled), "dim"), (f"  {label}", "bold")],
            [("  ", ""), *self.tally.line()],
            [(f"  {stats.active} under way, {size(stats.received_bytes)}, {size(speed)}/s{_retries(stats.retries)}", "dim")],
            *([*margin, *reason] for reason in self.tally.why()),
        ]


def _retries(number: int) -> str:
    return f", asked again {number:,} x" if number else ""


def _json_lines(done: JobFiles) -> list[FileLine]:
    lines = [
        FileLine(done.job_id, file.index, file.kind, file.state, file.path, file.size_bytes, file.error, file.reasons)
        for file in done.files
    ]
    return lines if done.error is None else [*lines, FileLine(done.job_id, 0, "", "failed", error=done.error)]

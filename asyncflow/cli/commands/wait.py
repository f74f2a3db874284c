"""`asyncflow wait`: return when jobs have got somewhere, for scripts."""

import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import click

from asyncflow import Abandoned, Changed, Ended, Event, Outcome, PollPolicy, fixed_interval
from asyncflow.cli.addon import Addon
from asyncflow.cli.client import host, open_client
from asyncflow.cli.exits import CommandExit, ExitCode, Interrupted
from asyncflow.cli.formatting import change_line, count
from asyncflow.cli.input.ids import collect_ids
from asyncflow.cli.input.options import as_duration, files_option, json_option, quiet_option
from asyncflow.cli.output.progress import WatchProgress
from asyncflow.cli.output.renderers import ChangeRenderer, JsonRenderer, Renderer
from asyncflow.cli.output.streams import OutputStream
from asyncflow.cli.watch_runner import Times, WatchRunner, run, what_runs

__all__ = ["wait"]

_WAITING = frozenset({"", "created", "pending"})


@click.command(
    epilog="""\b
Examples:
  asyncflow wait "$JOB_ID" --timeout 30m && echo "it is there"
  asyncflow wait -f ids.txt --until started --quiet
  asyncflow wait -f ids.txt --fail-fast --json > ended.jsonl

\b
A line a job, as soon as it has got there; nothing else, and no summary.
Flow Music does not say when it begins a song: there, started is the end.
The exit code is that of asyncflow watch. A timeout ends the waiting, and
not the jobs.

\b
Environment: USEAPI_TOKEN, USEAPI_BASE_URL
""",
)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@files_option
@click.option(
    "--until",
    type=click.Choice(["terminal", "started"]),
    default="terminal",
    show_default=True,
    help="What to wait for: the end of each job, or its beginning.",
)
@click.option("--timeout", callback=as_duration, metavar="TIME", help="Stop after this long, such as 90s, 30m, 2h.")
@click.option("--interval", callback=as_duration, metavar="TIME", help="Ask this often, instead of learning when.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first job that fails, lacks files or is given up.")
@json_option("Print each event that was waited for as a line of JSON.")
@quiet_option
def wait(
    *,
    ids: Sequence[str],
    files: Sequence[str],
    until: str,
    timeout: float | None,
    interval: float | None,
    fail_fast: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Wait until each job has ended, or has begun.

    IDs are arguments, lines of a file, or both.
    """
    job_ids = collect_ids(ids, files)
    tally = WatchProgress(job_ids)
    policy = PollPolicy() if interval is None else fixed_interval(interval)

    async def main() -> ExitCode:
        async with open_client(policy=policy) as client:
            runner = WatchRunner(client, tally, policy, ("asyncflow wait", f"{count(len(job_ids), 'job')} at {host()}"))
            outlet = OutputStream(sys.stdout)
            inner: Renderer = JsonRenderer(outlet) if as_json else ChangeRenderer(outlet, runner.kind_of, datetime.now)
            runner.feeds = [] if quiet else [UntilRenderer(inner, until)]
            runner.addons = [UntilAddon(until, is_hasty=fail_fast)]
            await runner.follow(job_ids, Times(watch=timeout), concurrency=100)
        return runner.code

    try:
        return run(main)
    except Interrupted as interrupted:
        raise Interrupted(interrupted.code, f"{interrupted.text}; {what_runs(tally)}") from None


class UntilRenderer(Renderer):
    """Shows through *inner* only what is waited for, and no summary."""

    def __init__(self, inner: Renderer, until: str) -> None:
        self._inner = inner
        self._until = until
        self._shown: set[str] = set()

    async def render(self, events: Sequence[Event]) -> None:
        """Show those of *events* that were waited for; a job that has begun may end in the same breath."""
        arrived = [event for event in events if has_arrived(event, self._until) and event.key[0] not in self._shown]
        first = {event.key[0]: event for event in reversed(arrived)}
        self._shown.update(first)
        await self._inner.render([event for event in arrived if first[event.key[0]] is event])


class UntilAddon(Addon):
    """Lets jobs go that have got as far as *until*; with *is_hasty* the first bad end is the end of all."""

    def __init__(self, until: str, *, is_hasty: bool) -> None:
        self._until = until
        self._is_hasty = is_hasty
        self._runner: WatchRunner

    @asynccontextmanager
    async def run(self, runner: WatchRunner) -> AsyncGenerator[None]:
        """Note the session."""
        self._runner = runner
        yield

    async def on_events(self, events: Sequence[Event]) -> None:
        """Let go of the jobs that have begun, and end at a bad end."""
        for event in events:
            if isinstance(event, Changed) and has_arrived(event, self._until):
                self._runner.discard(event.job.job_id)
            elif self._is_hasty and is_bad(event):
                raise CommandExit(f"{' '.join(change_line(event).split())}; {what_runs(self._runner.tally)}", self._runner.code)


def has_arrived(event: Event, until: str) -> bool:
    """Return whether *event* is what is waited for."""
    if isinstance(event, Changed):
        return until == "started" and event.job.status.lower() not in _WAITING
    return isinstance(event, Ended | Abandoned)


def is_bad(event: Event) -> bool:
    """Return whether a job came to a bad end, as far as anybody knows."""
    return isinstance(event, Abandoned) or (isinstance(event, Ended) and event.job.outcome is not Outcome.SUCCEEDED)

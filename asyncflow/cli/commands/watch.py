"""`asyncflow watch`: follow jobs until each has ended."""

import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NotRequired, TypedDict, TypeVar, Unpack

import click

from asyncflow import PollPolicy, fixed_interval, webhook_fallback
from asyncflow.cli.addon import Addon, AddonOptions
from asyncflow.cli.addons.dashboard import WEB
from asyncflow.cli.addons.download import DOWNLOADING
from asyncflow.cli.addons.store import STORING
from asyncflow.cli.addons.webhook import LISTENING, Address
from asyncflow.cli.client import host, open_client
from asyncflow.cli.exits import ExitCode, Interrupted
from asyncflow.cli.formatting import count
from asyncflow.cli.input.ids import collect_ids
from asyncflow.cli.input.options import POSITIVE, as_duration, color_option, files_option, json_option, quiet_option
from asyncflow.cli.input.resume_state import ResumeState, kept_in
from asyncflow.cli.output.progress import WatchProgress
from asyncflow.cli.output.renderers import ChangeRenderer, JsonRenderer, Renderer, SummaryRenderer
from asyncflow.cli.output.streams import OutputStream
from asyncflow.cli.terminal import is_live, live_feed
from asyncflow.cli.watch_runner import Times, WatchRunner, run, what_runs

__all__ = ["COMPANIONS", "WatchFlags", "follow", "watch", "watch_options"]

F = TypeVar("F", bound=Callable[..., Any])

COMPANIONS: tuple[AddonOptions, ...] = (STORING, LISTENING, DOWNLOADING, WEB)
"""What may run beside a watch. Their options are read by themselves: `WatchFlags` names only those that `follow` reads."""


class WatchFlags(TypedDict):
    """The options that every watch has."""

    as_json: bool
    timeout: float | None
    job_timeout: float | None
    interval: float | None
    rate: float | None
    concurrency: int
    listen: Address | None
    quiet: NotRequired[bool]
    no_color: bool


def watch_options(command: F) -> F:
    """Add the options of `WatchFlags`."""
    options = (
        json_option("Print each event as a line of JSON; words go to stderr."),
        click.option("--timeout", callback=as_duration, metavar="TIME", help="Stop after this long, such as 90s, 30m, 2h."),
        click.option("--job-timeout", callback=as_duration, metavar="TIME", help="Give each job this long."),
        click.option(
            "--interval", callback=as_duration, metavar="TIME", help="Ask about each job this often, instead of learning when."
        ),
        click.option("--rate", type=POSITIVE, metavar="N", help="At most N requests a second."),
        click.option("--concurrency", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Requests at a time."),
        *(option for addon in COMPANIONS for option in addon.options),
        quiet_option,
        color_option,
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command(
    epilog="""\b
Examples:
  asyncflow watch --file ids.txt --timeout 30m
  asyncflow watch "$JOB_ID" --json > events.jsonl
  grep -v song ids.txt | asyncflow watch -f -
  asyncflow watch --journal run.db --file ids.txt
  asyncflow watch --store redis://localhost:6379/0 --file ids.txt

\b
A file holds one id a line; blank lines, # comments and doubles are passed
over. On a terminal you see the running jobs, elsewhere a line a change.
Jobs are shown by a digest of their ids, since ids hold e-mail addresses;
--json prints whole ids.

\b
Environment: USEAPI_TOKEN, USEAPI_BASE_URL, NO_COLOR, and for --listen
ASYNCFLOW_SECRET: the secret in the replyUrl, else a new one for each run.
""",
)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@files_option
@click.option(
    "--journal",
    type=click.Path(dir_okay=False),
    metavar="JOURNAL",
    help="Keep the watch in a file: asyncflow resume goes on with it.",
)
@click.option("--journal-optional", "is_optional", is_flag=True, help="Go on without the journal if it fails.")
@watch_options
def watch(
    *, ids: Sequence[str], files: Sequence[str], journal: str | None, is_optional: bool, **flags: Unpack[WatchFlags]
) -> int:
    """Follow jobs until each has ended.

    IDs are arguments, lines of a file, or both.
    """
    job_ids = collect_ids(ids, files)
    kept = None if journal is None else kept_in(journal, is_optional=is_optional, is_new=True)
    return follow(job_ids, kept, "asyncflow watch", flags)


def follow(
    job_ids: Sequence[str], kept: ResumeState | None, name: str, flags: WatchFlags, *, addons: Sequence[Addon] = ()
) -> int:
    """Watch *job_ids*, and what *kept* holds, to the end; return the exit code. *name* is the command's.

    Beside it run *addons*, and those that *flags* ask for.
    """
    all_ids = list(dict.fromkeys((*(kept.job_ids if kept is not None else ()), *job_ids)))
    tally = WatchProgress(all_ids)
    if kept is not None:
        kept.count_in(tally)
    learned = PollPolicy() if flags["listen"] is None else webhook_fallback(PollPolicy())
    policy = fixed_interval(flags["interval"]) if flags["interval"] is not None else learned
    asked_for = (made for addon in COMPANIONS if (made := addon.make(flags)) is not None)

    async def main() -> ExitCode:
        async with open_client(rate=flags["rate"], concurrency=flags["concurrency"], policy=policy) as client:
            runner = WatchRunner(client, tally, policy, (name, f"{count(len(all_ids), 'job')} at {host()}"))
            runner.feeds = feeds(runner, as_json=flags["as_json"], quiet=flags.get("quiet", False), no_color=flags["no_color"])
            runner.journal = None if kept is None else kept.journal
            runner.addons = [*addons, *asked_for]
            await runner.follow(job_ids, Times(flags["timeout"], flags["job_timeout"]), flags["concurrency"])
        return runner.code

    try:
        return run(main)
    except Interrupted as interrupted:
        goes_on = "" if kept is None else f"; asyncflow resume {kept.name} goes on"
        raise Interrupted(interrupted.code, f"{interrupted.text}; {what_runs(tally)}{goes_on}") from None
    finally:
        if kept is not None:
            kept.warn()


def feeds(runner: WatchRunner, *, as_json: bool, quiet: bool, no_color: bool) -> list[Renderer]:
    """Return where the events of *runner* go: JSON to standard output alone, words to where there is room for them."""
    if quiet:
        return [JsonRenderer(OutputStream(sys.stdout))] if as_json else []
    if not as_json:
        if is_live(sys.stdout):
            return [live_feed(sys.stdout, runner.picture, no_color=no_color)]
        return [ChangeRenderer(OutputStream(sys.stdout), runner.kind_of, datetime.now)]
    json = JsonRenderer(OutputStream(sys.stdout))
    # A picture between JSON lines on one terminal would be neither.
    if is_live(sys.stderr) and not sys.stdout.isatty():
        return [json, live_feed(sys.stderr, runner.picture, no_color=no_color)]
    return [json, SummaryRenderer(OutputStream(sys.stderr))]

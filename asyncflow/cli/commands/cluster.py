"""`asyncflow cluster`: look at the watch list that workers share, and take care of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import click
import msgspec

from asyncflow.cli.addons.store import open_store, queue_option, store_option
from asyncflow.cli.exits import CommandExit, ExitCode
from asyncflow.cli.formatting import count, one_line
from asyncflow.cli.input.ids import collect_ids
from asyncflow.cli.input.options import files_option, json_option
from asyncflow.cli.output.streams import emit
from asyncflow.cli.watch_runner import run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from asyncflow.cluster import RedisStore, StoreStatus

__all__ = ["cluster", "status_lines"]

T = TypeVar("T")

_PATIENCE = 5.0


@click.group(
    epilog="""\b
Examples:
  asyncflow cluster status --store redis://localhost:6379/0
  asyncflow cluster drain --store redis://localhost:6379/0
  asyncflow cluster requeue --store redis://localhost:6379/0 --all

\b
Environment: ASYNCFLOW_STORE, ASYNCFLOW_QUEUE for --store, --queue.
""",
)
def cluster() -> None:
    """Look at the watch list that workers share, and take care of it."""


def _with_store(url: str, queue: str, use: Callable[[RedisStore], Awaitable[T]]) -> T:
    async def main() -> T:
        # Somebody looks on, and would rather hear soon that nobody answers.
        async with open_store(url, queue, patience=_PATIENCE) as store:
            return await use(store)

    return run(main)


@cluster.command(
    epilog="""\b
Examples:
  asyncflow cluster status --store redis://localhost:6379/0
  asyncflow cluster status --store redis://localhost:6379/0 --json
""",
)
@store_option
@queue_option
@json_option("Print the figures as a line of JSON.")
def status(*, url: str, queue: str, as_json: bool) -> None:
    """Show how the queue, its workers and its consumers are doing."""

    async def ask(store: RedisStore) -> tuple[StoreStatus, list[str]]:
        return await store.status(), await store.durability_warnings()

    found, worries = _with_store(url, queue, ask)
    if as_json:
        emit(msgspec.json.encode(found) + b"\n")
    else:
        emit("".join(f"{line}\n" for line in status_lines(found, worries)))


def status_lines(status: StoreStatus, worries: Sequence[str]) -> list[str]:
    """Return what is shown of a queue."""
    counts = status.counts
    budget = "no limit" if status.rate is None else f"{status.rate:g} polls a second"
    lines = [
        f"queue {one_line(status.queue)}, schema {status.schema}{'; draining: no claims are handed out' * status.is_draining}",
        f"  {status.watched:>9,}  watched: {status.leased:,} leased, {status.due:,} due for up to {status.lag:.1f} s",
        f"  {status.kept:>9,}  ended and kept, {status.events:,} events",
        f"  {counts.get('claimed', 0):>9,}  polls so far, {counts.get('ended', 0):,} jobs ended",
        f"  {counts.get('taken_over', 0):>9,}  taken over from workers, {counts.get('stale', 0):,} reports too late",
        f"  budget: {budget}; {counts.get('throttled', 0):,} answers 429"
        + f", paused for {status.pause:.0f} s" * bool(status.pause),
    ]
    lines += [
        f"  worker {one_line(worker.name)}: heard of {worker.silent:.1f} s ago, {one_line(worker.words)}"
        for worker in status.workers
    ]
    if not status.workers:
        lines.append("  no worker was heard of in the last ten minutes")
    for group in status.groups:
        behind = "" if group.lag is None else f", {group.lag:,} not delivered yet"
        lines.append(f"  group {one_line(group.name)}: {group.consumers:,} consumers, {group.pending:,} not acknowledged{behind}")
    return lines + [f"  note: {one_line(worry)}" for worry in worries]


@cluster.command(
    epilog="""\b
Examples:
  asyncflow cluster drain --store redis://localhost:6379/0
  asyncflow cluster drain --store redis://localhost:6379/0 --off
""",
)
@store_option
@queue_option
@click.option("--off", is_flag=True, help="Hand out claims again.")
def drain(*, url: str, queue: str, off: bool) -> None:
    """Hand out no more claims: workers report what they have, and wait.

    Ids can still be submitted, and events are delivered.
    """

    async def do(store: RedisStore) -> StoreStatus:
        await store.drain(draining=not off)
        return await store.status()

    found = _with_store(url, queue, do)
    words = "claims are handed out again" if off else f"no more claims; {found.leased:,} polls under way"
    emit(f"{words}\n")


@cluster.command(
    epilog="""\b
Examples:
  asyncflow cluster requeue --store redis://localhost:6379/0 --all
  asyncflow cluster requeue --store redis://localhost:6379/0 -f ids.txt
""",
)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@files_option
@store_option
@queue_option
@click.option("--all", "is_all", is_flag=True, help="All jobs that are watched.")
@click.option("--leased", "is_leased", is_flag=True, help="Also those in the hands of workers: only if those are dead.")
@click.option("--ended", "is_ended", is_flag=True, help="Also those that have ended: their endings are told once more.")
def requeue(
    *, ids: Sequence[str], files: Sequence[str], url: str, queue: str, is_all: bool, is_leased: bool, is_ended: bool
) -> None:
    """Have jobs polled now instead of when they are due."""
    if is_all == bool(ids or files) or (is_all and is_ended):
        raise click.UsageError("give ids, or --all for those that have not ended")
    job_ids = [] if is_all else collect_ids(ids, files)

    async def do(store: RedisStore) -> int:
        if is_all:
            return await store.nudge_all(break_leases=is_leased)
        found = await store.nudge(job_ids, break_leases=is_leased)
        if is_ended:
            states = (await store.submit(job_ids, again=True)).states
            found += sum(state == "new" for state in states.values())
        return found

    emit(f"{count(_with_store(url, queue, do), 'job')} due now\n")


@cluster.command(
    epilog="""\b
Examples:
  asyncflow cluster purge --store redis://localhost:6379/0 -f ids.txt
  asyncflow cluster purge --store redis://localhost:6379/0 --all --yes
""",
)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@files_option
@store_option
@queue_option
@click.option("--all", "is_all", is_flag=True, help="The whole queue: jobs, events, groups, budget.")
@click.option("--yes", "is_sure", is_flag=True, help="For --all: yes, really.")
def purge(*, ids: Sequence[str], files: Sequence[str], url: str, queue: str, is_all: bool, is_sure: bool) -> None:
    """Forget jobs, without an event; the jobs themselves go on.

    Events that are there already stay until their time is over.
    """
    if is_all == bool(ids or files):
        raise click.UsageError("give ids, or --all")
    if is_all and not is_sure:
        raise CommandExit("this forgets every job and every event of the queue: add --yes", ExitCode.USAGE)
    job_ids = [] if is_all else collect_ids(ids, files)

    async def do(store: RedisStore) -> int:
        if not is_all:
            return await store.discard(job_ids)
        found = await store.status()
        await store.purge()
        return found.watched + found.kept

    emit(f"{count(_with_store(url, queue, do), 'job')} forgotten\n")


@cluster.command(
    epilog="""\b
Examples:
  asyncflow cluster upgrade --store redis://localhost:6379/0
""",
)
@store_option
@queue_option
def upgrade(*, url: str, queue: str) -> None:
    """Let the queue's keys have the form of this version.

    Workers of an older version refuse them afterwards, so nothing is done
    while one of those runs. Newer workers work with the older form.
    """
    older = _with_store(url, queue, lambda store: store.upgrade())
    if older:
        raise CommandExit(f"older workers still run: {one_line(', '.join(older))}", ExitCode.USAGE)
    emit("the queue is up to date\n")

"""`asyncflow worker`: poll the jobs of a store, together with any number of other workers."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack, suppress
from datetime import datetime
from typing import TYPE_CHECKING

import click

from asyncflow import fixed_interval
from asyncflow.cli.addons.store import open_store, queue_option, store_option
from asyncflow.cli.addons.webhook import Address, as_address
from asyncflow.cli.client import host, open_client
from asyncflow.cli.exits import CommandExit, ExitCode
from asyncflow.cli.formatting import count, one_line
from asyncflow.cli.input.options import POSITIVE, as_duration
from asyncflow.cli.output.streams import complain
from asyncflow.cli.watch_runner import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncflow.cluster import StoreStatus, Worker, WorkerStats

__all__ = ["stats_line", "worker"]

STATUS_INTERVAL = 5.0
"""Seconds between two figures that a worker hands out."""


@click.command(
    epilog="""\b
Examples:
  asyncflow worker --store redis://localhost:6379/0
  asyncflow worker --store redis://localhost:6379/0 --rate 50 --stats
  ASYNCFLOW_STORE=rediss://:password@host:6380/0 asyncflow worker \\
    --health 0.0.0.0:8080

\b
SIGTERM or Ctrl-C drains: no new claims, the polls under way are reported,
the rest is given back. A second one stops at once.

\b
Environment: USEAPI_TOKEN, USEAPI_BASE_URL, and ASYNCFLOW_STORE,
ASYNCFLOW_QUEUE for --store, --queue: other users of the machine see the
password of a URL that stands on the command line.
""",
)
@store_option
@queue_option
@click.option("--concurrency", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Requests at a time.")
@click.option("--rate", type=POSITIVE, metavar="N", help="At most N polls a second of all workers together; it stays set.")
@click.option("--lease", callback=as_duration, default="30s", show_default=True, metavar="TIME", help="Longest poll.")
@click.option("--interval", callback=as_duration, metavar="TIME", help="Poll each job this often, instead of learning when.")
@click.option("--job-timeout", callback=as_duration, metavar="TIME", help="Give each job this long.")
@click.option("--name", metavar="NAME", help="What cluster status calls it; by default host, process and a number.")
@click.option("--health", callback=as_address, metavar="HOST:PORT", help="Answer /healthz, /readyz and /metrics there.")
@click.option("--stats", "shows_stats", is_flag=True, help="Print every five seconds how it goes.")
def worker(
    *,
    url: str,
    queue: str,
    concurrency: int,
    rate: float | None,
    lease: float,
    interval: float | None,
    job_timeout: float | None,
    name: str | None,
    health: Address | None,
    shows_stats: bool,
) -> int:
    """Poll the jobs of a store until drained.

    Start as many as you like, on any machine. Each job is polled by one of
    them at a time, and when one dies the others take its jobs over.
    """
    policy = None if interval is None else fixed_interval(interval)

    async def main() -> None:
        from asyncflow.cluster import Worker, serve_health  # noqa: PLC0415 - help and mistakes should cost nothing

        async with AsyncExitStack() as stack:
            store = await stack.enter_async_context(open_store(url, queue))
            client = await stack.enter_async_context(open_client(concurrency=concurrency))
            member = Worker(
                client,
                store,
                name=name,
                concurrency=concurrency,
                lease=lease,
                policy=policy,
                job_timeout=job_timeout,
                on_status=show_stats() if shows_stats else None,
            )
            for worry in await store.durability_warnings():
                complain(f"note: {one_line(worry)}")
            if rate is not None:
                await store.set_rate(rate)
            if health is not None:
                try:
                    place = await stack.enter_async_context(serve_health(member, store, *health))
                except OSError as error:
                    reason = (error.strerror or "cannot listen").rpartition("] ")[2].lower()
                    raise CommandExit(f"--health: {one_line(reason)}", ExitCode.USAGE) from error
                complain(f"health and metrics at http://{place[0]}:{place[1]}")
            drain_on_signals(member)
            complain(
                f"worker {one_line(member.name)} polls {host()} for queue {one_line(store.queue)} at {one_line(store.place)}"
            )
            await member.run()
            complain(f"drained after {count(member.stats().polls, 'poll')}")

    run(main)
    return ExitCode.SUCCEEDED


def drain_on_signals(member: Worker) -> None:
    """Have the first signal drain *member*, and the second one end this task."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def stop() -> None:
        if member.stats().is_draining and task is not None:
            task.cancel()
        else:
            complain("draining; once more stops at once")
            member.drain()

    for name in ("SIGTERM", "SIGINT"):
        with suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(getattr(signal, name), stop)


def stats_line(stats: WorkerStats, status: StoreStatus | None, seconds: float, polls: int) -> str:
    """Return how queue and worker are doing, *polls* of them in the last *seconds*; None stands for a store without an answer."""
    here = f"here {polls / seconds:.1f} polls/s, {stats.in_hand:,} in hand, {stats.ended:,} ended"
    if stats.throttled:
        here += f", {stats.throttled:,} answers 429"
    if status is None:
        return f"the store does not answer; {here}, {stats.unreported:,} not reported"
    queue = f"{status.watched:,} watched, {status.due:,} due ({status.lag:.1f} s late), {status.leased:,} leased"
    if status.pause:
        return f"{queue}; paused for {status.pause:.0f} s; {here}"
    budget = "no limit" if status.rate is None else f"{status.rate:g}/s"
    return f"{queue}; budget {budget}; {here}"


def show_stats() -> Callable[[WorkerStats, StoreStatus | None], None]:
    """Return what prints a line of figures whenever it is called."""
    polls = 0

    def show(stats: WorkerStats, status: StoreStatus | None) -> None:
        nonlocal polls
        line = stats_line(stats, status, STATUS_INTERVAL, stats.polls - polls)
        polls = stats.polls
        # To whoever looks on: a line that finds no room is no loss.
        complain(f"{datetime.now():%H:%M:%S} {line}")  # noqa: DTZ005 - the wall clock of the one who reads it

    return show

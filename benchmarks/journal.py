"""A watch with a journal and without: python -m benchmarks.journal [--json FILE].

Over sockets a hundred thousand jobs are watched as fast as it can be done, from when each was read once; 500 end a second.
Without sockets each job is polled ten times at full speed ("created", eight times "started", "completed"): no more than some
microseconds a poll, the worst case for a journal, which shares the interpreter and the machine with them.

What is written of each job: the id before its first poll, its changes, the ending with its record, and the acknowledgement.
On a machine that others use too the CPU time says more than the rate: that of the whole process, and that of the event loop's
thread, which is what the polls wait for. *behind* is how long it took from the last event until all of that was on the disk.
"""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
from operator import attrgetter
from pathlib import Path
from time import perf_counter, process_time, thread_time
from typing import TYPE_CHECKING

from asyncflow import AsyncClient, Ended, JobWatcher, Journal, Pacer
from asyncflow.polling import fixed_interval
from asyncflow.protocol import decode_job
from benchmarks._report import Report, Spread, parser, ratios
from benchmarks._service import Flow, Orders, command, job_id, running

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncflow.records import Job

POLLS = 10
COMPARED = (attrgetter("rate"), attrgetter("cpu"), attrgetter("loop"))


class Measure:
    """What one watch took: polls a second, CPU a poll in microseconds, and seconds."""

    def __init__(self) -> None:
        self.rate = self.cpu = self.loop = self.admission = self.behind = 0.0
        self.endings = self.file_bytes = 0


class Service:
    """Answers after one turn of the event loop."""

    def __init__(self) -> None:
        self._flow = Flow()
        self._polls: dict[str, int] = {}

    async def read(self, name: str) -> Job:
        await asyncio.sleep(0)
        polls = self._polls[name] = self._polls.get(name, 0) + 1
        body = self._flow.answer(name.encode(), 60.0, ended=polls == POLLS)
        if polls == 1:
            body = body.replace(b'"started"', b'"created"', 1)
        return decode_job("google-flow", body, name)


async def consume(watcher: JobWatcher, measure: Measure, rest: int = 0, window: float | None = None) -> None:
    """Take events to the end, or from the first *rest* of them on for *window* seconds, and measure."""
    start = over = perf_counter()
    cpu, loop, polls, events = process_time(), thread_time(), 0, 0
    async with watcher:
        await watcher.flush()
        measure.admission = perf_counter() - start
        try:
            async with asyncio.timeout(None) as limit:
                async for event in watcher:
                    measure.endings += isinstance(event, Ended)
                    over = perf_counter()
                    events += 1
                    if events == rest and window is not None:
                        start, cpu, loop, polls = over, process_time(), thread_time(), watcher.stats().polls
                        limit.reschedule(asyncio.get_running_loop().time() + window)
        except TimeoutError:
            over = perf_counter()
        polls = watcher.stats().polls - polls
        measure.loop = (thread_time() - loop) / polls * 1e6
    measure.behind = perf_counter() - over
    measure.rate = polls / (over - start)
    measure.cpu = (process_time() - cpu) / polls * 1e6


def without_sockets(jobs: int, path: Path | None) -> Measure:
    measure = Measure()

    async def main() -> None:
        ids = [job_id(number) for number in range(jobs)]
        journal = Journal(path) if path is not None else None
        await consume(JobWatcher(Service().read, ids, policy=fixed_interval(0.001), journal=journal), measure)
        assert measure.endings == jobs

    asyncio.run(main())
    return measure


def over_sockets(jobs: int, path: Path | None, window: float, pacer: Pacer) -> Measure:
    measure = Measure()

    async def main(base: str) -> None:
        ids = [job_id(number) for number in range(jobs)]
        journal = Journal(path) if path is not None else None
        async with AsyncClient("user:1234-abcdef", base_url=base, pacer=pacer) as client:
            await consume(client.watch(ids, policy=fixed_interval(1.0), journal=journal), measure, jobs, window)

    with running(Orders(jobs, 0.0, jobs / 500, core=1)) as base:
        command(base, "start")
        asyncio.run(main(base))
    return measure


def compare(report: Report, title: str, repeats: int, run: Callable[[Path | None], Measure]) -> None:
    """Run with and without a journal by turns, and tell."""
    runs: dict[str, list[Measure]] = {"without": [], "with": []}
    for number in range(repeats):
        # Each on a fresh file, gone before the next one: what the system still writes would be charged to somebody else.
        with tempfile.TemporaryDirectory(dir=os.environ.get("ASYNCFLOW_BENCHMARK_FOLDER")) as folder:
            # By turns in this order and that, so that a machine that grows slower, or faster, favours neither.
            for name in list(runs)[:: 1 - 2 * (number % 2)]:
                path = Path(folder) / "run.db" if name == "with" else None
                gc.collect()
                measure = run(path)
                measure.file_bytes = path.stat().st_size if path is not None else 0
                runs[name].append(measure)
    columns = ["journal", "polls a second", "CPU us a poll", "its loop alone", "endings", "admission s", "behind s", "file MB"]
    rows: list[list[object]] = [
        [
            name,
            Spread.of([measure.rate for measure in some]),
            Spread.of([measure.cpu for measure in some]),
            Spread.of([measure.loop for measure in some]),
            Spread.of([measure.endings for measure in some]),
            Spread.of([measure.admission for measure in some]),
            Spread.of([measure.behind for measure in some]),
            Spread.of([measure.file_bytes / 1e6 for measure in some]),
        ]
        for name, some in runs.items()
    ]
    both = [ratios([of(one) for one in runs["with"]], [of(one) for one in runs["without"]]) for of in COMPARED]
    title = f"{title}; {repeats} interleaved runs: minimum / median / maximum"
    report.table(title, columns, [*rows, ["with to without", *both, "", "", "", ""]])


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--jobs", type=int, default=100_000, help="how many jobs are watched")
    arguments.add_argument("--window", type=float, default=25.0, help="how long they are watched over sockets, in seconds")
    options = arguments.parse_args()
    jobs, window, repeats = (2_000, 2.0, 1) if options.quick else (options.jobs, options.window, options.repeats)
    report = Report("journal")
    title = f"{jobs} jobs over sockets for {window:g} s (goal: ratio 0.9)"
    # One for all, which has found out in a first watch how fast it may go.
    pacer = Pacer()
    over_sockets(jobs, None, window, pacer)
    compare(report, title, repeats, lambda path: over_sockets(jobs, path, window, pacer))
    compare(report, f"{jobs} jobs without sockets, {POLLS} polls each", repeats, lambda path: without_sockets(jobs, path))
    report.finish(options.json)


if __name__ == "__main__":
    main()

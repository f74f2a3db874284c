"""What the schedule costs in time and memory: python -m benchmarks.schedule [--json FILE].

Time is that of this process's CPU. A poll is its share of `take_due`, its `reschedule` and its share of `next_wakeup`; the heap
beside it is a bare `heapq` of (due, number, entry) with the same dictionary of ids, which is as little as a schedule can be.
"""

from __future__ import annotations

import asyncio
import gc
import random
import tracemalloc
from functools import partial
from heapq import heappop, heappush
from itertools import count
from time import perf_counter, process_time
from typing import TYPE_CHECKING

from msgspec import Struct

from asyncflow.polling import REST, Schedule
from benchmarks._report import Report, Spread, interleaved, parser, ratios

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROUNDS = 4096
WAITS = [random.Random(0).uniform(2.0, 15.0) for _ in range(ROUNDS)]
MEAN_WAIT = sum(WAITS) / ROUNDS
PORTION = 100


class Watched(Struct, eq=False, gc=False):
    """As little as an entry can be."""

    job_id: str
    due: float = 0.0
    priority: int = REST
    place: float | tuple[float, ...] | None = None


class Heap:
    """The schedule that everybody writes first."""

    def __init__(self) -> None:
        self._jobs: dict[str, Watched] = {}
        self._heap: list[tuple[float, int, Watched]] = []
        self._numbers = count()

    def add(self, entry: Watched, at: float) -> None:
        self._jobs[entry.job_id] = entry
        self.reschedule(entry, at)

    def reschedule(self, entry: Watched, at: float) -> None:
        entry.due = at
        heappush(self._heap, (at, next(self._numbers), entry))

    def take_due(self, now: float, limit: int) -> list[Watched]:
        taken: list[Watched] = []
        while len(taken) < limit and self._heap and self._heap[0][0] <= now:
            taken.append(heappop(self._heap)[2])
        return taken

    def next_wakeup(self) -> float | None:
        return self._heap[0][0] if self._heap else None


def names(jobs: int) -> list[str]:
    """Return ids of 112 bytes, as the service gives them, with their hashes computed."""
    ids = [f"j{number:016d}v-u12345-email:somebody{number:07d}@example.com-bot:google-flow" for number in range(jobs)]
    assert len({hash(job_id) for job_id in ids}) > 0
    return ids


def fill(schedule: Schedule[Watched] | Heap, ids: Sequence[str]) -> None:
    for number, job_id in enumerate(ids):
        schedule.add(Watched(job_id), 5.0 * (number * 0.6180339887 % 1.0))


def poll_time(make: Callable[[], Schedule[Watched] | Heap], ids: Sequence[str], per_wake: float) -> float:
    """Return the microseconds of a poll when about *per_wake* jobs are due at each wake-up."""
    schedule = make()
    fill(schedule, ids)
    polls, now, wanted = 0, 0.0, max(100_000, len(ids) // 4)
    step = per_wake * MEAN_WAIT / len(ids)
    begin = process_time()
    while polls < wanted:
        taken = schedule.take_due(now, PORTION)
        for entry in taken:
            schedule.reschedule(entry, now + WAITS[polls % ROUNDS])
            polls += 1
        if len(taken) < PORTION:
            now = max(now + step, schedule.next_wakeup() or 0.0)
    return (process_time() - begin) / polls * 1e6


def polls(report: Report, repeats: int, sizes: Sequence[int]) -> None:
    rows: list[list[object]] = []
    every_id = names(max(sizes))
    ids = {size: every_id[:size] for size in sizes}
    for label, per_wake in (("many due at each wake-up (50)", 50.0), ("one due at each wake-up", 0.0)):
        measures: dict[str, Callable[[], float]] = {}
        for size in sizes:
            measures[f"wheel {size}"] = partial(poll_time, Schedule, ids[size], per_wake)
            measures[f"heap {size}"] = partial(poll_time, Heap, ids[size], per_wake)
        results = interleaved(repeats, measures)
        for size in sizes:
            wheel, heap = results[f"wheel {size}"], results[f"heap {size}"]
            growth = ratios(wheel, results[f"wheel {sizes[0]}"])
            rows.append([label, size, Spread.of(wheel), Spread.of(heap), ratios(wheel, heap), growth])
    columns = ["wake-ups", "jobs", "us a poll", "heap, us a poll", "ratio to heap", f"ratio to {sizes[0]} jobs"]
    report.table("A poll", columns, rows)


def add_time(make: Callable[[], Schedule[Watched] | Heap], ids: Sequence[str], *, collecting: bool) -> float:
    gc.collect()
    (gc.enable if collecting else gc.disable)()
    schedule = make()
    begin = process_time()
    fill(schedule, ids)
    taken = process_time() - begin
    gc.enable()
    return taken


def dictionary_time(ids: Sequence[str]) -> float:
    """Return how long it takes to put the ids into a dictionary and nothing else."""
    jobs: dict[str, float] = {}
    begin = process_time()
    for number, job_id in enumerate(ids):
        jobs[job_id] = 5.0 * (number * 0.6180339887 % 1.0)
    return process_time() - begin


def adding(report: Report, repeats: int, size: int) -> None:
    ids = names(size)
    results = interleaved(
        repeats,
        {
            "a bare dictionary of floats": lambda: dictionary_time(ids),
            "wheel": lambda: add_time(Schedule, ids, collecting=True),
            "wheel, no garbage collection": lambda: add_time(Schedule, ids, collecting=False),
            "heap": lambda: add_time(Heap, ids, collecting=True),
            "heap, no garbage collection": lambda: add_time(Heap, ids, collecting=False),
        },
    )
    base = results["a bare dictionary of floats"]
    rows = [[name, Spread.of(values), ratios(values, base)] for name, values in results.items()]
    report.table(f"Adding {size} jobs, entries made on the way", ["how", "seconds", "ratio to the dictionary"], rows)


def traced(build: Callable[[], object]) -> tuple[float, object]:
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    built = build()
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return float(after - before), built


def memory(report: Report, size: int) -> None:
    ids = names(size)

    def schedule(make: Callable[[], Schedule[Watched] | Heap]) -> Callable[[], object]:
        def build() -> object:
            made = make()
            fill(made, ids)
            return made

        return build

    async def tasks() -> float:
        def build() -> object:
            return [asyncio.create_task(asyncio.sleep(3600.0 + number)) for number in range(size // 10)]

        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        sleeping = build()
        await asyncio.sleep(0)
        after = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        del sleeping
        return float(after - before) * 10

    entries = traced(lambda: [Watched(job_id) for job_id in ids])[0] - 8 * size
    wheel, full = traced(schedule(Schedule))
    heap = traced(schedule(Heap))[0]
    rows: list[list[object]] = [
        ["wheel, entries included", wheel / size],
        ["of these the entry objects", entries / size],
        ["heap, entries included", heap / size],
        ["an asyncio task that sleeps", asyncio.run(tasks()) / size],
    ]
    assert isinstance(full, Schedule)

    def live_through() -> object:
        fill(full_schedule, ids)
        now = 0.0
        while taken := full_schedule.take_due(now, PORTION):
            for entry in taken:
                full_schedule.discard(entry.job_id)
            now = 10.0
        return None

    full_schedule = Schedule[Watched]()
    left = traced(live_through)[0]
    rows.append(["left after all jobs have ended, bytes in all", left])
    report.table(f"Bytes a job at {size} jobs, ids not counted", ["what", "bytes"], rows)


def longest(steps: Callable[[], list[float]], repeats: int) -> Spread:
    return Spread.of([1000.0 * max(steps()) for _ in range(repeats)])


def timed(step: Callable[[], object]) -> float:
    begin = perf_counter()
    step()
    return perf_counter() - begin


def stalls(report: Report, repeats: int, size: int) -> None:
    """The longest single call when something happens to all jobs at once."""
    ids = names(size)
    rng = random.Random(1)

    def drain(due: Callable[[int], float], *, nudged: bool = False) -> list[float]:
        schedule = Schedule[Watched]()
        for number, job_id in enumerate(ids):
            schedule.add(Watched(job_id), due(number))
        steps = [timed(partial(schedule.hasten, job_id, 1.0)) for job_id in ids] if nudged else []
        now = 10.01
        taken: list[Watched] = []
        while len(schedule):
            begin = perf_counter()
            taken = schedule.take_due(now, PORTION)
            steps += [perf_counter() - begin, timed(schedule.next_wakeup)]
            for entry in taken:
                schedule.discard(entry.job_id)
            now += 0.0 if taken else 0.005
        return steps

    def forget() -> list[float]:
        schedule = Schedule[Watched]()
        fill(schedule, ids)
        return [timed(partial(schedule.discard, job_id)) for job_id in ids]

    rows: list[list[object]] = [
        ["all due at the same instant, 100 taken at a time", longest(lambda: drain(lambda _: 10.0), repeats)],
        ["all due within one slot, in no order", longest(lambda: drain(lambda _: 10.0 + 0.03 * rng.random()), repeats)],
        ["all long overdue", longest(lambda: drain(lambda _: 9.0 * rng.random()), repeats)],
        ["all nudged, one after another", longest(lambda: drain(lambda _: 3600.0 * rng.random(), nudged=True), repeats)],
        ["all discarded while waiting", longest(forget, repeats)],
    ]
    report.table(f"The longest single call at {size} jobs, milliseconds", ["what happens", "min / median / max"], rows)


def main() -> None:
    options = parser(__doc__ or "").parse_args()
    report = Report("schedule")
    repeats = 1 if options.quick else options.repeats
    polls(report, repeats, (1000, 10_000) if options.quick else (1000, 10_000, 100_000, 1_000_000))
    adding(report, repeats, 100_000 if options.quick else 1_000_000)
    memory(report, 100_000)
    stalls(report, repeats, 10_000 if options.quick else 100_000)
    report.finish(options.json)


if __name__ == "__main__":
    main()

"""A hundred thousand jobs in one process: python -m benchmarks.scale [--json FILE].

Over real sockets, with one answer in a hundred each reset, 503, garbled and cut short, and a limit that answers 429; and without
sockets what one step of the event loop, one job's memory and a million ids cost. A step is what the loop does between two looks
at its sockets: whatever else wants to run waits that long. Its CPU time is shown beside its wall time, since on a busy machine
the latter is also other people's.
"""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import selectors
import subprocess
import sys
import tracemalloc
from collections import Counter
from time import perf_counter, process_time, thread_time
from typing import TYPE_CHECKING, Any, TypeVar, cast

from asyncflow import Abandoned, AsyncClient, Ended, JobWatcher
from asyncflow.polling import fixed_interval
from asyncflow.protocol import decode_answer, job_request
from benchmarks._report import Report, Spread, parser
from benchmarks._service import Flow, Orders, command, job_id, pin, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

    from asyncflow.records import Job

FAULTS = {"reset": 0.01, "server_error": 0.01, "garble": 0.01, "truncate": 0.01}
AGE = 60.0
T = TypeVar("T")


class Steps(selectors.DefaultSelector):
    """A selector that notes how long the loop was away from it."""

    def __init__(self) -> None:
        super().__init__()
        self._collecting = 0.0
        self.forget()

    def forget(self) -> None:
        self.longest = self.longest_cpu = self.longest_collection = 0.0
        self.over_50 = 0
        self._wall, self._cpu = perf_counter(), thread_time()

    def collected(self, phase: str, _: dict[str, int]) -> None:
        """Note how long a garbage collection takes; for `gc.callbacks`."""
        if phase == "start":
            self._collecting = thread_time()
        else:
            self.longest_collection = max(self.longest_collection, thread_time() - self._collecting)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        wall, cpu = perf_counter() - self._wall, thread_time() - self._cpu
        self.longest, self.longest_cpu = max(self.longest, wall), max(self.longest_cpu, cpu)
        self.over_50 += wall > 0.05
        ready = super().select(timeout)
        self._wall, self._cpu = perf_counter(), thread_time()
        return ready

    def __str__(self) -> str:
        return f"{1000 * self.longest:.0f} / {1000 * self.longest_cpu:.0f}"


def run(main: Callable[[Steps], Coroutine[Any, Any, T]]) -> T:
    steps = Steps()
    gc.callbacks.append(steps.collected)
    try:
        with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(steps)) as runner:
            return runner.run(main(steps))
    finally:
        gc.callbacks.remove(steps.collected)


def resident() -> int:
    """Return the memory of this process in bytes, or 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - read while the loop runs
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


# -- over sockets ----------------------------------------------------------------------------------------------------------------


async def watch(base: str, jobs: int, steps: Steps) -> dict[str, Any]:
    """Watch all jobs to their ends with the defaults, and return what it took."""
    gc.collect()
    before = resident()
    ids = [job_id(number) for number in range(jobs)]
    ended: Counter[str] = Counter()
    events: Counter[str] = Counter()
    most = 0
    command(base, "start")
    steps.forget()
    cpu, wall = process_time(), perf_counter()
    async with AsyncClient("user:1234-abcdef", base_url=base) as client, client.watch(ids) as watcher:
        async for event in watcher:
            events[type(event).__name__] += 1
            match event:
                case Ended(job):
                    ended[job.job_id] += 1
                case Abandoned(name, _):
                    ended[name] += 1
                case _:
                    pass
            if sum(events.values()) % 5000 == 0:
                most = max(most, resident())
        stats, budget = watcher.stats(), client.pacer.stats()
    cpu, wall = process_time() - cpu, perf_counter() - wall
    longest = str(steps)
    over = steps.over_50
    del watcher, client
    gc.collect()
    return {
        "jobs": jobs,
        "once": sum(count == 1 for count in ended.values()),
        "twice": sum(count > 1 for count in ended.values()),
        "events": dict(events),
        "polls": stats.polls,
        "failed": stats.failed_polls,
        "cpu": cpu,
        "wall": wall,
        "step": longest,
        "over": over,
        "pauses": budget.pauses,
        "growth": most - before,
        "left": resident() - before,
    }


def sockets(report: Report, size: int, rate: float | None, faults: dict[str, float]) -> None:
    first, last = 20.0, 60.0
    orders = Orders(size, first, last, rate=rate, retry_after=1.0, faults=faults, core=1)
    with running(orders) as base:
        arguments = [sys.executable, "-m", "benchmarks.scale", "--child", base, str(size)]
        ran = subprocess.run(arguments, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
        if ran.returncode:
            raise RuntimeError(ran.stderr[-3000:])
        said, seen = json.loads(ran.stdout.splitlines()[-1]), command(base, "stats")
    happened = {name: count for name, count in seen["faults"].items() if name in {*FAULTS, "throttle"}}
    rows: list[list[object]] = [
        ["jobs; outcomes delivered once / twice", f"{size}; {said['once']} / {said['twice']}"],
        ["events", ", ".join(f"{name} {count}" for name, count in said["events"].items())],
        ["requests; most in one second", f"{seen['requests']}; {seen['peak']}"],
        ["of them", ", ".join(f"{name} {count} ({100 * count / seen['requests']:.2f} %)" for name, count in happened.items())],
        ["polls inside a Retry-After; pauses", f"{seen['inside']}; {said['pauses']}"],
        ["seconds; CPU seconds", f"{said['wall']:.1f}; {said['cpu']:.1f}"],
        [
            "polls a second; CPU us a request",
            f"{seen['requests'] / said['wall']:.0f}; {1e6 * said['cpu'] / seen['requests']:.0f}",
        ],
        ["lag mean / p95 / max, s", f"{seen['lag_mean']:.1f} / {seen['lag_p95']:.1f} / {seen['lag_max']:.1f}"],
        ["connections: most at a time / opened", f"{seen['peak_open']} / {seen['connections']}"],
        ["longest step of the loop, ms wall / CPU; steps over 50 ms", f"{said['step']}; {said['over']}"],
        ["resident memory a job, bytes (ids, watch, client; at its most)", said["growth"] / size],
        ["resident and not given back when all have ended (the ids and their counts too)", said["left"] / size],
    ]
    limit = f", {rate:.0f} requests a second" if rate else ""
    report.table(f"{size} jobs of {first:g} to {last:g} s over sockets{limit}, faults {faults}", ["what", "measured"], rows)


# -- without sockets -------------------------------------------------------------------------------------------------------------


class Fetch:
    """Answers at once, with records decoded from bytes as they come from the service; jobs in *ended* have ended."""

    def __init__(self) -> None:
        self.flow = Flow()
        self.ended: set[str] = set()
        self.is_over = False
        self.polls = 0

    async def __call__(self, name: str) -> Job:
        self.polls += 1
        ended = self.is_over or name in self.ended
        body = self.flow.answer(name.encode(), AGE, ended=ended)
        # Whoever asks for a job waits for a socket once at least.
        await asyncio.sleep(0)
        return cast("Job", decode_answer(job_request(name, None), 200, {}, body, now=self.flow.created))


async def nudge(watcher: JobWatcher, ids: Sequence[str]) -> None:
    for number, name in enumerate(ids):
        watcher.nudge(name)
        if number % 100 == 0:
            await asyncio.sleep(0)


async def drain(watcher: JobWatcher, endings: int) -> None:
    while endings:
        event = await anext(watcher)
        endings -= isinstance(event, Ended)


def memory(report: Report, size: int) -> None:
    """What a watched job takes, once it has been read and its events are delivered."""

    async def main(_: Steps) -> list[list[object]]:
        fetch = Fetch()
        fetch.is_over = True
        async with JobWatcher(fetch, [job_id(number) for number in range(100)], policy=fixed_interval(0.1)) as rehearsal:
            await drain(rehearsal, 100)
        fetch.is_over, fetch.polls = False, 0
        tracemalloc.start()
        gc.collect()
        base = tracemalloc.get_traced_memory()[0]
        ids = [job_id(number) for number in range(size)]
        names = tracemalloc.get_traced_memory()[0] - base
        # An id that lists hold elsewhere is not copied; here the watch alone holds it.
        async with JobWatcher(fetch, ids, policy=fixed_interval(AGE), buffer=0) as watcher:
            del ids
            while fetch.polls < size:
                await anext(watcher)
            while watcher.stats().undelivered:
                await anext(watcher)
            gc.collect()
            full = tracemalloc.get_traced_memory()[0] - base
            fetch.is_over = True
            assert len(watcher) == size
            for number in range(size):
                watcher.nudge(job_id(number))
            await drain(watcher, size)
            gc.collect()
            empty = tracemalloc.get_traced_memory()[0] - base
        gc.collect()
        closed = tracemalloc.get_traced_memory()[0] - base
        tracemalloc.stop()
        return [
            ["a job, all in", full / size],
            ["of these its id", (names - 8 * size) / size],
            ["left while the watch is open and empty, bytes in all", float(empty)],
            ["left when it is closed, bytes in all", float(closed)],
        ]

    report.table(f"Bytes at {size} watched jobs", ["what", "bytes"], run(main))


def adding(report: Report, repeats: int, size: int) -> None:
    """A million ids from an async iterable, and in one call."""

    async def source(ids: Sequence[str]) -> AsyncIterator[str]:
        for name in ids:
            yield name

    async def blocked(_: str) -> Job:
        await asyncio.Event().wait()
        raise AssertionError

    async def by(ids: Sequence[str], steps: Steps, *, iterable: bool) -> tuple[float, Steps]:
        watcher = JobWatcher(blocked, source(ids) if iterable else (), concurrency=1, keep_open=True)
        async with watcher:
            steps.forget()
            begin = process_time()
            if not iterable:
                watcher.add(*ids)
            while len(watcher._core.schedule) < size:  # noqa: ASYNC110, SLF001 - each turn of the loop counts, and what is scheduled
                await asyncio.sleep(0)
            took = process_time() - begin
        return took, steps

    async def dry(ids: Sequence[str]) -> float:
        begin = process_time()
        async for _ in source(ids):
            pass
        return process_time() - begin

    ids = [job_id(number) for number in range(size)]
    rows: list[list[object]] = []
    for title, iterable in (("an async iterable", True), ("one add()", False)):
        results = [run(lambda steps, way=iterable: by(ids, steps, iterable=way)) for _ in range(repeats)]
        rows.append(
            [title, Spread.of([took for took, _ in results]), Spread.of([1000 * steps.longest_cpu for _, steps in results])]
        )
    rows.append(["the iterable alone, read by nobody else", Spread.of([asyncio.run(dry(ids)) for _ in range(repeats)]), ""])
    report.table(f"Adding {size} ids", ["from", "CPU s", "longest step, ms CPU"], rows)


def stalls(report: Report, repeats: int, size: int, burst: int) -> None:
    """The longest step of the loop when something happens to many jobs at once."""

    async def main(steps: Steps) -> list[tuple[float, float, float]]:
        gc.collect()  # What earlier runs left behind is none of this one's.
        results: list[tuple[float, float, float]] = []

        def note() -> None:
            results.append((1000 * steps.longest, 1000 * steps.longest_cpu, 1000 * steps.longest_collection))
            steps.forget()

        fetch = Fetch()
        ids = [job_id(number) for number in range(size)]
        async with JobWatcher(fetch, policy=fixed_interval(20.0), keep_open=True) as watcher:
            steps.forget()
            watcher.add(*ids)
            await asyncio.sleep(0)
            note()
            while fetch.polls < size:
                await anext(watcher)
            note()
            while watcher.stats().undelivered:
                await anext(watcher)
            fetch.ended = set(ids[:burst])
            steps.forget()
            await nudge(watcher, ids[:burst])
            await drain(watcher, burst)
            note()
            watcher.discard(*ids[burst : 2 * burst])
            await asyncio.sleep(0)
            note()
            fetch.is_over = True
            await nudge(watcher, ids[2 * burst :])
            note()
            await drain(watcher, size - 2 * burst)
            note()
        return results

    names = (
        f"{size} ids in one add()",
        "all of them read for the first time",
        f"{burst} nudged and ended at once",
        f"{burst} discarded in one call",
        f"{size - 2 * burst} nudged, a hundred at a time",
        "and ended",
    )
    runs = [run(main) for _ in range(repeats)]
    rows = [[name, *(Spread.of([one[n][kind] for one in runs]) for kind in (0, 1, 2))] for n, name in enumerate(names)]
    report.table(
        f"The longest step of the loop at {size} jobs, ms",
        ["what happens", "wall", "CPU", "longest garbage collection, CPU"],
        rows,
    )


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        pin(0)
        base, size = sys.argv[2], int(sys.argv[3])
        print(json.dumps(run(lambda steps: watch(base, size, steps))))
        return
    options = parser(__doc__ or "")
    options.add_argument("--parts", default="memory,adding,stalls,sockets", help="which, separated by commas")
    given = options.parse_args()
    report = Report("scale")
    repeats = 1 if given.quick else given.repeats
    size = 10_000 if given.quick else 100_000
    parts = given.parts.split(",")
    if "memory" in parts:
        memory(report, size)
    if "stalls" in parts:
        stalls(report, repeats, size, size // 10)
    if "adding" in parts:
        adding(report, repeats, 10 * size)
    if "sockets" in parts:
        sockets(report, size, None, FAULTS)
        sockets(report, size, 3000.0, FAULTS)
        sockets(report, size // 100, None, FAULTS | {"throttle": 0.01})
    report.finish(given.json)


if __name__ == "__main__":
    main()

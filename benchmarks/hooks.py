"""What hooks cost: python -m benchmarks.hooks [--json FILE] [--repeats 9] [--quick] [--instructions].

CPU of a watch without HTTP, in virtual time: schedule, worker, fetch (a plain function that answers at once), decision, one event
in ten polls. That is a fraction of a poll over HTTP, so that whatever hooks add weighs the more. The measure is the watch
without the points at which hooks are told; it is made by putting the function that hears the answers back to what it is without
them. Then the cost of telling of one request, by the side of what a read costs (`python -m benchmarks.read`).

On a busy machine time says little: --instructions counts them instead, with valgrind (Debian: apt-get install valgrind), for the
first two rows. It takes some minutes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from asyncflow import FlowJob, JobWatcher, Media, fixed_interval, testing
from asyncflow.client.instrumentation import RequestInstrumentation
from asyncflow.client.wire import WireReply
from asyncflow.logs import hooks_of, log_facts
from asyncflow.pacing import Pacer
from asyncflow.protocol import job_request
from asyncflow.watcher.engine import WatchEngine
from benchmarks._report import Report, Spread, interleaved, parser, ratios

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from asyncflow.telemetry import Hook, TelemetryEvent
    from asyncflow.watcher.watched_job import WatchedJob

BARE, PLAIN = "no points for hooks", "no hook"
JOB_ID = "j1104093012448120573v-u1234-email:ada.lind@example.com-bot:google-flow"
POLLS = 20


def ignore(_fact: TelemetryEvent) -> None:
    """A hook that does nothing."""


def hooks() -> dict[str, Callable[[], Iterable[Hook]]]:
    from prometheus_client import CollectorRegistry  # noqa: PLC0415 - not where instructions are counted

    from asyncflow.contrib.opentelemetry import OpenTelemetry  # noqa: PLC0415 - nor this
    from asyncflow.contrib.prometheus import Metrics  # noqa: PLC0415 - nor this

    def prometheus() -> list[Hook]:
        metrics = Metrics()
        CollectorRegistry().register(metrics)
        return [metrics]

    return {
        PLAIN: list,
        "a hook that does nothing": lambda: [ignore],
        "log_facts, nobody listens": lambda: [log_facts],
        "Prometheus": prometheus,
        "OpenTelemetry, no SDK": lambda: [OpenTelemetry()],
    }


def hear_plainly(self: WatchEngine, entry: WatchedJob, answer: object, _start: float) -> None:
    self._judge.hear(entry, answer, self._loop.time())


def watch(jobs: int, installed: Iterable[Hook]) -> float:
    """Return the microseconds of CPU for one poll."""
    running = FlowJob(JOB_ID, "started", "video")
    done = FlowJob(JOB_ID, "completed", "video", media=(Media("video", "ok", url="https://media.example/1"),))
    records = {f"{number}": [done, *[running] * (POLLS - 1)] for number in range(jobs)}

    async def fetch(job_id: str) -> FlowJob:
        record = records[job_id].pop()
        return FlowJob(job_id, record.status, record.kind, media=record.media)

    async def main() -> int:
        async with JobWatcher(fetch, list(records), policy=fixed_interval(10), hooks=installed) as watcher:
            async for _ in watcher:
                pass
            return watcher.stats().polls

    start = time.process_time()
    polls = testing.run(main())
    assert polls == jobs * POLLS
    return (time.process_time() - start) / polls * 1e6


def bare(jobs: int) -> float:
    usual = vars(WatchEngine)["_hear"]
    setattr(WatchEngine, "_hear", hear_plainly)  # noqa: B010 - it is private
    try:
        return watch(jobs, ())
    finally:
        setattr(WatchEngine, "_hear", usual)  # noqa: B010 - it is private


def instructions(name: str) -> float:
    """Return the instructions of one poll: those of a long run less those of a short one."""
    counts: list[int] = []
    for jobs in (50, 150):
        run = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, "-m", "benchmarks.hooks"]
        environment = os.environ | {"PYTHONHASHSEED": "0"}
        done = subprocess.run(  # noqa: S603 - this file
            [*run, "--only", name, "--jobs", str(jobs)], check=True, capture_output=True, text=True, env=environment
        )
        counts.append(int(re.findall(r"Collected : (\d+)", done.stderr)[0]))
    return (counts[1] - counts[0]) / (100 * POLLS)


def told(installed: Iterable[Hook], count: int) -> float:
    """Return the microseconds of CPU for telling of one request, 0 without hooks but for asking whether there are any."""
    found = hooks_of(installed)
    instrumentation = RequestInstrumentation(found, Pacer(), "http://127.0.0.1:8080") if found is not None else None
    request, reply = job_request(JOB_ID), WireReply(200, {}, b"")
    start = time.process_time()
    for _ in range(count):
        if instrumentation is not None:
            instrumentation.made(request, reply, reply, resends=0, start=0.0, now=0.1)
    return (time.process_time() - start) / count * 1e6


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--instructions", action="store_true", help="count instructions with valgrind")
    arguments.add_argument("--only", help="run one row once, to be counted")
    arguments.add_argument("--jobs", type=int, default=50, help="jobs of that run")
    options = arguments.parse_args()
    if options.only:
        bare(options.jobs) if options.only == BARE else watch(options.jobs, ())
        return
    if options.instructions:
        counted = {name: instructions(name) for name in (BARE, PLAIN)}
        rows = [[name, f"{number:.0f}", number / counted[BARE]] for name, number in counted.items()]
        Report("hooks").table("Instructions of a poll without HTTP", ["hooks", "instructions", "of none"], rows)
        return
    jobs, count = (50, 2_000) if options.quick else (1_000, 50_000)
    report = Report("hooks", ("opentelemetry-api", "prometheus-client"))
    kinds = hooks()
    measures: dict[str, Callable[[], float]] = {BARE: lambda: bare(jobs)}
    measures |= {name: lambda make=make: watch(jobs, make()) for name, make in kinds.items()}
    results = interleaved(options.repeats, measures)
    table: list[list[object]] = [
        [name, ratios(values, results[BARE]), min(values) / min(results[BARE]), Spread.of(values)]
        for name, values in results.items()
    ]
    columns = ["hooks", "CPU of a poll without HTTP: min / median / max", "of the smallest ones", "microseconds"]
    report.table(f"A poll without HTTP, {BARE} = 1", columns, table)
    requests = interleaved(options.repeats, {name: lambda make=make: told(make(), count) for name, make in kinds.items()})
    report.table(
        "Telling of one request",
        ["hooks", "microseconds: min / median / max"],
        [[name, Spread.of(values)] for name, values in requests.items()],
    )
    ratio = min(results[PLAIN]) / min(results[BARE])
    verdict = "yes" if ratio <= 1.05 else "no"
    report.table(
        "To reach", ["what", "target", "measured", "reached"], [["a poll without a hook", "at most 1.05", ratio, verdict]]
    )
    report.finish(options.json)


if __name__ == "__main__":
    main()

"""An hour in virtual time, with all that can go wrong for long: python -m benchmarks.hour [--json FILE] [--picture FILE].

Two jobs a second begin, of about 100 seconds each; the service takes 100 requests a second. It is down from minute 5 to 15, its
jobs take three times as long if they begin in minutes 15 to 25, and in minute 26:40 it says 429 with a Retry-After of 30 minutes.
What runs is the real `JobWatcher` with `Pacer()` and `PollPolicy()`; only the service is made of numbers, and the clock of jumps.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import quantiles
from time import process_time

from asyncflow import Ended, JobWatcher, Pacer, PollPolicy, RateLimitedError, ServiceError, Unreachable
from asyncflow.records import FlowJob, Media
from asyncflow.testing import now
from asyncflow.testing import run as run_virtually
from benchmarks._picture import Band, Line, Panel, Picture
from benchmarks._report import Report, parser

HOUR, STEP, JOBS = 3600.0, 20.0, 7200
OUTAGE, SLOW, SILENCE = (300.0, 900.0), (900.0, 1500.0), (1600.0, 3400.0)
LIMIT, LATENCY = 100.0, 0.05
MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)
FILE = Media("video", "ok", url="https://storage.example.com/1")


@dataclass
class Step:
    """What happened in one step of the picture."""

    answered: int = 0
    failed: int = 0
    throttled: int = 0
    delays: list[float] = field(default_factory=list)
    rate: float = 0.0
    is_circuit_open: bool = False
    watched: int = 0
    unseen: int = 0


class Service:
    """Answers from a table of births and durations; counts by step what it was asked."""

    def __init__(self) -> None:
        dice = random.Random(1)
        self.births = [number * HOUR / JOBS for number in range(JOBS)]
        self.ends = [
            birth + dice.lognormvariate(4.6, 0.25) * (3.0 if SLOW[0] <= birth < SLOW[1] else 1.0) for birth in self.births
        ]
        self.steps = [Step() for _ in range(int(HOUR / STEP))]
        self.seen: set[int] = set()
        self.inside = self.peak = 0
        self._told_at = self._until = 0.0
        self._tokens, self._tokens_at = LIMIT, 0.0

    async def read(self, job_id: str) -> FlowJob:
        at, number = now(), int(job_id)
        await asyncio.sleep(LATENCY)
        step = self.steps[min(int(at / STEP), len(self.steps) - 1)]
        if OUTAGE[0] <= at < OUTAGE[1]:
            step.failed += 1
            raise ServiceError("down", transient=True, status=503)
        self.inside += self._told_at + LATENCY < at < self._until
        if SILENCE[0] <= at < SILENCE[1]:
            self._refuse(step, at, SILENCE[1] - at)
        self._tokens = min(LIMIT, self._tokens + (at - self._tokens_at) * LIMIT)
        self._tokens_at = at
        if self._tokens < 1:
            self._refuse(step, at, 5.0)
        self._tokens -= 1
        step.answered += 1
        birth, end = self.births[number], self.ends[number]
        created = MIDNIGHT + timedelta(seconds=birth)
        if at < end:
            return FlowJob(job_id, "started", "video", created_at=created, updated_at=created, model="veo")
        if number not in self.seen:
            self.seen.add(number)
            step.delays.append(at - end)
        updated = MIDNIGHT + timedelta(seconds=end)
        return FlowJob(job_id, "completed", "video", media=(FILE,), created_at=created, updated_at=updated, model="veo")

    def _refuse(self, step: Step, at: float, seconds: float) -> None:
        step.throttled += 1
        if at >= self._until:
            self._told_at = at
        self._until = max(self._until, at + seconds)
        raise RateLimitedError("too many", transient=True, status=429, retry_after=seconds)

    def unseen(self, at: float) -> int:
        """Return how many jobs have ended and not been seen to."""
        return sum(end <= at for end in self.ends) - len(self.seen)


async def play(service: Service) -> dict[str, int]:
    """Watch for an hour and return what was reported, by kind."""
    pacer = Pacer()
    counts: dict[str, int] = {}
    ended: set[str] = set()

    async def births() -> None:
        for number, birth in enumerate(service.births):
            await asyncio.sleep(birth - now())
            watcher.add(str(number))

    async def look() -> None:
        for number, step in enumerate(service.steps, 1):
            await asyncio.sleep(number * STEP - now())
            stats = pacer.stats()
            step.rate, step.is_circuit_open = stats.rate, stats.circuit == "open"
            step.watched, step.unseen = len(watcher), service.unseen(now())
        await watcher.aclose()

    watcher = JobWatcher(
        service.read, pacer=pacer, policy=PollPolicy(), keep_open=True, wall_clock=lambda: MIDNIGHT + timedelta(seconds=now())
    )
    async with watcher:
        others = [asyncio.create_task(births()), asyncio.create_task(look())]
        async for event in watcher:
            counts[type(event).__name__] = counts.get(type(event).__name__, 0) + 1
            if isinstance(event, Unreachable):
                continue
            if isinstance(event, Ended):
                assert event.job.job_id not in ended, "an outcome came twice"
                ended.add(event.job.job_id)
        for task in others:
            await task
    counts["pauses"] = pacer.stats().pauses
    return counts


def picture(service: Service) -> Picture:
    steps = service.steps
    means = [sum(step.delays) / len(step.delays) if step.delays else None for step in steps]
    worst = [max(step.delays) if step.delays else None for step in steps]
    total = [step.answered + step.failed + step.throttled for step in steps]
    requests = Panel(
        "Requests a second",
        [
            Line("answered", "#3b7dd8", [count / STEP for count in total], fill=True),
            Line("failed", "#d9822b", [step.failed / STEP if step.failed else None for step in steps], dots=True),
            Line("429", "#c0392b", [step.throttled / STEP if step.throttled else None for step in steps], dots=True),
        ],
        top=100,
        ticks=(0, 25, 50, 75, 100),
    )
    budget = Panel(
        "Budget: starts a second that the pacer allows",
        [
            Line("rate", "#2c3e50", [step.rate for step in steps]),
            Line("circuit open: single probes", "#d9822b", [10.0 if step.is_circuit_open else None for step in steps], dots=True),
        ],
        top=200,
        bottom=10,
        log=True,
        ticks=(10, 20, 50, 100, 200),
        height=130,
    )
    jobs = Panel(
        "Open jobs",
        [
            Line("watched", "#8e9aaf", [float(step.watched) for step in steps], fill=True),
            Line("ended, not seen yet", "#c0392b", [float(step.unseen) for step in steps]),
        ],
        top=4500,
        ticks=(0, 1000, 2000, 3000, 4000),
    )
    delay = Panel(
        "Delay of the endings seen: from the end to the poll that saw it, seconds",
        [Line("longest", "#b3b3b3", worst, dots=True), Line("mean of 20 s", "#1e8449", means, dots=True)],
        top=3000,
        bottom=1,
        log=True,
        ticks=(1, 3, 10, 30, 100, 300, 1000, 3000),
        height=170,
    )
    return Picture(
        "An hour of a watch: outage, slow-down, and a Retry-After of 30 minutes",
        "Two jobs a second of about 100 s each. The real watcher, pacer and policy in virtual time; each point is 20 seconds.",
        [STEP * (number + 0.5) for number in range(len(steps))],
        [requests, budget, jobs, delay],
        HOUR,
        [
            Band(*OUTAGE, "service down", "#fdeee0"),
            Band(*SLOW, "jobs three times as long", "#eef4fc"),
            Band(*SILENCE, "429, Retry-After: 30 minutes", "#fbeaea"),
        ],
    )


def rows(service: Service) -> list[list[object]]:
    """Return a line for each phase of the hour."""
    phases = (
        ("usual, from cold", 0.0, OUTAGE[0]),
        ("service down", *OUTAGE),
        ("the two minutes after", OUTAGE[1], OUTAGE[1] + 120),
        ("jobs three times as long", OUTAGE[1] + 120, SLOW[1]),
        ("usual again", SLOW[1], SILENCE[0]),
        ("Retry-After of 30 minutes", *SILENCE),
        ("the minute after", SILENCE[1], SILENCE[1] + 60),
        ("the rest of the hour", SILENCE[1] + 60, HOUR),
    )
    lines: list[list[object]] = []
    for name, begin, end in phases:
        steps = service.steps[int(begin / STEP) : int(end / STEP)]
        delays = sorted(delay for step in steps for delay in step.delays)
        total = [step.answered + step.failed + step.throttled for step in steps]
        lines.append(
            [
                f"{begin / 60:.4g}-{end / 60:.4g}",
                name,
                sum(total),
                max(total) / STEP,
                sum(step.failed for step in steps),
                sum(step.throttled for step in steps),
                f"{steps[-1].rate:.0f}",
                steps[-1].watched,
                steps[-1].unseen,
                len(delays),
                sum(delays) / len(delays) if delays else "-",
                quantiles(delays, n=20)[-1] if len(delays) > 1 else "-",
            ]
        )
    return lines


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--picture", type=Path, help="draw the hour into this SVG file")
    given = options.parse_args()
    report = Report("hour")
    service = Service()
    begin = process_time()
    counts = run_virtually(play(service))
    took = process_time() - begin
    columns = ["minutes", "what", "requests", "most a second", "failed", "429", "budget at its end", "watched", "ended, not seen"]
    report.table("An hour", [*columns, "endings seen", "mean delay, s", "p95"], rows(service))
    total = sum(step.answered + step.failed + step.throttled for step in service.steps)
    told = ", ".join(f"{name} {count}" for name, count in counts.items())
    report.table(
        "In all",
        ["requests", "polls inside a Retry-After", "endings in the hour / reported", "events", "CPU seconds"],
        [[total, service.inside, f"{sum(end <= HOUR for end in service.ends)} / {counts['Ended']}", told, took]],
    )
    if given.picture is not None:
        given.picture.write_text(picture(service).svg(), encoding="utf-8")
    report.finish(given.json)


if __name__ == "__main__":
    main()

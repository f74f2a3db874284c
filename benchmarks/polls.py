"""When a learned policy asks, and when jobs end: python -m benchmarks.polls [--json FILE] [--picture FILE].

A `PollPolicy` sees 300 videos end, in plain numbers, and then polls 3,000 more; `fixed_interval(5)` polls the same.
The durations are log-normal: 100 seconds in the median, 2 % below 57, 2 % above 179.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from asyncflow.polling import PollPolicy, fixed_interval
from benchmarks._picture import Line, Panel, Picture
from benchmarks._report import Report, parser
from benchmarks.policy import KEY, lognormal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncflow.polling import Policy

TAUGHT, JOBS, STEP, END = 300, 3000, 10.0, 240.0
STEPS = int(END / STEP)


@dataclass
class Asked:
    """How a policy asked about jobs that nobody had seen before."""

    requests: int = 0
    delays: list[float] = field(default_factory=list)
    polls: list[int] = field(default_factory=lambda: [0] * STEPS)
    running: list[float] = field(default_factory=lambda: [0.0] * STEPS)


def ask(policy: Policy, durations: Sequence[float]) -> Asked:
    """Poll a job of each of *durations* to its end."""
    asked = Asked()
    for number, duration in enumerate(durations):
        age, polls = policy.first_poll(number % 60), 0
        while True:
            polls += 1
            if age < END:
                asked.polls[int(age / STEP)] += 1
            if age >= duration:
                break
            age += policy.next_poll(KEY, age, polls)
        asked.requests += polls
        asked.delays.append(age - duration)
        for step in range(min(int(age / STEP) + 1, STEPS)):
            asked.running[step] += min(age - step * STEP, STEP)
    return asked


def a_minute(asked: Asked) -> list[float | None]:
    """Return the requests a minute that a job of each age costs, None where hardly a job lives so long."""
    enough = JOBS * STEP / 200
    return [60 * polls / lived if lived > enough else None for polls, lived in zip(asked.polls, asked.running, strict=True)]


def picture(durations: Sequence[float], fixed: Asked, learned: Asked) -> Picture:
    endings = [0] * STEPS
    for duration in durations:
        endings[min(int(duration / STEP), STEPS - 1)] += 1
    ends = Panel(
        "When the jobs end: share of them in each second of their age, %",
        [Line("3,000 videos", "#8e9aaf", [100 * count / JOBS / STEP for count in endings], fill=True)],
        top=2.0,
        ticks=(0, 0.5, 1, 1.5, 2),
    )
    requests = Panel(
        "When they are asked about: requests a minute for a job of that age",
        [Line("every(5)", "#c0392b", a_minute(fixed)), Line("PollPolicy()", "#3b7dd8", a_minute(learned))],
        top=24,
        ticks=(0, 6, 12, 18, 24),
        height=190,
    )
    told = (
        f"{name}: {asked.requests / JOBS:.1f} requests a job, {fmean(asked.delays):.1f} s late in the mean"
        for name, asked in (("every(5)", fixed), ("PollPolicy()", learned))
    )
    return Picture(
        "Asking when an answer is likely",
        "; ".join(told),
        [STEP * (number + 0.5) for number in range(STEPS)],
        [ends, requests],
        END,
        tick=30.0,
        unit="s of age",
        unit_length=1.0,
    )


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--picture", type=Path, help="draw both into this SVG file")
    given = options.parse_args()
    report = Report("polls")
    rng, shape = random.Random(1), lognormal(100, 57, 179)
    learned = PollPolicy()
    for _ in range(TAUGHT):
        learned.learn(KEY, shape(rng))
    durations = [shape(rng) for _ in range(JOBS)]
    results = {"every(5)": ask(fixed_interval(5), durations), "PollPolicy()": ask(learned, durations)}
    lines = [[name, asked.requests / JOBS, fmean(asked.delays), max(asked.delays)] for name, asked in results.items()]
    report.table("Videos of about 100 s", ["policy", "requests a job", "mean delay, s", "longest"], lines)
    if given.picture is not None:
        given.picture.write_text(picture(durations, *results.values()).svg(), encoding="utf-8")
    report.finish(given.json)


if __name__ == "__main__":
    main()

"""How many requests a policy takes for the delay it gives: python -m benchmarks.policy [--json FILE].

A simulation on numbers alone. Fixed polling at the same mean delay D takes ceil(d / 2D) requests for a job of d seconds; the
lower bound knows the distribution of the durations. Requests are means per job. The ratios to the bounds leave out the first poll
after submission where it found the job running; those to fixed polling count it.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter
from dataclasses import dataclass
from itertools import accumulate
from time import perf_counter
from typing import TYPE_CHECKING

from asyncflow.polling import PollPolicy, backoff, fixed_interval
from benchmarks._bound import Bound
from benchmarks._report import Report, Spread, parser

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asyncflow.polling import Key, Policy

    Shape = Callable[[random.Random], float]

KEY = ("google-flow", "", "")


@dataclass(frozen=True)
class Work:
    """One job of a simulation."""

    begin: float
    duration: float
    key: Key


@dataclass(frozen=True)
class Seen:
    """What became of it."""

    duration: float
    requests: int
    first_found_it_running: bool
    delay: float


def lognormal(median: float, low: float, high: float) -> Shape:
    """Return the shape with 2 % of the durations below *low* and 2 % above *high*."""
    deviation = math.log(high / low) / (2 * 2.0537)
    return lambda rng: rng.lognormvariate(math.log(median), deviation)


def two_kinds(rng: random.Random) -> float:
    return rng.uniform(1.5, 2.5) if rng.random() < 0.5 else rng.gauss(60.0, 4.0)


def failing(shape: Shape) -> Shape:
    return lambda rng: rng.uniform(1.0, 20.0) if rng.random() < 0.05 else shape(rng)


VIDEO, IMAGE, MUSIC = lognormal(100, 57, 179), lognormal(30, 15, 62), lognormal(140, 122, 159)
# The shapes after the first three were never looked at while the policy was made.
SHAPES: dict[str, tuple[str, Shape]] = {
    "video": ("video", VIDEO),
    "image": ("image", IMAGE),
    "music": ("music", MUSIC),
    "gamma, 90 s": ("video", lambda rng: rng.gammavariate(6.0, 15.0)),
    "Weibull, 40 s": ("image", lambda rng: rng.weibullvariate(45.0, 1.8)),
    "heavy tail (Pareto 1.7)": ("video", lambda rng: min(25.0 * rng.paretovariate(1.7), 3600.0)),
    "2 s or 60 s": ("video", two_kinds),
    "video, 5 % fail early": ("video", failing(VIDEO)),
    "music, 5 % fail early": ("music", failing(MUSIC)),
}


def scaled(shape: Shape, factor: float) -> Shape:
    return lambda rng: factor * shape(rng)


def simulate(policy: Policy, jobs: Sequence[Work]) -> tuple[list[Seen], list[float]]:
    """Poll *jobs* as a watch does; return what became of each in the order of *jobs*, and when the requests were."""
    queue = [(job.begin + policy.first_poll(number), number, 1) for number, job in enumerate(jobs)]
    heapq.heapify(queue)
    seen: dict[int, Seen] = {}
    times: list[float] = []
    while queue:
        now, number, polls = heapq.heappop(queue)
        times.append(now)
        job = jobs[number]
        age = now - job.begin
        if age >= job.duration:
            policy.learn(job.key, job.duration)
            seen[number] = Seen(job.duration, polls, polls > 1, age - job.duration)
        else:
            heapq.heappush(queue, (now + policy.next_poll(job.key, age, polls), number, polls + 1))
    return [seen[number] for number in range(len(jobs))], times


def stream(shape: Shape, kind: str, count: int, seed: int, spacing: float = 4.0) -> list[Work]:
    """Return *count* jobs that begin one after another, at random."""
    rng = random.Random(seed)
    begins = accumulate(rng.expovariate(1.0 / spacing) for _ in range(count))
    return [Work(begin, max(shape(rng), 0.5), (KEY[0], kind, "")) for begin in begins]


def changing(before: Shape, factor: float, kind: str, count: int, seed: int) -> list[Work]:
    """Return a stream whose second half takes *factor* times as long."""
    jobs = stream(before, kind, count, seed)
    return [Work(job.begin, job.duration * (factor if 2 * n >= count else 1.0), job.key) for n, job in enumerate(jobs)]


@dataclass(frozen=True)
class Summary:
    requests: float
    later: float
    delay: float
    p95: float
    worst: float
    fixed: float

    @classmethod
    def of(cls, seen: Sequence[Seen]) -> Summary:
        count = len(seen)
        delays = sorted(one.delay for one in seen)
        delay = sum(delays) / count
        requests = sum(one.requests for one in seen) / count
        later = requests - sum(one.first_found_it_running for one in seen) / count
        fixed = sum(math.ceil(one.duration / (2.0 * delay)) for one in seen) / count
        return cls(requests, later, delay, delays[int(0.95 * count)], delays[-1], fixed)


COLUMNS = ["requests", "without first", "delay", "p95", "worst", "fixed polling", "of fixed"]


def cells(runs: Sequence[Summary]) -> list[object]:
    """Return the cells of a row: the first ones as means, the ratio to fixed polling with its spread."""
    means: list[object] = [sum(getattr(run, name) for run in runs) / len(runs) for name in ("requests", "later", "delay", "p95")]
    fixed = sum(run.fixed for run in runs) / len(runs)
    return [*means, max(run.worst for run in runs), fixed, Spread.of([run.requests / run.fixed for run in runs])]


def bounds(shape: Shape, limit: float) -> Bound:
    rng = random.Random("bound")
    durations = [max(shape(rng), 0.5) for _ in range(20_000)]
    return Bound(durations, step=max(0.25, max(durations) / 2000.0), limit=limit)


def steady(report: Report, repeats: int, count: int) -> None:
    """Streams of jobs, measured from the 201st on."""
    rows = []
    for name, (kind, shape) in SHAPES.items():
        for limit in (15.0, None):
            bound = bounds(shape, limit or math.inf)
            free = bounds(shape, math.inf)
            jobs = [stream(shape, kind, count, seed) for seed in range(repeats)]
            runs = [Summary.of(simulate(PollPolicy(max_interval=limit), one)[0][200:]) for one in jobs]
            ratio = Spread.of([run.later / bound.requests(run.delay) for run in runs])
            unlimited = Spread.of([run.later / free.requests(run.delay) for run in runs]).median
            rows.append([name, str(limit), *cells(runs), ratio, unlimited])
    columns = ["durations", "max_interval", *COLUMNS, "of the bound with this max_interval", "of the bound without"]
    report.table("A stream of jobs, default delay, after 200 endings", columns, rows)


def upsets(report: Report, repeats: int, count: int) -> None:
    """What comes unexpected: an empty memory, and a service that changes its speed."""
    rows = []
    for kind, shape in (("video", VIDEO), ("image", IMAGE), ("music", MUSIC), ("", SHAPES["2 s or 60 s"][1])):
        runs = [Summary.of(simulate(PollPolicy(), stream(shape, kind, 200, seed))[0]) for seed in range(repeats)]
        rows.append([f"cold start, {kind or '2 s or 60 s'}", *cells(runs), ""])
    for kind, shape in (("video", VIDEO), ("image", IMAGE), ("music", MUSIC)):
        for factor, word in ((3.0, "slower"), (1.0 / 3.0, "faster")):
            bound = bounds(scaled(shape, factor), 15.0)
            works = [changing(shape, factor, kind, 2 * count, seed) for seed in range(repeats)]
            seen = [simulate(PollPolicy(), work)[0] for work in works]
            runs = [Summary.of(one[count : count + 100]) for one in seen]
            rows.append([f"{kind}, three times {word}: first 100", *cells(runs), ""])
            runs = [Summary.of(one[count + 100 : count + 400]) for one in seen]
            later = Spread.of([run.later / bound.requests(run.delay) for run in runs])
            rows.append([f"{kind}, three times {word}: next 300", *cells(runs), later])
    report.table("The unexpected, default policy", ["what", *COLUMNS, "of the bound with this max_interval"], rows)


def fleets(report: Report, repeats: int, counts: Sequence[int]) -> None:
    """Many jobs begin at once: uniformly distributed durations, far shorter than the shipped guesses."""
    rows = []
    makers: dict[str, Callable[[], Policy]] = {
        "PollPolicy()": PollPolicy,
        "every(5)": lambda: fixed_interval(5),
        "backoff()": backoff,
    }
    for count in counts:
        stretch = {200: 1.0, 2000: 3.0, 20_000: 10.0}[count]
        for name, maker in makers.items():
            runs, peaks = [], []
            for seed in range(repeats):
                rng = random.Random(seed)
                jobs = [Work(0.0, stretch * rng.uniform(4.0, 20.0), (KEY[0], "video", "")) for _ in range(count)]
                seen, times = simulate(maker(), jobs)
                runs.append(Summary.of(seen))
                peaks.append(max(Counter(map(int, times)).values()))
            rows.append([f"{count} in {4 * stretch:.0f}-{20 * stretch:.0f} s", name, *cells(runs), Spread.of(peaks)])
    report.table("Fleets: all jobs at once, cold", ["jobs", "policy", *COLUMNS, "peak requests a second"], rows)


def costs(report: Report, repeats: int) -> None:
    """What the arithmetic costs."""
    rng = random.Random(0)
    ages = [rng.uniform(0.0, 150.0) for _ in range(20_000)]
    key = (KEY[0], "video", "")
    look_ups, learnings, fixed = [], [], []
    other = fixed_interval(5.0)
    for _ in range(repeats):
        policy = PollPolicy()
        begin = perf_counter()
        for _ in range(1000):
            policy.learn(key, VIDEO(rng))
            policy.next_poll(key, 50.0, 2)
        learnings.append((perf_counter() - begin) / 1000 * 1e6)
        begin = perf_counter()
        for age in ages:
            policy.next_poll(key, age, 2)
        look_ups.append((perf_counter() - begin) / len(ages) * 1e6)
        begin = perf_counter()
        for age in ages:
            other.next_poll(key, age, 2)
        fixed.append((perf_counter() - begin) / len(ages) * 1e6)
    rows = [
        ["next_poll of every(5)", Spread.of(fixed)],
        ["next_poll of PollPolicy", Spread.of(look_ups)],
        ["learn, with a new plan every 10 endings", Spread.of(learnings)],
    ]
    report.table("Microseconds a call", ["call", "min / median / max"], rows)


def main() -> None:
    options = parser(__doc__ or "").parse_args()
    report = Report("policy")
    repeats = 1 if options.quick else options.repeats
    steady(report, repeats, 400 if options.quick else 1200)
    upsets(report, repeats, 400 if options.quick else 600)
    fleets(report, repeats, (200,) if options.quick else (200, 2000))
    costs(report, repeats)
    report.finish(options.json)


if __name__ == "__main__":
    main()

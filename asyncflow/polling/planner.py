"""When to ask about one kind of job: how long such jobs take, smoothed, and the ages at which polling them costs least.

Pure: no clock, no I/O, no asyncio.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul

_GROWTH = 0.01
_MOST_CELLS = 600
_BEYOND = 1.3
_TAILS = 3.0
_FEWEST_LATE = 3
_NEVER_ALL = 1.0 - 1e-9
_RANKS_PER_ROOT = 0.5


@dataclass(frozen=True, slots=True)
class PauseBounds:
    """What holds for every pause, in seconds: at least *shortest*, at most *longest*.

    While a kind is hardly known, a pause is no longer than *unknown* or the share *growth* of the job's age, whichever is more.
    """

    shortest: float
    longest: float
    unknown: float = math.inf
    growth: float = 0.0

    def latest(self, age: float) -> float:
        """Return the age at which a job of this *age* is polled again at the latest."""
        return age + min(self.longest, max(self.unknown, self.growth * age))


class Distribution:
    """How old jobs become: at each of the *ages*, the *share* that has ended, and the *mass*, the sum of their durations.

    *ended* are durations, one at least. *alive* are ages of jobs that still run, each of which counts as much as *worth* of those
    that ended: what has lived so long says that not all end earlier, which matters where many jobs started together and only the
    shortest have ended so far. Each duration stands for the range of its neighbours in rank, so that the smoothing is fine where
    many are known and coarse where few are. One more job is thought to end at any time at all: what has not been seen yet is not
    impossible.
    """

    __slots__ = ("ages", "mass", "mean", "share", "tail")

    def __init__(self, ended: Sequence[float], cell: float, alive: Sequence[float] = (), worth: float = 1.0) -> None:
        known = sorted(ended)
        last = known[-1]
        weights, beyond = _weigh(known, sorted(alive), worth)
        self.mean: float = sum(map(mul, weights, known))
        # Never so little that a late job would be believed to end at once.
        self.tail: float = max(_tail(known, alive, worth), 0.1 * self.mean, cell)
        self.mean = max(self.mean + beyond * (last + self.tail), cell)
        self.ages: list[float] = _grid(cell, _BEYOND * last + _TAILS * beyond * self.tail)
        strange = 1.0 / (len(known) + 1.0)
        self.share: list[float] = [0.0]
        self.mass: list[float] = [0.0]
        smooth = slope = share = mass = age = 0.0
        for change, following in zip(_slopes(known, weights, self.ages), self.ages[1:], strict=False):
            slope += change
            smooth += slope * (following - age)
            late = beyond * (1.0 - math.exp((last - following) / self.tail)) if following > last else 0.0
            grown = (1.0 - strange) * (smooth + late) + strange * (1.0 - math.exp(-following / self.mean))
            grown = max(share, min(grown, _NEVER_ALL))
            mass += (grown - share) * (age + following) / 2.0
            share, age = grown, following
            self.share.append(share)
            self.mass.append(mass)

    def ended(self, age: float) -> float:
        """Return the share of jobs that has ended by *age*."""
        return self.share[bisect_right(self.ages, age) - 1]

    def chance(self, age: float, until: float) -> float:
        """Return the share of the jobs alive at *age* that ends by *until*."""
        if age >= self.ages[-1]:
            return 1.0 - math.exp((age - until) / self.tail)
        ended = self.ended(age)
        return (self.ended(until) - ended) / (1.0 - ended)

    def expected(self, age: float) -> float:
        """Return the mean duration of the jobs that live longer than *age*."""
        cell = bisect_right(self.ages, age) - 1
        alive = 1.0 - self.share[cell]
        beyond = 1.0 - self.share[-1]
        rest = self.mass[-1] - self.mass[cell] + beyond * (self.ages[-1] + self.tail)
        return max(rest / alive, age) if age < self.ages[-1] else age + self.tail


class Plan:
    """The ages at which jobs of a known distribution are polled so that price x requests + lateness is least.

    *price* is the lateness in seconds that one request is worth. *requests* and *lateness* are what a job costs on average.
    """

    __slots__ = ("_ages", "_last", "_limits", "_polls", "_shortest", "_tail_wait", "lateness", "requests")

    def __init__(self, jobs: Distribution, price: float, limits: PauseBounds) -> None:
        self._ages = jobs.ages
        self._last = len(jobs.ages) - 1
        self._limits = limits
        self._shortest = limits.shortest
        # The best pause where the end is equally likely at any time.
        self._tail_wait = min(max(math.sqrt(2.0 * price * jobs.tail), limits.shortest), max(limits.longest, limits.shortest))
        beyond = 1.0 - jobs.share[-1]
        polls = jobs.tail / self._tail_wait + 0.5
        best = _solve(jobs, price, limits, beyond * (price * polls + self._tail_wait / 2.0))
        self._polls = [jobs.ages[following] for following in best]
        self.requests: float = beyond * polls
        self.lateness: float = beyond * self._tail_wait / 2.0
        cell = 0
        while cell < self._last:
            following = best[cell]
            self.requests += 1.0 - jobs.share[cell]
            self.lateness += _late(jobs, cell, following)
            cell = following

    def wait(self, age: float) -> float:
        """Return the seconds until the next poll of a job that still runs at *age*."""
        cell = bisect_right(self._ages, age) - 1
        if cell < self._last:
            wait = self._polls[cell] - age
            return max(wait, self._shortest)
        # The older it is beyond all experience, the longer it may still take.
        wait = self._tail_wait * math.sqrt(age / self._ages[-1])
        return max(min(wait, self._limits.latest(age) - age), self._shortest)


def _grid(cell: float, last: float) -> list[float]:
    """Return ages from 0 to *last* or more, *cell* seconds apart and later a hundredth of the age."""
    ages = [0.0]
    while ages[-1] <= last and len(ages) < _MOST_CELLS:
        ages.append(ages[-1] + max(cell, _GROWTH * ages[-1]))
    return ages


def _weigh(known: list[float], alive: list[float], worth: float) -> tuple[list[float], float]:
    """Return the probability of each *known* duration, and that of living longer than all (Kaplan and Meier's estimate)."""
    weights: list[float] = []
    rest = 1.0
    for rank, duration in enumerate(known):
        at_risk = len(known) - rank + worth * (len(alive) - bisect_left(alive, duration))
        weights.append(rest / at_risk)
        rest -= weights[-1]
    return weights, max(rest, 0.0)


def _tail(known: list[float], alive: Sequence[float], worth: float) -> float:
    """Return how much longer the jobs live on average that have become as old as the slowest tenth of those *known*."""
    count = min(max(_FEWEST_LATE, len(known) // 10), len(known))
    begin = known[-count - 1] if count < len(known) else 0.0
    lived: float = sum(known[-count:]) - count * begin + worth * sum([age - begin for age in alive if age > begin])
    return lived / count


def _slopes(known: list[float], weights: list[float], ages: list[float]) -> list[float]:
    """Return by how much the density of *known* durations changes at each of the *ages*."""
    count = len(known)
    ranks = max(1, int(_RANKS_PER_ROOT * math.sqrt(count)))
    slopes = [0.0] * len(ages)
    for rank, duration in enumerate(known):
        before, after = known[max(rank - ranks, 0)], known[min(rank + ranks, count - 1)]
        # The first and the last have neighbours on one side only, and are thought to have others as far away on the other.
        if rank < ranks:
            before = max(0.0, 2.0 * duration - after)
        elif rank >= count - ranks:
            after = 2.0 * duration - before
        begin = min(bisect_left(ages, before), len(ages) - 2)
        end = min(max(bisect_left(ages, after), begin + 1), len(ages) - 1)
        density = weights[rank] / (ages[end] - ages[begin])
        slopes[begin] += density
        slopes[end] -= density
    return slopes


def _late(jobs: Distribution, cell: int, following: int) -> float:
    """Return the lateness of all ends between two polls."""
    return jobs.ages[following] * (jobs.share[following] - jobs.share[cell]) - jobs.mass[following] + jobs.mass[cell]


def _solve(jobs: Distribution, price: float, limits: PauseBounds, beyond: float) -> list[int]:
    """Return for each age the index of the age of the next poll; *beyond* is what a job costs that outlives all ages.

    Backward dynamic programming, with two facts that keep the search short: the best next poll of a younger job is never later
    than that of an older one, and what is still to come costs less the later one looks, so that the search can stop as soon as
    this alone is more than the best found.
    """
    ages, share, mass = jobs.ages, jobs.share, jobs.mass
    last = len(ages) - 1
    costs = [0.0] * last + [beyond]
    best = [last] * (last + 1)
    top = bottom = last
    for cell in range(last - 1, -1, -1):
        age, ended, spent = ages[cell], share[cell], mass[cell]
        latest, earliest = limits.latest(age), age + limits.shortest
        while top > cell + 1 and ages[top] > latest:
            top -= 1
        while bottom > cell + 1 and ages[bottom - 1] >= earliest:
            bottom -= 1
        least, chosen = math.inf, top
        for following in range(top, min(bottom, top) - 1, -1):
            rest = costs[following]
            if rest >= least:
                break
            cost = rest + ages[following] * (share[following] - ended) - mass[following] + spent
            if cost < least:
                least, chosen = cost, following
        costs[cell] = least + price * (1.0 - ended)
        best[cell] = top = chosen
    return best


def plan_for(jobs: Distribution, delay: float, limits: PauseBounds, price: float, rounds: int) -> tuple[Plan, float]:
    """Return the plan whose mean lateness is *delay* and its price, searched for in so many *rounds* from the *price* given."""
    plan = Plan(jobs, price, limits)
    for _ in range(rounds):
        ratio = delay / max(plan.lateness, 1e-9)
        if abs(ratio - 1.0) < 0.02:
            break
        # Lateness grows like the root of the price where the end is equally likely at any time, and more slowly elsewhere.
        price = min(max(price * min(max(ratio * ratio, 0.125), 8.0), 1e-3 * delay), 1e3 * delay)
        plan = Plan(jobs, price, limits)
    return plan, price

"""The default policy: it learns how long each kind of job takes, and polls when an answer is likely.

Pure: no clock, no I/O, no asyncio.
"""

import math
from typing import Any, Final

from asyncflow.polling.planner import Distribution, PauseBounds, Plan, plan_for
from asyncflow.polling.policy import GOLDEN, Key, first_poll
from asyncflow.polling.schedule import EXPECTED, REST

# How much is remembered: the last durations of a key, the latest polls that found a job running, and the keys themselves.
_WINDOW: Final = 200
_ALIVE: Final = 100
_KEYS: Final = 256
# How soon it is believed: hints for a new key, the endings after which it is known, and those after which it is planned again.
_HINTS: Final = 8
_FEW: Final = 2
_KNOWN: Final = 20
_REPLAN: Final = 10
_UNKNOWN_GROWTH: Final = 0.5
# Jobs that take less than so many delays are seen a little sooner, but not sooner than this share of the delay.
_SHORT_JOB: Final = 8.0
_LEAST_DELAY: Final = 0.6
_JITTER: Final = 1.0 / 3.0
_LIKELY: Final = 0.2
# When the service has changed: what counts as rare among the jobs before the latest, and how many rare ones are too many.
_LATEST: Final = 40
_MOST_OPEN: Final = 0.75
_RARE: Final = 0.04
_MUCH_LATER: Final = 1.25
_MUCH_EARLIER: Final = 0.8
_FORGET_FASTER: Final = 40
_FORGET_SLOWER: Final = 10
_RUN: Final = 4
_RUN_SHARE: Final = 0.1
_FADING: Final = 0.1
_MOST_PRICE: Final = 1e4
_CELLS: Final = 5.0
_FORMAT: Final = 1
# Seconds: a record is kept for a week, so what is said to have taken longer than a month has been garbled.
_LONGEST: Final = 30 * 86_400.0

# Median and standard deviation of the logarithm, wider than what was seen of each kind: these are hints.
_PRIORS: Final = {"video": (100.0, 0.4), "image": (30.0, 0.5), "music": (140.0, 0.3)}
_STRANGER: Final = (60.0, 1.0)
# The middles of eight equal parts of the normal distribution.
_NORMAL: Final = (-1.534, -0.887, -0.489, -0.157, 0.157, 0.489, 0.887, 1.534)


class _KindModel:
    """What is known about the jobs of one key."""

    __slots__ = (
        "alive",
        "arrived",
        "cohort",
        "distribution",
        "durations",
        "hints",
        "open",
        "plan",
        "price",
        "seen",
        "strange",
        "turn",
        "unplanned",
        "usual",
    )

    def __init__(self, hints: list[float]) -> None:
        self.hints = hints
        self.durations: list[float] = []
        self.distribution: Distribution | None = None
        self.plan: Plan | None = None
        self.price = 1.0
        self.open = 0.0
        self.cohort = 0.0
        self.strange = 0.0
        self.usual = 0.0, math.inf
        # The first ending is always kept: it corrects the hints.
        self.turn = 1.0
        self.unplanned = 0
        self.seen = 0
        self.arrived = 0
        self.alive = [0.0] * _ALIVE

    def estimate(self, cell: float) -> Distribution:
        """Return how old these jobs become, for all that is known; each of the first endings displaces one of the hints."""
        # As all open jobs are polled in turn, the latest polls are a fair sample of them.
        count = min(int(self.open), _ALIVE, self.seen)
        first = self.seen % _ALIVE - count
        alive = self.alive[first:] + self.alive[: first + count] if first < 0 else self.alive[first : first + count]
        worth = self.open / max(count, 1) / max(self.cohort / _WINDOW, 1.0)
        self.usual = self._usual()
        self.distribution = Distribution(self.durations + self.hints[len(self.durations) :], cell, alive, worth)
        return self.distribution

    def seen_alive(self, age: float, polls: int) -> None:
        """Note a job that still runs, one more when it is read for the first time."""
        self.alive[self.seen % _ALIVE] = age
        self.seen += 1
        if polls <= 1:
            self.open += 1.0
            self.cohort = max(self.cohort, self.open)

    def ended(self, duration: float) -> None:
        """Note an ending, and ask for another plan when there have been enough of them."""
        # Jobs that are discarded never end here: what is left of them fades, slowly against the time that all others take to end.
        fading = 1.0 - _FADING / max(self.cohort, _WINDOW)
        self.open = max(self.open * fading - 1.0, 0.0)
        self.cohort = max(self.cohort * fading, self.open)
        # Jobs that start together end in the order of their durations, so the last 200 of a thousand would be no fair sample: of
        # as many as were open at once, 200 are kept.
        self.arrived += 1
        self.turn += _WINDOW / max(self.cohort, _WINDOW)
        if self.turn >= 1.0:
            self.turn -= 1.0
            self.durations.append(duration)
            del self.durations[:-_WINDOW]
        self._note_strange(duration)
        self.unplanned += 1
        if self.unplanned >= min(_REPLAN, 1 + self.arrived // 4):
            self.plan = None

    def _note_strange(self, duration: float) -> None:
        """Forget nearly all that is known after many endings earlier, or much later, than nearly all those before."""
        early, late = self.usual
        # What ends early was looked at late, and each further one will be: two that are far too early count for four.
        side = (duration > _MUCH_LATER * late) - (duration < early) - (duration < _MUCH_EARLIER * early)
        self.strange += side or -math.copysign(min(2.0, abs(self.strange)), self.strange)
        if abs(self.strange) >= _RUN + _RUN_SHARE * self.cohort:
            recent = max(len(self.durations) - math.ceil(abs(self.strange)), 0)
            # The end of a job that takes longer than it used to is not missed, while one that takes less is seen late.
            forget = _FORGET_FASTER if self.strange < 0.0 else _FORGET_SLOWER
            self.durations = self.durations[:recent:forget] + self.durations[recent:]
            self.strange = 0.0
            self.plan = None

    def _usual(self) -> tuple[float, float]:
        """Return between which durations nearly all jobs took before the latest ones; anything goes while few are known."""
        before = sorted(self.durations[:-_LATEST])
        # Of jobs that all started together each ends later than those before, and that is nothing strange.
        if len(before) < _KNOWN or self.cohort > _MOST_OPEN * len(self.durations):
            return 0.0, math.inf
        rare = int(_RARE * len(before))
        return before[rare], before[-1 - rare]


class PollPolicy:
    """Polls so that the end of a job is seen *delay* seconds late on average, with as few requests as that takes.

    What a kind of job usually takes is learned from those that ended; the shipped guesses for videos, images and music count for
    little. No pause is shorter than *min_interval* or longer than *max_interval* seconds, so no end is seen later than that,
    however unexpected it is; None lifts the limit, which saves the polls of long quiet times. Kinds that take less than eight
    times *delay* are watched a little more closely than asked for.
    """

    def __init__(self, delay: float = 2.5, *, min_interval: float = 1.0, max_interval: float | None = 15.0) -> None:
        longest = math.inf if max_interval is None else max_interval
        if not (0.0 < delay < math.inf and 0.0 < min_interval <= longest):
            raise ValueError(f"no policy: delay={delay}, min_interval={min_interval}, max_interval={max_interval}")
        self._delay = delay
        self._shortest = min_interval
        self._longest = longest
        self._limit = longest
        self._first = max(2.0 * delay, min_interval)
        self._most_jitter = 2.0 * delay
        self._scale = 1.0
        self._phase = 0.0
        self._newest = _FEW
        self._kinds: dict[Key, _KindModel] = {}

    @property
    def price(self) -> float:
        """How many times dearer a request is than *delay* says: above 1 when the budget does not suffice for all polls.

        Pauses grow like its root, beyond *max_interval* too. It is kept in steps of a factor of 1.4.
        """
        return self._scale

    @price.setter
    def price(self, times: float) -> None:
        scale = 2.0 ** (round(2.0 * math.log2(min(max(times, 1.0), _MOST_PRICE))) / 2.0)
        if scale != self._scale:
            self._scale = scale
            self._limit = self._longest * math.sqrt(scale)
            for kind in self._kinds.values():
                kind.plan = None

    def first_poll(self, number: int) -> float:
        """Return the seconds until the first poll of the *number*-th id; all of them are spread over twice the delay."""
        self._newest = number
        return first_poll(number, self._first)

    def next_poll(self, key: Key, age: float, polls: int) -> float:
        """Return the seconds until the next poll of a job just read, still running *age* seconds after its creation."""
        kind = self._kinds.get(key) or self._kind(key)
        if not age >= 0.0:
            age = 0.0  # The service's clock is ahead of ours.
        kind.seen_alive(age, polls)
        if polls == 1 and self._newest < _FEW and kind.arrived < _HINTS and age < 2.0 * self._shortest and self._scale == 1.0:
            # One of a few jobs, just submitted, of a kind hardly known: a second look is cheap, and somebody waits for it.
            return self._shortest
        wait = (kind.plan or self._plan(kind)).wait(age)
        # Jobs of one age would otherwise gather at the same planned ages, and be polled all at once.
        self._phase = (self._phase + GOLDEN) % 1.0
        wait += (0.5 - self._phase) * min(_JITTER * wait, self._most_jitter)
        return max(min(wait, self._limit), self._shortest)

    def priority(self, key: Key, age: float, wait: float) -> int:
        """Return `EXPECTED` if a job of this *age* has ended *wait* seconds later with a chance worth a preference."""
        jobs = self._distribution(self._kind(key))
        return EXPECTED if jobs.chance(age, age + wait) >= _LIKELY else REST

    def learn(self, key: Key, duration: float) -> None:
        """Note that a job ended *duration* seconds after its creation, well or badly; what cannot be a duration is ignored."""
        if not _is_duration(duration):
            return
        service, kind, model = key
        self._kind(key).ended(duration)
        if model:
            # What is known of the kind is the hint for its models still to come.
            self._kind((service, kind, "")).ended(duration)

    def expected_duration(self, key: Key, age: float) -> float | None:
        """Return how old a job that has lived for *age* seconds becomes on average, or None where nothing is known."""
        kind = self._kind(key)
        if not kind.durations and key[1] not in _PRIORS:
            return None
        return self._distribution(kind).expected(age)

    def save(self) -> dict[str, Any]:
        """Return what has been learned, fit for JSON."""
        kinds = [
            [*key, [round(duration, 3) for duration in kind.durations]] for key, kind in self._kinds.items() if kind.durations
        ]
        return {"format": _FORMAT, "kinds": kinds}

    def load(self, state: dict[str, Any]) -> None:
        """Take up what `save` returned; what is not understood is passed over, as all of it can be learned again."""
        match state:
            case {"format": known_format, "kinds": [*kinds]} if known_format == _FORMAT:
                pass
            case _:
                return
        for item in kinds:
            match item:
                case [str(service), str(kind), str(model), [*durations]]:
                    known = self._kind((service, kind, model))
                    known.durations = [float(duration) for duration in durations if _is_duration(duration)][-_WINDOW:]
                    known.plan = known.distribution = None
                    known.arrived = len(known.durations)
                case _:
                    continue

    def _kind(self, key: Key) -> _KindModel:
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) >= _KEYS:
                del self._kinds[next(iter(self._kinds))]
            kind = self._kinds[key] = _KindModel(self._hints(key))
        return kind

    def _hints(self, key: Key) -> list[float]:
        parent = self._kinds.get((key[0], key[1], ""))
        if parent is not None and len(parent.durations) >= _HINTS:
            known = sorted(parent.durations)
            return [known[(2 * part + 1) * len(known) // (2 * _HINTS)] for part in range(_HINTS)]
        median, deviation = _PRIORS.get(key[1], _STRANGER)
        return [median * math.exp(deviation * normal) for normal in _NORMAL]

    def _distribution(self, kind: _KindModel) -> Distribution:
        if kind.distribution is None:
            return kind.estimate(self._delay / _CELLS)
        return kind.distribution

    def _plan(self, kind: _KindModel) -> Plan:
        jobs = kind.distribution
        rounds = 8 if jobs is None else 1
        # Seconds matter more where all is over in a few of them.
        delay = min(self._delay, max((jobs or kind.estimate(self._delay)).mean / _SHORT_JOB, _LEAST_DELAY * self._delay))
        jobs = kind.estimate(max(delay, self._shortest / 2.0) / _CELLS)
        limits = PauseBounds(self._shortest, self._limit)
        if kind.arrived < _KNOWN:
            limits = PauseBounds(self._shortest, self._limit, 2.0 * delay * math.sqrt(self._scale), _UNKNOWN_GROWTH)
        kind.plan, kind.price = plan_for(jobs, delay, limits, kind.price, rounds)
        if self._scale > 1.0:
            kind.plan = Plan(jobs, kind.price * self._scale, limits)
        kind.unplanned = 0
        return kind.plan


def _is_duration(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0.0 <= value <= _LONGEST

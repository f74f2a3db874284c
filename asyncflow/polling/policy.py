"""What a polling policy is, the two that learn nothing, and the pause after a failed poll.

Pure: no clock, no I/O, no asyncio.
"""

import math
from collections.abc import Callable
from random import Random
from typing import Protocol, runtime_checkable

Key = tuple[str, str, str]
"""Which jobs are alike: (service, kind, model), each "" where it is not known."""

GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


def _mirrored(number: int) -> float:
    """Return the fraction whose binary digits are those of *number* in reverse: 0, 1/2, 1/4, 3/4, 1/8 ..."""
    return int(bin(number)[:1:-1], 2) / (1 << number.bit_length())


_MIRRORED = tuple(_mirrored(number) for number in range(1024))
_FIRST_GAP = 0.1
_FIRST_FEW = 12
_FAILURE_FIRST = 1.0
_FAILURE_LIMIT = 60.0


class Policy(Protocol):
    """Decides when each job is polled; all four members are plain arithmetic, called from one event loop, by position."""

    def first_poll(self, number: int, /) -> float:
        """Return the seconds until the first poll of the *number*-th id of a watch, counted from 0."""
        ...

    def next_poll(self, key: Key, age: float, polls: int, /) -> float:
        """Return the seconds until the next poll of a job just read, still running *age* seconds after its creation.

        *polls* counts its answered polls, this one included.
        """
        ...

    def learn(self, key: Key, duration: float, /) -> None:
        """Note that a job ended *duration* seconds after its creation, by the service's own clock, well or badly."""
        ...

    def expected_duration(self, key: Key, age: float, /) -> float | None:
        """Return how long a job that has lived for *age* seconds will have lived when it ends, or None where nothing is known."""
        ...


@runtime_checkable
class PrioritizingPolicy(Protocol):
    """What a policy may offer besides: which polls save most delay when the budget does not suffice for all."""

    def priority(self, key: Key, age: float, wait: float, /) -> int:
        """Return the priority of a poll *wait* seconds from now: `EXPECTED` if it may well have ended by then, else `REST`."""
        ...


class _FixedPolicy:
    """A policy without memory: its pauses depend on the number of polls alone."""

    def __init__(self, interval: float, pause: Callable[[int], float]) -> None:
        self._interval = interval
        self._pause = pause

    def first_poll(self, number: int) -> float:
        return first_poll(number, self._interval)

    def next_poll(self, key: Key, age: float, polls: int) -> float:  # noqa: ARG002 - the protocol's parameters
        return self._pause(polls)

    def learn(self, key: Key, duration: float) -> None:
        """Keep nothing."""

    def expected_duration(self, key: Key, age: float) -> float | None:  # noqa: ARG002 - the protocol's parameters
        return None


def fixed_interval(seconds: float) -> Policy:
    """Return a policy that polls each job every *seconds*; first polls are spread over the first of these intervals."""
    if not 0.0 < seconds < math.inf:
        raise ValueError(f"an interval is a positive number of seconds, not {seconds}")
    return _FixedPolicy(seconds, lambda _polls: seconds)


def backoff(first: float = 2.0, *, factor: float = 1.5, limit: float = 30.0, jitter: float = 0.1) -> Policy:
    """Return a policy whose pauses grow from *first* by *factor* up to *limit* seconds.

    Each is shortened by up to the share *jitter* of itself, evenly over time, so that jobs added together drift apart.
    """
    if not (0.0 < first <= limit < math.inf and factor >= 1.0 and 0.0 <= jitter <= 1.0):
        raise ValueError(f"no backoff: first={first}, factor={factor}, limit={limit}, jitter={jitter}")
    phase = 0.0
    # More steps than these reach the limit anyway, and a large power of *factor* overflows.
    steps = math.ceil(math.log(limit / first, factor)) if factor > 1.0 else 0

    def pause(polls: int) -> float:
        nonlocal phase
        phase = (phase + GOLDEN) % 1.0
        grown = min(limit, first * factor ** min(max(polls - 1, 0), steps))
        return grown * (1.0 - jitter * phase)

    return _FixedPolicy(first, pause)


def failure_delay(failures: int, retry_after: float | None, random: Random) -> float:
    """Return the seconds to wait after the *failures*-th failed poll in a row, of which *retry_after* is the least.

    The pause doubles from 1 to 60 s, of which a random half is taken off: jobs that failed together do not return together.
    """
    full = min(_FAILURE_LIMIT, _FAILURE_FIRST * 2.0 ** min(max(failures - 1, 0), 10))
    delay = full * random.uniform(0.5, 1.0)
    # Added on top, as all who were told the same second would come back in it otherwise.
    return delay if retry_after is None else max(delay, retry_after + full * random.uniform(0.0, 0.1))


def first_poll(number: int, interval: float) -> float:
    """Return when the *number*-th of any number of ids is polled first, so that all fill *interval* seconds evenly.

    The first few come a tenth of a second apart instead: two or three jobs need no spreading, and somebody is waiting for them.
    """
    point = _MIRRORED[number & 1023]
    if number > 1023:
        point += (_MIRRORED[number >> 10] if number < 1048576 else _mirrored(number >> 10)) / 1024.0
    # More of them would be missing from the rest of the interval, and crowd its beginning.
    return min(point * interval, number * _FIRST_GAP) if number < _FIRST_FEW else point * interval

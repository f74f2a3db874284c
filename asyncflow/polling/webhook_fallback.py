"""Polling beside callbacks: rare, and only there for the callback that never comes.

Pure: no clock, no I/O, no asyncio.
"""

import math

from asyncflow.polling.policy import GOLDEN, Key, Policy, PrioritizingPolicy
from asyncflow.polling.schedule import REST


class _SlowedPolicy:
    """Asks a policy, and lets a job rest for an interval at least."""

    def __init__(self, policy: Policy, interval: float) -> None:
        self._policy = policy
        self._interval = interval
        self._rank = policy.priority if isinstance(policy, PrioritizingPolicy) else None
        self._phase = 0.0

    def first_poll(self, number: int) -> float:
        return self._policy.first_poll(number)

    def next_poll(self, key: Key, age: float, polls: int) -> float:
        # It is asked every time: a policy that learns wants to know which jobs still run.
        wait, rest = self._policy.next_poll(key, age, polls), self._interval
        if polls == 1:
            # First polls lie close together; without this, so would all that follow, an interval apart.
            self._phase = (self._phase + GOLDEN) % 1.0
            rest *= 1.0 - self._phase / 2.0
        return max(wait, rest)

    def priority(self, key: Key, age: float, wait: float) -> int:
        return REST if self._rank is None else self._rank(key, age, wait)

    def learn(self, key: Key, duration: float) -> None:
        self._policy.learn(key, duration)

    def expected_duration(self, key: Key, age: float) -> float | None:
        return self._policy.expected_duration(key, age)


def webhook_fallback(policy: Policy, interval: float = 60.0) -> Policy:
    """Return *policy* slowed down for a watch with callbacks: a job rests for *interval* seconds between polls, or longer.

    First polls stay where *policy* has them, and it goes on learning. A job whose callback is lost is found by these polls, up to
    *interval* later, or up to the pause that *policy* makes where that is longer: no outcome depends on a callback.
    """
    if not 0.0 < interval < math.inf:
        raise ValueError(f"an interval is a positive number of seconds, not {interval}")
    return _SlowedPolicy(policy, interval)

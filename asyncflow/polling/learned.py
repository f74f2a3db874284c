"""The default policy: polls when an answer is likely.

Pure: no clock, no I/O, no asyncio.
"""

from typing import Any

from asyncflow.polling.policy import Key, backoff, spread
from asyncflow.polling.schedule import REST


class PollPolicy:
    """Polls each job so that its end is seen *delay* seconds late on average, at no shorter pauses than *min_interval*.

    No pause is longer than *max_interval*, so no end is seen later than that. *price* above 1 asks for fewer polls.
    """

    def __init__(self, delay: float = 2.5, *, min_interval: float = 1.0, max_interval: float = 15.0) -> None:
        self.price = 1.0
        self._delay = delay
        self._pauses = backoff(max(2.0 * delay, min_interval), factor=1.2, limit=max(max_interval, 2.0 * delay, min_interval))

    def first_poll(self, number: int) -> float:
        return spread(number) * 2.0 * self._delay

    def next_poll(self, key: Key, age: float, polls: int) -> float:
        return self._pauses.next_poll(key, age, polls)

    def priority(self, key: Key, age: float, wait: float) -> int:
        return REST

    def learn(self, key: Key, duration: float) -> None:
        """Keep nothing."""

    def expected_duration(self, key: Key, age: float) -> float | None:
        return None

    def save(self) -> dict[str, Any]:
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Keep nothing."""

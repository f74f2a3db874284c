"""Which jobs are due: the schedule of one watch.

Pure: no clock, no I/O, no asyncio.
"""

import math
from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import count
from typing import Final, Generic, TypeVar

INTERACTIVE: Final = 0
NUDGED: Final = 1
EXPECTED: Final = 2
REST: Final = 3


class Watched:
    """One job in a `Schedule`; what else is known about it goes into the slots of a subclass.

    *due* is when it is polled next, or was to be polled if it is out; *priority* is 0 (interactive), 1 (nudged), 2 (expected) or 3 (rest).
    """

    __slots__ = ("place", "due", "job_id", "priority")

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.due = math.inf
        self.priority: int = REST
        self.place: object = None


W = TypeVar("W", bound=Watched)


class Schedule(Generic[W]):
    """The jobs of one watch by the time of their next poll. A job is waiting, or out (being polled)."""

    def __init__(self) -> None:
        self._jobs: dict[str, W] = {}
        self._heap: list[tuple[float, int, W]] = []
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._jobs

    def __iter__(self) -> Iterator[W]:
        return iter(self._jobs.values())

    def get(self, job_id: str) -> W | None:
        return self._jobs.get(job_id)

    def add(self, entry: W, at: float, priority: int = REST) -> None:
        self._jobs[entry.job_id] = entry
        self._put(entry, at, priority)

    def take_due(self, now: float, limit: int) -> list[W]:
        taken: list[W] = []
        while len(taken) < limit and self._clean() and self._heap[0][0] <= now:
            entry = heappop(self._heap)[2]
            entry.place = math.inf
            taken.append(entry)
        return taken

    def reschedule(self, entry: W, at: float, priority: int = REST) -> None:
        place = entry.place
        if isinstance(place, float):
            if place < math.inf:
                at, priority = min(at, place), NUDGED
            self._put(entry, at, priority)

    def hasten(self, job_id: str, at: float) -> bool:
        entry = self._jobs.get(job_id)
        if entry is None:
            return False
        if isinstance(entry.place, float):
            entry.place = min(entry.place, at)
        else:
            self._put(entry, min(at, entry.due), NUDGED)
        return True

    def discard(self, job_id: str) -> W | None:
        entry = self._jobs.pop(job_id, None)
        if entry is not None:
            entry.place = None
        return entry

    def next_wakeup(self) -> float | None:
        return self._heap[0][0] if self._clean() else None

    def _put(self, entry: W, at: float, priority: int) -> None:
        entry.due, entry.priority = at, priority
        entry.place = number = next(self._numbers)
        heappush(self._heap, (at, number, entry))

    def _clean(self) -> bool:
        while self._heap and self._heap[0][2].place is not self._heap[0][1]:
            heappop(self._heap)
        return bool(self._heap)

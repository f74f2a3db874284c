"""Which jobs are due: the schedule of one watch, a wheel of short time slots.

Pure: no clock, no I/O, no asyncio. An entry goes into the slot of its due time without any search, and a slot is put in order
only when its time has come, so a poll costs the same whether a thousand jobs are watched or a million. What is moved or discarded
stays behind in its old slot and is passed over there, since looking for it would cost more.
"""

import math
from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush
from itertools import count
from operator import attrgetter, itemgetter
from typing import ClassVar, Final, Generic, Protocol, TypeVar

INTERACTIVE: Final = 0
NUDGED: Final = 1
EXPECTED: Final = 2
REST: Final = 3

# A power of two: a due time that is a whole number of slots then survives the arithmetic exactly.
_SLOTS_PER_SECOND: Final = 32.0
_WEIGHTS: Final = (64.0, 16.0, 4.0, 1.0)
_HEAD_START: Final = 1.0
_FEW: Final = 8
_SWEEP: Final = 64
_PEEL: Final = 1000
# More in one slot are put in order part by part.
_CROWD: Final = 512
_OUT: Final[tuple[float, ...]] = ()

_due = attrgetter("due")
_rank = itemgetter(0)


class Schedulable(Protocol):
    """One job in a `Schedule`; what else is known about it is its owner's business.

    *due* is when it is polled next, or was to be polled if it is out. *priority* is that of this poll: `INTERACTIVE`, `NUDGED`,
    `EXPECTED` or `REST`. Both are the schedule's to write, and so is *place*, None to begin with. No entry refers to what holds
    it, so that a class without garbage collection will do: a collection that had to look at a hundred thousand of them would stop
    everything else for as long. Entries are told apart by identity.
    """

    job_id: str
    due: float
    priority: int
    # Waiting: the very number (float) of its slot, or (int) under which it is near. Out: a tuple, with the time that it is not to
    # come back later than, if there is one. Neither: None. Whatever else refers to the entry from within a lane is stale.
    place: float | tuple[float, ...] | None


W = TypeVar("W", bound=Schedulable)


class _PriorityWheel(Generic[W]):
    """The waiting jobs of one priority, by due time.

    Slots whose time has not come are unordered lists, each under its number, which is the place of those in it. The one that was
    *opened* last is the *front*, last due first; what is put in later than its slot was opened is *near*, a heap. So all of front
    and near is due before any slot, but for the rest of a crowded one.
    """

    __slots__ = ("crowd", "front", "near", "numbers", "opened", "place", "slots", "stale", "sweeping", "weight")

    def __init__(self, weight: float, crowd: int) -> None:
        self.weight = weight
        self.crowd = crowd
        self.slots: dict[float, tuple[float, list[W]]] = {}
        self.numbers: list[float] = []
        self.opened = -math.inf
        self.place = -math.inf
        self.front: list[W] = []
        self.near: list[tuple[float, int, W]] = []
        self.stale = 0
        self.sweeping: list[float] = []

    def head(self, now: float) -> float:
        """Return when the first job is due, or infinity if that is after *now* (or soon after it)."""
        while True:
            front, near, place = self.front, self.near, self.place
            while front and front[-1].place is not place:
                front.pop()
                self.stale -= 1
            while near and near[0][2].place is not near[0][1]:
                heappop(near)
                self.stale -= 1
            if near:
                return min(near[0][0], front[-1].due) if front else near[0][0]
            if front:
                return front[-1].due
            if not self.numbers or self.numbers[0] > now * _SLOTS_PER_SECOND:
                return math.inf
            self._open(now)

    def drain(self, now: float, until: float, limit: int, taken: list[W]) -> None:
        """Move jobs that are due by *until* to *taken*, in order, as long as that is shorter than *limit*."""
        while len(taken) < limit:
            front, place = self.front, self.place
            if not self.near:
                # The usual case: the jobs of the slot follow each other without another look at the heads.
                for _ in range(min(len(front), limit - len(taken))):
                    entry = front[-1]
                    if entry.place is not place:
                        break
                    if entry.due > until:
                        return
                    entry.place = _OUT
                    taken.append(front.pop())
                if len(taken) >= limit:
                    return
            if self.head(now) > until:
                return
            front, near = self.front, self.near
            if near:
                entry = heappop(near)[2] if not front or near[0][0] < front[-1].due else front.pop()
                entry.place = _OUT
                taken.append(entry)

    def wakeup(self) -> float:
        """Return when the first job is due, or if its slot is crowded the begin of that; infinity if no job is waiting."""
        if (self.front or self.near) and (first := self.head(-math.inf)) < math.inf:
            return first
        for _ in range(_PEEL):
            if not self.numbers:
                return math.inf
            place, slot = self._slot(self.numbers[0])
            while slot and slot[-1].place is not place:
                slot.pop()
                self.stale -= 1
            if len(slot) > _FEW:
                break
            if slot:
                return min([entry.due for entry in slot if entry.place is place])
            self.slots.pop(heappop(self.numbers), None)
        # A wake-up for nothing does less harm than a look at all that was left behind.
        return self.numbers[0] / _SLOTS_PER_SECOND if self.numbers else math.inf

    def forget(self, tolerated: int) -> None:
        """Note that a waiting job has become stale; with more of these than *tolerated*, clear some away at each call."""
        self.stale += 1
        if not self.sweeping:
            if self.stale <= tolerated:
                return
            self._tidy(self.front, self.place)
            near = [item for item in self.near if item[2].place is item[1]]
            heapify(near)
            self.stale -= len(self.near) - len(near)
            self.near = near
            self.sweeping = list(self.slots)
        looked_at = 0
        while self.sweeping and looked_at < _SWEEP:
            number = self.sweeping.pop()
            place, slot = self._slot(number)
            if slot:
                looked_at += 1 + len(slot)
                self._tidy(slot, place)
                if not slot:
                    # Its number stays in the heap for now, where it means nothing.
                    del self.slots[number]
        if not self.sweeping:
            self.numbers = list(self.slots)
            heapify(self.numbers)

    def _slot(self, number: float) -> tuple[float, list[W]]:
        return self.slots.get(number) or (number, [])

    def _tidy(self, entries: list[W], place: float) -> None:
        before = len(entries)
        # Once each: a job that left a slot and came back is in there twice.
        left = {id(entry): entry for entry in entries if entry.place is place}
        entries[:] = left.values()
        self.stale -= before - len(entries)

    def _open(self, now: float) -> None:
        number = self.numbers[0]
        self.place, slot = self._slot(number)
        is_over = number + 1.0 <= now * _SLOTS_PER_SECOND
        if is_over or len(slot) <= self.crowd:
            heappop(self.numbers)
            self.slots.pop(number, None)
            self.opened = number
        else:
            # To put a hundred thousand in order would take longer than the slot; the rest is probably due when its turn comes.
            slot, rest = slot[: self.crowd], slot
            del rest[: self.crowd]
            self.opened = number - 1.0
        # Taken from the end: now those put in first come first among equals, which the sort preserves.
        slot.reverse()
        if not is_over:
            slot.sort(key=_due, reverse=True)
        self.front = slot


class Schedule(Generic[W]):
    """The jobs of one watch by the time of their next poll; each is either waiting or out, that is, being polled.

    When more are due than can be polled, they go in the order of weight x (seconds late + 1), with 64, 16, 4 and 1 for the
    priorities: urgent ones first, but who has waited four times as long as someone of the next higher priority goes before him.
    Where more than 512 are due within one slot (1/32 s), any of them may be that much late.
    Time does not go back: *now* is never less than in an earlier call.
    """

    tolerated_stale: ClassVar[int] = 1024
    crowd: ClassVar[int] = _CROWD

    def __init__(self) -> None:
        self._jobs: dict[str, W] = {}
        self._gone = 0
        self._lanes = tuple(_PriorityWheel[W](weight, self.crowd) for weight in _WEIGHTS)
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._jobs

    def __iter__(self) -> Iterator[W]:
        """Iterate over the jobs of this moment, waiting or out: the schedule may change meanwhile."""
        return iter(tuple(self._jobs.values()))

    def get(self, job_id: str) -> W | None:
        """Return the entry of *job_id*, waiting or out, or None if it is not watched."""
        return self._jobs.get(job_id)

    def not_watched(self, job_ids: Iterable[str]) -> list[str]:
        """Return those of *job_ids* that are not watched, each once, in their order."""
        jobs = self._jobs
        return [job_id for job_id in dict.fromkeys(job_ids) if job_id not in jobs]

    def add(self, entry: W, at: float, priority: int = REST) -> bool:
        """Watch a job, with its first poll *at* this time (finite); return False, and leave all as it is, if it is watched."""
        if self._jobs.setdefault(entry.job_id, entry) is not entry:
            return False
        self._put(entry, at, priority)
        return True

    def take_due(self, now: float, limit: int) -> list[W]:
        """Return up to *limit* jobs that are due, most urgent first; they are out until rescheduled or discarded."""
        taken: list[W] = []
        ticks = now * _SLOTS_PER_SECOND
        while len(taken) < limit:
            ranks: list[tuple[float, float, _PriorityWheel[W]]] = []
            for lane in self._lanes:
                front = lane.front
                if front and not lane.near and (first := front[-1]).place is lane.place:
                    due = first.due
                elif front or lane.near or (lane.numbers and lane.numbers[0] <= ticks):
                    due = lane.head(now)
                else:
                    continue
                if due <= now:
                    ranks.append(((now - due + _HEAD_START) * lane.weight, due, lane))
            if len(ranks) <= 1:
                if ranks:
                    ranks[0][2].drain(now, now, limit, taken)
                break
            ranks.sort(key=_rank)
            _, due, lane = ranks[-1]
            # The lane goes on until the next one's head has become more urgent than its own.
            until = now + _HEAD_START - ranks[-2][0] / lane.weight
            lane.drain(now, max(min(until, now), due), limit, taken)
        return taken

    def pop_due(self, now: float) -> W | None:
        """Return what `take_due` would, the most urgent job that is due, or None."""
        ticks = now * _SLOTS_PER_SECOND
        busy: _PriorityWheel[W] | None = None
        for lane in self._lanes:
            if lane.front or lane.near or (lane.numbers and lane.numbers[0] <= ticks):
                if busy is not None:
                    break
                busy = lane
        else:
            if busy is None:
                return None
            # The usual case: one priority, and its next job is where it was put.
            front = busy.front
            if front and not busy.near and (entry := front[-1]).place is busy.place:
                if entry.due > now:
                    return None
                entry.place = _OUT
                return front.pop()
        taken = self.take_due(now, 1)
        return taken[0] if taken else None

    def reschedule(self, entry: W, at: float, priority: int = REST) -> None:
        """Let a job that is out wait until *at* (finite), or an earlier time asked for meanwhile; a discarded one stays away."""
        place = entry.place
        if place is _OUT:
            self._put(entry, at, priority)
        elif isinstance(place, tuple):
            self._put(entry, min(at, *place), min(priority, NUDGED))

    def poll_now(self, job_id: str, at: float) -> bool:
        """Make a job due no later than *at* and `NUDGED`; one that is out is asked again then. False if it is not watched."""
        entry = self._jobs.get(job_id)
        if entry is None:
            return False
        if isinstance(entry.place, tuple):
            entry.place = (min(at, *entry.place) if entry.place else at,)
        elif at < entry.due or entry.priority > NUDGED:
            self._forget(entry)
            self._put(entry, min(at, entry.due), min(entry.priority, NUDGED))
        return True

    def discard(self, job_id: str) -> W | None:
        """Watch a job no longer, waiting or out; return its entry, or None if it was not watched."""
        entry = self._jobs.pop(job_id, None)
        if entry is None:
            return None
        if isinstance(entry.place, tuple):
            entry.place = None
        else:
            self._forget(entry)
        self._gone += 1
        if self._gone > len(self._jobs) + self.tolerated_stale:
            # A dictionary does not shrink by itself.
            self._jobs, self._gone = dict(self._jobs), 0
        return entry

    def next_wakeup(self) -> float | None:
        """Return when a job is due, or None if no job is waiting; never late, and at most one slot (1/32 s) early.

        While some are due already it is a time that has passed, though not always that of the first of them.
        Only when thousands of jobs have been moved or discarded in one go may it be earlier, for a wake-up or two in vain.
        """
        first = math.inf
        for lane in self._lanes:
            front = lane.front
            if front and not lane.near and front[-1].place is lane.place:
                due = front[-1].due
            elif front or lane.near or lane.numbers:
                due = lane.wakeup()
            else:
                continue
            if due < first:  # noqa: PLR1730 - min() would cost a tenth of the whole answer
                first = due
        return None if first == math.inf else first

    def _forget(self, entry: W) -> None:
        entry.place = None
        self._lanes[entry.priority].forget(len(self._jobs) + self.tolerated_stale)

    def _put(self, entry: W, at: float, priority: int) -> None:
        entry.due = at
        entry.priority = priority
        lane = self._lanes[priority]
        number = at * _SLOTS_PER_SECOND // 1.0
        try:
            entry.place, slot = lane.slots[number]
        except KeyError:
            if number <= lane.opened:
                entry.place = order = next(self._numbers)
                heappush(lane.near, (at, order, entry))
                return
            entry.place = number
            lane.slots[number] = number, [entry]
            heappush(lane.numbers, number)
        else:
            slot.append(entry)

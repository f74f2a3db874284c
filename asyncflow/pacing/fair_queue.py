"""Whose turn it is: the higher priority first, and nobody last for ever."""

from collections import OrderedDict
from enum import IntEnum
from math import inf

_SHARE = 6
_PATIENCE = 0.25


class Priority(IntEnum):
    """Whose turn it is when several wait: a caller who looks on, a hinted job, one expected to end about now, the rest."""

    INTERACTIVE = 0
    NUDGED = 1
    EXPECTED = 2
    REST = 3


_BITS = tuple(1 << priority for priority in Priority)


class _WaitList:
    """Those who wait within one class, in turn; every other start is that of whoever has the job that waits longest.

    By turns alone a thousand watches of one job would leave next to nothing to a watch of a hundred thousand, and by lateness
    alone their jobs would wait for all of those.
    """

    def __init__(self) -> None:
        self.announced: OrderedDict[object, int] = OrderedDict()
        self._since: dict[object, float] = {}
        self._goes_by_lateness = False
        self._next: list[object] = []  # One, once it is known who is next.

    def enter(self, who: object, since: float) -> None:
        self.announced[who] = self.announced.get(who, 0) + 1
        self._since.setdefault(who, since)
        self._next.clear()

    def leave(self, who: object) -> None:
        self.announced[who] -= 1
        if not self.announced[who]:
            del self.announced[who], self._since[who]
            self._next.clear()

    def started(self, who: object) -> None:
        if who in self.announced:
            self.announced.move_to_end(who)
        self._goes_by_lateness = not self._goes_by_lateness
        self._next.clear()

    def is_next(self, who: object) -> bool:
        return not self.announced or self._first() is who

    def pass_over(self) -> None:
        """Have whoever is next, and there is one, wait for all the others."""
        first = self._first()
        self.announced.move_to_end(first)
        self._since[first] = inf
        self._next.clear()

    def _first(self) -> object:
        if not self._next:
            first = next(iter(self.announced))
            if self._goes_by_lateness:
                first = min(self.announced, key=self._since.__getitem__)
            self._next.append(first)
        return self._next[0]


class FairQueue:
    """Counts who waits, and how often each class was passed over since its last start.

    A class passed over six times is *owed* the next start; as three can be owed at once, each gets at least one start in nine.
    Within a class those *who* are announced, a watch or a client each, are told apart by identity and go in turn.
    """

    def __init__(self) -> None:
        self.mask: int = 0  # A bit for each class that waits; while it is 0 the methods need not be called.
        self.waiting: list[int] = [0, 0, 0, 0]
        self.is_owing: bool = False
        self._passed = [0, 0, 0, 0]
        self._lines = tuple(_WaitList() for _ in Priority)
        self._stood_back_at: float | None = None

    def enqueue(self, priority: Priority, who: object = None, since: float = inf) -> None:
        """Count one more of *priority* that waits, *since* when it was due."""
        self._lines[priority].enter(who, since)
        self.waiting[priority] += 1
        self.mask |= _BITS[priority]
        self._note_owing()

    def dequeue(self, priority: Priority, who: object = None) -> None:
        """Count one fewer; one leave too many is ignored. What its class is owed is not forgotten."""
        line = self._lines[priority]
        if who not in line.announced:
            return
        line.leave(who)
        self.waiting[priority] -= 1
        if not self.waiting[priority]:
            self.mask &= ~_BITS[priority]
            self._note_owing()
            self._stood_back_at = None

    def started(self, priority: Priority, who: object = None) -> None:
        """Note that a request of *priority* went out: it is owed nothing, and those below it were passed over."""
        self._stood_back_at = None
        self._passed[priority] = 0
        self._lines[priority].started(who)
        if self.mask & ~_BITS[priority]:
            for lower in range(priority + 1, 4):
                if self.waiting[lower]:
                    self._passed[lower] += 1
        elif not self.is_owing:
            return
        self._note_owing()

    def stands_back(self, now: float, priority: Priority, who: object = None) -> bool:
        """Return whether the slot that is free belongs to another class that waits, or to somebody else within this one."""
        line = self._lines[priority]
        is_passed_over = self.mask & ~_BITS[priority] and self._is_passed_over(priority)
        if not is_passed_over and line.is_next(who):
            return False
        # Who was let go first and does not come must not hold up the others for ever.
        if self._stood_back_at is None:
            self._stood_back_at = now
        if now - self._stood_back_at < _PATIENCE:
            return True
        if not is_passed_over:
            line.pass_over()
        return False

    def _is_passed_over(self, priority: Priority) -> bool:
        asking = [other for other in Priority if self.waiting[other] or other == priority]
        neediest = max(asking, key=lambda other: self._passed[other])
        return priority != (neediest if self._passed[neediest] >= _SHARE else asking[0])

    def _note_owing(self) -> None:
        self.is_owing = any(self.waiting[priority] and self._passed[priority] >= _SHARE for priority in Priority)

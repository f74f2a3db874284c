"""Whose turn it is: the higher priority first, and nobody last for ever."""

from enum import IntEnum

_SHARE = 6
_PATIENCE = 0.25


class Priority(IntEnum):
    """Whose turn it is when several wait: a caller who looks on, a hinted job, one expected to end about now, the rest."""

    INTERACTIVE = 0
    NUDGED = 1
    EXPECTED = 2
    REST = 3


_BITS = tuple(1 << priority for priority in Priority)


class Turns:
    """Counts who waits, and how often each class was passed over since its last start.

    A class passed over six times is *owed* the next start; as three can be owed at once, each gets at least one start in nine.
    """

    def __init__(self) -> None:
        self.mask: int = 0  # A bit for each class that waits; while it is 0 the methods need not be called.
        self.waiting: list[int] = [0, 0, 0, 0]
        self.is_owing: bool = False
        self._passed = [0, 0, 0, 0]
        self._stood_back_at: float | None = None

    def enter(self, priority: Priority) -> None:
        """Count one more of *priority* that waits."""
        self.waiting[priority] += 1
        self.mask |= _BITS[priority]
        self._note_owing()

    def leave(self, priority: Priority) -> None:
        """Count one fewer; one leave too many is ignored. What its class is owed is not forgotten."""
        self.waiting[priority] = max(0, self.waiting[priority] - 1)
        if not self.waiting[priority]:
            self.mask &= ~_BITS[priority]
            self._note_owing()
            self._stood_back_at = None

    def started(self, priority: Priority) -> None:
        """Note that a request of *priority* went out: it is owed nothing, and those below it were passed over."""
        self._stood_back_at = None
        self._passed[priority] = 0
        if self.mask & ~_BITS[priority]:
            for lower in range(priority + 1, 4):
                if self.waiting[lower]:
                    self._passed[lower] += 1
        elif not self.is_owing:
            return
        self._note_owing()

    def stands_back(self, now: float, priority: Priority) -> bool:
        """Return whether the slot that is free belongs to another class that waits."""
        if not self.mask & ~_BITS[priority]:
            return False
        asking = [other for other in Priority if self.waiting[other] or other == priority]
        neediest = max(asking, key=lambda other: self._passed[other])
        if priority == (neediest if self._passed[neediest] >= _SHARE else asking[0]):
            return False
        # Who was let go first and does not come must not hold up the others for ever.
        if self._stood_back_at is None:
            self._stood_back_at = now
        return now - self._stood_back_at < _PATIENCE

    def _note_owing(self) -> None:
        self.is_owing = any(self.waiting[priority] and self._passed[priority] >= _SHARE for priority in Priority)

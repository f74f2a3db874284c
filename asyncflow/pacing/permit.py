"""A request that one part of us has paid for and another one makes."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncflow.pacing.fair_queue import Priority
    from asyncflow.pacing.pacer import Pacer


class Permit:
    """One request of *pacer*, paid for with this *priority*: whoever takes it, ends it, and pays for more of its kind likewise.

    An object, since a fetch may make its request in a task of its own: that has a copy of the context, and of nothing else.
    """

    __slots__ = ("_pacer", "priority")

    def __init__(self, pacer: Pacer, priority: Priority) -> None:
        self._pacer: Pacer | None = pacer
        self.priority: Priority = priority

    def redeem(self, pacer: Pacer) -> bool:
        """Return whether it was for *pacer* and still there; it is gone then."""
        if self._pacer is not pacer:
            return False
        self._pacer = None
        return True


prepaid: ContextVar[Permit | None] = ContextVar("prepaid", default=None)
"""Set around a fetch by a watcher that has paid for it: the client takes it, ends that request, and does not pay again."""

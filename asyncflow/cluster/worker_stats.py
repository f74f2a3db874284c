"""How a worker says that it is doing.

Pure: no clock, no I/O, no asyncio.
"""

from __future__ import annotations

from msgspec import Struct

__all__ = ["WorkerStats"]


class WorkerStats(Struct, frozen=True):
    """How a worker is doing.

    Now: jobs *in_hand*, of them *in_flight*, reports that the store has not yet taken (*unreported*), whether the store is
    *connected* and whether the worker *is_draining*; *is_healthy* is False when the store has not answered for the length of a
    lease. Since the start: *polls*, of them *failed_polls*; reports that *counted* and that were *stale*, their lease being lost;
    leases that ran out here before their poll (*lapsed*); jobs *ended* and *abandoned*; answers 429 (*throttled*). Smoothed
    seconds: *claim_time* and *report_time* of calls to the store.
    """

    name: str
    in_hand: int
    in_flight: int
    unreported: int
    connected: bool
    is_draining: bool
    is_healthy: bool
    polls: int
    failed_polls: int
    counted: int
    stale: int
    lapsed: int
    ended: int
    abandoned: int
    throttled: int
    claim_time: float
    report_time: float

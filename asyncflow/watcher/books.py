"""When a watch began and ended, and how many requests went out meanwhile: what its report says besides its endings."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from asyncflow.pacing import Pacer
    from asyncflow.report import RunReport
    from asyncflow.watcher.stats import WatchCounters

__all__ = ["RunWindow"]


class RunWindow:
    """Opened with the watch; *wall_clock* tells the time, *pacer*, if there is one, the requests."""

    def __init__(self, pacer: Pacer | None, wall_clock: Callable[[], datetime]) -> None:
        self._pacer = pacer
        self._wall_clock = wall_clock
        self._began_at = wall_clock()
        self._before = self._starts()
        self._end: tuple[datetime, int | None] | None = None

    def close(self) -> None:
        """Note that the watch is over: what the budget lets go from now on is others'."""
        self._end = self._wall_clock(), self._starts()

    def report(self, tally: WatchCounters, running: int, captcha_prices: Mapping[str, float]) -> RunReport:
        """Return the report of the watch as it stands; *running* jobs are not over."""
        ended_at, starts = self._end or (self._wall_clock(), self._starts())
        return tally.ledger.report(
            captcha_prices=captcha_prices,
            running=running,
            requests=None if starts is None or self._before is None else starts - self._before,
            polls=tally.polls,
            failed_polls=tally.failed_polls,
            began_at=self._began_at,
            ended_at=ended_at,
        )

    def _starts(self) -> int | None:
        return None if self._pacer is None else sum(self._pacer.stats().starts.values())

"""What a watch has counted.

Pure: no clock, no I/O, no asyncio.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from asyncflow.events import Abandoned, Ended, Event, Unreachable
from asyncflow.report import ReportBuilder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from asyncflow.pacing import Pacer
    from asyncflow.report import RunReport

__all__ = ["RunWindow", "WatchCounters", "WatchStats"]


class WatchStats(Struct, frozen=True):
    """How a watch is doing.

    Now: jobs *watched*, of them *in_flight* (being asked about), their *statuses*, events *undelivered*, seconds until the
    *next_poll* (None: nothing is planned), and when the last job that has been read will probably have ended
    (*expected_end_at*, aware, None: nothing is known). Since the start: *polls*, of them *failed_polls*, outages reported
    (*unreachable*), jobs *ended* by outcome, and jobs *abandoned*.
    """

    watched: int
    in_flight: int
    statuses: dict[str, int]
    undelivered: int
    next_poll: float | None
    expected_end_at: datetime | None
    polls: int
    failed_polls: int
    unreachable: int
    ended: dict[str, int]
    abandoned: int

    def _repr_html_(self) -> str:
        """Show the numbers in a notebook."""
        from asyncflow.notebook import WORDS, box  # noqa: PLC0415 - nobody else needs it

        ended = {**self.ended, "abandoned": self.abandoned}
        over = sum(ended.values())
        end = self.expected_end_at
        facts = (
            *((WORDS[outcome], count) for outcome in WORDS if (count := ended.get(outcome))),
            *((f"still {status or 'without status'}", count) for status, count in sorted(self.statuses.items())),
            ("not read yet", max(self.watched - sum(self.statuses.values()), 0) or None),
            ("no answer, so far", self.unreachable or None),
            ("polls", f"{self.polls:,}, {self.failed_polls:,} without an answer" if self.failed_polls else self.polls),
            ("next poll", None if self.next_poll is None else f"in {self.next_poll:.0f} s"),
            ("expected end", None if end is None else f"{end:%H:%M:%S %Z}"),
        )
        return box(f"{over:,} of {over + self.watched:,} jobs are over", facts, counts={**ended, "pending": self.watched})


class WatchCounters:
    """Polls and events since the start, and the statuses of the jobs that are watched."""

    def __init__(self) -> None:
        self.polls = 0
        self.failed_polls = 0
        self.unreachable: int = 0
        self.abandoned: int = 0
        self.outcomes: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.builder: ReportBuilder = ReportBuilder()

    def reported(self, event: Event, key: tuple[str, str, str] | None = None) -> None:
        """Count an event; *key* is what is known of its job (service, kind and model) where the event may not tell."""
        match event:
            case Ended(job):
                self.outcomes[job.outcome.value] += 1
                self.builder.ended(job)
            case Abandoned(_, problem, job):
                self.abandoned += 1
                self.builder.abandoned(problem, job, key)
            case Unreachable():
                self.unreachable += 1
            case _:
                pass

    def moved(self, before: str | None, after: str | None) -> None:
        """Count a job under another status; None stands for one that was never read, or that is not watched any more."""
        if before is not None:
            self.statuses[before] -= 1
            if not self.statuses[before]:
                del self.statuses[before]
        if after is not None:
            self.statuses[after] += 1


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
        return tally.builder.report(
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

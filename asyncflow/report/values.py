"""What a run came to, as values: `RunReport` and its parts.

Pure: no clock, no I/O, no asyncio. They are frozen structs that go through JSON and back, and they name no job and no address.
"""

from __future__ import annotations

from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from asyncflow.events import Event

__all__ = [
    "CAPTCHA_PRICES",
    "Captchas",
    "Credits",
    "Durations",
    "Files",
    "Reason",
    "ReportGroup",
    "RunReport",
    "Timeline",
    "cost_of",
]

CAPTCHA_PRICES: Mapping[str, float] = MappingProxyType({"": 0.003, "UserProvided": 0.0})
"""US dollars for one solution, by the provider's name in job records; "" is for every other one.

The service publishes no price. 0.003 is what one of its users reported for a day of 159 solutions; the providers' own price lists
change and differ by plan, so put in your own.
"""


def cost_of(providers: Mapping[str, int], prices: Mapping[str, float]) -> float:
    """Return what so many solutions by *providers* cost; names are compared without regard to case, as the service spells them.

    A name that *prices* lacks costs what "" does there, else what it does in `CAPTCHA_PRICES`.
    """
    known = {name.lower(): price for name, price in {**CAPTCHA_PRICES, **prices}.items()}
    return round(sum(known.get(name.lower(), known[""]) * number for name, number in providers.items()), 6)


_MOST_SHOWN = 8


class Files(Struct, frozen=True, gc=False):
    """Files by what became of them: there, failed for a reason that the service names, missing without a word."""

    ok: int = 0
    failed: int = 0
    unresolved: int = 0

    @property
    def total(self) -> int:
        """All that were offered, or should have been."""
        return self.ok + self.failed + self.unresolved


class Durations(Struct, frozen=True, gc=False):
    """How long *jobs* jobs took by the service's clock, in seconds.

    *shortest* and *longest* are exact; *p25*, *median*, *p75* and *p95* are up to 4,096 jobs, and beyond that those of a fair
    sample of so many.
    """

    jobs: int
    shortest: float
    p25: float
    median: float
    p75: float
    p95: float
    longest: float


class Reason(Struct, frozen=True, gc=False):
    """Why jobs failed, lack files or were given up, and how many; *word* is the service's deepest, or ours for the last."""

    word: str
    jobs: int


class Captchas(Struct, frozen=True, gc=False):
    """Captcha solutions that were bought: *attempts* in all, *refused* of them, *providers* by name ("" is not known).

    *cost* is an estimate in US dollars; see `asyncflow.report.CAPTCHA_PRICES`.
    """

    attempts: int = 0
    refused: int = 0
    providers: dict[str, int] = field(default_factory=dict[str, int])
    cost: float = 0.0


class Credits(Struct, frozen=True, gc=False):
    """The balance of an account, which appears as a digest: with the *first* of its jobs to begin, and with the *last*.

    The service tells a balance with each video that has ended and never before one, so what the first job took is not in *used*.
    A balance that was topped up meanwhile makes *used* too small, or negative. The times are aware.
    """

    account: str
    first: int
    last: int
    first_at: datetime | None = None
    last_at: datetime | None = None

    @property
    def used(self) -> int:
        """What went between the two."""
        return self.first - self.last


class Timeline(Struct, frozen=True, gc=False):
    """When jobs ended: from *start* (aware) on, counts by outcome for each *step* seconds, all lists of one length."""

    start: datetime
    step: float
    outcomes: dict[str, list[int]]


class ReportGroup(Struct, frozen=True, gc=False):
    """The jobs of one *service*, *kind* and *model*; each may be "" where it is not known.

    *outcomes* counts jobs: succeeded, partial, no_output, failed, and abandoned for those that were given up.
    """

    service: str
    kind: str
    model: str
    jobs: int
    outcomes: dict[str, int]
    files: Files
    durations: Durations | None
    reasons: tuple[Reason, ...]
    captchas: Captchas


class RunReport(Struct, frozen=True):
    """What a run of jobs came to: cost and quality.

    `watcher.report()` and `asyncflow report` return it, `RunReport.from_events` makes it of any events.

    *jobs* are those that are over, *outcomes* what became of them, *running* those that were watched and are not over.
    *groups* are by service, kind and model, the largest first, and *reasons* the most frequent first. *requests* are those that
    the client's budget let go while the watch lasted, repeats and other users of the client included; *polls* are this
    watch's own. What the source cannot tell is None: a journal counts no requests. *began_at* and *ended_at* are aware.
    """

    jobs: int
    running: int
    outcomes: dict[str, int]
    files: Files
    groups: tuple[ReportGroup, ...]
    reasons: tuple[Reason, ...]
    captchas: Captchas
    credits: tuple[Credits, ...]
    timeline: Timeline | None = None
    requests: int | None = None
    polls: int | None = None
    failed_polls: int | None = None
    began_at: datetime | None = None
    ended_at: datetime | None = None

    @staticmethod
    def from_events(events: Iterable[Event], *, captcha_prices: Mapping[str, float] = CAPTCHA_PRICES) -> RunReport:
        """Return the report of *events*, such as those of `asyncflow watch --json`; an ending that came twice counts twice."""
        from asyncflow.report.builder import ReportBuilder  # noqa: PLC0415 - it makes these records, so it is loaded after them

        builder = ReportBuilder()
        for event in events:
            builder.take(event)
        return builder.report(captcha_prices=captcha_prices)

    @property
    def succeeded(self) -> int:
        """Jobs with all their files."""
        return self.outcomes.get("succeeded", 0)

    @property
    def elapsed(self) -> float | None:
        """Seconds from the beginning to the end."""
        if self.began_at is None or self.ended_at is None:
            return None
        return max((self.ended_at - self.began_at).total_seconds(), 0.0)

    def text(self) -> str:
        """Return the report as a table of at most 80 columns, in whole lines."""
        from asyncflow.report.text import table  # noqa: PLC0415 - a rendering is loaded where it is wanted

        return table(self)

    def html(self) -> str:
        """Return the report as a page that needs nothing else: no script, no style sheet, no font from elsewhere."""
        from asyncflow.report.html import page  # noqa: PLC0415 - as above

        return page(self)

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        """Show the report in a notebook, in short; `html()` is the whole of it."""
        from asyncflow.notebook import WORDS, box  # noqa: PLC0415 - as above

        named = [outcome for outcome in WORDS if outcome in self.outcomes]
        head = ("kind", "jobs", *(WORDS[outcome] for outcome in named), "median")
        rows = [
            (
                " ".join(filter(None, (group.kind, group.model))) or "unknown",
                group.jobs,
                *(group.outcomes.get(outcome, 0) or "" for outcome in named),
                "" if group.durations is None else f"{group.durations.median:,.0f} s",
            )
            for group in self.groups[:_MOST_SHOWN]
        ]
        facts = (
            *((f"{reason.jobs:,} x", reason.word) for reason in self.reasons[:_MOST_SHOWN]),
            ("files", f"{self.files.ok:,} of {self.files.total:,}" if self.files.total else None),
            ("captchas", f"{self.captchas.attempts:,}, about ${self.captchas.cost:.2f}" if self.captchas.attempts else None),
            ("requests", self.requests),
        )
        title = f"{self.jobs:,} jobs are over, {self.running:,} still run" if self.running else f"{self.jobs:,} jobs"
        return box(title, facts, counts={**self.outcomes, "pending": self.running}, table=(head, *rows) if rows else ())

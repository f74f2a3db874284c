"""The state that all of a simulator's handlers share, and its two times.

`now()` is seconds since the start; `wall(now)` the unix time that goes with it. Both run at the client's pace: *speed* only
shortens the lives of jobs.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from asyncflow.simulator.clock import Clock
from asyncflow.simulator.faults import FaultInjector, Faults
from asyncflow.simulator.jobs import JobOrder, JobRegistry, SimulatedJob
from asyncflow.simulator.media_faults import MediaFaultPlan
from asyncflow.simulator.metrics import Counters, SimulatorStats
from asyncflow.simulator.replay import Replay
from asyncflow.simulator.signed_links import SignedLinks
from asyncflow.simulator.webhooks import WebhookSender

if TYPE_CHECKING:
    from asyncflow.simulator.request import SubmitTruth

__all__ = ["SimulatorConfig", "SimulatorState"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorConfig:
    """What does not change while a simulator runs; seconds are the client's.

    *retention*: how long records are kept. *link_life*: how long signed links are good. *media_size*: about how many bytes a
    media file has at least. *inline_images*: share of images that come as base64. *max_jobs*: songs that one account makes at
    a time. *callback_hosts*: hosts beside loopback that callbacks may go to.
    """

    seed: int = 0
    speed: float = 1.0
    token: str = "user:1234-abcdef"  # noqa: S105 - a made-up token, in the form of real ones
    retention: float = 7 * 86_400.0
    link_life: float = 21_600.0
    media_size: int = 0
    inline_images: float = 0.1
    max_jobs: int = 16
    callback_hosts: frozenset[str] = field(default_factory=frozenset[str])

    @property
    def user(self) -> str:
        """The user's number, as it stands in the token and in ids."""
        return self.token.removeprefix("user:").partition("-")[0]


class SimulatorState:
    """Jobs, faults, counters and clock of one running simulator."""

    def __init__(self, settings: SimulatorConfig, faults: Faults, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.links: SignedLinks = SignedLinks(key=f"simulator {settings.seed}".encode(), life=settings.link_life)
        self.closing: asyncio.Event = asyncio.Event()
        self.injector: FaultInjector = FaultInjector(faults, settings.seed)
        self._start(faults)

    def now(self) -> float:
        """Return the seconds since the start."""
        return self.clock.now() - self._started

    def wall(self, now: float) -> float:
        """Return the unix time at *now*."""
        return self._start_wall + now

    def add_job(self, order: JobOrder) -> SimulatedJob:
        """Make a job and begin its callbacks."""
        job = self.book.create(order, self.now(), self.injector.faults.fates())
        self.outbox.follow(job)
        return job

    def is_expired(self, job: SimulatedJob, now: float) -> bool:
        """Return whether the job's record is kept no longer."""
        return now - job.born > self.settings.retention

    async def reset(self) -> None:
        """Forget all jobs, counts, played answers and faults, and start again at 0."""
        await self.outbox.aclose()
        self._start(Faults())

    def stats(self) -> SimulatorStats:
        """Return the counts of this moment."""
        now = self.now()
        counters = self.counters
        lags = [lag for job in self.book.jobs if (lag := job.lag()) is not None]
        by_kind = counters.by(0)
        return SimulatorStats(
            uptime=now,
            requests=sum(number for kind, number in by_kind.items() if kind != "media"),
            by_kind=by_kind,
            by_status=counters.by(1),
            by_kind_and_status={f"{kind} {status}": number for (kind, status), number in counters.answers.items()},
            in_flight=counters.in_flight,
            peak_in_flight=counters.peak_in_flight,
            peak_rate=counters.peak_rate,
            throttled=counters.by(1).get("429", 0),
            polls_inside_retry_after=counters.inside_retry_after,
            faults=dict(counters.faults),
            tokens_at_media=counters.tokens_at_media,
            connections=counters.connections,
            open_connections=counters.open_connections,
            peak_open_connections=counters.peak_open_connections,
            callbacks=dict(counters.callbacks),
            jobs=len(self.book.jobs),
            jobs_ended=sum(job.has_ended(now) for job in self.book.jobs),
            jobs_read=sum(job.reads > 0 for job in self.book.jobs),
            ends_shown=sum(job.shown_at is not None for job in self.book.jobs),
            lag_mean=sum(lags) / len(lags) if lags else None,
            lag_max=max(lags, default=None),
        )

    def _start(self, faults: Faults) -> None:
        settings = self.settings
        self._started = self.clock.now()
        self._start_wall = datetime.now(UTC).timestamp()
        self.injector = FaultInjector(faults, settings.seed)
        connections = getattr(self, "counters", None)
        self.counters: Counters = Counters()
        if connections is not None:
            self.counters.open_connections = connections.open_connections
        self.player: Replay = Replay()
        self.submits: list[SubmitTruth] = []
        self.tricks: MediaFaultPlan = MediaFaultPlan()
        self.book: JobRegistry = JobRegistry(
            seed=settings.seed,
            speed=settings.speed,
            user=settings.user,
            links=self.links,
            start_wall=self._start_wall,
            inline=settings.inline_images,
        )
        self.outbox: WebhookSender = WebhookSender(
            self.clock, self.now, self.injector, self.counters.callbacks, settings.callback_hosts
        )

"""A service for tests in virtual time: what it says of a job is a function of the time since the start."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asyncflow.errors import ServiceError
from asyncflow.events import Changed, Ended, Expiring
from asyncflow.records import FlowJob, Job, Media
from asyncflow.testing import call_later, now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from asyncflow.errors import AsyncflowError
    from asyncflow.events import Event
    from asyncflow.watcher import JobWatcher

FILE = Media("video", "ok", url="https://media.example/1")


def job(job_id: str, status: str) -> FlowJob:
    return FlowJob(job_id, status, "video", media=(FILE,) if status == "completed" else ())


@dataclass
class Service:
    """Answers reads after *latency* seconds; *script* is a list of (since, status), one for all jobs or one for each."""

    script: list[tuple[float, str]] | dict[str, list[tuple[float, str]]]
    latency: float = 0.0
    trouble: Callable[[str, float], AsyncflowError | None] = lambda _job_id, _now: None
    reads: list[tuple[float, str]] = field(default_factory=list)
    in_flight: int = 0
    peak: int = 0

    async def read(self, job_id: str) -> Job:
        self.reads.append((now(), job_id))
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            if self.latency:
                await elapse(self.latency)
        finally:
            self.in_flight -= 1
        error = self.trouble(job_id, now())
        if error is not None:
            raise error
        return job(job_id, self.status(job_id))

    def status(self, job_id: str) -> str:
        script = self.script[job_id] if isinstance(self.script, dict) else self.script
        return [status for since, status in script if since <= now()][-1]

    def times(self, job_id: str) -> list[float]:
        return [at for at, read_id in self.reads if read_id == job_id]


def down(since: float, until: float) -> Callable[[str, float], AsyncflowError | None]:
    """Every read between the two instants fails."""
    return lambda _job_id, at: ServiceError("down", transient=True, status=503) if since <= at < until else None


async def collect(watcher: JobWatcher, seen: list[Event] | None = None) -> list[Event]:
    """Return what is reported until the end; *seen* has it even if the end is an error."""
    events = [] if seen is None else seen
    async with watcher:
        async for event in watcher:
            events.append(event)
    return events


def words(events: Iterable[Event]) -> list[str]:
    """Return events as words, such as "changed a started"."""
    out: list[str] = []
    for event in events:
        if isinstance(event, Changed | Ended | Expiring):
            out.append(f"{type(event).__name__.lower()} {event.job.job_id} {event.job.status}")
        else:
            out.append(f"{type(event).__name__.lower()} {event.job_id} {event.error.kind}")
    return out


async def elapse(seconds: float) -> None:
    """Let virtual time pass."""
    passed = asyncio.Event()
    call_later(seconds, passed.set)
    await passed.wait()

"""One watch from its first read to its summary, whoever asked for it and wherever its events go."""

import asyncio
import signal
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from typing import TYPE_CHECKING, TypeVar

from asyncflow import AsyncflowError, Event, Job, JobWatcher, Policy
from asyncflow.cli.endings import Ending, Interrupted
from asyncflow.cli.exit_codes import ExitCode
from asyncflow.cli.failures import error_text
from asyncflow.cli.frame import Gauges, Line, frame
from asyncflow.cli.summary import progress_line, summary
from asyncflow.cli.tally import Running, Speed, Tally
from asyncflow.cli.words import count, some_digests

if TYPE_CHECKING:
    from asyncflow import AsyncClient, Journal
    from asyncflow.cli.feeds import Feed

__all__ = ["Session", "Times", "run", "what_runs"]

T = TypeVar("T")

_MOST_AT_ONCE = 500
# A server that has never given a record, and answers like this so many reads (each of several tries), is not the service.
_HOPELESS = {"redirect": 1, "edge_blocked": 1, "transport": 2, "decode_error": 2}


@dataclass(frozen=True, slots=True)
class Times:
    """Limits of time in seconds, None for no limit."""

    watch: float | None = None
    job: float | None = None


class Session:
    """A watch through *client*, counted by *tally* and shown by `feeds`; *title* is what it is and of what."""

    def __init__(self, client: "AsyncClient", tally: Tally, policy: Policy, title: tuple[str, str]) -> None:
        self.tally = tally
        self.feeds: list[Feed] = []
        self.journal: Journal | None = None
        self.postscript: Callable[[], list[Line]] = list
        self._client = client
        self._policy = policy
        self._title = title
        self._watcher: JobWatcher | None = None
        self._started: float | None = None
        self._speed = Speed()
        self._is_hopeless = False

    async def follow(self, job_ids: Iterable[str] | AsyncIterable[str], times: Times, concurrency: int) -> None:
        """Watch to the end. `Ending` if nobody answers, `AsyncflowError` if token or payment are refused."""
        loop = asyncio.get_running_loop()
        self._started = loop.time()
        self._speed.start(self._started)
        watcher = JobWatcher(
            self._read,
            job_ids,
            policy=self._policy,
            pacer=self._client.pacer,
            concurrency=concurrency,
            timeout=times.watch,
            job_timeout=times.job,
            journal=self.journal,
            # An event is handled when it is written, and several are taken before any is.
            auto_acknowledge=False,
        )
        try:
            async with watcher:
                self._watcher = watcher
                for feed in self.feeds:
                    feed.start()
                await self._deliver(watcher)
            lines = summary(self.tally, self.gauges(), self.elapsed) + self.postscript()
            for feed in self.feeds:
                await feed.finish(lines)
        finally:
            for feed in self.feeds:
                feed.close()

    async def _deliver(self, watcher: JobWatcher) -> None:
        loop = asyncio.get_running_loop()
        async for event in watcher:
            events: list[Event] = [event]
            # What is there already goes out in one piece; the next event may be long in coming, so none is waited for.
            while len(events) < _MOST_AT_ONCE and watcher.stats().undelivered:
                events.append(await anext(watcher))
            wall_time = datetime.now(UTC)
            for each in events:
                self.tally.apply(each, loop.time(), wall_time)
            for feed in self.feeds:
                await feed.take(events)
            watcher.acknowledge(*events)

    async def _read(self, job_id: str) -> Job:
        try:
            job = await self._client.get_job(job_id)
        except AsyncflowError as error:
            self.tally.failed(job_id, error)
            if not (self.tally.answers or self._is_hopeless) and self.tally.failures >= _HOPELESS.get(error.kind, inf):
                # Raised once: two of them would come out as a group.
                self._is_hopeless = True
                raise Ending(error_text(error), ExitCode.LOST) from error
            raise
        self.tally.answered(job_id)
        return job

    def nudge(self, job_id: str) -> bool:
        """Ask about a job soon; return whether it is watched."""
        return self._watcher is not None and self._watcher.nudge(job_id)

    # -- what can be shown -----------------------------------------------------------------------------------------------

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return 0.0 if self._started is None else asyncio.get_running_loop().time() - self._started

    def gauges(self) -> Gauges:
        """Return the instruments of this moment."""
        now = asyncio.get_running_loop().time()
        pacer = self._client.pacer.stats()
        requests = sum(pacer.starts.values())
        watcher = self._watcher
        return Gauges(
            rate=self._speed.note(now, requests),
            requests=requests,
            throttled=pacer.throttled,
            next_poll=None if watcher is None else watcher.stats().next_poll,
            pause=max((pacer.paused_until or now) - now, 0.0),
        )

    def picture(self, size: tuple[int, int]) -> Sequence[Line]:
        """Return what a terminal of *size* shows now."""
        now = asyncio.get_running_loop().time()
        return frame(self.tally, self.gauges(), self._title, self.elapsed, now, size=size, expect=self._expect)

    def progress(self) -> str:
        """Return how far the watch is, in one line."""
        return progress_line(self.tally, self.gauges(), self.elapsed)

    def kind_of(self, job_id: str) -> str:
        """Return the kind of a running job, "" where it is not known."""
        job = self.tally.running.get(job_id)
        return "" if job is None else job.kind

    def _expect(self, job: Running, age: float) -> float | None:
        return self._policy.expected_duration((job.service, job.kind, job.model), age)


def run(main: Callable[[], Awaitable[T]]) -> T:
    """Run *main* in an event loop of its own; `Interrupted` if a signal ends it, after everything is closed."""
    signals: list[int] = []

    def stop(number: int, task: asyncio.Task[T] | None) -> None:
        signals.append(number)
        if task is not None:
            task.cancel()

    async def guarded() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        for name in ("SIGTERM", "SIGHUP"):
            with suppress(AttributeError, NotImplementedError):  # Windows
                loop.add_signal_handler(getattr(signal, name), stop, getattr(signal, name), task)
        return await main()

    try:
        return asyncio.run(guarded())
    except KeyboardInterrupt:
        raise Interrupted(ExitCode.INTERRUPTED) from None
    except asyncio.CancelledError:
        if not signals:
            raise
        raise Interrupted(ExitCode.TERMINATED) from None


def what_runs(tally: Tally) -> str:
    """Return which jobs were not over when a watch was ended before its time."""
    open_ids = tally.open_ids
    if not open_ids:
        return "no job was still running"
    return f"{len(open_ids):,} of {count(tally.total, 'job')} still running: {some_digests(open_ids)}"

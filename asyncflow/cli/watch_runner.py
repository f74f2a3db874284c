"""One watch from its first read to its summary, whoever asked for it and wherever its events go."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from asyncflow import AsyncflowError, Event, Job, JobWatcher, Policy, WatchStats
from asyncflow.cli.errors import error_text
from asyncflow.cli.exits import CommandExit, ExitCode, Interrupted, graver
from asyncflow.cli.formatting import count, some_digests
from asyncflow.cli.output.live_view import Line, LiveMetrics, frame
from asyncflow.cli.output.progress import RateMeter, RunningJobs, WatchProgress
from asyncflow.cli.output.summary import progress_line, summary

if TYPE_CHECKING:
    from types import TracebackType

    from asyncflow import AsyncClient, Journal
    from asyncflow.cli.addon import Addon
    from asyncflow.cli.output.renderers import Renderer

__all__ = ["Times", "WatchCall", "WatchRunner", "heard", "run", "what_runs"]

T = TypeVar("T")

_MOST_AT_ONCE = 500
# A server that has never given a record, and answers like this so many reads (each of several tries), is not the service.
_HOPELESS = {"redirect": 1, "edge_blocked": 1, "transport": 2, "decode_error": 2}


@dataclass(frozen=True, slots=True)
class Times:
    """Limits of time in seconds, None for no limit."""

    watch: float | None = None
    job: float | None = None


class WatchCall(Protocol):
    """What a session asks of a watch: a `JobWatcher` is one."""

    def stats(self) -> WatchStats:
        """Return how it is doing."""
        ...

    def acknowledge(self, *events: Event) -> None:
        """Note that *events* need not be delivered again."""
        ...

    def nudge(self, job_id: str) -> bool:
        """Ask about a job soon; return whether it is watched."""
        ...

    def __aiter__(self) -> AsyncIterator[Event]: ...
    async def __anext__(self) -> Event: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: "TracebackType | None"
    ) -> None: ...


class WatchRunner:
    """A watch through *client*, counted by *tally*, shown by `feeds` and accompanied by `companions`.

    *title* is what it is and of what. A companion may set `source` to watch by other means than a `JobWatcher` of this process,
    and `others_poll` if that makes no requests here.
    """

    def __init__(self, client: "AsyncClient", tally: WatchProgress, policy: Policy, title: tuple[str, str]) -> None:
        self.client = client
        self.policy = policy
        self.tally = tally
        self.feeds: list[Renderer] = []
        self.addons: Sequence[Addon] = ()
        self.journal: Journal | None = None
        self.source: Callable[[Iterable[str] | AsyncIterable[str], Times, int], WatchCall] = self._watch_here
        self.others_poll = False
        self.title = title
        self._watcher: WatchCall | None = None
        self._held: Counter[tuple[str, str]] = Counter()
        self._started: float | None = None
        self._speed = RateMeter()
        self._is_hopeless = False

    async def follow(self, job_ids: Iterable[str], times: Times, concurrency: int) -> None:
        """Watch to the end. `CommandExit` if nobody answers, `AsyncflowError` if token or payment are refused."""
        loop = asyncio.get_running_loop()
        self._started = loop.time()
        self._speed.start(self._started)
        async with AsyncExitStack() as stack:
            for addon in self.addons:
                await stack.enter_async_context(addon.run(self))
            sources = [source for addon in self.addons if (source := addon.job_ids) is not None]
            watcher = self.source(_chained(job_ids, sources) if sources else job_ids, times, concurrency)
            try:
                async with watcher:
                    self._watcher = watcher
                    for feed in self.feeds:
                        feed.start()
                    await self._deliver(watcher)
                    for addon in self.addons:
                        await addon.drain()
                lines = summary(self.tally, self.gauges(), self.elapsed)
                lines += [line for addon in self.addons for line in addon.summary_lines()]
                for feed in self.feeds:
                    await feed.render_summary(lines)
            finally:
                for feed in self.feeds:
                    feed.close()

    def _watch_here(self, job_ids: Iterable[str] | AsyncIterable[str], times: Times, concurrency: int) -> WatchCall:
        return JobWatcher(
            self._read,
            job_ids,
            policy=self.policy,
            pacer=self.client.pacer,
            concurrency=concurrency,
            timeout=times.watch,
            job_timeout=times.job,
            journal=self.journal,
            # An event is handled when it is written, and several are taken before any is.
            auto_acknowledge=False,
        )

    async def _deliver(self, watcher: WatchCall) -> None:
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
                await feed.render(events)
            for addon in self.addons:
                await addon.on_events(events)
            watcher.acknowledge(*(each for each in events if each.key not in self._held))

    def defer_ack(self, event: Event) -> None:
        """Keep *event* from being acknowledged until it is released as often as it was held: should we die, it comes again."""
        self._held[event.key] += 1

    def ack(self, event: Event) -> None:
        """Let *event* be acknowledged."""
        self._held[event.key] -= 1
        if not self._held[event.key]:
            del self._held[event.key]
            if self._watcher is not None:
                self._watcher.acknowledge(event)

    @property
    def code(self) -> ExitCode:
        """The exit code, if nothing more happens."""
        return graver([self.tally.code, *(addon.exit_code for addon in self.addons)])

    async def _read(self, job_id: str) -> Job:
        try:
            job = await self.client.get_job(job_id)
        except AsyncflowError as error:
            self.tally.failed(job_id, error)
            if not (self.tally.answers or self._is_hopeless) and self.tally.failures >= _HOPELESS.get(error.kind, inf):
                # Raised once: two of them would come out as a group.
                self._is_hopeless = True
                raise CommandExit(error_text(error), ExitCode.LOST) from error
            raise
        self.tally.answered(job_id)
        return job

    def nudge(self, job_id: str) -> bool:
        """Ask about a job soon; return whether it is watched."""
        return self._watcher is not None and self._watcher.nudge(job_id)

    def discard(self, job_id: str) -> None:
        """Watch a job no longer: it has got as far as was wanted."""
        self.tally.let_go(job_id)
        if isinstance(self._watcher, JobWatcher):
            self._watcher.discard(job_id)

    # -- what can be shown -----------------------------------------------------------------------------------------------

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return 0.0 if self._started is None else asyncio.get_running_loop().time() - self._started

    def stats(self) -> WatchStats | None:
        """Return how the watch is doing, None before it has begun."""
        return None if self._watcher is None else self._watcher.stats()

    def gauges(self) -> LiveMetrics | None:
        """Return the instruments of this moment, None where others poll."""
        if self.others_poll:
            return None
        now = asyncio.get_running_loop().time()
        pacer = self.client.pacer.stats()
        requests = sum(pacer.starts.values())
        watcher = self._watcher
        return LiveMetrics(
            rate=self._speed.note(now, requests),
            requests=requests,
            throttled=pacer.throttled,
            next_poll=None if watcher is None else watcher.stats().next_poll,
            pause=max((pacer.paused_until or now) - now, 0.0),
        )

    def picture(self, size: tuple[int, int]) -> Sequence[Line]:
        """Return what a terminal of *size* shows now."""
        now = asyncio.get_running_loop().time()
        extra = [line for addon in self.addons for line in addon.live_lines()]
        return frame(self.tally, self.gauges(), self.title, self.elapsed, now, size=size, expect=self._expect, extra=extra)

    def progress(self) -> str:
        """Return how far the watch is, in one line."""
        return progress_line(self.tally, self.gauges(), self.elapsed)

    def kind_of(self, job_id: str) -> str:
        """Return the kind of a job that runs or was given up, "" where it is not known."""
        return self.tally.kind_of(job_id)

    def _expect(self, job: RunningJobs, age: float) -> float | None:
        return self.policy.expected_duration((job.service, job.kind, job.model), age)


async def _chained(first: Iterable[str], sources: Iterable[AsyncIterable[str]]) -> AsyncIterator[str]:
    for job_id in first:
        yield job_id
    for source in sources:
        async for job_id in source:
            yield job_id


def run(main: Callable[[], Awaitable[T]]) -> T:
    """Run *main* in an event loop of its own; `Interrupted` if a signal ends it, after everything is closed."""
    signals: list[int] = []

    def stop(number: int, task: asyncio.Task[T] | None) -> None:
        signals.append(number)
        if task is not None:
            task.cancel()

    async def guarded() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        with suppress(NotImplementedError):  # Windows
            for number in heard("SIGTERM", "SIGHUP"):
                loop.add_signal_handler(number, stop, number, task)
        return await main()

    try:
        return asyncio.run(guarded())
    except KeyboardInterrupt:
        raise Interrupted(ExitCode.INTERRUPTED) from None
    except asyncio.CancelledError:
        if not signals:
            raise
        raise Interrupted(ExitCode.TERMINATED) from None


def heard(*names: str) -> list[int]:
    """Return the signals of these *names* that the system has and that are not ignored by the wish of whoever started us.

    `nohup` ignores SIGHUP, and a shell SIGINT for the jobs that a script starts in the background.
    """
    numbers = (getattr(signal, name, None) for name in names)
    return [number for number in numbers if number is not None and signal.getsignal(number) is not signal.SIG_IGN]


def what_runs(tally: WatchProgress) -> str:
    """Return which jobs were not over when a watch was ended before its time."""
    open_ids = tally.open_ids
    if not open_ids:
        return "no job was still running"
    return f"{len(open_ids):,} of {count(tally.total, 'job')} still running: {some_digests(open_ids)}"

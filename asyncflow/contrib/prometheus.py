"""Metrics for Prometheus (extra `prometheus`): a collector that is a hook too.

    metrics = Metrics()
    REGISTRY.register(metrics)
    client = AsyncClient(hooks=[metrics])
    metrics.follow(client, "client")
    metrics.follow(watcher, "videos")

Counters come from the facts that a hook hears, gauges are read when they are asked for. There is no label for a job: their number
has no bound.
"""

from __future__ import annotations

import asyncio
import weakref
from bisect import bisect_left
from collections import Counter
from contextlib import suppress
from itertools import accumulate
from typing import TYPE_CHECKING, cast

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from asyncflow import WatchStats
from asyncflow.telemetry import EventEmitted, PollAnswered, RequestMade, TelemetryEvent, WatchEnded, WatchStarted, word

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric

    from asyncflow import AsyncClient, JobWatcher, Pacer, PacerStats

__all__ = ["Metrics"]

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_LOOK = 0.25
"""Seconds between two looks at how late the event loop is."""


_PATIENCE = 100


class Metrics(Collector):
    """A hook for clients and watches, and a collector for a registry; one of each will do for a process.

    `follow` adds what is read when the registry is asked: the jobs of a watch by status, the budget of a client. Followed objects
    are held weakly: what is dropped disappears by itself.
    """

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, ...]] = Counter()
        self._throttled: Counter[tuple[str, ...]] = Counter()
        self._polls: Counter[tuple[str, ...]] = Counter()
        self._events: Counter[tuple[str, ...]] = Counter()
        self._ended: Counter[tuple[str, ...]] = Counter()
        self._watches = 0
        self._seconds: dict[str, _Histogram] = {}
        self._latest = 0.0
        self._stall = _Stall()
        self._followed: dict[str, weakref.ref[JobWatcher | Pacer]] = {}

    def __call__(self, fact: TelemetryEvent) -> None:
        """Hear *fact*."""
        match fact:
            case RequestMade():
                self._requests[fact.service, fact.method, _class_of(fact.status)] += 1
                self._throttled[fact.service,] += fact.status == 429
                self._seconds.setdefault(fact.service, _Histogram()).observe(fact.seconds)
            case PollAnswered():
                self._polls["failed" if fact.error else "answered", fact.error or ""] += 1
                self._latest = max(self._latest, fact.late)
            case EventEmitted():
                self._events[fact.event,] += 1
                if fact.event in {"ended", "abandoned"}:
                    self._ended[fact.outcome or "abandoned", fact.kind] += 1
            case WatchStarted():
                self._watches += 1
                self._stall.begin()
            case WatchEnded():
                self._watches -= 1
                self._stall.end()
            case _:
                pass

    def follow(self, source: JobWatcher | AsyncClient | Pacer, name: str) -> Callable[[], None]:
        """Tell of *source* under the label *name*, in place of any other of this name; the function returned ends that."""
        found = cast("JobWatcher | Pacer", getattr(source, "pacer", source))
        reference = self._followed[name] = weakref.ref(found)

        def unfollow() -> None:
            if self._followed.get(name) is reference:
                del self._followed[name]

        return unfollow

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics as they are now."""
        yield from self._counted()
        yield from self._timed()
        watches: dict[str, WatchStats] = {}
        budgets: dict[str, PacerStats] = {}
        for name, reference in list(self._followed.items()):
            stats = _stats_of(reference())
            if stats is None:
                self._followed.pop(name, None)
            elif isinstance(stats, WatchStats):
                watches[name] = stats
            else:
                budgets[name] = stats
        yield from _jobs(watches)
        yield from _budgets(budgets)

    def _counted(self) -> Iterator[Metric]:
        yield _counter(
            "requests",
            "Attempts at requests, by the class of their answer.",
            ("service", "method", "status_class"),
            self._requests,
        )
        yield _counter("throttled", "Requests answered 429.", ("service",), self._throttled)
        yield _counter("polls", "Polls of watches, and the kinds of their errors.", ("result", "error"), self._polls)
        yield _counter("events", "Events of watches.", ("type",), self._events)
        yield _counter("jobs_ended", "Jobs that have ended, by outcome.", ("outcome", "kind"), self._ended)
        yield GaugeMetricFamily("asyncflow_watches", "Watches that run.", self._watches)

    def _timed(self) -> Iterator[Metric]:
        seconds = HistogramMetricFamily("asyncflow_request_seconds", "How long attempts at requests took.", labels=("service",))
        for service, histogram in list(self._seconds.items()):
            seconds.add_metric((service,), histogram.buckets(), histogram.total)
        yield seconds
        late, self._latest = self._latest, 0.0
        yield GaugeMetricFamily("asyncflow_schedule_lag_seconds", "The latest poll since the last look, after its time.", late)
        yield GaugeMetricFamily(
            "asyncflow_loop_stall_seconds", "The longest stall of the event loop since the last look.", self._stall.take()
        )


class _Histogram:
    def __init__(self) -> None:
        self.total = 0.0
        self._counts = [0] * (len(_BUCKETS) + 1)

    def observe(self, seconds: float) -> None:
        self.total += seconds
        self._counts[bisect_left(_BUCKETS, seconds)] += 1

    def buckets(self) -> list[tuple[str, float]]:
        return list(zip([*map(str, _BUCKETS), "+Inf"], accumulate(self._counts), strict=True))


class _Stall:
    """How late the event loop rings its timers, while any watch runs."""

    def __init__(self) -> None:
        self._running = 0
        self._longest = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        self._running += 1
        if self._timer is None:
            self._look_again(asyncio.get_running_loop())

    def end(self) -> None:
        self._running -= 1
        if not self._running and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def take(self) -> float:
        longest, self._longest = self._longest, 0.0
        return longest

    def _look_again(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_at(loop.time() + _LOOK, self._look, loop, loop.time() + _LOOK)

    def _look(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._longest = max(self._longest, loop.time() - due)
        self._look_again(loop)


def _counter(name: str, text: str, labels: tuple[str, ...], counts: Counter[tuple[str, ...]]) -> Metric:
    family = CounterMetricFamily(f"asyncflow_{name}", text, labels=labels)
    for values, number in list(counts.items()):
        family.add_metric(values, number)
    return family


def _stats_of(source: JobWatcher | Pacer | None) -> WatchStats | PacerStats | None:
    """Return the statistics of what is followed, None if it is gone.

    Registries are asked in threads of their own, while the event loop goes on: a dictionary may change while it is copied.
    """
    for _ in range(_PATIENCE):
        with suppress(RuntimeError):
            return None if source is None else source.stats()
    return None


def _class_of(status: int | None) -> str:
    return "none" if status is None else f"{status // 100}xx"


def _jobs(watches: dict[str, WatchStats]) -> Iterator[Metric]:
    jobs = GaugeMetricFamily(
        "asyncflow_jobs", 'Jobs that are watched, by status; "unread" before the first answer.', labels=("watch", "status")
    )
    for name, stats in watches.items():
        unread = max(stats.watched - sum(stats.statuses.values()), 0)
        counts: Counter[str] = Counter(unread=unread)
        for status, number in stats.statuses.items():
            counts[word(status)] += number
        for status, number in counts.items():
            jobs.add_metric((name, status), number)
    yield jobs
    undelivered = GaugeMetricFamily("asyncflow_undelivered_events", "Events that wait for their consumer.", labels=("watch",))
    for name, stats in watches.items():
        undelivered.add_metric((name,), stats.undelivered)
    yield undelivered


def _budgets(budgets: dict[str, PacerStats]) -> Iterator[Metric]:
    gauges: dict[str, tuple[str, Callable[[PacerStats], float | None]]] = {
        "rate": ("Requests a second that are allowed.", lambda stats: stats.rate),
        "ceiling": ("The rate at which the service last said 429.", lambda stats: stats.ceiling),
        "limit": ("Requests that may be in flight.", lambda stats: stats.limit),
        "in_flight": ("Requests in flight.", lambda stats: stats.in_flight),
        "waiting": ("Requests that wait for their turn.", lambda stats: stats.waiting),
        "circuit_open": ("1 while the service is down and single probes go out.", lambda stats: stats.circuit == "open"),
        "lateness_seconds": ("Smoothed lateness of polls.", lambda stats: stats.lateness),
    }
    for key, (text, read) in gauges.items():
        gauge = GaugeMetricFamily(f"asyncflow_budget_{key}", text, labels=("budget",))
        for name, stats in budgets.items():
            if (value := read(stats)) is not None:
                gauge.add_metric((name,), value)
        yield gauge
    counters: dict[str, tuple[str, Callable[[PacerStats], float]]] = {
        "pauses": ("How often the rate was halved and everybody paused.", lambda stats: stats.pauses),
        "failures": ("Requests without a usable answer.", lambda stats: stats.failures),
    }
    for key, (text, read_number) in counters.items():
        counter = CounterMetricFamily(f"asyncflow_budget_{key}", text, labels=("budget",))
        for name, stats in budgets.items():
            counter.add_metric((name,), read_number(stats))
        yield counter

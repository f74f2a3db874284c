"""What a watch has shown so far: the jobs that run, the ones that ended, and what came of them.

Pure: no clock, no I/O, no asyncio; instants are seconds on one clock of the caller's.
"""

import heapq
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from operator import attrgetter

from asyncflow import Abandoned, AsyncflowError, Changed, Ended, ErrorInfo, Event, Job, Outcome
from asyncflow.cli.exits import TIMEOUTS, ExitCode, verdict
from asyncflow.cli.formatting import key_of, problem_text, reason_of
from asyncflow.report import ReportBuilder

__all__ = ["GIVEN_UP", "RateMeter", "RunningJobs", "WatchProgress"]

GIVEN_UP = "given up"
_BAD = (Outcome.PARTIAL, Outcome.NO_OUTPUT, Outcome.FAILED)
_OLDEST = 7 * 86400.0
_MOST_DURATIONS = 100_000
_MOST_GIVEN_UP = 1000
_MOST_STALE = 1000


@dataclass(slots=True)
class RunningJobs:
    """A job that still runs; *born* is when it was created."""

    job_id: str
    service: str
    kind: str
    model: str
    status: str
    born: float


@dataclass(slots=True)
class KindProgress:
    """What became of the jobs of one kind: *ended* counts them by outcome, *durations* are seconds by the service's clock."""

    ended: Counter[str] = field(default_factory=Counter[str])
    durations: list[float] = field(default_factory=list[float])


class WatchProgress:
    """Takes events in and keeps count; *job_ids* are those known from the start, *expected* how many there will be.

    `silent` are the jobs whose last read failed, with the cause; `ledger` are the books for the report.
    """

    def __init__(self, job_ids: Iterable[str] = (), expected: int | None = None) -> None:
        self.running: dict[str, RunningJobs] = {}
        self.unread: dict[str, None] = dict.fromkeys(job_ids)
        self.total: int = len(self.unread) if expected is None else expected
        self.kinds: dict[str, KindProgress] = {}
        self.ended: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.silent: dict[str, ErrorInfo] = {}
        self.answers: int = 0
        self.failures: int = 0
        self.timed_out: int = 0
        self.lost: int = 0
        self.builder: ReportBuilder = ReportBuilder()
        self._by_age: list[tuple[float, int, RunningJobs]] = []
        self._order = count()
        self._given_up: dict[str, str] = {}

    # -- what comes in ---------------------------------------------------------------------------------------------------

    def added(self, job_id: str) -> None:
        """Note a job that is watched from now on."""
        self.unread[job_id] = None

    def let_go(self, job_id: str) -> None:
        """Note that a job is watched no longer, however it goes on."""
        self._leave(job_id)

    def answered(self, job_id: str) -> None:
        """Note that a read of the job was answered."""
        self.answers += 1
        self.silent.pop(job_id, None)

    def failed(self, job_id: str, error: AsyncflowError) -> None:
        """Note that a read of the job failed."""
        self.failures += 1
        if error.transient:
            self.silent[job_id] = ErrorInfo.of(error)

    def apply(self, event: Event, now: float, wall_time: datetime) -> None:
        """Take in *event*, which came at *now*; *wall_time* (aware) is the same moment."""
        match event:
            case Changed(job):
                self.unread.pop(job.job_id, None)
                self._runs(job, now, wall_time)
            case Ended(job):
                self._leave(job.job_id)
                self._end(job.kind, job.outcome)
                self.builder.ended(job)
                if job.outcome in _BAD and (reason := reason_of(job)):
                    self.reasons[reason] += 1
                kind = self._kind(job.kind)
                if job.duration is not None and len(kind.durations) < _MOST_DURATIONS:
                    kind.durations.append(job.duration)
            case Abandoned(job_id, problem, job):
                self._abandon(job_id, problem, job)
            case _:
                pass  # `failed` has seen it

    def _runs(self, job: Job, now: float, wall_time: datetime) -> None:
        known = self.running.get(job.job_id)
        if known is not None:
            known.status = job.status
            return
        age = (wall_time - job.created_at).total_seconds() if job.created_at is not None else 0.0
        born = now - age if 0 < age < _OLDEST else now
        self.running[job.job_id] = running = RunningJobs(job.job_id, job.service, job.kind, job.model or "", job.status, born)
        heapq.heappush(self._by_age, (born, next(self._order), running))
        if len(self._by_age) > 2 * len(self.running) + _MOST_STALE:
            self._by_age = [entry for entry in self._by_age if self._is_running(entry[2])]
            heapq.heapify(self._by_age)

    def _is_running(self, job: RunningJobs) -> bool:
        return self.running.get(job.job_id) is job

    def _abandon(self, job_id: str, problem: ErrorInfo, job: Job | None) -> None:
        # A job that could not be read when its time was up is lost, not late.
        if problem.kind in TIMEOUTS and job_id not in self.silent:
            self.timed_out += 1
            self.reasons["time was up"] += 1
        else:
            self.lost += 1
            self.reasons[problem_text(self.silent.get(job_id, problem))] += 1
        running = self._leave(job_id)
        key = key_of(job_id) if running is None else (running.service, running.kind, running.model)
        kind = key[1] if job is None else job.kind
        self.builder.abandoned(problem, job, key)
        self._given_up[job_id] = kind
        if len(self._given_up) > _MOST_GIVEN_UP:
            del self._given_up[next(iter(self._given_up))]
        self._end(kind, GIVEN_UP)

    def _leave(self, job_id: str) -> RunningJobs | None:
        self.unread.pop(job_id, None)
        self.silent.pop(job_id, None)
        return self.running.pop(job_id, None)

    def _end(self, kind: str, outcome: str) -> None:
        self.ended[outcome] += 1
        self._kind(kind).ended[outcome] += 1

    def _kind(self, kind: str) -> KindProgress:
        return self.kinds.setdefault(kind, KindProgress())

    # -- what can be told ------------------------------------------------------------------------------------------------

    @property
    def done(self) -> int:
        """How many jobs are over, one way or another."""
        return sum(self.ended.values())

    @property
    def code(self) -> ExitCode:
        """The exit code, if nothing more happens."""
        return verdict(timed_out=self.timed_out, lost=self.lost, bad=sum(self.ended[outcome] for outcome in _BAD))

    @property
    def open_ids(self) -> list[str]:
        """The ids that are not over, longest-running first."""
        return [job.job_id for job in sorted(self.running.values(), key=attrgetter("born"))] + list(self.unread)

    def kind_of(self, job_id: str) -> str:
        """Return the kind of a job that runs or was given up lately, "" where it is not known."""
        job = self.running.get(job_id)
        return self._given_up.get(job_id, "") if job is None else job.kind

    def oldest(self, most: int) -> list[RunningJobs]:
        """Return up to *most* running jobs, longest-running first; what that takes does not grow with the number of jobs."""
        found: list[tuple[float, int, RunningJobs]] = []
        while self._by_age and len(found) < most:
            entry = heapq.heappop(self._by_age)
            if self._is_running(entry[2]):
                found.append(entry)
        for entry in found:
            heapq.heappush(self._by_age, entry)
        return [job for _, _, job in found]


class RateMeter:
    """How many of something happen in a second, over the last *window* seconds."""

    def __init__(self, window: float = 3.0) -> None:
        self._window = window
        self._points: deque[tuple[float, int]] = deque()

    def start(self, now: float) -> None:
        """Begin to count at *now*."""
        self._points.append((now, 0))

    def note(self, now: float, total: int) -> float:
        """Take in that there were *total* by *now*, and return the speed."""
        points = self._points
        points.append((now, total))
        while len(points) > 2 and points[1][0] <= now - self._window:
            points.popleft()
        then, before = points[0]
        return (total - before) / (now - then) if now > then else 0.0

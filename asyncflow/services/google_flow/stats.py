"""What the services say about the recent work of their accounts: counts, and the jobs that run or ran.

Pure: no clock, no I/O, no asyncio. Accounts are e-mail addresses and so are parts of job ids: no repr here shows one.
"""

import re
from datetime import datetime
from typing import ClassVar

from msgspec import Struct, field

from asyncflow.redaction import digest
from asyncflow.services.job import RedactedStruct
from asyncflow.services.lenient import Json, forgive, load_object, parse_time

_ELAPSED = re.compile(r"(?:(\d+):)?(\d+):(\d+)(?:\.\d+)?")


class SummaryRow(RedactedStruct, frozen=True, gc=False):
    """The counts of one account; a number that the service does not give is 0.

    *average_response* is in seconds. *score* orders the accounts for the next job; its formula is the service's own.
    """

    executing: int = 0
    completed: int = 0
    failed: int = 0
    rate_limited: int = 0
    average_response: float = 0.0
    score: float = 0.0

    def __repr__(self) -> str:
        return f"<SummaryRow executing={self.executing} completed={self.completed} failed={self.failed}>"


class ExecutingRow(RedactedStruct, frozen=True, gc=False):
    """A job that runs: for which account, since when (aware), and for how many seconds already."""

    job_id: str
    email: str = ""
    started_at: datetime | None = None
    elapsed: float | None = None

    def __repr__(self) -> str:
        return f"<ExecutingRow {digest(self.job_id)}>"


class HistoryRow(RedactedStruct, frozen=True, gc=False):
    """A job of the last quarter of an hour: how the POST for it ended, and how many seconds it took."""

    job_id: str
    email: str = ""
    started_at: datetime | None = None
    http_status: int | None = None
    response: float | None = None

    def __repr__(self) -> str:
        return f"<HistoryRow {digest(self.job_id)} {self.http_status}>"


class StatsGroup(RedactedStruct, frozen=True, gc=False):
    """The statistics of the videos, of the images, or of both: *summary* is by account, the jobs are in the service's order."""

    summary: dict[str, SummaryRow] = field(default_factory=dict[str, SummaryRow])
    executing: tuple[ExecutingRow, ...] = ()
    history: tuple[HistoryRow, ...] = ()

    def __repr__(self) -> str:
        return f"<StatsGroup accounts={len(self.summary)} executing={len(self.executing)} history={len(self.history)}>"


class FlowStats(RedactedStruct, frozen=True, gc=False, tag="google-flow", tag_field="service"):
    """The recent work of all Google Flow accounts (https://useapi.net/docs/api-google-flow-v1/get-google-flow-jobs).

    A group that was not sent is None. The jobs in it are the one way to find a lost id again, for a quarter of an hour.
    """

    service: ClassVar[str] = "google-flow"

    emails: tuple[str, ...] = ()
    videos: StatsGroup | None = None
    images: StatsGroup | None = None
    combined: StatsGroup | None = None

    @property
    def groups(self) -> dict[str, StatsGroup]:
        """The groups that were sent, by name."""
        named = {"videos": self.videos, "images": self.images, "combined": self.combined}
        return {name: group for name, group in named.items() if group is not None}

    @property
    def executing_jobs(self) -> tuple[str, ...]:
        """The ids of the jobs that run, each once; empty unless the detail "executing" was asked for."""
        return tuple(dict.fromkeys(row.job_id for group in self.groups.values() for row in group.executing))

    @property
    def finished_jobs(self) -> tuple[str, ...]:
        """The ids of the jobs that ended lately, each once; empty unless the detail "history" was asked for."""
        return tuple(dict.fromkeys(row.job_id for group in self.groups.values() for row in group.history))

    def __repr__(self) -> str:
        return f"<FlowStats accounts={len(self.emails)} executing={len(self.executing_jobs)}>"


class RunningJob(RedactedStruct, frozen=True, gc=False):
    """A song that is being made."""

    job_id: str
    status: str = ""
    operation: str | None = None
    created_at: datetime | None = None

    def __repr__(self) -> str:
        return f"<RunningJob {digest(self.job_id)} {self.status}>"


class MusicAccount(RedactedStruct, frozen=True, gc=False):
    """What one account is doing: how many songs of how many that it may make at once."""

    running: int = 0
    max_jobs: int = 0
    jobs: tuple[RunningJob, ...] = ()

    def __repr__(self) -> str:
        return f"<MusicAccount {self.running} of {self.max_jobs}>"


class MusicStats(RedactedStruct, frozen=True, gc=False, tag="flowmusic", tag_field="service"):
    """The running jobs of all Flow Music accounts (https://useapi.net/docs/api-flowmusic-v1/get-flowmusic-jobs)."""

    service: ClassVar[str] = "flowmusic"

    accounts: dict[str, MusicAccount] = field(default_factory=dict[str, MusicAccount])

    @property
    def emails(self) -> tuple[str, ...]:
        """The accounts."""
        return tuple(self.accounts)

    @property
    def running(self) -> dict[str, int]:
        """How many songs each account is making."""
        return {email: account.running for email, account in self.accounts.items()}

    @property
    def max_jobs(self) -> dict[str, int]:
        """How many songs each account may make at once."""
        return {email: account.max_jobs for email, account in self.accounts.items()}

    @property
    def executing_jobs(self) -> tuple[str, ...]:
        """The ids of the running jobs."""
        return tuple(job.job_id for account in self.accounts.values() for job in account.jobs)

    def __repr__(self) -> str:
        return f"<MusicStats accounts={len(self.accounts)} executing={len(self.executing_jobs)}>"


class _Summary(Struct, gc=False, rename="camel"):
    executing: int = 0
    completed: int = 0
    failed: int = 0
    rate_limited: int = 0
    avg_response_time: float = 0.0
    score: float = 0.0


class _Job(Struct, gc=False, rename="camel"):
    email: str = ""
    timestamp: str | None = None
    elapsed: str | None = None
    http_status: int | None = None
    response_time: float | None = None


class _Running(Struct, gc=False):
    jobid: str = ""
    status: str = ""
    operation: str | None = None
    created_at: str | None = None


class _Account(Struct, gc=False, rename="camel"):
    running: int = 0
    max_jobs: int = 0
    jobs: list[_Running | None] | None = None


class _Emails(Struct, gc=False):
    emails: list[str | None] | None = None


def decode_flow(body: bytes) -> FlowStats:
    """Return Google Flow's statistics. `DecodeError` if *body* is no JSON object; what is odd inside is left out."""
    value = load_object(body)
    emails = forgive(value, _Emails).emails or ()
    return FlowStats(
        emails=tuple(email for email in emails if email),
        videos=_group(value.get("videos")),
        images=_group(value.get("images")),
        combined=_group(value.get("combined")),
    )


def decode_music(body: bytes) -> MusicStats:
    """Return Flow Music's running jobs. `DecodeError` if *body* is no JSON object; what is odd inside is left out."""
    return MusicStats({email: _account(entry) for email, entry in _objects(load_object(body))})


def _objects(value: Json) -> list[tuple[str, dict[str, Json]]]:
    """Return the entries of a JSON object that are objects themselves."""
    return [(key, item) for key, item in value.items() if isinstance(item, dict)] if isinstance(value, dict) else []


def _group(value: Json) -> StatsGroup | None:
    if not isinstance(value, dict):
        return None
    return StatsGroup(
        summary={email: _summary(row) for email, row in _objects(value.get("summary"))},
        executing=tuple(_executing(job_id, row) for job_id, row in _objects(value.get("executing"))),
        history=tuple(_history(job_id, row) for job_id, row in _objects(value.get("history"))),
    )


def _summary(value: Json) -> SummaryRow:
    row = forgive(value, _Summary)
    return SummaryRow(row.executing, row.completed, row.failed, row.rate_limited, row.avg_response_time / 1000, row.score)


def _executing(job_id: str, value: Json) -> ExecutingRow:
    row = forgive(value, _Job)
    return ExecutingRow(job_id, row.email, parse_time(row.timestamp), _seconds(row.elapsed))


def _history(job_id: str, value: Json) -> HistoryRow:
    row = forgive(value, _Job)
    response = None if row.response_time is None else row.response_time / 1000
    return HistoryRow(job_id, row.email, parse_time(row.timestamp), row.http_status, response)


def _account(value: Json) -> MusicAccount:
    account = forgive(value, _Account)
    jobs = (
        RunningJob(job.jobid, job.status, job.operation, parse_time(job.created_at))
        for job in account.jobs or ()
        if job is not None
    )
    return MusicAccount(account.running, account.max_jobs, tuple(job for job in jobs if job.job_id))


def _seconds(text: str | None) -> float | None:
    """Return the seconds in "01:23" or "1:01:23"."""
    found = _ELAPSED.fullmatch(text) if text is not None else None
    return None if found is None else int(found[1] or 0) * 3600 + int(found[2]) * 60 + int(found[3])

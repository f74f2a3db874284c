"""The books of a run: every ending is entered once, and a `RunReport` can be drawn up at any time.

Pure: no clock, no I/O, no asyncio. The memory is bounded, whatever services, models, reasons and accounts there are.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from asyncflow.events import Abandoned, Ended
from asyncflow.records import Outcome
from asyncflow.redaction import digest, one_line
from asyncflow.report.reservoir import ReservoirSample
from asyncflow.report.time_histogram import TimeHistogram
from asyncflow.report.values import CAPTCHA_PRICES, Captchas, Credits, Files, Reason, ReportGroup, RunReport, cost_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from asyncflow.events import ErrorInfo, Event
    from asyncflow.records import Job

__all__ = ["ReportBuilder", "reason_of"]

ABANDONED = "abandoned"
OTHER = "(other)"
_MOST_GROUPS = 200
_MOST_REASONS = 200
_MOST_ACCOUNTS = 200
_LONGEST_WORD = 80
_ACCOUNT = re.compile(r"-(?:email:|user:\d+-)(.+)-bot:")


class _Attempt(Struct, gc=False):
    service: str | None = None
    success: bool | None = None


class _Captcha(Struct, gc=False):
    attempts: list[_Attempt | None] | None = None


class _Answer(Struct, gc=False):
    captcha: _Captcha | None = None


class _Record(_Answer, gc=False):
    response: _Answer | None = None


_DECODER = msgspec.json.Decoder(_Record)


class _Group:
    """The jobs of one service, kind and model."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.providers: Counter[str] = Counter()
        self.durations: ReservoirSample = ReservoirSample()
        self.refused = 0
        self.ok = 0
        self.failed = 0
        self.unresolved = 0

    @property
    def files(self) -> Files:
        return Files(self.ok, self.failed, self.unresolved)

    def captchas(self, prices: Mapping[str, float]) -> Captchas:
        return _captchas(self.providers, self.refused, prices)


class ReportBuilder:
    """Takes events in and keeps the books."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str, str], _Group] = {}
        self._credits: dict[str, Credits] = {}
        self._calendar = TimeHistogram()

    def take(self, event: Event, key: tuple[str, str, str] | None = None) -> None:
        """Enter *event*, if it is an ending.

        *key* is service, kind and model of its job where the event may not tell: a job is given up without its last record.
        """
        match event:
            case Ended(job):
                self.ended(job)
            case Abandoned(_, problem, job):
                self.abandoned(problem, job, key)
            case _:
                pass

    def ended(self, job: Job) -> None:
        """Enter a job that is over."""
        outcome = job.outcome
        group = self._group_of(job)
        group.outcomes[outcome.value] += 1
        for media in job.media:
            if media.state == "ok":
                group.ok += 1
            elif media.state == "failed":
                group.failed += 1
            else:
                group.unresolved += 1
        if outcome is not Outcome.SUCCEEDED:
            _count(group.reasons, reason_of(job))
        if (duration := job.duration) is not None:
            group.durations.add(duration)
        if job.captcha_attempts:
            self._captchas(group, job)
        if job.remaining_credits is not None:
            self._balance(job, job.remaining_credits)
        if job.updated_at is not None:
            self._calendar.add(job.updated_at, outcome.value)

    def abandoned(self, problem: ErrorInfo, job: Job | None, key: tuple[str, str, str] | None = None) -> None:
        """Enter a job that was given up; *job* is its last record, if there is one, *key* what is known without."""
        group = self._group(key or ("", "", "")) if job is None else self._group_of(job)
        group.outcomes[ABANDONED] += 1
        _count(group.reasons, problem.reason or problem.kind)

    def _group_of(self, job: Job) -> _Group:
        return self._group((job.service, job.kind, job.model or ""))

    def _group(self, key: tuple[str, str, str]) -> _Group:
        group = self._groups.get(key)
        if group is None:
            if len(self._groups) >= _MOST_GROUPS:
                key = (OTHER, "", "")
            group = self._groups.setdefault(key, _Group())
        return group

    def _captchas(self, group: _Group, job: Job) -> None:
        providers = _providers(job.raw)
        unknown = job.captcha_attempts - len(providers)
        for name in providers:
            _count(group.providers, name)
        if unknown > 0:
            group.providers[""] += unknown
        group.refused += getattr(job, "captcha_failed_attempts", 0)

    def _balance(self, job: Job, balance: int) -> None:
        # Jobs end in any order, and credits go when they begin; of jobs that began together the lower balance is the later one.
        account, at = _account(job.job_id), job.created_at
        known = self._credits.get(account)
        if known is None:
            if len(self._credits) < _MOST_ACCOUNTS:
                self._credits[account] = Credits(account, balance, balance, at, at)
        elif _is_before(at, known.first_at) or (at == known.first_at and balance > known.first):
            self._credits[account] = msgspec.structs.replace(known, first=balance, first_at=at)
        elif not _is_before(at, known.last_at) and (at != known.last_at or balance < known.last):
            self._credits[account] = msgspec.structs.replace(known, last=balance, last_at=at)

    # -- what can be told ------------------------------------------------------------------------------------------------

    def report(
        self,
        *,
        captcha_prices: Mapping[str, float] = CAPTCHA_PRICES,
        running: int = 0,
        requests: int | None = None,
        polls: int | None = None,
        failed_polls: int | None = None,
        began_at: datetime | None = None,
        ended_at: datetime | None = None,
    ) -> RunReport:
        """Draw up the report of what was entered so far; the books stay open."""
        groups = sorted(self._groups.items(), key=lambda item: (-item[1].outcomes.total(), item[0]))
        outcomes: Counter[str] = Counter()
        reasons: Counter[str] = Counter()
        providers: Counter[str] = Counter()
        for _, group in groups:
            outcomes += group.outcomes
            reasons += group.reasons
            providers += group.providers
        return RunReport(
            jobs=outcomes.total(),
            running=running,
            outcomes=_ordered(outcomes),
            files=Files(*(sum(getattr(group, name) for _, group in groups) for name in ("ok", "failed", "unresolved"))),
            groups=tuple(
                ReportGroup(
                    one_line(service),
                    one_line(kind),
                    one_line(model),
                    group.outcomes.total(),
                    _ordered(group.outcomes),
                    group.files,
                    group.durations.summary(),
                    _ranked(group.reasons),
                    group.captchas(captcha_prices),
                )
                for (service, kind, model), group in groups
            ),
            reasons=_ranked(reasons),
            captchas=_captchas(providers, sum(group.refused for _, group in groups), captcha_prices),
            credits=tuple(self._credits[account] for account in sorted(self._credits)),
            timeline=self._calendar.timeline(),
            requests=requests,
            polls=polls,
            failed_polls=failed_polls,
            began_at=began_at,
            ended_at=ended_at,
        )


def reason_of(job: Job) -> str:
    """Return why *job* failed or lacks files, as far as its record tells; fit to be shown."""
    failure = job.failure
    if failure is not None and (failure.reason or failure.message or failure.code is not None):
        return one_line(str(failure.reason or failure.message or failure.code))
    if job.failed_reasons:
        return one_line(job.failed_reasons[-1])
    return "" if job.outcome is Outcome.SUCCEEDED else "no reason given"


def _count(counter: Counter[str], word: str) -> None:
    """Count *word*, or "other" where there are too many different ones."""
    if word not in counter:
        word = one_line(word)
        word = word if len(word) <= _LONGEST_WORD else f"{word[: _LONGEST_WORD - 3]}..."
        word = word if word in counter or len(counter) < _MOST_REASONS else OTHER
    counter[word] += 1


def _providers(raw: bytes) -> list[str]:
    """Return the names of those who were asked to solve a captcha for the job with the record *raw*, once for each time."""
    try:
        record = _DECODER.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        return []  # an odd shape, or no record at all: its attempts are counted, nameless
    captcha = (record.response or record).captcha
    attempts = (captcha.attempts if captcha is not None else None) or ()
    return [attempt.service or "" for attempt in attempts if attempt is not None]


def _captchas(providers: Counter[str], refused: int, prices: Mapping[str, float]) -> Captchas:
    return Captchas(providers.total(), refused, dict(providers.most_common()), cost_of(providers, prices))


def _account(job_id: str) -> str:
    """Return a digest of the account in *job_id*, "" where the id names none."""
    found = _ACCOUNT.search(job_id)
    return "" if found is None else digest(found[1])


def _is_before(at: datetime | None, other: datetime | None) -> bool:
    return at is not None and other is not None and at < other


def _ordered(outcomes: Counter[str]) -> dict[str, int]:
    order = [outcome.value for outcome in Outcome if outcome is not Outcome.PENDING]
    return {word: outcomes[word] for word in (*order, ABANDONED)}


def _rank(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def _ranked(reasons: Counter[str]) -> tuple[Reason, ...]:
    return tuple(Reason(word, jobs) for word, jobs in sorted(reasons.items(), key=_rank))

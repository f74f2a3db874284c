"""The search for a job whose id was lost with the answer to its submit, in what the service tells of the last minutes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import inf
from typing import TYPE_CHECKING, cast

import anyio

from asyncflow import protocol
from asyncflow.errors import AsyncflowError
from asyncflow.records import FlowStats

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from asyncflow.client.options import RequestOptions
    from asyncflow.client.retry import RetryingSender
    from asyncflow.records import Job, MusicStats

__all__ = ["RecoveryResult", "SubmitRecovery"]

_LONGEST = 10.0
"""Seconds that a search may take: whoever waits for it has lost an answer already."""

_CLOCKS_APART = timedelta(seconds=120)
"""By how much the service's clock may differ from ours: a job that is older than the request by more is another one."""

_MOST_READS = 24
_MOST_CANDIDATES = 50
_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(slots=True)
class RecoveryResult:
    """What a search came to: the statistics, the ids in them that may be the job's, and the job itself if it is known."""

    statistics: tuple[FlowStats | MusicStats, ...] = ()
    candidates: tuple[str, ...] = ()
    job: Job | None = None


class SubmitRecovery:
    """Looks for jobs by the replyRef in their records, through *calls*; a record is read once, whoever is looked for.

    Neither service lists replyRefs: their statistics give the ids of recent jobs, and those are read.
    """

    def __init__(self, calls: RetryingSender, options: RequestOptions) -> None:
        self._calls = calls
        self._options = replace(options, max_retries=1)
        self._refs: dict[str, str | None] = {}
        self._turn = asyncio.Lock()
        self._statistics: dict[str, tuple[float, tuple[FlowStats | MusicStats, ...]]] = {}

    async def find(
        self, service: str, reply_ref: str | None, requested_at: datetime, known: Collection[str], *, is_unique: bool = True
    ) -> RecoveryResult:
        """Return what is known of the submit that went out at *requested_at*; *known* ids are those of other submits.

        *is_unique* says that no other job can have the *reply_ref*. Never an error, and never longer than ten seconds.
        """
        found = RecoveryResult()
        with anyio.move_on_after(_LONGEST):
            found.statistics = await self._ask(service)
            ids = _by_nearness(found.statistics, requested_at, known)
            found.candidates = tuple(ids[:_MOST_CANDIDATES])
            if reply_ref is not None:
                await self._compare(ids, reply_ref, found, is_unique=is_unique)
        return found

    async def _ask(self, service: str) -> tuple[FlowStats | MusicStats, ...]:
        """Return the statistics of now, or what another search was told since: they tell of all that was lost before."""
        now = asyncio.get_running_loop().time
        since = now()
        async with self._turn:
            asked_at, statistics = self._statistics.get(service, (-inf, ()))
            if asked_at < since:
                asked_at, statistics = now(), ()
                for detail in ("executing", "history") if service == "google-flow" else (None,):
                    request = protocol.stats_request(service, detail)
                    with suppress(AsyncflowError):
                        stats = await self._calls.send_retrying(request, self._options, _LONGEST)
                        statistics += (cast("FlowStats | MusicStats", stats),)
                self._statistics[service] = asked_at, statistics
            return statistics

    async def _compare(self, ids: list[str], reply_ref: str, found: RecoveryResult, *, is_unique: bool) -> None:
        """Read jobs, and drop those from the candidates that are somebody else's."""
        same: list[Job] = []
        reads = 0
        for job_id in ids:
            if self._refs.get(job_id, reply_ref) == reply_ref and reads < _MOST_READS:
                reads += 1
                try:
                    job = cast("Job", await self._calls.send_retrying(protocol.job_request(job_id), self._options, _LONGEST))
                except AsyncflowError:
                    continue
                self._refs[job_id] = job.reply_ref
                if job.reply_ref == reply_ref:
                    same.append(protocol.under_asked_id(job, job_id))
            # A record that names no replyRef says nothing.
            if self._refs.get(job_id) not in {None, reply_ref}:
                found.candidates = tuple(other for other in found.candidates if other != job_id)
            if same and is_unique:
                break
        if same:
            found.candidates = tuple(job.job_id for job in same)
            found.job = same[0] if len(same) == 1 else None


def _rows(stats: FlowStats | MusicStats) -> dict[str, datetime | None]:
    """Return the jobs in *stats*, each with when it began, as far as that is told."""
    if isinstance(stats, FlowStats):
        groups = stats.groups.values()
        ended = {row.job_id: row.started_at for group in groups for row in group.history}
        return ended | {row.job_id: row.started_at for group in groups for row in group.executing}
    return {job.job_id: job.created_at for account in stats.accounts.values() for job in account.jobs}


def _by_nearness(statistics: Iterable[FlowStats | MusicStats], requested_at: datetime, known: Collection[str]) -> list[str]:
    """Return the ids that may be the job's, those first that began nearest to the request."""
    rows: dict[str, datetime | None] = {}
    for stats in statistics:
        rows |= _rows(stats)
    earliest = requested_at - _CLOCKS_APART
    fit = {job_id: at for job_id, at in rows.items() if job_id not in known and (at is None or at >= earliest)}
    return sorted(fit, key=lambda job_id: abs((fit[job_id] or _NEVER) - requested_at))

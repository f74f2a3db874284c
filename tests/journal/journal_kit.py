"""What the tests of the journal share: records, events, and a journal opened by hand."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from asyncflow.events import Changed, Ended
from asyncflow.journal import Journal
from asyncflow.records import FlowJob, Media

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from asyncflow.journal import JournalEntry

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def job(job_id: str, status: str) -> FlowJob:
    media = (Media("video", "ok", url="https://media.example/1"),) if status == "completed" else ()
    return FlowJob(job_id, status, "video", media=media)


def changed(job_id: str, status: str = "started") -> Changed:
    return Changed(job(job_id, status))


def ended(job_id: str, status: str = "completed") -> Ended:
    return Ended(job(job_id, status))


@asynccontextmanager
async def opened(path: Path, *, max_bytes: int | None = None) -> AsyncIterator[Journal]:
    journal = Journal(path, max_bytes=max_bytes)
    try:
        await journal.open(lambda _error: None)
        yield journal
    finally:
        await journal.aclose()


async def remaining(path: Path) -> list[str]:
    journal = Journal(path)
    job_ids, _ = await journal.open(lambda _error: None)
    await journal.aclose()
    return job_ids


def states(journal: Journal) -> dict[str, str]:
    return {entry.job_id: entry.state for entry in journal.entries()}


def entry_of(journal: Journal, job_id: str) -> JournalEntry:
    [entry] = [entry for entry in journal.entries() if entry.job_id == job_id]
    return entry

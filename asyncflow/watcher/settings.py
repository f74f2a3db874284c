"""What a watch was given, in one piece."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asyncflow.records import Job

if TYPE_CHECKING:
    from datetime import datetime

    from asyncflow.pacing import Pacer
    from asyncflow.polling import Policy
    from asyncflow.telemetry import Hooks
    from asyncflow.watcher.persistence import WatchJournal
    from asyncflow.watcher.watched_job import JobTimeouts

__all__ = ["Fetch", "JobIds", "WatchConfig"]

JobIds = Iterable[str] | AsyncIterable[str]
Fetch = Callable[[str], Awaitable[Job]]


@dataclass(slots=True)
class WatchConfig:
    """What `JobWatcher` was given."""

    fetch: Fetch
    policy: Policy
    pacer: Pacer | None
    concurrency: int
    limits: JobTimeouts
    timeout: float | None
    max_failures: int | None
    keep_open: bool
    wall_clock: Callable[[], datetime]
    journal: WatchJournal | None
    expiry_warning: float | None
    hooks: Hooks | None = None

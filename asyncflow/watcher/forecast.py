"""What lies ahead of a watch: when its jobs will have ended, and what will be gone by then.

Pure: no I/O, no asyncio; the clocks are given.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from asyncflow.events import Expiring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asyncflow.polling import Key, Policy
    from asyncflow.records import Job
    from asyncflow.watcher.watched_job import WatchedJob

__all__ = ["Forecast"]

_RETENTION = timedelta(days=7)
"""For which Google Flow keeps a record: https://useapi.net/docs/api-google-flow-v1/get-google-flow-jobs-jobid"""

_LAST = datetime.max.replace(tzinfo=UTC) - _RETENTION


class Forecast:
    """Expected ends by what the policy has learned, and warnings ahead of an expiry.

    *expiry_warning* is how many seconds ahead; None means no warnings.
    """

    def __init__(self, policy: Policy, wall_clock: Callable[[], datetime], expiry_warning: float | None) -> None:
        self._policy = policy
        self._wall_clock = wall_clock
        self._warn_before = expiry_warning
        self._running: Counter[Key] = Counter()
        self._youngest: dict[Key, float] = {}

    def entered(self, entry: WatchedJob) -> None:
        """Count a job whose key has become known."""
        if entry.key is not None:
            self._running[entry.key] += 1
            self._youngest[entry.key] = max(entry.born_at, self._youngest.get(entry.key, entry.born_at))

    def left(self, entry: WatchedJob) -> None:
        """Forget a job that is not watched any more."""
        if entry.key is not None:
            self._running[entry.key] -= 1

    def expected_end_at(self, key: Key, age: float) -> datetime | None:
        """Return when a running job of *age* seconds will probably have ended, None where nothing is known that makes a date."""
        duration = self._policy.expected_duration(key, age)
        if duration is None:
            return None
        try:
            return self._wall_clock() + timedelta(seconds=max(duration - age, 0.0))
        except (ValueError, OverflowError):
            return None  # what is no date is no news, and a user's own policy may say anything

    def last_end_at(self, now: float) -> datetime | None:
        """Return when the last of the jobs that have been read will probably have ended; None if that is known of none."""
        ends = (self.expected_end_at(key, now - self._youngest[key]) for key, count in self._running.items() if count)
        return max((end for end in ends if end is not None), default=None)

    def warnings(self, job: Job) -> Iterator[tuple[float, Expiring]]:
        """Yield what of *job* expires and in how many seconds to say so, 0 for at once; nothing unless it was asked for."""
        if self._warn_before is None:
            return
        now = self._wall_clock()
        links = min((media.expires_at for media in job.media if media.expires_at is not None), default=None)
        if links is not None:
            yield self._due(now, links), Expiring(job, links, "links")
        if not job.is_terminal and job.service == "google-flow" and job.created_at is not None:
            # The service may say anything, the end of time too.
            at = min(job.created_at, _LAST) + _RETENTION
            yield self._due(now, at), Expiring(job, at, "record")

    def _due(self, now: datetime, at: datetime) -> float:
        return max((at - now).total_seconds() - (self._warn_before or 0.0), 0.0)

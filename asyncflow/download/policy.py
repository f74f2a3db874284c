"""What of a job is to be fetched, and how long to wait before another try.

Pure: no clock, no I/O, no asyncio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncflow.errors import DownloadError

if TYPE_CHECKING:
    from datetime import datetime
    from random import Random

    from asyncflow.records import Job, Media

__all__ = ["check_ended", "is_expired", "is_offered", "offered_again", "pause_before"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 30.0


def check_ended(job: Job) -> None:
    """Refuse a *job* that still runs: `DownloadError` ("not_ended")."""
    if not job.is_terminal:
        raise DownloadError("the job has not ended", reason="not_ended", transient=True, job_id=job.job_id, job=job)


def is_offered(job: Job, media: Media) -> bool:
    """Return whether *media* may be had: it is there, or the service can be asked for a link to it."""
    return media.state == "ok" or (media.is_resolvable and job.service == "google-flow")


def is_expired(expires_at: datetime | None, now: datetime) -> bool:
    """Return whether a link that ends at *expires_at* need not be tried *now*."""
    return expires_at is not None and expires_at <= now


def offered_again(media: Media, index: int, job: Job) -> Media | None:
    """Return the media of the newly read *job* that is what *media* was, the *index*-th (from 1), None if there is none."""
    if media.asset_id is not None:
        same = [other for other in job.media if other.asset_id == media.asset_id]
        if same:
            return same[0]
    return job.media[index - 1] if index <= len(job.media) else None


def pause_before(failures: int, retry_after: float | None, random: Random) -> float:
    """Return the seconds to wait after the *failures*-th failure in a row, *retry_after* at least if the host asks for it."""
    full = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(failures - 1, 10))
    return max(full * random.uniform(0.5, 1.0), retry_after or 0.0)

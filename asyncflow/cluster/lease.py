"""A job in a worker's hands: an entry as every watch has it, made out of a claim, and a claim's state made out of it.

Pure: no clock, no I/O, no asyncio.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from math import inf
from typing import TYPE_CHECKING, Any

import msgspec

from asyncflow.watcher.watched_job import WatchedJob

if TYPE_CHECKING:
    from asyncflow.cluster.store import Claim

__all__ = ["Lease", "leased", "state_of"]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[Any]).decode


# There may be a million of them: each byte counts.
_SHORT = {"created": 1, "pending": 2, "started": 3}
_WHOLE = {short: whole for whole, short in _SHORT.items()}
_BLANK = (0, 0, 0, 0)


class Lease(WatchedJob, eq=False, gc=False):
    """A watched job that is this worker's until *ends_at*, on the loop's clock; *fence* stamps it.

    *offset* leads from the loop's clock to the store's.
    """

    fence: int = 0
    ends_at: float = inf
    offset: float = 0.0


def leased(claim: Claim, ends_at: float, offset: float) -> Lease:
    """Return *claim* as an entry; a state that is not understood, another version's perhaps, is that of a job never read."""
    added_at = claim.added_at - offset
    lease = Lease(claim.job_id, added_at, added_at, added_at, fence=claim.fence, ends_at=ends_at, offset=offset)
    if claim.state:
        with suppress(msgspec.MsgspecError, ValueError, TypeError, OverflowError):
            status, polls, failures, moved_at, updated_at = (*_decode(claim.state), *_BLANK)[:5]
            lease.status, lease.polls = None if status is None else _WHOLE.get(status, str(status)), int(polls)
            lease.failures, lease.is_unreachable = abs(int(failures)), int(failures) > 0
            if moved_at:
                lease.moved_at = moved_at - offset
            if updated_at:
                lease.updated_at = datetime.fromtimestamp(updated_at, UTC)
    return lease


def state_of(lease: Lease, *, moves: bool) -> str:
    """Return what the next worker must know of the job; *moves* are needed for a limit on standing still only."""
    moved_at = round(lease.moved_at + lease.offset, 3) if moves else 0
    updated_at = lease.updated_at.timestamp() if moves and lease.updated_at is not None else 0
    failures = lease.failures if lease.is_unreachable else -lease.failures
    status = None if lease.status is None else _SHORT.get(lease.status, lease.status)
    words: list[Any] = [status, lease.polls, failures, moved_at, updated_at]
    while not words[-1] and len(words) > 1:
        words.pop()
    return _encode(words).decode()

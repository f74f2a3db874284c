"""What a worker leaves in the store is what the next one finds."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cluster_kit import job_id

from asyncflow.cluster.lease import leased, state_of
from asyncflow.cluster.store import Claim

NOW = 1_790_000_000.0


def claim(state: str) -> Claim:
    return Claim(job_id(0), 7, NOW - 60.0, NOW, state)


@pytest.mark.parametrize("status", ["created", "started", "pending", "1", "s", "rendering 50 %", "ä", ""])
def test_a_state_goes_through_the_store_and_back(status: str) -> None:
    lease = leased(claim(""), ends_at=130.0, offset=NOW - 100.0)
    assert (lease.status, lease.added_at, lease.fence, lease.ends_at) == (None, 40.0, 7, 130.0)
    lease.status, lease.polls, lease.moved_at = status, 12, 95.0
    lease.updated_at = datetime(2026, 9, 21, tzinfo=UTC)
    lease.failures, lease.is_unreachable = 3, True
    # Another worker, whose loop began at another time.
    found = leased(claim(state_of(lease, moves=True)), ends_at=5.0, offset=NOW - 2.0)
    assert (found.status, found.polls, found.failures, found.is_unreachable) == (status, 12, 3, True)
    assert (found.moved_at, found.updated_at) == (-3.0, lease.updated_at)


def test_a_job_that_was_never_read_has_a_state_too() -> None:
    lease = leased(claim(""), ends_at=1.0, offset=0.0)
    lease.failures = 2
    found = leased(claim(state_of(lease, moves=False)), ends_at=1.0, offset=0.0)
    assert (found.status, found.polls, found.failures, found.is_unreachable) == (None, 0, 2, False)


def test_a_state_is_short() -> None:
    lease = leased(claim(""), ends_at=1.0, offset=0.0)
    lease.status, lease.polls = "started", 12
    assert state_of(lease, moves=False) == "[3,12]"


@pytest.mark.parametrize("state", ["no JSON", "{}", "[]", '[3,"many"]', "[[3],1]", '["s",1,0,0,1e99]', "[1,2,3,4,5,6,7]"])
def test_a_state_of_another_version_is_that_of_a_job_to_be_read(state: str) -> None:
    found = leased(claim(state), ends_at=1.0, offset=0.0)
    assert found.job_id == job_id(0)

"""Callbacks and a watch together: prompt where they come, complete where they do not."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from callers import OTHER_ID, SECRET, callback

from asyncflow import (
    AsyncClient,
    Ended,
    FlowJob,
    JobWatcher,
    PollPolicy,
    Unreachable,
    WebhookReceiver,
    fixed_interval,
    webhook_fallback,
)
from asyncflow.simulator import Faults, Simulator
from asyncflow.testing import call_later, now, run

if TYPE_CHECKING:
    from asyncflow import Policy

pytestmark = pytest.mark.slow

HOUR = 3600.0
MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)

# -- over sockets, against the simulator -----------------------------------------------------------------------------------------


@dataclass
class Run:
    """What came of watching jobs of some kinds whose callbacks go to a receiver."""

    outcomes: dict[str, str] = field(default_factory=dict)
    expected: dict[str, str] = field(default_factory=dict)
    answers: dict[int, int] = field(default_factory=dict)
    reads: int = 0
    seconds: float = 0.0


async def watched(faults: Faults, policy: Policy, count: int = 6, duration: float = 0.3) -> Run:
    """Watch *count* jobs of each kind, with callbacks to a receiver of the watch."""
    seen = Run()
    async with Simulator(seed=3, faults=faults) as service, AsyncClient(service.token, base_url=service.url) as client:
        watcher = client.watch(policy=policy, keep_open=True)
        receiver = WebhookReceiver(watcher.nudge, SECRET)
        async with watcher, receiver.serve() as url, asyncio.timeout(30):
            start = now()
            for kind in ("video", "music"):
                watcher.add(*service.seed_jobs(count, kind=kind, duration=duration, reply_url=f"{url}/{SECRET}"))
            async for event in watcher:
                if isinstance(event, Ended):
                    seen.outcomes[event.job.job_id] = event.job.outcome.value
                    if len(seen.outcomes) == 2 * count:
                        break
            seen.seconds = now() - start
        seen.expected = {job.job_id: job.expected for job in service.truth()}
        seen.reads = service.stats().requests
        seen.answers = receiver.stats()
    return seen


@pytest.mark.asyncio
async def test_an_outcome_is_seen_by_its_callback_although_polls_are_an_hour_apart() -> None:
    seen = await watched(Faults(), webhook_fallback(fixed_interval(HOUR), HOUR))
    assert seen.outcomes == seen.expected
    assert seen.seconds < 10
    assert seen.answers[204] >= 12


@pytest.mark.asyncio
async def test_callbacks_doubled_late_and_out_of_order_change_nothing() -> None:
    faults = Faults(callback_twice=0.5, callback_delay=(0.0, 0.4))
    seen = await watched(faults, webhook_fallback(fixed_interval(HOUR), HOUR))
    assert seen.outcomes == seen.expected
    assert seen.seconds < 10


@pytest.mark.asyncio
async def test_callbacks_that_never_come_cost_no_outcome() -> None:
    seen = await watched(Faults(callback_lost=1.0), webhook_fallback(fixed_interval(0.1), 0.5))
    assert seen.outcomes == seen.expected
    assert seen.answers == {}


# -- in virtual time -------------------------------------------------------------------------------------------------------------


@dataclass
class Fleet:
    """Jobs that start after 3 seconds and take from 60 to 180; their callbacks go to a receiver, except those that are *lost*."""

    count: int = 200
    lost: bool = False
    reads: int = 0
    ends: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ends = {f"j{number}": 60.0 + 120.0 * number / self.count for number in range(self.count)}

    async def fetch(self, job_id: str) -> FlowJob:
        self.reads += 1
        age, end = now(), self.ends[job_id]
        status, since = ("created", 0.0) if age < 3 else ("started", 3.0) if age < end else ("completed", end)
        return FlowJob(job_id, status, "video", created_at=MIDNIGHT, updated_at=MIDNIGHT + timedelta(seconds=since))

    def call_back(self, receiver: WebhookReceiver) -> None:
        if self.lost:
            return
        for job_id, end in self.ends.items():
            for at, status in ((0.0, "created"), (3.0, "started"), (end, "completed")):
                call_later(at, receiver.answer, "POST", f"/{SECRET}", "", {}, callback(job_id, status))


async def lateness(fleet: Fleet, policy: Policy) -> tuple[float, float]:
    """Watch *fleet* to its end and return how late the endings were seen, on average and at worst."""
    watcher = JobWatcher(fleet.fetch, fleet.ends, policy=policy, wall_clock=lambda: MIDNIGHT + timedelta(seconds=now()))
    fleet.call_back(WebhookReceiver(watcher.nudge, SECRET))
    late: dict[str, float] = {}
    async with watcher:
        async for event in watcher:
            if isinstance(event, Ended):
                late[event.job.job_id] = now() - fleet.ends[event.job.job_id]
    assert late.keys() == fleet.ends.keys()
    return sum(late.values()) / len(late), max(late.values())


@pytest.mark.parametrize(("policy", "share"), [(fixed_interval(5), 0.2), (PollPolicy(), 0.3)])
def test_with_callbacks_there_are_fewer_polls_and_no_delay(policy: Policy, share: float) -> None:
    callbacks, polls = Fleet(), Fleet(lost=True)
    _, worst = run(lateness(callbacks, webhook_fallback(policy)))
    mean, _ = run(lateness(polls, policy))
    assert worst < 0.1
    assert mean > 1.0
    assert callbacks.reads < share * polls.reads


@pytest.mark.virtual_time
async def test_with_every_callback_lost_every_outcome_comes_only_later() -> None:
    fleet = Fleet(lost=True)
    mean, worst = await lateness(fleet, webhook_fallback(fixed_interval(5), 60))
    assert 10 < mean < worst <= 60


@pytest.mark.virtual_time
async def test_a_nudge_during_an_outage_asks_again_and_ends_nothing() -> None:
    fleet = Fleet(1)
    watcher = JobWatcher(fleet.fetch, fleet.ends, policy=webhook_fallback(fixed_interval(HOUR), HOUR))
    receiver = WebhookReceiver(watcher.nudge, SECRET)
    async with watcher:
        async for event in watcher:
            assert not isinstance(event, Unreachable)
            call_later(70, receiver.answer, "POST", f"/{SECRET}", "", {}, callback("j0"))
            call_later(70, receiver.answer, "POST", f"/{SECRET}", "", {}, callback(OTHER_ID))
    assert now() == 70
    assert receiver.stats() == {204: 1, 404: 1}

"""Trouble with time, all of it virtual: hours of outage and pause, a wall clock that jumps, an event loop that stands still."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from scripted import Service, collect, down, elapse, words

from asyncflow import Ended, JobWatcher, Pacer, PollPolicy, RateLimitedError, WebhookReceiver, fixed_interval
from asyncflow.records import FlowJob
from asyncflow.testing import VirtualTimeLoop, call_later, now

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncflow import AsyncflowError, Policy

pytestmark = pytest.mark.virtual_time

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
NOON = datetime(2026, 11, 4, 12, tzinfo=UTC)
SCRIPT = [(0.0, "created"), (3.0, "started"), (100.0, "completed")]
each_policy = pytest.mark.parametrize("policy", [fixed_interval(5), PollPolicy()], ids=["fixed_interval", "learned"])


# -- the service -----------------------------------------------------------------------------------------------------------------


@each_policy
async def test_an_hour_without_an_answer_is_one_outage_and_costs_no_ending(policy: Policy) -> None:
    ids = [f"j{number}" for number in range(100)]
    service = Service(SCRIPT, latency=0.1, trouble=down(10, HOUR))
    pacer = Pacer()
    events = await collect(JobWatcher(service.read, ids, policy=policy, pacer=pacer))
    assert Counter(words(events)) >= Counter(
        f"{what}" for each in ids for what in (f"unreachable {each} server", f"ended {each} completed")
    )
    assert max(Counter(words(events)).values()) == 1
    during = sum(10 <= at < HOUR for at, _ in service.reads)
    # At first each job is asked about a few times; then the breaker lets one request a minute try, whatever their number.
    assert during < 100 * 12 + 70
    assert HOUR < now() < HOUR + 5 * MINUTE


@each_policy
async def test_half_an_hour_of_retry_after_is_kept_to_the_second(policy: Policy) -> None:
    ids = [f"j{number}" for number in range(20)]
    refusals: list[float] = []

    def throttled(_job_id: str, at: float) -> AsyncflowError | None:
        if 20 <= at < 20 + 30 * MINUTE:
            refusals.append(at)
            return RateLimitedError("throttled", transient=True, retry_after=30 * MINUTE - (at - 20), status=429)
        return None

    service = Service(SCRIPT, trouble=throttled)
    events = await collect(JobWatcher(service.read, ids, policy=policy, pacer=Pacer()))
    assert Counter(word.split()[0] for word in words(events))["ended"] == 20
    assert 1 <= len(refusals) <= 2
    assert [at for at, _ in service.reads if refusals[-1] < at < 20 + 30 * MINUTE] == []


async def test_a_retry_after_of_a_day_does_not_outlive_the_time_of_the_watch() -> None:
    service = Service(SCRIPT, trouble=lambda *_: RateLimitedError("", transient=True, retry_after=DAY, status=429))
    events = await collect(JobWatcher(service.read, ["a", "b"], pacer=Pacer(), timeout=MINUTE))
    assert sorted(word.rpartition(" ")[0] for word in words(events)[-2:]) == ["abandoned a", "abandoned b"]
    assert now() < MINUTE + 2


async def test_a_job_that_has_ended_and_reads_started_again_is_not_reported_again() -> None:
    service = Service([(0, "started"), (10, "completed"), (11, "started"), (30, "failed")])
    watcher = JobWatcher(service.read, ["a"], policy=fixed_interval(1), keep_open=True)
    receiver = WebhookReceiver(watcher.nudge)
    for at in (12, 15, 31):
        call_later(at, receiver.answer, "POST", "/", "", {}, b'{"jobid": "a", "status": "started"}')
    call_later(MINUTE, lambda: asyncio.ensure_future(watcher.aclose()))
    assert words(await collect(watcher)) == ["changed a started", "ended a completed"]
    assert max(service.times("a")) == 10


async def test_a_job_that_falls_back_before_its_end_is_followed() -> None:
    service = Service([(0, "started"), (5, "created"), (10, "started"), (15, "completed")])
    seen = words(await collect(JobWatcher(service.read, ["a"], policy=fixed_interval(1))))
    assert seen == ["changed a started", "changed a created", "changed a started", "ended a completed"]


# -- the wall clock --------------------------------------------------------------------------------------------------------------


JUMPS = {
    "a year ahead": lambda at: timedelta(days=365) if at > 20 else timedelta(),
    "a year back": lambda at: timedelta(days=-365) if at > 20 else timedelta(),
    "to and fro": lambda at: timedelta(hours=5 if int(at) % 2 else -5),
    "to the year 1": lambda at: datetime.min.replace(tzinfo=UTC) - NOON + timedelta(days=1) if at > 20 else timedelta(),
}


@each_policy
@pytest.mark.parametrize("jump", JUMPS.values(), ids=JUMPS)
async def test_a_wall_clock_that_jumps_moves_no_poll(jump: Callable[[float], timedelta], policy: Policy) -> None:
    async def run(wall_clock: Callable[[], datetime], start: float) -> list[float]:
        polls: list[float] = []

        async def read(job_id: str) -> FlowJob:
            at = now() - start
            polls.append(at)
            status = "completed" if at >= 100 else "started"
            return FlowJob(job_id, status, "video", created_at=NOON, updated_at=NOON + timedelta(seconds=min(at, 100)))

        watcher = JobWatcher(read, ["a"], policy=policy, wall_clock=wall_clock, timeout=HOUR)
        async with watcher:
            events = [event async for event in watcher]
        assert isinstance(events[-1], Ended)
        return polls

    polls = await run(lambda: NOON + timedelta(seconds=now()) + jump(now()), now())
    gaps = [later - earlier for earlier, later in pairwise(polls)]
    assert all(0.5 < gap <= 61 for gap in gaps)
    assert polls[-1] < 100 + MINUTE


# -- the event loop --------------------------------------------------------------------------------------------------------------


def stall(seconds: float) -> None:
    """Do as a blocking call does: when it returns, it is later, and nobody else has run."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    loop.advance(seconds)


@each_policy
async def test_an_event_loop_that_stalls_loses_and_doubles_nothing(policy: Policy) -> None:
    ids = [f"j{number}" for number in range(50)]
    service = Service(SCRIPT, latency=0.2)
    for at in range(1, 90, 7):
        call_later(at, stall, 2.0)
    pacer = Pacer(rate=50)
    events = await collect(JobWatcher(service.read, ids, policy=policy, pacer=pacer))
    assert sorted(word for word in words(events) if word.startswith("ended")) == sorted(f"ended {each} completed" for each in ids)
    assert max(Counter(words(events)).values()) == 1
    # What was missed is not made up for all at once.
    starts = [at for at, _ in service.reads]
    assert max(sum(at <= other < at + 1 for other in starts) for at in starts) <= 51
    assert pacer.stats().in_flight == 0


async def test_a_stall_beyond_every_limit_of_time_gives_up_once() -> None:
    service = Service([(0, "started")], latency=0.5)
    call_later(5.2, stall, HOUR)
    watcher = JobWatcher(service.read, ["a", "b"], policy=fixed_interval(5), job_timeout=MINUTE, timeout=2 * MINUTE)
    seen = words(await collect(watcher))
    assert sorted(seen[2:]) == ["abandoned a wait_timeout", "abandoned b wait_timeout"]


async def test_a_stall_in_the_consumer_merges_nothing_that_ended() -> None:
    script = {f"j{number}": [(0.0, "started"), (number / 10, "completed")] for number in range(1, 40)}
    service = Service(script)
    watcher = JobWatcher(service.read, list(script), policy=fixed_interval(0.5), buffer=5)
    ended = 0
    async with watcher:
        async for event in watcher:
            ended += isinstance(event, Ended)
            stall(0.7)
            await elapse(0.1)
    assert ended == 39

"""Whose turn it is at the budget of a client."""

from __future__ import annotations

import asyncio

import pytest

from asyncflow.client.rate_limit import PermitGate
from asyncflow.pacing import Pacer, Permit, Priority, prepaid


async def elapse(seconds: float) -> None:
    passed = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, passed.set)
    await passed.wait()


@pytest.mark.virtual_time
async def test_a_caller_who_looks_on_does_not_stand_in_line_behind_the_retry_of_a_watch() -> None:
    loop, order = asyncio.get_running_loop(), list[str]()
    budget = PermitGate(Pacer(rate=1, concurrency=10))
    assert budget.pacer.try_acquire(loop.time(), Priority.REST) == 0

    async def pay(name: str, priority: Priority) -> None:
        await budget.acquire(loop.time, loop.time() + 60, priority=priority)
        order.append(name)

    retries = [asyncio.ensure_future(pay(f"retry {number}", Priority.REST)) for number in range(2)]
    await elapse(0.1)
    await pay("caller", Priority.INTERACTIVE)
    await asyncio.gather(*retries)
    assert order == ["caller", "retry 0", "retry 1"]
    assert budget.pacer.stats().starts == {"interactive": 1, "nudged": 0, "expected": 0, "rest": 3}


@pytest.mark.virtual_time
async def test_those_who_wait_in_any_line_are_disturbed() -> None:
    loop, looks = asyncio.get_running_loop(), list[float]()
    budget = PermitGate(Pacer(rate=0.1, concurrency=10))
    budget.pacer.try_acquire(loop.time(), Priority.REST)

    def now() -> float:
        looks.append(loop.time())
        return loop.time()

    waiting = [
        asyncio.ensure_future(budget.acquire(now, loop.time() + 60, priority=priority))
        for priority in (Priority.EXPECTED, Priority.REST)
    ]
    await elapse(0.2)
    looks.clear()
    budget.wake_all()
    await elapse(0)
    await elapse(0)
    assert len(looks) >= 2
    await asyncio.gather(*waiting)


def test_what_a_watch_paid_for_is_taken_over_with_its_priority() -> None:
    budget = PermitGate(Pacer())
    assert budget.adopt() is None
    token = prepaid.set(Permit(budget.pacer, Priority.EXPECTED))
    assert budget.adopt() is Priority.EXPECTED
    assert budget.adopt() is None
    prepaid.reset(token)

"""Many limits of time and one timer, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from asyncflow.client.timeouts import TimeoutGroup

pytestmark = [pytest.mark.asyncio, pytest.mark.virtual_time]


def now() -> float:
    return asyncio.get_running_loop().time()


async def sleep(seconds: float) -> None:
    await asyncio.wait({asyncio.get_running_loop().create_future()}, timeout=seconds)


async def within(deadlines: TimeoutGroup, seconds: float, work: float) -> float:
    """Work for so long under a limit, and return when that ended; negative where the limit ended it."""
    try:
        with deadlines.limit(now() + seconds):
            await sleep(work)
    except TimeoutError:
        return -now()
    return now()


async def test_each_limit_is_reached_at_its_time() -> None:
    deadlines = TimeoutGroup()
    ends = await asyncio.gather(*(within(deadlines, seconds, 100) for seconds in (5, 3, 9, 3, 1, 7)))
    assert ends == [-5, -3, -9, -3, -1, -7]
    assert deadlines.running == {}


async def test_what_is_done_in_time_is_left_alone() -> None:
    deadlines = TimeoutGroup()
    assert await asyncio.gather(*(within(deadlines, 10, work) for work in (1, 2, 3))) == [1, 2, 3]
    assert await within(deadlines, 10, 20) == -13
    deadlines.stop()


async def test_a_limit_in_the_past_ends_at_the_first_wait() -> None:
    assert await within(TimeoutGroup(), -5, 1) == 0


async def test_a_limit_within_a_limit_of_the_same_kind() -> None:
    deadlines = TimeoutGroup()

    async def inner_then_more() -> None:
        assert await within(deadlines, 2, 10) == -2
        await sleep(10)

    with pytest.raises(TimeoutError), deadlines.limit(now() + 5):
        await inner_then_more()
    assert now() == 5


async def test_a_cancellation_from_elsewhere_stays_one() -> None:
    deadlines = TimeoutGroup()
    task = asyncio.create_task(within(deadlines, 5, 10))
    await sleep(2)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert deadlines.running == {}


async def test_a_cancellation_at_the_same_moment_wins() -> None:
    deadlines = TimeoutGroup()
    task = asyncio.create_task(within(deadlines, 5, 10))
    await sleep(0)
    asyncio.get_running_loop().call_at(5, task.cancel)
    await asyncio.wait({task})
    assert task.cancelled()


async def test_a_timeout_around_a_limit_is_its_own() -> None:
    deadlines = TimeoutGroup()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3):
            await within(deadlines, 5, 10)
    assert now() == 3


async def test_an_error_at_the_end_of_the_time_is_not_hidden() -> None:
    async def fail_when_cancelled() -> None:
        try:
            await sleep(5)
        except asyncio.CancelledError:
            raise LookupError from None

    with pytest.raises(LookupError), TimeoutGroup().limit(now() + 1):
        await fail_when_cancelled()


async def test_a_thousand_limits_take_one_timer() -> None:
    deadlines, loop = TimeoutGroup(), asyncio.get_running_loop()
    tasks = [asyncio.create_task(within(deadlines, 30 + number / 100, 20)) for number in range(1000)]
    await sleep(1)
    timers = [handle for handle in getattr(loop, "_scheduled", ()) if "TimeoutGroup" in repr(handle)]
    assert len(timers) == 1
    await asyncio.gather(*tasks)
    deadlines.stop()


async def test_a_limit_needs_a_task() -> None:
    failures: list[RuntimeError] = []

    def call() -> None:
        try:
            with TimeoutGroup().limit(1):
                pass
        except RuntimeError as error:
            failures.append(error)

    asyncio.get_running_loop().call_soon(call)
    await sleep(1)
    assert len(failures) == 1

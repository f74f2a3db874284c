"""Virtual time: exact, instant, and clear about what it cannot do."""

from __future__ import annotations

import asyncio
import math
import signal
import ssl
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncflow.testing import DeadlockError, VirtualTimeError, VirtualTimeLoop, call_later, loop_factories, now, run

if TYPE_CHECKING:
    from collections.abc import Callable


async def pause(seconds: float) -> None:
    waiter = asyncio.get_running_loop().create_future()
    handle = call_later(seconds, waiter.set_result, None)
    try:
        await waiter
    finally:
        handle.cancel()


async def forever() -> None:
    await asyncio.Event().wait()


def test_a_month_of_polling_takes_no_time() -> None:
    async def poll() -> int:
        polls = 0
        while now() < 30 * 86_400:
            await pause(600)
            polls += 1
        return polls

    started = time.process_time()
    assert run(poll(), limit=31 * 86_400) == 30 * 144
    assert time.process_time() - started < 5


@given(st.lists(st.integers(1, 10**7), max_size=20))
def test_time_is_exactly_what_the_timers_asked_for(milliseconds: list[int]) -> None:
    async def main() -> None:
        expected = 0.0
        for step in milliseconds:
            expected += step / 1000
            await pause(step / 1000)
            assert now() == expected

    run(main())


@given(st.sets(st.integers(0, 10**9), max_size=20))
def test_timers_ring_in_the_order_of_their_times(milliseconds: set[int]) -> None:
    rung: list[float] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for when in milliseconds:
            loop.call_at(when / 1000, lambda: rung.append(loop.time()))
        await pause(10**6 + 1)

    run(main(), limit=10**7)
    assert rung == sorted(when / 1000 for when in milliseconds)


def test_two_instants_next_to_each_other_are_both_reached() -> None:
    first = 14.870000000000003
    second = first + 2 * math.ulp(first)

    async def main() -> None:
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def look() -> None:
            # A loop rings a little early, and whoever compares the times, as anyio does, waits for the rest.
            if loop.time() < second:
                loop.call_at(second, look)
            else:
                done.set()

        loop.call_at(first, look)
        await done.wait()
        assert now() == second

    run(main(), limit=60)


def test_a_timer_that_is_taken_back_never_rings() -> None:
    async def main() -> float:
        call_later(1, pytest.fail, "rang").cancel()
        call_later(2, (done := asyncio.Event()).set)
        await done.wait()
        return now()

    assert run(main()) == 2


def test_timeouts_of_asyncio_and_anyio_keep_virtual_time() -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1800):
                await forever()
        with anyio.move_on_after(1800.1) as scope:
            await forever()
        assert scope.cancelled_caught
        assert now() == 1800 + 1800.1

    run(main())


def test_a_deadlock_fails_at_once_and_names_who_waits_where() -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(forever(), name="the poller")
            await pause(3)

    with pytest.raises(DeadlockError, match=r"deadlock at 3 s: .* Waiting: .*main.*; the poller in forever:\d+ > Event.wait:\d+"):
        run(main())


def test_cleanup_still_runs_after_a_deadlock() -> None:
    closed: list[float] = []

    async def main() -> None:
        try:
            await forever()
        finally:
            await pause(5)
            closed.append(now())

    with pytest.raises(DeadlockError):
        run(main())
    assert closed == [5]


def test_what_never_ends_reaches_a_limit() -> None:
    async def main() -> None:
        while True:
            await pause(10)

    with pytest.raises(VirtualTimeError, match=r"limit of 100 s. Waiting: Task-\d+ in .*main:\d+ > pause:\d+"):
        run(main(), limit=100)


def test_an_interrupt_reaches_the_main_task() -> None:
    async def main() -> None:
        call_later(3600, signal.raise_signal, signal.SIGINT)
        await forever()

    with pytest.raises(KeyboardInterrupt):
        run(main())


def test_a_callback_may_be_scheduled_as_from_a_signal_handler() -> None:
    async def main() -> None:
        done = asyncio.Event()
        asyncio.get_running_loop().call_soon_threadsafe(done.set)
        await done.wait()

    run(main())


@pytest.mark.parametrize(
    "use",
    [
        lambda: asyncio.open_unix_connection("/nowhere"),
        lambda: asyncio.open_connection("api.example.com", 443),
        lambda: asyncio.get_running_loop().getaddrinfo("api.example.com", 443),
        lambda: asyncio.start_server(print, "127.0.0.1", 0, ssl=ssl.create_default_context()),
        lambda: asyncio.to_thread(print),
        lambda: asyncio.create_subprocess_exec("true"),
    ],
)
def test_the_world_outside_is_refused(use: Callable[[], Any]) -> None:
    async def main() -> None:
        await use()

    with pytest.raises((VirtualTimeError, ConnectionRefusedError), match="virtual time "):
        run(main())


def test_a_thread_that_is_waited_for_all_the_same_is_a_deadlock() -> None:
    release = threading.Event()

    async def main() -> None:
        await anyio.to_thread.run_sync(release.wait)

    with pytest.raises(DeadlockError, match="no thread or socket is waited for"):
        run(main())
    release.set()


# -- with pytest ------------------------------------------------------------------------------------------------------------


@pytest.mark.virtual_time
async def test_a_marked_test_starts_at_nought() -> None:
    assert now() == 0
    await pause(3600)
    assert now() == 3600


@pytest.mark.asyncio
async def test_an_unmarked_test_has_the_usual_loop() -> None:
    assert not isinstance(asyncio.get_running_loop(), VirtualTimeLoop)


@pytest.mark.virtual_time
class TestOfAMarkedClass:
    async def test_has_virtual_time(self) -> None:
        assert isinstance(asyncio.get_running_loop(), VirtualTimeLoop)

    @pytest.mark.asyncio(loop_scope="class")
    async def test_keeps_its_own_options(self) -> None:
        assert isinstance(asyncio.get_running_loop(), VirtualTimeLoop)


@dataclass
class Mark:
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass
class Item:
    mark: Mark | None

    def get_closest_marker(self, name: str) -> Mark | None:
        return self.mark if name == "virtual_time" else None


def test_the_mark_can_set_the_limit() -> None:
    (factory,) = loop_factories(Item(Mark({"limit": 5}))).values()
    with asyncio.Runner(loop_factory=factory) as runner, pytest.raises(VirtualTimeError, match="limit of 5 s"):
        runner.run(pause(6))


def test_without_the_mark_other_plugins_are_heard() -> None:
    others = {"theirs": asyncio.new_event_loop}
    assert loop_factories(Item(None), others) == others
    assert loop_factories(Item(None)) == {"asyncio": asyncio.new_event_loop}
    assert list(loop_factories(Item(Mark()), others)) == ["virtual"]

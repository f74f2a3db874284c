"""Random cancellations at random awaits, of everything that can be awaited, with a journal and callbacks: nothing is left behind.

Those of the client alone are in tests/client/test_client_crowd.py.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
from typing import TYPE_CHECKING

import anyio
import pytest
from fault_kit import TransportName, client_in, leaves_nothing, on_each_transport

from asyncflow import AsyncClient, AsyncflowError, FlowJob, Job, JobWatcher, Journal, WebhookReceiver, fixed_interval
from asyncflow.simulator import Faults, Simulator

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]

ROUNDS = 1000 if os.environ.get("ASYNCFLOW_LONG") else 120
FAULTS = Faults(latency=(0.0, 0.004), reset=0.1, garble=0.05, truncate=0.05, hang=0.02, slow=0.05, slow_seconds=0.02)


class Calls:
    """What is cancelled; each call has a journal of its own, or shares one that another may be using."""

    def __init__(self, simulator: Simulator, transport: TransportName, folder: Path, dice: random.Random) -> None:
        self.ids = simulator.seed_jobs(15, duration=(0, 30))
        self._simulator, self._folder, self._dice = simulator, folder, dice
        self._transport: TransportName = transport
        self._number = 0

    def client(self) -> AsyncClient:
        token, url = self._simulator.token, self._simulator.url
        return AsyncClient(
            token, base_url=url, transport=self._transport, timeout=0.2, max_retries=1, policy=fixed_interval(0.05)
        )

    def journal(self) -> Journal:
        self._number += 1
        return Journal(self._folder / f"{self._number % 7}.db")

    def choices(self) -> list[Callable[[], Awaitable[object]]]:
        return [self.read, self.wait, self.wait_all, self.watch, self.receive, self.leave, self.close]

    async def read(self) -> None:
        async with self.client() as client:
            await client.get_job(self._dice.choice(self.ids))

    async def wait(self) -> None:
        async with self.client() as client:
            await client.wait(self._dice.choice(self.ids), timeout=self._dice.choice([0.01, 5]))

    async def wait_all(self) -> None:
        async with self.client() as client:
            await client.wait_all(self.ids, timeout=5)

    async def watch(self) -> None:
        async with self.client() as client, client.watch(self.ids, journal=self.journal()) as watcher:
            async for event in watcher:
                watcher.acknowledge(event)

    async def receive(self) -> None:
        async with self.client() as client:
            watcher = client.watch(self.ids, journal=self.journal(), keep_open=True)
            async with WebhookReceiver(watcher.nudge).serve(), watcher:
                async for _ in watcher:
                    await watcher.flush()

    async def leave(self) -> None:
        async with self.client() as client:
            watcher = client.watch(self.ids, journal=self.journal())
            try:
                async for _ in watcher:
                    break
            finally:
                await watcher.aclose()

    async def close(self) -> None:
        """Cancel the closing itself, of a watch in the middle of its work."""
        async with self.client() as client:
            watcher = client.watch(self.ids, journal=self.journal())
            try:
                async for _ in watcher:
                    break
            finally:
                await asyncio.gather(watcher.aclose(), client.aclose())


@on_each_transport
async def test_random_cancellations_leave_no_task_no_socket_and_no_thread(transport: TransportName, tmp_path: Path) -> None:
    dice = random.Random(11)
    cancelled = 0
    async with leaves_nothing(), Simulator(faults=FAULTS) as simulator:
        calls = Calls(simulator, transport, tmp_path, dice)
        for _ in range(ROUNDS):
            cancelled += await cut_off(dice.choice(calls.choices()), dice)
        async with client_in(transport, simulator.url, max_retries=9) as client:
            assert (await client.get_job(calls.ids[0])).job_id == calls.ids[0]
    assert cancelled > ROUNDS // 3
    for number in range(7):
        assert {entry.job_id for entry in Journal(tmp_path / f"{number}.db").entries()} <= set(calls.ids)


async def test_a_watch_whose_closing_is_cancelled_lets_go_of_its_journal_all_the_same(tmp_path: Path) -> None:
    asked, answered = asyncio.Event(), asyncio.Event()
    async with leaves_nothing():
        watcher = JobWatcher(slow_to_leave(asked, answered), ["a"], journal=Journal(tmp_path / "run.db"))
        await watcher.__aenter__()
        await asyncio.wait_for(asked.wait(), 5)
        closing = asyncio.ensure_future(watcher.aclose())
        await asyncio.wait({closing}, timeout=0.02)
        closing.cancel()
        await asyncio.wait({closing}, timeout=5)
        assert closing.cancelled()
        answered.set()


async def test_a_receiver_that_is_cancelled_at_any_step_of_its_start_leaves_no_socket() -> None:
    async def serve() -> None:
        async with WebhookReceiver(print).serve():
            await asyncio.Event().wait()

    async with leaves_nothing():
        for steps in range(12):
            task = asyncio.ensure_future(serve())
            for _ in range(steps):
                await asyncio.wait({task}, timeout=0)
            task.cancel()
            await asyncio.wait({task}, timeout=5)
            assert task.cancelled()


@on_each_transport
async def test_a_client_whose_closing_is_cancelled_at_any_step_leaves_no_connection(transport: TransportName) -> None:
    async with Simulator() as simulator:
        job_id, other_id = simulator.seed_jobs(2)
        simulator.play(other_id, ["hang"])
        for steps in range(8):
            client = AsyncClient(simulator.token, base_url=simulator.url, transport=transport)
            await asyncio.gather(client.get_job(job_id), client.get_job(job_id))
            asking = asyncio.ensure_future(client.get_job(other_id))
            await asyncio.wait({asking}, timeout=0.01)
            closing = asyncio.ensure_future(client.aclose())
            for _ in range(steps):
                await asyncio.wait({closing}, timeout=0)
            closing.cancel()
            await asyncio.wait({closing}, timeout=5)
            if not steps:
                await client.aclose()  # it had not begun
            await asyncio.wait({asking}, timeout=5)
            assert isinstance(asking.exception(), AsyncflowError)
            del client, closing, asking
            gc.collect()


async def test_a_watch_whose_closing_was_cancelled_was_not_dropped_without_it() -> None:
    asked, answered = asyncio.Event(), asyncio.Event()
    watcher = JobWatcher(slow_to_leave(asked, answered), ["a"])
    await watcher.__aenter__()
    await asyncio.wait_for(asked.wait(), 5)
    closing = asyncio.ensure_future(watcher.aclose())
    await asyncio.wait({closing}, timeout=0.02)
    closing.cancel()
    await asyncio.wait({closing}, timeout=5)
    del watcher, closing
    gc.collect()
    answered.set()


def slow_to_leave(asked: asyncio.Event, answered: asyncio.Event) -> Callable[[str], Awaitable[Job]]:
    """A read that tells when it has begun, and once cancelled takes until *answered* to leave."""

    async def read(job_id: str) -> Job:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            with anyio.CancelScope(shield=True):
                await answered.wait()
        return FlowJob(job_id, "started", "video")

    return read


async def cut_off(call: Callable[[], Awaitable[object]], dice: random.Random) -> bool:
    """Make *call* and cancel it, perhaps twice, after some steps or milliseconds; return whether that came in time."""
    task = asyncio.ensure_future(call())
    for pause in pauses(dice):
        await asyncio.wait({task}, timeout=pause)
        if task.done():
            break
    task.cancel()
    if dice.random() < 0.3:
        await asyncio.wait({task}, timeout=0)
        task.cancel()
    done, _ = await asyncio.wait({task}, timeout=20)
    assert done, f"{call.__name__} does not end"
    if task.cancelled():
        return True
    error = task.exception()
    assert error is None or isinstance(error, AsyncflowError)
    return False


def pauses(dice: random.Random) -> Iterator[float]:
    if dice.random() < 0.5:
        yield from [0.0] * dice.randrange(60)
    else:
        yield dice.uniform(0, 0.06)

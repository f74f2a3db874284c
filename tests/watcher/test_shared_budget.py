"""Several watches on one budget: none of them starves beside another."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from anyio.lowlevel import checkpoint
from scripted import Service, collect, job

from asyncflow.events import Ended
from asyncflow.pacing import Pacer
from asyncflow.polling import fixed_interval
from asyncflow.watcher import JobWatcher

if TYPE_CHECKING:
    from asyncflow.records import Job


@pytest.mark.asyncio
@pytest.mark.parametrize("rate", [20.0, 100.0])
async def test_a_watch_of_one_job_has_its_turn_beside_a_watch_of_thousands(rate: float) -> None:
    """By the real clock: in virtual time those who wait for the same slot come in another order."""

    async def read(job_id: str) -> Job:
        await checkpoint()
        return job(job_id, "started")

    pacer = Pacer(rate=rate)
    async with JobWatcher(read, [f"j{number}" for number in range(2000)], policy=fixed_interval(1), pacer=pacer) as crowd:
        for _ in range(5):
            await anext(crowd)
        for number in range(3):
            async with asyncio.timeout(10):
                single = JobWatcher(Service([(0, "completed")]).read, [f"one-{number}"], pacer=pacer)
                assert [type(event) for event in await collect(single)] == [Ended]

"""What a worker and its store tell each other, and what it does when the store does not answer or says no."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from cluster_kit import changed, ids
from cluster_kit import pause as rest

from asyncflow import FlowJob, Pacer, StoreError, UsageError
from asyncflow.cluster import MemoryStore, Worker
from asyncflow.cluster.lease import leased
from asyncflow.cluster.store import Claim
from asyncflow.cluster.store_client import StoreClient
from asyncflow.stream import Stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from asyncflow import Job
    from asyncflow.cluster import StoreStatus, WorkerStats
    from asyncflow.cluster.store import PollReport
    from asyncflow.stream import Emitter

pytestmark = pytest.mark.virtual_time

LEASES = [leased(Claim(job_id, 1, 0.0, 0.0, ""), 30.0, 0.0) for job_id in ids(1200)]


class Slow(MemoryStore):
    """A store that takes its time over reports, and remembers them."""

    latency = 1.0

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(clock=lambda: 1_790_000_000.0 + loop.time())
        self.reported: list[list[PollReport]] = []
        self.pauses: list[float | None] = []

    async def report(self, worker: str, reports: Sequence[PollReport], *, pause: float | None = None) -> list[bool]:
        self.reported.append(list(reports))
        self.pauses.append(pause)
        await rest(self.latency)
        return await super().report(worker, reports, pause=pause)


@asynccontextmanager
async def speaking(store: MemoryStore) -> AsyncIterator[StoreClient]:
    """The side of a worker that has begun."""
    side = StoreClient(store, "one", 30.0, moves=False, learn=lambda _key, _duration: None, taken=lambda: None)

    async def run(sink: Emitter[None]) -> None:
        await side.begin()
        side.start(sink)
        has_begun.set()

    has_begun = asyncio.Event()
    async with Stream[None](run, name="a side", usage_error=UsageError) as stream:
        listening = asyncio.create_task(anext(stream, None))
        await has_begun.wait()
        yield side
        await stream.aclose()
        await listening


async def test_reports_gather_and_go_out_in_order() -> None:
    store = Slow()
    async with speaking(store) as side:
        side.report(LEASES[0], 5.0)
        side.report(LEASES[1], None)
        await rest(0.5)
        for lease in LEASES[2:]:
            side.report(lease, 0.0, changed(lease.job_id))
        await rest(4)
        assert side.reports == []
    assert [len(batch) for batch in store.reported] == [2, 500, 500, 198]
    assert [report.job_id for batch in store.reported for report in batch] == [lease.job_id for lease in LEASES]
    assert [report.pause for report in store.reported[0]] == [5.0, None]


async def test_a_lesson_goes_with_the_last_report() -> None:
    store = Slow()
    async with speaking(store) as side:
        side.report(LEASES[0], None)
        side.report(LEASES[1], None)
        side.report_duration(("google-flow", "video", "veo"), 61.0)
        await rest(2)
    assert [report.lesson for report in store.reported[0]] == [None, ("google-flow", "video", "veo", 61.0)]


async def test_the_longest_pause_is_reported_once_and_one_that_comes_meanwhile_too() -> None:
    store = Slow()
    async with speaking(store) as side:
        side.pause_all(5.0)
        side.pause_all(2.0)
        side.report(LEASES[0], 0.0)
        await rest(0.5)
        side.pause_all(30.0)
        for lease in LEASES[1:3]:
            side.report(lease, 0.0)
            await rest(2)
    assert store.pauses == [5.0, 30.0, None]


async def test_a_goodbye_that_takes_long_is_cut_short() -> None:
    store = Slow()
    store.latency = 3600.0
    async with speaking(store) as side:
        side.report(LEASES[0], 0.0)
        start = asyncio.get_running_loop().time()
        await side.release_all({LEASES[1]: 1.0})
        assert asyncio.get_running_loop().time() - start == 5
    assert [(report.job_id, report.pause) for report in store.reported[0]] == [(LEASES[0].job_id, 0.0), (LEASES[1].job_id, 1.0)]


# -- of a whole worker -----------------------------------------------------------------------------------------------------


class Service:
    """Its jobs run for ever."""

    def __init__(self) -> None:
        self.pacer = Pacer()

    async def get_job(self, job_id: str, *, timeout: float | None = None) -> Job:  # noqa: ARG002 - as a client has it
        return FlowJob(job_id, status="started", kind="video")


class Refusing(MemoryStore):
    """Somebody upgrades it under a worker's hands."""

    async def prune(self) -> None:
        raise StoreError("a newer queue", reason="newer", transient=False)


async def test_a_store_that_says_no_ends_the_worker(caplog: pytest.LogCaptureFixture) -> None:
    worker = Worker(Service(), Refusing(), name="one")
    assert not worker.stats().is_healthy
    with pytest.raises(StoreError, match="newer"):
        await worker.run()
    assert [record.message for record in caplog.records if record.name == "asyncflow.cluster"] == ["store_not_durable"]


class Mute(MemoryStore):
    """It tells how its queue is doing once, then fails to, then hangs."""

    asked = 0

    async def status(self) -> StoreStatus:
        self.asked += 1
        if self.asked == 2:
            raise StoreError("no answer", reason="unreachable", transient=True)
        if self.asked > 2:
            await rest(3600)
        return await super().status()


async def test_how_it_goes_is_shown_whether_the_store_answers_or_not() -> None:
    shown: list[tuple[float, WorkerStats, StoreStatus | None]] = []
    loop = asyncio.get_running_loop()
    store = Mute(clock=lambda: 1_790_000_000.0 + loop.time())
    await store.submit(ids(3))
    worker = Worker(Service(), store, on_status=lambda stats, status: shown.append((loop.time(), stats, status)))
    task = asyncio.create_task(worker.run())
    await rest(18)
    worker.drain()
    await task
    assert [at for at, _, _ in shown] == pytest.approx([5, 10, 17.5], abs=0.1)
    assert [None if status is None else status.watched for _, _, status in shown] == [3, None, None]
    assert all(stats.polls > 0 and stats.is_healthy for _, stats, _ in shown)

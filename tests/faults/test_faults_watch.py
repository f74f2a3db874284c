"""The whole of it on a very bad day: client, watch, journal and callbacks against the simulator, and the truth compared."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from fault_kit import TransportName, client_in, leaves_nothing, on_each_transport

from asyncflow import Abandoned, Changed, Ended, Journal, WebhookReceiver, fixed_interval
from asyncflow.simulator import Faults, Outage, Simulator

if TYPE_CHECKING:
    from pathlib import Path

    from asyncflow import JobWatcher

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]

LONG = bool(os.environ.get("ASYNCFLOW_LONG"))
COUNT = 600 if LONG else 30
SECRET = "hook-secret"
BAD_DAYS = {
    "everything": Faults(
        latency=(0.0, 0.02),
        server_error=0.1,
        reset=0.05,
        reset_midway=0.05,
        lost_answer=0.05,
        truncate=0.05,
        garble=0.05,
        hang=0.02,
        slow=0.05,
        slow_seconds=0.1,
        callback_lost=0.3,
        callback_twice=0.3,
        callback_delay=(0.0, 0.3),
        failed=0.1,
        partial=0.1,
        no_media=0.1,
        refused=0.1,
        unlinked=0.1,
    ),
    "an outage of connections": Faults(outages=[Outage(0.1, 0.4, "reset")]),
    "an outage of answers": Faults(outages=[Outage(0.1, 0.3, "hang")]),
    "an outage that is told": Faults(outages=[Outage(0.1, 0.4, "503")]),
    "too many requests": Faults(rate_limit=100, burst=15, retry_after=1, failed=0.2),
}


def bad_days() -> list[tuple[str, str]]:
    """Each day in a transport, by turns; in the long form in both."""
    days = [(name, transport) for name in BAD_DAYS for transport in ("fast", "session")]
    return days if LONG else days[:2] + days[2::3]


async def endings(watcher: JobWatcher, count: int | None = None) -> Counter[tuple[str, str]]:
    """Follow *watcher* and return how often each job ended in which way; with *count* leave after so many."""
    seen: Counter[tuple[str, str]] = Counter()
    async for event in watcher:
        match event:
            case Ended(job):
                seen[job.job_id, job.outcome.value] += 1
            case Abandoned(job_id, error):
                seen[job_id, error.kind] += 1
            case Changed(job):
                assert (job.job_id, job.outcome.value) not in seen
            case _:
                pass
        if sum(seen.values()) == count:
            break
    return seen


@pytest.mark.parametrize(("name", "transport"), bad_days())
async def test_a_bad_day_costs_no_outcome_and_doubles_none(name: str, transport: TransportName, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run.db")
    async with (
        leaves_nothing(),
        Simulator(seed=5, faults=BAD_DAYS[name]) as simulator,
        client_in(transport, simulator.url, timeout=0.5, max_retries=1) as client,
    ):
        watcher = client.watch(policy=fixed_interval(0.2), journal=journal, keep_open=True, timeout=60)
        receiver = WebhookReceiver(watcher.nudge, SECRET)
        async with receiver.serve() as url, watcher:
            ids = simulator.seed_jobs(COUNT - 5, kind="mix", duration=(0, 0.6), reply_url=f"{url}/{SECRET}")
            ids += simulator.seed_jobs(5, foreign=True)
            watcher.add(*ids)
            seen = await endings(watcher, count=COUNT)
        truth = {(job.job_id, "forbidden" if job.foreign else job.expected): 1 for job in simulator.truth()}
        assert seen == truth
        entries = {entry.job_id: entry for entry in journal.entries()}
        assert entries.keys() == set(ids)
        assert {entry.state for entry in entries.values()} <= {"ended", "handled"}


async def test_a_watch_that_is_cut_off_again_and_again_reports_each_ending_at_least_once(tmp_path: Path) -> None:
    journal = tmp_path / "run.db"
    seen: Counter[tuple[str, str]] = Counter()
    async with Simulator(seed=6, faults=BAD_DAYS["everything"]) as simulator:
        ids = simulator.seed_jobs(COUNT, kind="mix", duration=(0, 0.8))
        rounds = 0
        while len(seen) < COUNT:
            rounds += 1
            async with client_in("fast", simulator.url, timeout=0.5) as client:
                watcher = client.watch(
                    ids if rounds == 1 else (), policy=fixed_interval(0.1), journal=Journal(journal), timeout=30
                )
                async with watcher:
                    seen += await endings(watcher, count=7)
            assert rounds < COUNT
        assert set(seen) == {(job.job_id, job.expected) for job in simulator.truth()}
        # What was handed out and not yet acknowledged comes again: at most one of each round.
        assert sum(seen.values()) <= COUNT + rounds


@on_each_transport
async def test_forged_callbacks_make_us_read_and_nothing_else(transport: TransportName) -> None:
    async with Simulator(seed=7) as simulator, client_in(transport, simulator.url) as client:
        ids = simulator.seed_jobs(3, duration=60)
        async with client.watch(ids, policy=fixed_interval(60)) as watcher:
            receiver = WebhookReceiver(watcher.nudge)
            for _ in ids:
                assert isinstance(await anext(watcher), Changed)
            before = simulator.stats().requests
            for job_id in (*ids, ids[0].replace("v-u", "v-u9"), "user:1-token", "../../v1/account"):
                body = f'{{"jobid": "{job_id}", "status": "completed", "response": {{"media": []}}}}'.encode()
                assert receiver.answer("POST", "/", "", {}, body).status == 204
            while simulator.stats().requests < before + len(ids):
                await client.get_stats("flowmusic")
                before += 1
            assert watcher.stats().ended == {}
            assert len(watcher) == len(ids)

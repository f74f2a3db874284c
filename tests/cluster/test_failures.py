"""Whatever fails: no ending is lost, repeats can be told, no job is read by two workers at once, and the budget holds.

Once each here; with ASYNCFLOW_LONG three times as many jobs. `python tests/cluster_failures.py --runs 10` makes a table of it.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from cluster_engines import ENGINES, Engine
from cluster_failures import FAILURES, LONG_FAILURES, play
from cluster_kit import claimed, ids

from asyncflow.cluster import RedisStore

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]

IS_LONG = bool(os.environ.get("ASYNCFLOW_LONG"))
ALL = FAILURES | LONG_FAILURES if IS_LONG else FAILURES


@pytest.mark.parametrize("name", ALL)
async def test_a_failure_costs_time_and_nothing_else(name: str, tmp_path: Path) -> None:
    jobs, longest = (120, 6.0) if IS_LONG else (30, 2.0)
    with Engine(next(iter(ENGINES.values())), tmp_path) as engine:
        outcome = await play(ALL[name], engine, "test", jobs, longest)
    assert (outcome.lost, outcome.doubled, outcome.overlaps) == (0, 0, 0)
    assert bool(outcome.repeated) == ("acknowledged" in name)
    assert outcome.worst_second <= 1.05


_SUBMIT = """
import asyncio, sys
from asyncflow.cluster import RedisStore
from cluster_kit import ids
async def main():
    async with RedisStore(sys.argv[1], sys.argv[2]) as store:
        await store.submit(ids(int(sys.argv[3])))
asyncio.run(main())
"""


async def test_ids_that_two_processes_submit_are_watched_once(engine: Engine, queue: str) -> None:
    count = 100_000 if IS_LONG else 2_000
    here = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120 - a coroutine may not use a Path
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _SUBMIT, engine.url, queue, str(count)),
            env=os.environ | {"PYTHONPATH": here},
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    for process in processes:
        _, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
    async with RedisStore(engine.url, queue) as store:
        status = await store.status()
        assert (status.watched, status.counts["submitted"]) == (count, count)
        found: set[str] = set()
        while jobs := await claimed(store, 1000, lease=60.0):
            found |= {job.job_id for job in jobs}
            assert len(found) % 1000 == 0
        assert found == set(ids(count))
        await store.purge()

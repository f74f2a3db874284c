"""Workers of a cluster beside a watch of one process: polls a second, CPU of worker and engine, latency, memory of a watched job.

`python -m benchmarks.cluster`; with `--jobs 1000000` the memory of a million. The service is nginx on a core of its own, all jobs
are always due, and both sides read through the transport named by `--transport`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from time import perf_counter, process_time
from typing import TYPE_CHECKING

import redis.asyncio as redis

from asyncflow import AsyncClient, fixed_interval
from asyncflow.cluster import RedisStore, Worker
from asyncflow.cluster.store import PollReport
from benchmarks._engine import engine
from benchmarks._nginx import serving
from benchmarks._readers import IDS, TOKEN, taught
from benchmarks._report import Report as Tables
from benchmarks._report import Spread, parser, ratios

if TYPE_CHECKING:
    from asyncflow.client.options import TransportName

WARM_UP = 2.0
IN_FLIGHT = 100


async def alone(base: str, transport: TransportName, seconds: float) -> dict[str, float]:
    """Watch in one process, without a store."""
    async with AsyncClient(TOKEN, base_url=base, transport=transport, pacer=taught(4 * IN_FLIGHT)) as client:
        start = begun = perf_counter()
        cpu, before = 0.0, -1
        async with client.watch(IDS, policy=fixed_interval(0.05), concurrency=IN_FLIGHT) as watcher:
            async for _ in watcher:
                now = perf_counter()
                if before < 0 and now > begun + WARM_UP:
                    start, cpu, before = now, process_time(), watcher.stats().polls
                elif now > begun + WARM_UP + seconds:
                    break
            polls = watcher.stats().polls - before
            return {"polls": polls, "seconds": perf_counter() - start, "cpu": process_time() - cpu}
    raise AssertionError


async def member(base: str, transport: TransportName, seconds: float, url: str) -> dict[str, float]:
    """Be a worker."""
    async with (
        AsyncClient(TOKEN, base_url=base, transport=transport, pacer=taught(4 * IN_FLIGHT)) as client,
        RedisStore(url) as store,
    ):
        worker = Worker(client, store, policy=fixed_interval(0.05), concurrency=IN_FLIGHT)
        task = asyncio.create_task(worker.run())
        await asyncio.sleep(WARM_UP)
        start, cpu, before = perf_counter(), process_time(), worker.stats()
        await asyncio.sleep(seconds)
        after = worker.stats()
        result = {
            "polls": after.polls - before.polls,
            "seconds": perf_counter() - start,
            "cpu": process_time() - cpu,
            "claim": after.claim_time,
            "report": after.report_time,
            "stale": after.stale,
        }
        worker.drain()
        await task
        return result


def start(role: str, *arguments: str) -> subprocess.Popen[str]:
    run = [sys.executable, "-m", "benchmarks.cluster", "--role", role, *arguments]
    return subprocess.Popen(run, stdout=subprocess.PIPE, text=True)  # noqa: S603 - this very program


def results(processes: list[subprocess.Popen[str]]) -> list[dict[str, float]]:
    return [json.loads(process.communicate()[0].splitlines()[-1]) for process in processes]


async def prepare(url: str) -> None:
    async with RedisStore(url) as store:
        await store.purge()
        await store.submit(IDS)


async def engine_cpu(url: str) -> float:
    facts = await info(url)
    return facts["used_cpu_sys"] + facts["used_cpu_user"]


async def info(url: str) -> dict[str, float]:
    async with redis.Redis.from_url(url) as server:
        return dict(await server.info())


async def memory(url: str, count: int) -> tuple[float, float, float]:
    """Return the bytes a watched job takes, the length of an id, and the seconds that *count* submits took."""
    ids = [f"j1104093012{number:09d}v-u40417-email:marta.olsen@example.com-bot:google-flow" for number in range(count)]
    async with RedisStore(url, "memory") as store:
        before = (await info(url))["used_memory"]
        start = perf_counter()
        await store.submit(ids)
        seconds = perf_counter() - start
        # As they are after their first poll: with a state.
        while jobs := (await store.claim("one", 1000, 600.0)).jobs:
            await store.report("one", [PollReport(job.job_id, job.fence, 3600.0, "[3,12]") for job in jobs])
        found = ((await info(url))["used_memory"] - before) / count
        await store.purge()
    return found, float(len(ids[0])), seconds


def measure(base: str, transport: str, seconds: float, url: str, workers: int) -> dict[str, float]:
    """Return what all workers together did."""
    asyncio.run(prepare(url))
    before = asyncio.run(engine_cpu(url))
    made = results([start("worker", base, transport, str(seconds), url) for _ in range(workers)])
    engine_share = (asyncio.run(engine_cpu(url)) - before) / sum(one["polls"] for one in made) * seconds / (seconds + WARM_UP)
    polls = sum(one["polls"] for one in made)
    return {
        "rate": sum(one["polls"] / one["seconds"] for one in made),
        "cpu": sum(one["cpu"] for one in made) / polls * 1e6,
        "engine": engine_share * 1e6,
        "claim": max(one["claim"] for one in made) * 1e3,
        "report": max(one["report"] for one in made) * 1e3,
    }


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--transport", default="session", choices=("session", "fast"))
    arguments.add_argument("--seconds", type=float, default=8.0)
    arguments.add_argument("--jobs", type=int, default=100_000, help="how many jobs the memory is measured with")
    arguments.add_argument("--role", nargs="+", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.role:
        role, base, transport, seconds, *url = options.role
        print(json.dumps(asyncio.run((alone if role == "alone" else member)(base, transport, float(seconds), *url))))
        return
    repeats, seconds = (1, 2.0) if options.quick else (options.repeats, options.seconds)
    report = Tables("cluster", ("redis",))
    with engine() as (url, version), serving() as server:
        base = server.http
        rows: dict[str, list[dict[str, float]]] = {name: [] for name in ("alone", "1", "2", "4")}
        for _ in range(repeats):
            [one] = results([start("alone", base, options.transport, str(seconds))])
            rows["alone"].append({"rate": one["polls"] / one["seconds"], "cpu": one["cpu"] / one["polls"] * 1e6})
            for workers in (1, 2, 4):
                rows[str(workers)].append(measure(base, options.transport, seconds, url, workers))
        base_rates, base_costs = ([one[key] for one in rows["alone"]] for key in ("rate", "cpu"))
        columns = [
            "workers",
            "polls a second",
            "rate to alone",
            "CPU of alone to its own",
            "worker us a poll",
            "engine us a poll",
        ]
        columns += ["claim ms", "report ms"]
        table: list[list[object]] = []
        for name, some in rows.items():
            figures = [
                Spread.of([one[key] for one in some]) if key in some[0] else "" for key in ("cpu", "engine", "claim", "report")
            ]
            rates = [one["rate"] for one in some]
            label = "one process, no store" if name == "alone" else name
            costs = ratios(base_costs, [one["cpu"] for one in some])
            table.append([label, Spread.of(rates), ratios(rates, base_rates), costs, *figures])
        runs = f"{repeats} interleaved runs of {seconds:g} s"
        title = f"{version}, {options.transport} transport, {runs} (goal: one worker at least 0.7)"
        report.table(title, columns, table)
        count = 10_000 if options.quick else options.jobs
        size, length, took = asyncio.run(memory(url, count))
        report.table(
            f"{count} watched jobs in the engine (goal: at most 300 bytes)",
            ["bytes a job", "of them its id", "seconds to submit"],
            [[size, length, took]],
        )
    report.finish(options.json)


if __name__ == "__main__":
    main()

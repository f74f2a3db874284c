"""`asyncflow worker`, `asyncflow cluster` and `asyncflow watch --store`, as their users see them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Protocol

import aiohttp
import pytest
from cluster_kit import claimed, end_all, ids, job_id, told, until
from secret_watch import leaks

from asyncflow import AsyncClient, fixed_interval
from asyncflow.cli.app import run
from asyncflow.cli.commands.worker import stats_line
from asyncflow.cluster import MemoryStore, RedisStore, StoreStatus, Worker, WorkerStats, serve_health
from asyncflow.simulator import Simulator, SimulatorThread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cluster_engines import Engine

pytestmark = pytest.mark.slow

PASSWORD = "hunter2-and-more"


class Asyncflow(Protocol):
    def __call__(self, *arguments: str) -> tuple[int, str, str]: ...


@pytest.fixture
def asyncflow(engine: Engine, queue: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Asyncflow:
    """Run a command in this process; returns its code, and what it wrote."""
    monkeypatch.setenv("ASYNCFLOW_STORE", engine.url)
    monkeypatch.setenv("ASYNCFLOW_QUEUE", queue)

    def command(*arguments: str) -> tuple[int, str, str]:
        code = run(arguments)
        written = capfd.readouterr()
        # Whole ids are what --json is for.
        assert leaks(written.err if "--json" in arguments else written.out + written.err) == []
        return code, written.out, written.err

    return command


def test_the_queue_is_looked_at_and_taken_care_of(engine: Engine, queue: str, asyncflow: Asyncflow, tmp_path: Path) -> None:
    async def prepare() -> None:
        async with RedisStore(engine.url, queue) as store:
            await store.submit(ids(5))
            await end_all(store, 1)
            await claimed(store, 2, worker="a worker")
            await told(store, 1, "bills")
            await store.set_rate(12.5)

    asyncio.run(prepare())
    code, out, _ = asyncflow("cluster", "status")
    assert code == 0
    assert f"queue {queue}, schema 1\n" in out
    assert re.search(r"4  watched: 2 leased, 2 due for up to \d+\.\d s", out)
    assert "budget: 12.5 polls a second; 0 answers 429" in out
    assert "worker a worker: heard of" in out
    assert re.search(r"group bills: \d consumers?, ", out)
    status = json.loads(asyncflow("cluster", "status", "--json")[1])
    assert (status["watched"], status["leased"], status["counts"]["ended"]) == (4, 2, 1)

    assert asyncflow("cluster", "drain")[1] == "no more claims; 2 polls under way\n"
    assert "; draining" in asyncflow("cluster", "status")[1]
    assert asyncflow("cluster", "drain", "--off")[1] == "claims are handed out again\n"

    (tmp_path / "ids.txt").write_text("\n".join(ids(5)), "utf-8")
    assert asyncflow("cluster", "requeue", "--all", "--leased")[1] == "4 jobs due now\n"
    assert "0 leased, 4 due" in asyncflow("cluster", "status")[1]
    assert asyncflow("cluster", "requeue", "--file", str(tmp_path / "ids.txt"))[1] == "4 jobs due now\n"
    assert asyncflow("cluster", "requeue", "--ended", "--file", str(tmp_path / "ids.txt"))[1] == "5 jobs due now\n"
    assert asyncflow("cluster", "upgrade")[1] == "the queue is up to date\n"

    assert asyncflow("cluster", "purge", job_id(3))[1] == "1 job forgotten\n"
    code, _, err = asyncflow("cluster", "purge", "--all")
    assert code == 2
    assert "add --yes" in err
    assert asyncflow("cluster", "purge", "--all", "--yes")[1] == "4 jobs forgotten\n"
    assert "no worker was heard of" in asyncflow("cluster", "status")[1]


@pytest.mark.parametrize(
    "arguments", [["requeue"], ["requeue", "--all", "x-bot:flowmusic"], ["requeue", "--all", "--ended"], ["purge"]]
)
def test_what_makes_no_sense_is_refused(asyncflow: Asyncflow, arguments: list[str]) -> None:
    code, _, err = asyncflow("cluster", *arguments)
    assert code == 2
    assert "give ids, or --all" in err


@pytest.mark.parametrize(
    ("url", "words", "code"),
    [
        ("http://127.0.0.1:1", "looks like redis://", 2),
        (f"redis://someone:{PASSWORD}@127.0.0.1:1/0", "redis://127.0.0.1:1 does not answer", 5),
    ],
)
def test_a_store_that_is_not_there_is_said_so(
    asyncflow: Asyncflow, url: str, words: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asyncflow.cli.commands.cluster._PATIENCE", 0.2)
    found, out, err = asyncflow("cluster", "status", "--store", url)
    assert (found, out) == (code, "")
    assert words in err
    assert PASSWORD not in err
    assert "someone" not in err


def test_a_schema_that_older_workers_do_not_know_waits_for_them(engine: Engine, queue: str, asyncflow: Asyncflow) -> None:
    async def prepare() -> None:
        async with RedisStore(engine.url, queue, schema=0) as older:
            await older.submit(ids(1))
            await claimed(older, worker="old-1")

    asyncio.run(prepare())
    code, _, err = asyncflow("cluster", "upgrade")
    assert code == 2
    assert "older workers still run: old-1" in err


# -- a watch whose jobs workers poll -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def service() -> Iterator[SimulatorThread]:
    with SimulatorThread(seed=3, speed=60) as running:
        yield running


def started(service: SimulatorThread, engine: Engine, queue: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {"USEAPI_TOKEN": service.token, "USEAPI_BASE_URL": service.url, "PYTHONDEVMODE": "1"}
    store = {"ASYNCFLOW_STORE": engine.url, "ASYNCFLOW_QUEUE": queue}
    launch = "import signal, sys; signal.signal(2, signal.default_int_handler); from asyncflow.cli import main; sys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-c", launch, *arguments], stderr=subprocess.PIPE, text=True, env=os.environ | environment | store
    )


def said(process: subprocess.Popen[str], what: str) -> str:
    assert process.stderr is not None
    lines: list[str] = []
    for line in process.stderr:
        lines.append(line)
        if what in line:
            return "".join(lines)
    raise AssertionError("".join(lines))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_drains_and_gives_back(service: SimulatorThread, engine: Engine, queue: str, number: signal.Signals) -> None:
    job_ids = service.seed_jobs(20, duration=6000)

    async def submit() -> None:
        async with RedisStore(engine.url, queue) as store:
            await store.submit(job_ids)

    async def has_polled() -> bool:
        async with RedisStore(engine.url, queue) as store:
            return (await store.status()).counts.get("reports", 0) > 5

    async def look() -> StoreStatus:
        async with RedisStore(engine.url, queue) as store:
            return await store.status()

    asyncio.run(submit())
    worker = started(service, engine, queue, "worker", "--name", "one", "--rate", "500", "--interval", "200ms")
    text = said(worker, "worker one polls")
    asyncio.run(until(has_polled))
    worker.send_signal(number)
    _, rest = worker.communicate(timeout=30)
    assert worker.returncode == 0
    assert "draining" in rest
    assert re.search(r"drained after \d+ polls", rest)
    assert leaks(text + rest) == []
    status = asyncio.run(look())
    assert (status.watched, status.leased, status.rate) == (20, 0, 500.0)


def test_a_watch_over_a_store_prints_what_workers_see(
    service: SimulatorThread, engine: Engine, queue: str, asyncflow: Asyncflow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("USEAPI_TOKEN", service.token)
    monkeypatch.setenv("USEAPI_BASE_URL", service.url)
    job_ids = service.seed_jobs(5, kind="video", age=6000, fate="success")
    worker = started(service, engine, queue, "worker")
    code, out, err = asyncflow("watch", *job_ids, "--store", engine.url, "--json", "--timeout", "30s")
    worker.terminate()
    worker.communicate(timeout=30)
    assert code == 0, err
    assert sorted(json.loads(line)["job"]["job_id"] for line in out.splitlines() if '"type":"ended"' in line) == sorted(job_ids)
    code, _, err = asyncflow("watch", *job_ids, "--store", engine.url, "--journal", str(tmp_path / "run.db"))
    assert code == 2
    assert "give one of them" in err
    code, out, err = asyncflow("watch", *service.seed_jobs(1), "--store", engine.url, "--timeout", "300ms")
    assert code == 3
    assert "request" not in out + err


# -- figures -----------------------------------------------------------------------------------------------------------------


def worker_stats(**changes: int) -> WorkerStats:
    figures = {"in_hand": 3, "in_flight": 2, "unreported": 1, "polls": 1000, "failed_polls": 2, "counted": 990, "stale": 1}
    figures |= {"lapsed": 0, "ended": 42, "abandoned": 0, "throttled": 0} | changes
    return WorkerStats(
        name="one", connected=True, is_draining=False, is_healthy=True, claim_time=0.001, report_time=0.002, **figures
    )


def queue_status(pause: float = 0.0, rate: float | None = 50.0) -> StoreStatus:
    return StoreStatus("default", 1, 5000, 7, 81, 0.42, 100, 200, rate, pause, is_draining=False, counts={"claimed": 3})


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (queue_status(), "5,000 watched, 81 due (0.4 s late), 7 leased; budget 50/s; here 20.0 polls/s, 3 in hand, 42 ended"),
        (
            queue_status(rate=None),
            "5,000 watched, 81 due (0.4 s late), 7 leased; budget no limit; here 20.0 polls/s, 3 in hand, 42 ended",
        ),
        (
            queue_status(9.6),
            "5,000 watched, 81 due (0.4 s late), 7 leased; paused for 10 s; here 20.0 polls/s, 3 in hand, 42 ended",
        ),
        (None, "the store does not answer; here 20.0 polls/s, 3 in hand, 42 ended, 1 not reported"),
    ],
)
def test_a_line_of_figures(status: StoreStatus | None, line: str) -> None:
    assert stats_line(worker_stats(), status, 5.0, 100) == line
    assert "7 answers 429" in stats_line(worker_stats(throttled=7), status, 5.0, 100)


@pytest.mark.asyncio
async def test_orchestrators_and_prometheus_are_answered() -> None:
    store = MemoryStore()
    async with (
        Simulator(seed=1) as simulator,
        AsyncClient(simulator.token, base_url=simulator.url) as client,
        aiohttp.ClientSession() as browser,
    ):
        worker = Worker(client, store, name="one", lease=1.0, policy=fixed_interval(0.2))
        async with serve_health(worker, store, "127.0.0.1", 0) as (host, port):

            async def get(path: str, method: str = "GET") -> tuple[int, str]:
                async with browser.request(method, f"http://{host}:{port}{path}") as answer:
                    return answer.status, await answer.text()

            assert (await get("/healthz"))[0] == 503  # not at work yet
            task = asyncio.create_task(worker.run())
            await store.submit(simulator.seed_jobs(5, duration=60))

            async def works() -> bool:
                return worker.stats().polls > 5

            await until(works)
            code, text = await get("/healthz")
            assert (code, json.loads(text)["name"]) == (200, "one")
            assert (await get("/readyz?verbose"))[0] == 200
            code, text = await get("/metrics")
            assert code == 200
            assert re.search(r"^asyncflow_worker_polls_total \d+$", text, re.MULTILINE)
            assert "asyncflow_queue_watched 5\n" in text
            assert leaks(text) == []
            assert (await get("/"))[0] == 404
            assert (await get("/healthz", "POST"))[0] == 405
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"HEAD /healthz HTTP/1.1\r\nHost: here\r\n\r\n")
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert body == b""
            writer.close()
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"nonsense")  # never finished: it is hung up on when the server closes
            worker.drain()
            await task
            assert (await get("/readyz"))[0] == 503
        assert await reader.read() == b""
        writer.close()

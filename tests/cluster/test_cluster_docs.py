"""What the page about many processes says is so: its programs run against a real engine, real workers and the simulator."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from itertools import takewhile
from string import Template
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import uvicorn
from cluster_engines import free_port
from test_docs import BLOCKS, ROOT, Block, run

from asyncflow import AsyncClient, fixed_interval
from asyncflow.cli.commands.worker import worker as worker_command
from asyncflow.cluster import RedisStore, Worker
from asyncflow.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from cluster_engines import Engine

pytestmark = pytest.mark.slow

PROGRAMS = [block for block in BLOCKS if block.language == "python" and "asyncflow.cluster" in block.text]
TERMINALS = [block for block in BLOCKS if block.page == "docs/cluster.md" and block.language == "sh" and "pip" not in block.text]
SHORT = [block for block in BLOCKS if block.page != "docs/cluster.md" and "--store" in block.text and block.language == "sh"]


@asynccontextmanager
async def service(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Simulator]:
    """The simulator, with a worker that polls the default queue of an engine whose keys are all gone before."""
    async with Simulator(seed=1, speed=50) as simulator, RedisStore(engine.url) as store:
        await store.purge()
        monkeypatch.setenv("USEAPI_TOKEN", simulator.token)
        monkeypatch.setenv("USEAPI_BASE_URL", simulator.url)
        monkeypatch.setenv("ASYNCFLOW_STORE", engine.url)
        async with AsyncClient() as client, asyncio.TaskGroup() as group:
            worker = Worker(client, store, policy=fixed_interval(0.2))
            group.create_task(worker.run())
            try:
                yield simulator
            finally:
                worker.drain()


@pytest.mark.asyncio
@pytest.mark.parametrize("block", [pytest.param(block, id=block.name) for block in PROGRAMS])
async def test_a_program_runs(block: Block, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    async with service(engine, monkeypatch) as simulator, asyncio.timeout(30):
        job_ids = simulator.seed_jobs(3, kind="mix", age=600)
        await run(block, job_id=job_ids[0], job_ids=job_ids)


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:  # noqa: ANN401 - any ASGI app
    """An app on a port of its own."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on"))
        async with asyncio.TaskGroup() as group:
            group.create_task(server.serve([listener]))
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                server.should_exit = True


@pytest.mark.asyncio
async def test_the_web_app_waits_for_what_workers_poll(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    [block] = [block for block in PROGRAMS if "FastAPI" in block.text]
    app = (await run(block))["app"]
    async with service(engine, monkeypatch) as simulator, asyncio.timeout(30):
        [good] = simulator.seed_jobs(kind="video", duration=50, fate="success")
        [bad] = simulator.seed_jobs(kind="video", age=600, fate="failed")
        async with served(app) as url, aiohttp.ClientSession(url) as browser:
            async with browser.post(f"/watch/{good}") as answer:
                assert (answer.status, await answer.json()) == (202, {good: "new"})
            async with browser.get(f"/wait/{good}") as answer:
                assert answer.status == 200
                assert (await answer.json())["outcome"] == "succeeded"
            async with browser.get(f"/wait/{bad}") as answer:
                assert answer.status == 502
            async with browser.get(f"/events/{good}") as answer:
                assert "event: ended" in await answer.text()


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a line of the page as a process, whose output is a pipe; it does not outlive the test."""
    started: list[subprocess.Popen[bytes]] = []
    variables: dict[str, str] = {}

    def type_in(line: str, **more: str) -> subprocess.Popen[bytes]:
        variables.update(more)
        words = shlex.split(re.sub(r" > \S+|&$", "", Template(line).safe_substitute(variables)))
        process = subprocess.Popen(
            [sys.executable, "-m", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=tmp_path,
            env=os.environ | variables,
        )
        started.append(process)
        return process

    yield type_in
    for process in started:
        with process:
            process.kill()


def said(process: subprocess.Popen[bytes], what: bytes) -> None:
    """Read on until *process* says this."""
    assert process.stdout is not None
    lines = list(takewhile(lambda line: what not in line, process.stdout))
    assert process.poll() is None, b"".join(lines).decode()


def test_the_two_terminals(engine: Engine, tmp_path: Path, terminal: Callable[..., subprocess.Popen[bytes]]) -> None:
    """The page line by line, with other ports, fewer jobs and shorter leases; Redis runs already."""
    typed = (
        "\n".join(block.text for block in TERMINALS)
        .replace("--speed 20 --jobs 5000", "--speed 200 --jobs 60")
        .replace("10s", "1s")
    )
    simulate, one, two, watch, status = (line for line in typed.splitlines() if line.startswith("asyncflow"))
    queue = {"ASYNCFLOW_QUEUE": tmp_path.name, "ASYNCFLOW_STORE": engine.url, "PYTHONUNBUFFERED": "1"}
    simulator = terminal(simulate.replace("8787", str(port := free_port())), **queue)
    said(simulator, b"Its token is")
    workers = [terminal(line, USEAPI_BASE_URL=f"http://127.0.0.1:{port}", USEAPI_TOKEN="user:1234-abcdef") for line in (one, two)]
    for worker in workers:
        said(worker, b"polls 127.0.0.1")
    watcher = terminal(f"{watch} --json --queue {tmp_path.name}")
    assert watcher.stdout is not None
    events = [watcher.stdout.readline()]
    workers[0].kill()
    found = terminal(status)
    assert b"watched: " in found.communicate(timeout=30)[0]
    events += watcher.stdout.readlines()
    assert sum(b'"type":"ended"' in event for event in events) == 60
    workers[1].terminate()
    rest, _ = workers[1].communicate(timeout=30)
    assert b"drained after" in rest
    assert workers[1].returncode == 0


def test_the_readme_tells_of_it() -> None:
    assert {block.page for block in SHORT} >= {"README.md"}


def test_the_examples_say_what_the_command_understands() -> None:
    known = {name for parameter in worker_command.params for name in parameter.opts}
    for path in (ROOT / "examples" / "cluster").iterdir():
        used = re.findall(r"asyncflow worker (.*?)[\"\n]", path.read_text("utf-8"))
        assert used
        assert {word for line in used for word in re.findall(r"--[a-z-]+", line)} <= known

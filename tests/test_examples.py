"""Every program in examples/ runs, as its page says, against the simulator."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import pytest_asyncio

from asyncflow.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"


@pytest_asyncio.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(seed=1, speed=100) as service:
        yield service


async def start(simulator: Simulator, folder: Path, *command: str, **variables: str) -> asyncio.subprocess.Process:
    tools = Path(sys.executable).parent
    return await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env=os.environ
        | {"USEAPI_TOKEN": simulator.token, "USEAPI_BASE_URL": simulator.url, "PYTHONUNBUFFERED": "1"}
        | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
        | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


async def output_of(process: asyncio.subprocess.Process) -> str:
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    return output.decode()


async def address_of(server: asyncio.subprocess.Process) -> str:
    """Return where a server that prints its address listens."""
    assert server.stdout is not None
    seen = b""
    while b"http://127.0.0.1:" not in seen:
        line = await asyncio.wait_for(server.stdout.readline(), 60)
        assert line, f"it ended before it listened: {seen.decode()}"
        seen += line
    return "http://127.0.0.1:" + seen.partition(b"http://127.0.0.1:")[2].split()[0].decode()


async def ended(server: asyncio.subprocess.Process) -> int:
    server.terminate()
    await output_of(server)
    assert server.returncode is not None
    return server.returncode


@pytest.mark.asyncio
async def test_the_fastapi_app_gives_a_ticket_and_later_the_files(simulator: Simulator, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "uvicorn", "fastapi_app:app", "--port", "0", "--app-dir", str(EXAMPLES)]
    server = await start(simulator, tmp_path, *command)
    url = await address_of(server)
    async with aiohttp.ClientSession(url) as user:
        async with user.post("/videos", params={"prompt": "a cat"}) as response:
            assert response.status == 202
            ticket = (await response.json())["ticket"]
        async with user.get("/videos/nobody-has-this") as response:
            assert response.status == 404
        states: list[dict[str, Any]] = []
        while not states or states[-1]["state"] in {"created", "started"}:
            async with user.get(f"/videos/{ticket}", params={"patience": 20 * len(states)}) as response:
                states.append(await response.json())
    assert await ended(server) in {0, -15}
    [truth] = simulator.truth()
    assert states[-1]["state"] == truth.expected
    assert len(states[-1]["files"]) == len(simulator.media(truth.job_id))
    assert (tmp_path / "videos.db").exists()


@pytest.mark.asyncio
async def test_the_aiohttp_app_awaits_a_job(simulator: Simulator, tmp_path: Path) -> None:
    [job_id] = simulator.seed_jobs(kind="video", fate="success", age=0, duration=50)
    server = await start(simulator, tmp_path, sys.executable, str(EXAMPLES / "aiohttp_app.py"), "0")
    url = await address_of(server)
    async with aiohttp.ClientSession(url) as user:
        async with user.get(f"/jobs/{job_id}") as response:
            assert (response.status, (await response.json())["outcome"]) == (200, "succeeded")
        async with user.get(f"/jobs/{job_id[:-24]}x{job_id[-23:]}") as response:
            assert response.status in {404, 502}
    assert await ended(server) in {0, -15}


def lengths_of(folder: Path, left_out: str) -> list[int]:
    texts = [path.read_text("utf-8") for path in folder.glob("*.txt") if path.name != left_out]
    return sorted(len(text.split()) for text in texts)


@pytest.mark.asyncio
async def test_the_pipeline_writes_a_file_for_each_job_with_links(simulator: Simulator, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a cat\n\na train in the snow\na storm\n", "utf-8")
    process = await start(simulator, tmp_path, sys.executable, str(EXAMPLES / "pipeline.py"), "prompts.txt", ".")
    output = await output_of(process)
    assert len(simulator.truth()) == 3, output
    files = [len(simulator.media(truth.job_id)) for truth in simulator.truth()]
    assert process.returncode == (0 in files), output
    assert lengths_of(tmp_path, "prompts.txt") == sorted(filter(None, files))


@pytest.mark.asyncio
async def test_the_cron_script_goes_on_where_it_stopped(simulator: Simulator, tmp_path: Path) -> None:
    slow = simulator.seed_jobs(kind="music", fate="success", age=0, duration=800)
    done = simulator.seed_jobs(2, kind="image", fate="success", age=600)
    (tmp_path / "ids.txt").write_text("\n".join([*slow, *done]), "utf-8")
    endings = tmp_path / "endings.jsonl"
    runs = 0
    while runs == 0 or endings.read_text("utf-8").count('"ended"') < 3:
        process = await start(simulator, tmp_path, str(EXAMPLES / "cron.sh"), str(tmp_path), "4s")
        output = await output_of(process)
        assert (process.returncode, output) == (0, ""), (tmp_path / "log.txt").read_text("utf-8")
        runs += 1
    assert runs > 1
    ids = [json.loads(line)["job"]["job_id"] for line in endings.read_text("utf-8").splitlines() if '"ended"' in line]
    assert sorted(ids) == sorted([*slow, *done])


@pytest.mark.asyncio
async def test_the_notebook_runs_from_top_to_bottom(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = simulator.seed_jobs(3, kind="image", fate="success", age=600)
    (tmp_path / "ids.txt").write_text("\n".join(ids), "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("USEAPI_TOKEN", simulator.token)
    monkeypatch.setenv("USEAPI_BASE_URL", simulator.url)
    notebook = json.loads((EXAMPLES / "notebook.ipynb").read_text("utf-8"))
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            code = compile("".join(cell["source"]), "notebook.ipynb", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            result = FunctionType(code, names)()
            if inspect.isawaitable(result):
                await result
    assert [row[:2] for row in names["rows"]] == [("image", "succeeded")] * 3
    assert (names["errors"], len(names["ended"])) == ([], 3)


def test_every_example_is_listed_and_every_listed_one_is_there() -> None:
    page = (EXAMPLES / "README.md").read_text("utf-8")
    names = {path.name + "/" * path.is_dir() for path in EXAMPLES.iterdir()} - {"README.md", "__pycache__/"}
    listed = {line.split("`")[1] for line in page.splitlines() if line.startswith("| `")}
    assert names == listed

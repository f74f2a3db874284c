"""Every shell example of the README and the docs runs against the simulator, every command is told of, and help is light.

An example finds JOB_ID and OTHER_ID, jobs that succeed, and ids.txt, a file of such ids. The set-up commands (`pip install ...`)
are run by .ci/run.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from test_architecture import loaded_by
from test_docs import BLOCKS, ROOT, Block, simulator

from asyncflow import Journal

if TYPE_CHECKING:
    from asyncflow.simulator import Simulator

pytestmark = pytest.mark.slow

__all__ = ["simulator"]

COMMAND = Path(sys.executable).with_name("asyncflow")
EXAMPLES = [
    block
    for block in BLOCKS
    if block.language == "sh" and not re.search("pip install|--store|_STORE|asyncflow cluster", block.text)
]
SERVERS = [block for block in EXAMPLES if re.search("asyncflow (simulate|dashboard)", block.text)]


def by_name(blocks: list[Block]) -> list[object]:
    return [pytest.param(block, id=block.name) for block in blocks]


async def start(script: str, folder: Path, **variables: str) -> asyncio.subprocess.Process:
    path = f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}"
    return await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", script),
        cwd=folder,
        env=os.environ | {"PATH": path} | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@pytest.mark.asyncio
@pytest.mark.parametrize("block", by_name([block for block in EXAMPLES if block not in SERVERS]))
async def test_a_shell_example_runs(block: Block, simulator: Simulator, tmp_path: Path) -> None:
    ids = simulator.seed_jobs(2, age=600, fate="success")
    (tmp_path / "ids.txt").write_text("# two videos\n\n" + "\n".join(ids), "utf-8")
    process = await start(re.sub(r"(--listen \S+):\d+", r"\1:0", block.text), tmp_path, JOB_ID=ids[0], OTHER_ID=ids[1])
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, output.decode()


@pytest.mark.asyncio
@pytest.mark.parametrize("block", by_name(SERVERS))
async def test_a_server_example_starts(block: Block, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run.db")
    await journal.open(lambda _: None)
    await journal.aclose()
    process = await start("exec " + re.sub(r"--port \d+", "--port 0", block.text), tmp_path)
    assert process.stdout is not None
    first = await asyncio.wait_for(process.stdout.readline(), 30)
    process.terminate()
    rest, _ = await asyncio.wait_for(process.communicate(), 10)
    assert b"http://127.0.0.1:" in first + rest


def help_of(*arguments: str) -> str:
    run = [str(COMMAND), *arguments, "--help"]
    return subprocess.run(run, check=True, capture_output=True, text=True, timeout=60).stdout


def commands() -> list[str]:
    _, _, listed = help_of().partition("Commands")
    return re.findall(r"^\W*([a-z][a-z-]*)\s{2,}", listed, re.MULTILINE)


def test_every_command_is_told_of_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    found = commands()
    assert {"demo", "simulate", "get", "watch"} <= set(found)
    assert [command for command in found if f"asyncflow {command}" not in readme] == []


def test_help_is_light() -> None:
    loaded = loaded_by("-m", "asyncflow", "--help")
    assert "click" in loaded
    assert "aiohttp" not in loaded

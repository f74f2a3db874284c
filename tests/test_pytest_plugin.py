"""The plug-in under each runner, each in a process of its own, and what it costs those who do not use it."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import anyio.pytest_plugin
import pytest

from asyncflow.testing import VirtualTimeLoop, now

if TYPE_CHECKING:
    from pathlib import Path

    from asyncflow import AsyncClient
    from asyncflow.simulator import Simulator, SimulatorThread

pytestmark = pytest.mark.slow

PLAIN = """
import asyncio
import os
import pytest
from asyncflow import AsyncClient
from asyncflow.testing import VirtualTimeLoop, now

def test_a_plain_function(asyncflow_simulator, asyncflow_client):
    assert asyncflow_simulator.seed_jobs(2) != []
    assert os.environ["USEAPI_BASE_URL"] == asyncflow_simulator.url

def test_asyncio_run(asyncflow_simulator, asyncflow_client):
    [job_id] = asyncflow_simulator.seed_jobs(duration=0.1, fate="success")
    assert asyncio.run(asyncflow_client.wait(job_id)).urls
    assert "closed" in repr(asyncflow_client)

@pytest.mark.virtual_time
async def test_virtual_time(asyncflow_simulator, asyncflow_client):
    assert isinstance(asyncio.get_running_loop(), VirtualTimeLoop)
    job_id = asyncflow_simulator.script_job([(0, "created"), (3600, "completed")])
    assert (await asyncflow_client.wait(job_id, timeout=None)).urls
    assert now() > 3600

@pytest.mark.virtual_time(limit=50)
class TestOfAMarkedClass:
    @pytest.mark.parametrize("seconds", [1, 2])
    async def test_virtual_time_with_parameters(self, seconds, asyncflow_simulator):
        async with AsyncClient() as client:
            [job_id] = asyncflow_simulator.seed_jobs(duration=seconds)
            await client.wait(job_id, raise_on_failure=False)
        assert seconds <= now() < 50

    @pytest.mark.xfail(raises=ZeroDivisionError, strict=True)
    async def test_that_fails(self):
        await asyncio.sleep(1)
        raise ZeroDivisionError

    @pytest.mark.xfail(raises=RuntimeError, strict=True)
    async def test_beyond_its_limit(self):
        await asyncio.sleep(51)
"""
MARKED = """
async def test_real_time{0}(asyncflow_simulator, asyncflow_client):
    assert not isinstance(asyncio.get_running_loop(), VirtualTimeLoop)
    [job_id] = asyncflow_simulator.seed_jobs(duration=0.1, fate="success")
    assert (await asyncflow_client.wait(job_id)).urls

@pytest.mark.virtual_time
async def test_virtual_time_too{0}(asyncflow_client):
    assert now() == 0
    assert isinstance(asyncio.get_running_loop(), VirtualTimeLoop)
"""
UNDER_ASYNCIO = MARKED.replace("async def", "@pytest.mark.asyncio\nasync def")
UNDER_ANYIO = MARKED.replace("async def", "@pytest.mark.anyio\nasync def")
# Before it had a mode of its own, anyio's plug-in took what was marked; and it took trio too, which may not be installed.
HAS_MODE = hasattr(anyio.pytest_plugin, "pytest_addoption")
ON_ASYNCIO = """
@pytest.fixture
def anyio_backend():
    return "asyncio"
"""
ANYIO_LOOP = """
@pytest.fixture
def anyio_backend():
    return "asyncio", {"loop_factory": VirtualTimeLoop}

@pytest.fixture
async def started_at(anyio_backend):
    await asyncio.sleep(10)
    return now()

@pytest.mark.anyio
@pytest.mark.virtual_time
async def test_with_an_async_fixture_of_anyio(started_at, asyncflow_client):
    assert (started_at, now()) == (10, 10)
"""
ASYNCIO_LOOP = """
import pytest_asyncio

@pytest_asyncio.fixture
async def started_at():
    await asyncio.sleep(10)
    return now()

@pytest.mark.asyncio
@pytest.mark.virtual_time
async def test_with_an_async_fixture_of_pytest_asyncio(started_at, asyncflow_simulator, asyncflow_client):
    [job_id] = asyncflow_simulator.seed_jobs(duration=60)
    await asyncflow_client.wait(job_id, raise_on_failure=False)
    assert started_at == 10
    assert now() > 60
"""
LOOP_HOOK = """
import pytest
from asyncflow import testing

@pytest.hookimpl(wrapper=True)
def pytest_asyncio_loop_factories(item):
    return testing.loop_factories(item, (yield))
"""
# Only the plug-ins that are named: others that are installed take longer to load than the tests to run.
ALONE = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
ALONE["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"

BOTH = ("-p", "pytest_asyncio.plugin", "-p", "anyio")
HEAVY = {"aiohttp", "anyio", "asyncflow.errors", "asyncflow.simulator", "asyncflow.testing", "msgspec"}
DEAF_HOOK = """
import asyncio

def pytest_asyncio_loop_factories():
    return {"theirs": asyncio.new_event_loop}
"""


def run_pytest(folder: Path, *arguments: str, conftest: str = "", **files: str) -> str:
    """Run pytest over test files, in a process of its own, with the plug-in; return what it prints."""
    for name, text in files.items():
        (folder / f"test_{name}.py").write_text(text, "utf-8")
    (folder / "conftest.py").write_text(conftest, "utf-8")
    if BOTH[1] in arguments:
        arguments = ("-o", "asyncio_default_fixture_loop_scope=function", *arguments)
    run = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-p", "asyncflow", *arguments, "."]
    return subprocess.run(run, check=False, capture_output=True, text=True, cwd=folder, env=ALONE, timeout=120).stdout


def counted(output: str) -> dict[str, int]:
    return {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped|xfailed|error)", output)}


def test_without_any_runner(tmp_path: Path) -> None:
    output = run_pytest(tmp_path, plain=PLAIN)
    assert counted(output) == {"passed": 5, "xfailed": 2}, output


def test_pytest_asyncio_strict_and_anyio_strict(tmp_path: Path) -> None:
    output = run_pytest(
        tmp_path,
        *BOTH,
        all=PLAIN + UNDER_ASYNCIO.format("_asyncio") + UNDER_ANYIO.format("_anyio") + ON_ASYNCIO,
        loop=PLAIN + ANYIO_LOOP,
    )
    assert counted(output) == {"passed": 5 + 2 + 2 + 5 + 1, "xfailed": 4}, output


def test_pytest_asyncio_auto(tmp_path: Path) -> None:
    output = run_pytest(tmp_path, *BOTH, "--asyncio-mode=auto", all=PLAIN + MARKED.format(""))
    assert counted(output) == {"passed": 7, "xfailed": 2}, output


def test_anyio_auto(tmp_path: Path) -> None:
    mode = ("--anyio-mode=auto",) if HAS_MODE else ()
    marked = MARKED if HAS_MODE else UNDER_ANYIO
    output = run_pytest(tmp_path, "-p", "anyio", *mode, all=PLAIN + marked.format("") + ON_ASYNCIO)
    assert counted(output) == {"passed": 7, "xfailed": 2}, output


def test_a_hook_of_pytest_asyncio_gives_async_fixtures_virtual_time(tmp_path: Path) -> None:
    output = run_pytest(tmp_path, *BOTH, conftest=LOOP_HOOK, all=PLAIN + ASYNCIO_LOOP)
    assert counted(output) == {"passed": 6, "xfailed": 2}, output


def test_a_marked_test_never_runs_in_real_time_unnoticed(tmp_path: Path) -> None:
    output = run_pytest(
        tmp_path, *BOTH, conftest=DEAF_HOOK, all=PLAIN.split("def test_a_plain", maxsplit=1)[0] + UNDER_ASYNCIO.format("")
    )
    assert counted(output) == {"passed": 1, "failed": 1}, output
    assert "run on a loop of real time" in output


def test_it_imports_nothing_heavy_before_a_test_asks_for_it(tmp_path: Path) -> None:
    loaded = "{*sys.modules}"
    look = f"import sys\ndef test_it():\n    assert 'asyncflow.pytest_plugin' in {loaded}\n    assert {HEAVY} & {loaded} == set()"
    output = run_pytest(tmp_path, light=look)
    assert counted(output) == {"passed": 1}, output


def test_it_is_installed_as_a_plug_in_of_pytest() -> None:
    assert [each.value for each in entry_points(group="pytest11", name="asyncflow")] == ["asyncflow.pytest_plugin"]


# -- here --------------------------------------------------------------------------------------------------------------------


@pytest.mark.asyncflow_simulator(token="user:7-own", speed=100)
def test_the_mark_sets_the_options_of_the_simulator(asyncflow_simulator: SimulatorThread, asyncflow_client: AsyncClient) -> None:
    [job_id] = asyncflow_simulator.seed_jobs(duration=20, fate="success")
    assert asyncio.run(asyncflow_client.wait(job_id)).urls
    assert asyncflow_simulator.token == "user:7-own"


@pytest.mark.virtual_time
@pytest.mark.asyncflow_simulator(port=99)
async def test_the_mark_sets_them_in_virtual_time_too(asyncflow_simulator: Simulator, asyncflow_client: AsyncClient) -> None:
    assert asyncflow_simulator.url == "http://127.0.0.1:99"
    await asyncflow_client.wait_all(asyncflow_simulator.seed_jobs(20), timeout=None)
    assert isinstance(asyncio.get_running_loop(), VirtualTimeLoop)
    assert now() > 60

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from cli_processes import LAUNCH, Command, Start, environment_of
from secret_watch import leaks

from asyncflow.simulator import SimulatorThread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def service() -> Iterator[SimulatorThread]:
    with SimulatorThread(seed=3, speed=60) as running:
        yield running


@pytest.fixture
def command(service: SimulatorThread, tmp_path: Path) -> Command:
    """Run the command to its end in a folder of its own, with the simulator as its service."""

    def run(*arguments: str, stdin: bytes = b"", settings: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "asyncflow", *arguments],
            input=stdin,
            capture_output=True,
            check=False,
            cwd=tmp_path,
            env=environment_of(service.url, settings),
            timeout=60,
        )
        assert leaks(done.stderr.decode()) == []
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


@pytest.fixture
def start(service: SimulatorThread, tmp_path: Path) -> Iterator[Start]:
    """Start the command with pipes; it is killed at the end of the test if it still runs."""
    started: list[subprocess.Popen[bytes]] = []

    def run(*arguments: str, settings: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            env=environment_of(service.url, settings),
        )
        started.append(process)
        return process

    yield run
    for process in started:
        with process:
            process.kill()

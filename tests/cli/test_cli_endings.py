"""Ends that come early, and servers that are not the service."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cli_processes import environment_of

import asyncflow
from asyncflow.simulator import Answer

if TYPE_CHECKING:
    from cli_processes import Command

    from asyncflow.simulator import SimulatorThread

IMPATIENT = """
import os, signal, sys

class Impatient:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == os.environ["INTERRUPTED_AT"]:
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Impatient)
"""
SCRIPT = "import sys; from asyncflow.cli import main; sys.exit(main())"


@pytest.mark.parametrize(
    "module", ["click", "asyncflow.cli.app", "asyncflow.cli.errors", "asyncflow.cli.commands.get", "asyncflow.errors"]
)
@pytest.mark.parametrize("start", [("-m", "asyncflow"), ("-c", SCRIPT)], ids=["module", "script"])
def test_ctrl_c_while_the_command_is_loaded_is_one_line(tmp_path: Path, start: tuple[str, str], module: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(IMPATIENT, "utf-8")
    places = (str(tmp_path), str(Path(asyncflow.__file__).parents[1]))
    done = subprocess.run(
        [sys.executable, *start, "get", "no id"],
        capture_output=True,
        check=False,
        env=environment_of("", {"PYTHONPATH": os.pathsep.join(places), "INTERRUPTED_AT": module}),
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr.lstrip()) == (130, "", "asyncflow: interrupted\n")


def test_next_to_nothing_is_loaded_before_the_command_hears_ctrl_c() -> None:
    def loaded_by(program: str) -> set[str]:
        run = [sys.executable, "-c", f"import sys; {program}; print(*sys.modules)"]
        return set(
            subprocess.run(run, check=True, capture_output=True, env=environment_of(""), text=True, timeout=60).stdout.split()
        )

    assert loaded_by("from asyncflow.cli import main") - loaded_by("import importlib") == {"asyncflow", "asyncflow.cli"}


def test_a_server_without_tls_is_told_from_a_closed_port(command: Command, service: SimulatorThread) -> None:
    [job_id] = service.seed_jobs(age=600)
    done = command("get", job_id, settings={"USEAPI_BASE_URL": service.url.replace("http:", "https:")})
    assert done.returncode == 5
    assert done.stderr.startswith(f"asyncflow: no connection to 127.0.0.1:{service.port} (no TLS: ")
    assert done.stderr.endswith("); is USEAPI_BASE_URL right?\n")


def test_a_page_instead_of_a_404_of_the_service_asks_for_the_address(command: Command, service: SimulatorThread) -> None:
    [job_id] = service.seed_jobs(age=600)
    service.play(job_id, [Answer(404, body=b"<html><title>404 Not Found</title></html>")])
    done = command("get", job_id)
    assert done.returncode == 5
    assert done.stderr.endswith("404 Not Found [HTTP 404]; is USEAPI_BASE_URL right?\n")
    assert done.stderr.count("\n") == 1

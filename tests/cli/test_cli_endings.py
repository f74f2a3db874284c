"""Ends that come early, and servers that are not the service."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from cli_processes import environment_of

from asyncflow.simulator import Answer

if TYPE_CHECKING:
    from cli_processes import Command

    from asyncflow.simulator import SimulatorThread

INTERRUPTED_WHILE_LOADING = """
import sys
from asyncflow.cli import main

class Impatient:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "asyncflow.cli.group":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Impatient)
sys.exit(main(["--help"]))
"""


def test_ctrl_c_while_the_command_is_loaded_is_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_WHILE_LOADING],
        capture_output=True,
        check=False,
        env=environment_of(""),
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "asyncflow: interrupted\n")


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

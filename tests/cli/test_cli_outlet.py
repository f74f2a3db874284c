"""Outputs that take nothing: closed from the start, or a file that may not grow, as on a full disk."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from cli_processes import environment_of

if TYPE_CHECKING:
    from pathlib import Path

    from asyncflow.simulator import SimulatorThread

CLOSED, STUCK = "{}>&-", "{}>stuck.txt"
FULL = "standard output cannot be written: file too large"


def run(service: SimulatorThread, folder: Path, redirection: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a shell does with this *redirection*; files may not grow."""
    return subprocess.run(
        ["/bin/sh", "-c", f'ulimit -f 0; exec "$0" -m asyncflow "$@" {redirection}', sys.executable, *arguments],
        capture_output=True,
        check=False,
        cwd=folder,
        env=environment_of(service.url),
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(("redirection", "words"), [(CLOSED, "standard output is closed"), (STUCK, FULL)])
@pytest.mark.parametrize("arguments", [["get"], ["get", "--json"], ["watch"], ["watch", "--json"]])
def test_an_output_that_takes_nothing_is_told_in_one_line(
    service: SimulatorThread, tmp_path: Path, arguments: list[str], redirection: str, words: str
) -> None:
    done = run(service, tmp_path, redirection.format(""), *arguments, *service.seed_jobs(age=600, fate="success"))
    assert done.returncode == 141
    assert done.stderr.startswith(f"asyncflow: {words}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("redirection", "code", "words"), [(CLOSED, 0, ""), (STUCK, 141, f"asyncflow: {FULL}\n")])
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["watch", "--help"]])
def test_a_help_that_cannot_be_written_is_no_bug(
    service: SimulatorThread, tmp_path: Path, arguments: list[str], redirection: str, code: int, words: str
) -> None:
    done = run(service, tmp_path, redirection.format(""), *arguments)
    assert (done.returncode, done.stderr) == (code, words)


@pytest.mark.parametrize("redirection", [CLOSED, STUCK])
def test_words_for_people_that_nobody_can_hear_cost_no_event(service: SimulatorThread, tmp_path: Path, redirection: str) -> None:
    ids = service.seed_jobs(3, age=600, fate="success")
    done = run(service, tmp_path, redirection.format("2"), "watch", "--json", *ids)
    assert (done.returncode, done.stdout.count('"type":"ended"')) == (0, 3)

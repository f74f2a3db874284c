from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

import msgspec
import pytest

from asyncflow import Ended, Event
from asyncflow.cli.commands.demo import demo_faults
from asyncflow.simulator import Faults

if TYPE_CHECKING:
    from cli_processes import Command, Start

pytestmark = pytest.mark.slow

FAST = ["--jobs", "40", "--speed", "100"]


@pytest.mark.parametrize("faults", ["none", "some,failed=0.5"])
def test_a_demo_ends_well_whatever_becomes_of_its_jobs(command: Command, faults: str) -> None:
    done = command("demo", *FAST, "--faults", faults)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^40 jobs in ", done.stdout, re.MULTILINE)
    assert "the simulator agrees: 40 of 40 outcomes, each told once" in done.stdout
    assert "\x1b" not in done.stdout
    assert "example.com" not in done.stdout


def test_a_demo_as_json(command: Command) -> None:
    done = command("demo", *FAST, "--faults", "none", "--json")
    events = [msgspec.json.decode(line, type=Event) for line in done.stdout.splitlines()]
    assert sum(isinstance(event, Ended) for event in events) == 40
    assert done.stderr.startswith("40 jobs in ")
    assert done.returncode == 0


def test_the_same_seed_makes_the_same_jobs(command: Command) -> None:
    def table() -> list[str]:
        output = command("demo", *FAST, "--faults", "failed=0.3", "--seed", "7").stdout
        return re.findall(r"^(?:video|image|music|all) .{48}", output, re.MULTILINE)

    assert table() == table() != []


def test_an_interrupted_demo_says_what_was_running(start: Start) -> None:
    process = start("demo", "--jobs", "40", "--speed", "0.1", "--json")
    assert process.stdout is not None
    assert process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=2)
    assert process.returncode == 130
    assert re.match(rb"asyncflow: interrupted; \d+ of 40 jobs still running: ", errors)


def test_a_bad_day_is_as_bad_as_its_jobs_are_fast() -> None:
    for name in ("some", "heavy"):
        preset = Faults.preset(name)
        assert demo_faults(preset, 16.0).throttle == pytest.approx(preset.throttle / 4)
        assert demo_faults(preset, 0.5) == preset
    own = Faults(throttle=0.1)
    assert demo_faults(own, 16.0) == own

"""A manifest of mixed lines on bad days, its command killed in the midst of it: no line is sent twice, and none is lost.

The short form has 60 lines and two kills, the long one (ASYNCFLOW_LONG) 300 lines, six times.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from killed_submits import FAULTS, Killed, is_long

from asyncflow.simulator import SimulatorThread

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

COUNT, SEEDS = (300, range(6)) if is_long() else (60, range(1))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_manifest_that_is_killed_twice_is_submitted_once(seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--wait-for-capacity", "60s")
    with SimulatorThread(seed=seed, speed=100, faults=FAULTS) as service:
        killed = Killed(service, tmp_path, COUNT)
        for share in (0.3, 0.75):
            killed.run(*options, kill_at=int(COUNT * share))
        last = killed.until_settled(*options)

        # By the service's own books: nothing twice, and what it made is what is known, line by line.
        assert {prompt for prompt, number in killed.came().items() if number > 1} == set()
        known = killed.known()
        assert len(known) == COUNT
        jobs = {each.job_id for each in service.submits() if each.job_id is not None}
        assert {line.job_id for line in known.values() if line.state == "submitted"} <= jobs
        unknown = [line for line in known.values() if line.state == "unknown"]
        assert len([line for line in known.values() if line.state == "refused"]) == 1
        named = [line for line in last.stdout.splitlines() if "unknown: sent" in line]
        assert len(named) == len(unknown)
        # A line without a known job is named, and sent again only on request.
        while any(line.state == "unknown" for line in killed.known().values()):
            killed.until_settled(*options, "--resubmit-unknown")
        states = [line.state for line in killed.known().values()]
        assert (states.count("submitted"), states.count("refused")) == (COUNT - 1, 1)
        refs = {line.reply_ref for line in unknown}
        twice = {prompt for prompt, number in killed.made().items() if number > 1}
        resent = {str(each.request["prompt"]) for each in service.submits() if each.reply_ref in refs}
        assert twice <= resent
        if is_long():
            text = (
                f"\n{COUNT} lines, {len(service.submits())} submits, {len(unknown)} unknown, {len(twice)} made twice on request\n"
            )
            with capsys.disabled():
                sys.stdout.write(text)

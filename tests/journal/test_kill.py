"""A watch that is killed in mid-write, again and again, over real sockets: nothing is lost, and what comes twice is known again.

The short form makes 10 kills, the long one (ASYNCFLOW_LONG) 100.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import msgspec
import pytest

from asyncflow.events import Abandoned, Ended, Event
from asyncflow.journal import Journal
from asyncflow.simulator import SimulatorThread

pytestmark = pytest.mark.slow

KILLS = 100 if os.environ.get("ASYNCFLOW_LONG") else 10
JOBS_A_ROUND = 12
PROGRAM = Path(__file__).with_name("killed_watch.py")


class Watches:
    """One watch after another, on one journal and one list of what was delivered."""

    def __init__(self, service: SimulatorThread, folder: Path) -> None:
        self.journal = folder / "run.db"
        self.output = folder / "events.jsonl"
        self._said = folder / "said"
        # Development mode would only make each start slower; the program is not what is tested.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDEVMODE"}
        self._environment = environment | {"USEAPI_TOKEN": service.token, "USEAPI_BASE_URL": service.url}

    def run(self, job_ids: list[str], kill_after: float | None = None) -> tuple[bool, bytes]:
        """Watch until the end, or until the program is killed; return whether it was, and what it had said by then."""
        with self._said.open("wb") as said:
            command = [sys.executable, str(PROGRAM), str(self.journal), str(self.output)]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=said, env=self._environment)
            try:
                process.communicate("\n".join(job_ids).encode(), timeout=kill_after)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
        assert process.returncode in {0, -signal.SIGKILL}
        return process.returncode != 0, self._said.read_bytes()

    def delivered(self) -> list[Ended | Abandoned]:
        """Return what was delivered; a line that was cut short by a kill was not."""
        lines = self.output.read_bytes().split(b"\n")[:-1] if self.output.exists() else []
        events = [msgspec.json.decode(line, type=Event) for line in lines]
        return [event for event in events if isinstance(event, Ended | Abandoned)]


def test_a_watch_killed_at_any_moment_loses_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = Random(KILLS)
    moments: Counter[str] = Counter()
    given: list[str] = []
    unsure: list[str] = []
    with SimulatorThread(seed=KILLS) as service:
        watches = Watches(service, tmp_path)
        while moments.total() < KILLS:
            jobs = service.seed_jobs(JOBS_A_ROUND - 1, duration=(0.2, 5.0)) + service.seed_jobs(1, foreign=True)
            given += jobs
            unsure += jobs
            # From the first import to deep in the watch.
            is_killed, said = watches.run(unsure, kill_after=random.uniform(0.2, 1.8))
            if b"noted" in said:
                unsure = []
            if is_killed:
                moments["watching" if b"noted" in said else "noting" if said else "starting"] += 1
        watches.run(unsure)
        events = watches.delivered()
        watches.run(given)
        assert len(watches.delivered()) == len(events)
        truth = {job.job_id: "abandoned" if job.foreign else job.status for job in service.truth()}

    keys = Counter(event.key for event in events)
    lost = set(given) - {job_id for job_id, _ in keys}
    wrong = [key for key in keys if truth[key[0]] != key[1]]
    states = Counter(entry.state for entry in Journal(watches.journal).entries())
    if os.environ.get("ASYNCFLOW_LONG"):
        killed = f"{moments.total()} kills ({', '.join(f'{count} {moment}' for moment, count in moments.items())})"
        with capsys.disabled():
            sys.stdout.write(f"\n{killed}, {len(given)} jobs, {len(keys)} endings, {keys.total() - len(keys)} of them twice\n")
    assert (lost, wrong) == (set(), [])
    assert states == {"handled": len(given)}

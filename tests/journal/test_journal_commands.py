"""The journal on the command line: `asyncflow watch --journal`, `asyncflow resume`, `asyncflow journal`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest
from journal_kit import NOW

from asyncflow import Abandoned, Ended, Event, Journal, JournalEntry
from asyncflow.journal.database import Database
from asyncflow.journal.operations import AddJobs
from asyncflow.redaction import digest
from asyncflow.simulator import SimulatorThread

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service() -> Iterator[SimulatorThread]:
    with SimulatorThread(seed=4) as running:
        yield running


class Shell:
    """Starts the command in a folder, with the simulator as its service."""

    def __init__(self, service: SimulatorThread, folder: Path) -> None:
        self.folder = folder
        self._environment = os.environ | {"USEAPI_TOKEN": service.token, "USEAPI_BASE_URL": service.url}

    @contextmanager
    def start(self, *arguments: str) -> Generator[subprocess.Popen[str]]:
        """Start the command; it is killed at the end of the block if it still runs."""
        with subprocess.Popen(
            [sys.executable, "-m", "asyncflow", *arguments],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def run(self, *arguments: str, code: int = 0) -> str:
        """Return what the command prints, its complaints if it is to fail."""
        with self.start(*arguments) as process:
            output, complaint = process.communicate(timeout=60)
        assert process.returncode == code, (output, complaint)
        return output if code in {0, 1} else complaint


@pytest.fixture
def shell(service: SimulatorThread, tmp_path: Path) -> Shell:
    return Shell(service, tmp_path)


def ids_file(shell: Shell, ids: list[str]) -> str:
    (shell.folder / "ids.txt").write_text("\n".join(ids), "utf-8")
    return "ids.txt"


def told(output: str) -> list[Event]:
    """Return the endings in the output of --json; a killed program may have cut the last line."""
    events = [msgspec.json.decode(line, type=Event) for line in output.split("\n")[:-1]]
    return [event for event in events if isinstance(event, Ended | Abandoned)]


def test_a_killed_watch_is_resumed_to_the_same_total(shell: Shell, service: SimulatorThread) -> None:
    ids = [*service.seed_jobs(8, age=600, fate="success"), *service.seed_jobs(6, duration=(4, 5), fate="success")]
    arguments = ("watch", "--journal", "run.db", "--json", "--interval", "200ms", "--file", ids_file(shell, ids))
    with shell.start(*arguments) as process:
        assert process.stdout is not None
        before = "".join(process.stdout.readline() for _ in range(8))
        process.kill()
        before += process.stdout.read()
    shown = shell.run("journal", "show", "run.db")
    assert shown.startswith("run.db: 14 jobs\n")
    assert "still watched" in shown
    with shell.start("resume", "run.db", "--json", "--interval", "200ms") as process:
        after, summary = process.communicate(timeout=60)
    assert process.returncode == 0
    assert {event.key[0] for event in told(before)} | {event.key[0] for event in told(after)} == set(ids)
    assert summary.startswith("14 jobs in ")
    again = shell.run(*arguments)
    assert again == ""


def test_two_watches_of_one_journal(shell: Shell, service: SimulatorThread) -> None:
    [job_id] = service.seed_jobs(duration=300)
    with shell.start("watch", job_id, "--journal", "run.db", "--interval", "200ms") as process:
        assert process.stdout is not None
        process.stdout.readline()
        complaint = shell.run("watch", job_id, "--journal", "run.db", code=2)
        assert complaint == "asyncflow: the journal run.db is locked: another watch, or another command, uses it\n"
        assert shell.run("journal", "prune", "run.db", code=2) == complaint
        assert re.search(
            rf"1  still watched: 1 (created|started)\n\n  {digest(job_id)}  ", shell.run("journal", "show", "run.db")
        )
        process.terminate()
        _, complaint = process.communicate(timeout=60)
    assert complaint.endswith("; asyncflow resume run.db goes on\n")


def test_a_time_limit_leaves_the_rest_for_the_next_watch(shell: Shell, service: SimulatorThread) -> None:
    [job_id] = service.seed_jobs(duration=4, fate="success")
    shell.run("watch", job_id, "--journal", "run.db", "--timeout", "1s", code=3)
    assert "1 abandoned: wait_timeout" in shell.run("journal", "show", "run.db")
    assert f"{digest(job_id)}  video   succeeded" in shell.run("resume", "run.db", "--interval", "200ms")


def test_export_and_prune(shell: Shell, service: SimulatorThread) -> None:
    ids = [*service.seed_jobs(2, age=600, fate="success"), *service.seed_jobs(1, age=600, fate="failed")]
    shell.run("watch", *ids, "--journal", "run.db", code=1)
    entries = [msgspec.json.decode(line, type=JournalEntry) for line in shell.run("journal", "export", "run.db").splitlines()]
    assert [(entry.job_id, entry.state) for entry in entries] == [(job_id, "handled") for job_id in ids]
    assert {event.key[0] for event in told(shell.run("journal", "export", "run.db", "--events"))} == set(ids)
    assert "3  ended and told: 2 succeeded, 1 failed" in shell.run("journal", "show", "run.db")
    counts = msgspec.json.decode(shell.run("journal", "show", "run.db", "--json"))
    assert counts == {"jobs": 3, "watched": {}, "ended": {}, "handled": {"succeeded": 2, "failed": 1}, "lines": {}}
    assert shell.run("journal", "prune", "run.db", "--older-than", "1h", "--json") == '{"forgotten":0}\n'
    assert shell.run("journal", "prune", "run.db") == "3 jobs forgotten\n"
    assert shell.run("journal", "show", "run.db") == "run.db: 0 jobs\n"


def test_many_jobs_are_shown_in_part(shell: Shell) -> None:
    database = Database(shell.folder / "run.db")
    database.write([AddJobs([f"j{number}" for number in range(30)], NOW)])
    database.close()
    assert shell.run("journal", "show", "run.db").endswith("  and 10 more\n")


def test_a_job_that_was_given_up_counts_after_a_resume(shell: Shell, service: SimulatorThread) -> None:
    ids = [*service.seed_jobs(1, foreign=True), *service.seed_jobs(1, age=600, fate="success")]
    shell.run("watch", *ids, "--journal", "run.db", code=5)
    assert shell.run("resume", "run.db", code=5) == ""


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["resume", "nothing.db"], "the journal nothing.db is missing, or the folder that it belongs in"),
        (["journal", "show", "nothing.db"], "the journal nothing.db is missing, or the folder that it belongs in"),
        (["journal", "prune", "nothing.db"], "the journal nothing.db is missing"),
        (["journal", "export", "notes.txt"], "the journal notes.txt is a foreign file, no journal"),
        (["watch", "JOB", "--journal", "notes.txt"], "the journal notes.txt is a foreign file, no journal"),
        (["watch", "JOB", "--journal", "no/where.db"], "the journal where.db is missing, or the folder that it belongs in"),
    ],
)
def test_what_is_no_journal_is_said_in_a_line(
    shell: Shell, service: SimulatorThread, arguments: list[str], complaint: str
) -> None:
    [job_id] = service.seed_jobs(1, age=600, fate="success")
    (shell.folder / "notes.txt").write_text("Remember the milk.\n" * 20, "utf-8")
    done = shell.run(*(job_id if word == "JOB" else word for word in arguments), code=2)
    assert done == f"asyncflow: {complaint}\n"
    assert list(shell.folder.glob("nothing*")) == []


def test_a_watch_may_go_on_without_its_journal(shell: Shell, service: SimulatorThread) -> None:
    [job_id] = service.seed_jobs(1, age=600, fate="success")
    (shell.folder / "notes.txt").write_text("Remember the milk.\n" * 20, "utf-8")
    with shell.start("watch", job_id, "--journal", "notes.txt", "--journal-optional") as process:
        output, complaint = process.communicate(timeout=60)
    assert process.returncode == 0
    assert f"{digest(job_id)}  video   succeeded" in output
    assert complaint == "asyncflow: the journal notes.txt is a foreign file, no journal; went on without it\n"


def test_no_token_gets_into_the_journal(shell: Shell, service: SimulatorThread) -> None:
    ids = [*service.seed_jobs(2, kind="mix", age=600), *service.seed_jobs(1, duration=300), *service.seed_jobs(1, foreign=True)]
    with shell.start("watch", *ids, "--journal", "run.db", "--interval", "200ms") as process:
        assert process.stdout is not None
        for _ in range(4):
            process.stdout.readline()
        process.kill()
        process.communicate()
    content = b"".join(file.read_bytes() for file in shell.folder.glob("run.db*"))
    assert service.token.encode() not in content
    assert b"Bearer" not in content
    assert b"Authorization" not in content
    assert {entry.job_id for entry in Journal(shell.folder / "run.db").entries()} == set(ids)

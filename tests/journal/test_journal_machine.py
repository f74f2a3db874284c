"""A journal against a model of it: whatever is told in whatever order, a crash at any moment brings back what was durable."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from journal_kit import NOW, changed, ended

from asyncflow.errors import TransportError
from asyncflow.events import Abandoned, ErrorInfo
from asyncflow.journal import Journal

LONG = 400 if os.environ.get("ASYNCFLOW_LONG") else 25
IDS = st.sampled_from([f"j{number}" for number in range(8)])
SOME = st.lists(IDS, max_size=80).map(lambda ids: list(dict.fromkeys(ids)))


class JournalMachine(RuleBasedStateMachine):
    """The model: the state and the statuses of each id, in the order of adding; the endings in the order of ending."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.runner = asyncio.Runner()
        self.crashed: list[Journal] = []
        self.opened = 0
        self.states: dict[str, str] = {}
        self.statuses: dict[str, list[str]] = {}
        self.endings: dict[str, str] = {}

    @initialize()
    def start(self) -> None:
        self.journal = Journal(self.folder / "0.db")
        self.open()

    def open(self) -> None:
        remaining, learned = self.runner.run(self.journal.open(self.fail))
        assert remaining == [job_id for job_id, state in self.states.items() if state == "watched"]
        assert learned == ({"format": self.opened} if self.opened else None)
        events, _ = self.runner.run(self.journal.unacknowledged(0))
        assert [event.key for event in events] == [
            (job_id, status) for job_id, status in self.endings.items() if self.states[job_id] == "ended"
        ]
        self.opened += 1
        self.journal.save_policy({"format": self.opened})

    def fail(self, error: Exception) -> None:
        raise AssertionError from error

    @rule(ids=SOME)
    def add(self, ids: list[str]) -> None:
        for job_id in ids:
            self.states.setdefault(job_id, "watched")
            self.statuses.setdefault(job_id, [])
        watched = self.runner.run(self.journal.add(ids, NOW))
        assert list(watched) == [job_id for job_id in ids if self.states[job_id] == "watched"]

    @rule(job_id=IDS, status=st.sampled_from(["created", "started", "caf\u00e9"]))
    def change(self, job_id: str, status: str) -> None:
        if self.states.get(job_id) == "watched":
            self.statuses[job_id].append(status)
            self.journal.report(changed(job_id, status), NOW)

    @rule(job_id=IDS, status=st.sampled_from(["completed", "failed", "abandoned"]))
    def end(self, job_id: str, status: str) -> None:
        if self.states.get(job_id, "watched") != "watched":
            return
        self.states[job_id] = "ended"
        self.endings[job_id] = status
        is_refused = status == "abandoned"
        self.statuses.setdefault(job_id, []).append("abandoned: not_found" if is_refused else status)
        self.journal.report(Abandoned(job_id, ErrorInfo("not_found")) if is_refused else ended(job_id, status), NOW)

    @rule(job_id=IDS)
    def give_up(self, job_id: str) -> None:
        if self.states.get(job_id) == "watched":
            self.statuses[job_id].append("abandoned: transport")
            self.journal.report(Abandoned(job_id, ErrorInfo.of(TransportError("reset", transient=True))), NOW)

    @rule(ids=SOME)
    def acknowledge(self, ids: list[str]) -> None:
        for job_id in ids:
            if self.states.get(job_id) == "ended":
                self.states[job_id] = "handled"
        self.journal.acknowledge(ids)

    @rule(ids=SOME)
    def discard(self, ids: list[str]) -> None:
        for job_id in ids:
            if self.states.get(job_id) == "watched":
                del self.states[job_id], self.statuses[job_id]
        self.journal.discard(ids)

    @rule()
    def crash(self) -> None:
        """Go on with the files as they lie there, the log of the last commits included; the old journal is never closed."""
        self.runner.run(self.journal.add([], NOW))
        old, new = self.journal.path, self.folder / f"{self.opened}.db"
        for ending in ("", "-wal"):
            shutil.copyfile(f"{old}{ending}", f"{new}{ending}")
        self.crashed.append(self.journal)
        self.journal = Journal(new)
        self.open()

    @rule()
    def restart(self) -> None:
        self.runner.run(self.journal.aclose())
        self.open()

    @rule(is_old=st.booleans())
    def prune(self, *, is_old: bool) -> None:
        self.runner.run(self.journal.aclose())
        gone = [job_id for job_id, state in self.states.items() if state == "handled"] if is_old else []
        assert self.journal.prune(NOW + timedelta(seconds=1 if is_old else -1)) == len(gone)
        for job_id in gone:
            del self.states[job_id], self.statuses[job_id], self.endings[job_id]
        self.open()

    @invariant()
    def readers_see_what_is_durable(self) -> None:
        if self.states and self.opened % 3 == 1:
            self.runner.run(self.journal.add([], NOW))
            entries = list(self.journal.entries())
            assert [(entry.job_id, entry.state) for entry in entries] == list(self.states.items())
            assert {entry.job_id: [status for status, _ in entry.changes] for entry in entries} == self.statuses
            assert all((entry.event is None) == (entry.state == "watched") for entry in entries)

    def teardown(self) -> None:
        for journal in [*self.crashed, self.journal]:
            self.runner.run(journal.aclose())
        self.runner.close()
        shutil.rmtree(self.folder)


TestJournalMachine = JournalMachine.TestCase
TestJournalMachine.settings = settings(max_examples=LONG, stateful_step_count=25, deadline=None)

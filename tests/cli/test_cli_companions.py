"""What runs beside a watch: it sees every event, holds back what is not acknowledged yet, and has a say in the exit code."""

from __future__ import annotations

from contextlib import asynccontextmanager
from itertools import permutations
from typing import TYPE_CHECKING

import pytest

from asyncflow import AsyncClient, Ended, Journal, fixed_interval
from asyncflow.cli.addon import Addon
from asyncflow.cli.exits import CommandExit, ExitCode, graver
from asyncflow.cli.output.live_view import Line, plain
from asyncflow.cli.output.progress import WatchProgress
from asyncflow.cli.output.renderers import Renderer
from asyncflow.cli.watch_runner import Times, WatchRunner
from asyncflow.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence
    from pathlib import Path

    from asyncflow import Event


class Shown(Renderer):
    def __init__(self) -> None:
        self.text = ""

    async def render_summary(self, lines: Sequence[Line]) -> None:
        self.text = "\n".join(map(plain, lines))


class Busy(Addon):
    """Holds every ending until the end."""

    def __init__(self, *, finishes: bool = True, more: AsyncIterator[str] | None = None) -> None:
        self.said: list[str] = []
        self._more = more
        self._finishes = finishes
        self._held: list[Event] = []
        self._runner: WatchRunner

    @asynccontextmanager
    async def run(self, runner: WatchRunner) -> AsyncGenerator[None]:
        self._runner = runner
        self.said.append("in")
        try:
            yield
        finally:
            self.said.append("out")

    @property
    def job_ids(self) -> AsyncIterator[str] | None:
        return self._more

    async def on_events(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Ended):
                self._runner.defer_ack(event)
                self._held.append(event)

    async def drain(self) -> None:
        self.said.append("finish")
        if self._finishes:
            for event in self._held:
                self._runner.ack(event)

    def live_lines(self) -> list[Line]:
        return [[("busy", "")]]

    def summary_lines(self) -> list[Line]:
        return [[(f"{len(self._held)} held", "")]]

    @property
    def exit_code(self) -> ExitCode:
        return ExitCode.LOST


@asynccontextmanager
async def session_of(job_ids: Sequence[str], *addons: Addon, service: Simulator) -> AsyncGenerator[WatchRunner]:
    async with AsyncClient(service.token, base_url=service.url, policy=fixed_interval(0.1)) as client:
        session = WatchRunner(client, WatchProgress(job_ids), fixed_interval(0.1), ("a test", ""))
        session.addons = addons
        yield session


@pytest.mark.asyncio
@pytest.mark.parametrize("finishes", [True, False])
async def test_an_ending_is_acknowledged_when_all_have_done_their_part(tmp_path: Path, *, finishes: bool) -> None:
    path = tmp_path / "run.db"
    first, second, shown = Busy(finishes=finishes), Busy(), Shown()
    async with Simulator() as service:
        ids = service.seed_jobs(3, age=600, fate="success")
        async with session_of(ids, first, Addon(), second, service=service) as session:
            session.journal, session.feeds = Journal(path), [shown]
            await session.follow(ids, Times(), 10)
            assert ["busy" in plain(line) for line in session.picture((80, 24))].count(True) == 2
            assert session.code == ExitCode.LOST
    assert first.said == second.said == ["in", "finish", "out"]
    assert shown.text.endswith("3 held\n3 held")
    assert {entry.state for entry in Journal(path).entries()} == {"handled" if finishes else "ended"}


@pytest.mark.asyncio
async def test_a_companion_may_bring_jobs_of_its_own() -> None:
    async with Simulator() as service:
        ids = service.seed_jobs(4, age=600, fate="success")

        async def more() -> AsyncIterator[str]:
            for job_id in ids[2:]:
                yield job_id

        async with session_of(ids, Busy(more=more()), service=service) as session:
            await session.follow(ids[:2], Times(), 10)
            assert session.tally.done == 4


@pytest.mark.asyncio
async def test_one_that_cannot_begin_ends_the_watch_before_the_first_read() -> None:
    class Broken(Addon):
        @asynccontextmanager
        async def run(self, runner: WatchRunner) -> AsyncGenerator[None]:  # noqa: ARG002 - the seam's signature
            raise CommandExit("cannot", ExitCode.USAGE)
            yield

    before = Busy()
    async with Simulator() as service, session_of(["x"], before, Broken(), service=service) as session:
        with pytest.raises(CommandExit, match="cannot"):
            await session.follow(["x"], Times(), 10)
        assert not any(session.client.pacer.stats().starts.values())
    assert before.said == ["in", "out"]


def test_the_graver_code_counts() -> None:
    order = [ExitCode.SUCCEEDED, ExitCode.BAD_OUTCOME, ExitCode.LOST, ExitCode.TIMEOUT, ExitCode.REFUSED]
    assert all(graver(pair) == max(pair, key=order.index) for pair in permutations(order, 2))
    assert graver([]) == ExitCode.SUCCEEDED

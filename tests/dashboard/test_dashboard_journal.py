"""A journal on a page: read as it is, read again when it has changed, and never written."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from dashboard_kit import NOW, START, TOKEN, done, failed, flow_id, listening, running

from asyncflow import Abandoned, Changed, Dashboard, Ended, ErrorInfo, Journal, JournalError, Media
from asyncflow.dashboard.sources import JournalSource
from asyncflow.dashboard.state import DashboardState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.asyncio

LATER = START + timedelta(seconds=30)


@asynccontextmanager
async def written(path: Path) -> AsyncIterator[Journal]:
    """Give a journal that a watch has open, with three jobs: one that runs, one that has ended, one that was never read."""
    journal = Journal(path)
    await journal.open(lambda _: None)
    try:
        await journal.add([flow_id(1), flow_id(2), flow_id(3)], START)
        journal.report(Changed(running(1)), LATER)
        journal.report(Ended(done(2, prompt="a lantern")), LATER)
        await journal.add([flow_id(1)], START)
        yield journal
    finally:
        await journal.aclose()


async def settle(journal: Journal) -> None:
    """Return when all that was reported is in the file."""
    await journal.add([flow_id(1)], START)


def states(model: DashboardState) -> dict[int, tuple[str, str]]:
    cards = [card for number in model.everything() if (card := model.card(number)) is not None]
    return {card.number: (card.state, card.status) for card in cards}


async def test_all_that_a_journal_knows_is_shown(tmp_path: Path) -> None:
    path, model = tmp_path / "run.db", DashboardState()
    async with written(path):
        await JournalSource(Journal(path)).refresh(model)
    assert states(model) == {1: ("running", "started"), 2: ("succeeded", "completed"), 3: ("running", "")}
    card = model.card(2)
    assert card is not None
    assert (card.prompt, len(card.files), card.born) == ("a lantern", 1, NOW - 90)
    assert [model.job_id(number) for number in (1, 2, 3)] == [flow_id(1), flow_id(2), flow_id(3)]
    assert len(model.media(2)) == 1


async def test_what_another_watch_writes_comes_with_the_next_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncflow.dashboard.sources._OFTEN", 0.0)
    monkeypatch.setattr("asyncflow.dashboard.sources._SHARE", 0.0)
    path, model = tmp_path / "run.db", DashboardState()
    async with written(path) as journal:
        source = JournalSource(Journal(path))
        await source.refresh(model)
        place = model.place
        await source.refresh(model)
        assert model.place == place
        journal.report(Ended(failed(1)), LATER)
        journal.report(Abandoned(flow_id(3), ErrorInfo("not_found", "Job not found")), LATER)
        await settle(journal)
        await source.refresh(model)
        assert states(model) == {1: ("failed", "failed"), 2: ("succeeded", "completed"), 3: ("abandoned", "")}
        journal.acknowledge([flow_id(2)])
        await journal.add([flow_id(4)], LATER)
        await source.refresh(model)
        journal.discard([flow_id(4)])
        await settle(journal)
        await source.refresh(model)
        assert set(states(model)) == {1, 2, 3}


async def test_what_reaches_the_disk_after_it_was_looked_for_is_found_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_OFTEN", "_SHARE", "_SOON"):
        monkeypatch.setattr(f"asyncflow.dashboard.sources.{name}", 0.0)
    monkeypatch.setattr("asyncflow.dashboard.sources._stamp_of", lambda _: "always the same")
    path, model = tmp_path / "run.db", DashboardState()
    async with written(path) as journal:
        source = JournalSource(Journal(path))
        await source.refresh(model)
        journal.report(Ended(failed(1)), LATER)
        await settle(journal)
        await source.refresh(model)
        assert states(model)[1] == ("failed", "failed")


async def test_it_is_not_read_more_often_than_it_can_bear(tmp_path: Path) -> None:
    path, model = tmp_path / "run.db", DashboardState()
    async with written(path) as journal:
        source = JournalSource(Journal(path))
        await asyncio.gather(source.refresh(model), source.refresh(model))
        journal.report(Ended(failed(1)), LATER)
        await settle(journal)
        await source.refresh(model)
        assert states(model)[1] == ("running", "started")


async def test_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    async with written(path):
        pass
    before = path.read_bytes()
    path.chmod(0o400)
    await JournalSource(Journal(path)).refresh(DashboardState())
    assert path.read_bytes() == before


async def test_the_bytes_of_answers_and_large_files_are_read_when_they_are_wanted(tmp_path: Path) -> None:
    path, model = tmp_path / "run.db", DashboardState()
    large = done(5, Media("image", "ok", encoded="QUJD" * 40_000))
    async with written(path) as journal:
        journal.report(Ended(large), LATER)
        await settle(journal)
        source = JournalSource(Journal(path))
        await source.refresh(model)
        [number] = [number for number in model.everything() if model.job_id(number) == large.job_id]
        assert model.media(number)[0].encoded is None
        found = await source.find(large.job_id)
        assert found is not None
        assert found.media == large.media
        assert await source.find(flow_id(1)) is None
        assert await source.find("no such job") is None


async def test_a_page_over_a_journal_moves_as_the_journal_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncflow.dashboard.sources._OFTEN", 0.0)
    monkeypatch.setattr("asyncflow.dashboard.sources._SHARE", 0.0)
    monkeypatch.setattr("asyncflow.dashboard.event_stream._LOOK", 0.05)
    path = tmp_path / "run.db"
    async with written(path) as journal:
        dashboard = Dashboard(Journal(path), token=TOKEN)
        async with dashboard.serve() as link, listening(link.partition("#")[0]) as heard:
            await heard.until(lambda heard: len(heard.cards) == 3)
            journal.report(Ended(failed(1)), LATER)
            await heard.until(lambda heard: heard.state(1) == "failed")
            assert heard.of("over") == []
            assert heard.of("hello")[0]["has_files"] is False


async def test_a_journal_that_cannot_be_read_is_said_on_the_page(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    path.write_bytes(b"no journal at all, but longer than a header of one would be" * 10)
    dashboard = Dashboard(Journal(path), token=TOKEN)
    async with dashboard.serve() as link, listening(link.partition("#")[0]) as heard:
        await heard.until(lambda heard: heard.of("totals"))
    assert "run.db" in heard.of("totals")[0]["trouble"]
    assert os.fspath(tmp_path) not in heard.of("totals")[0]["trouble"]


async def test_what_a_journal_holds_can_be_shown_once_before_a_watch(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    dashboard = Dashboard(Journal(tmp_path / "none.db"))
    await dashboard.recall(Journal(path))
    assert len(dashboard.model) == 0
    async with written(path):
        await dashboard.recall(Journal(path))
    assert len(dashboard.model) == 3
    path.write_bytes(b"x" * 5000)
    with pytest.raises(JournalError):
        await dashboard.recall(Journal(path))

"""The lines of batches in a journal, and files of its first version."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from journal_kit import NOW, changed, ended, entry_of, opened, remaining, states
from msgspec.structs import replace

from asyncflow.errors import JournalError
from asyncflow.events import ErrorInfo, SubmitResult
from asyncflow.journal import Journal
from asyncflow.journal.schema import MIGRATIONS
from asyncflow.records import FlowJob, Media

VERSION_1 = Path(__file__).with_name("version-1.db")
IDS = [f"j110409301244812057{number}v-u1234-email:jo-ann@example.com-bot:google-flow" for number in range(4)]
LINE = SubmitResult(
    "kite-1", 7, "unknown", "google-flow/videos", reply_ref="asyncflow-1", requested_at=NOW, content="c0ffee" * 10 + "0000"
)
DONE = replace(LINE, state="submitted", job_id=IDS[0], job=FlowJob(IDS[0], "created", "video"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.db"


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        [version] = connection.execute("PRAGMA user_version").fetchone()
        return int(version)


@pytest.mark.asyncio
async def test_a_line_is_known_from_the_moment_it_goes_out(path: Path) -> None:
    async with opened(path) as journal:
        assert await journal.find_submission("kite-1") is None
        await journal.begin_submission(LINE)
        [line] = journal.submissions()
        assert await journal.find_submission("kite-1") == line
        assert (line.state, line.key, line.content, line.path) == ("unknown", "kite-1", LINE.content, LINE.path)
        assert (line.reply_ref, line.requested_at, line.job_id, line.is_earlier) == ("asyncflow-1", NOW, None, True)
        assert line.error is not None
        assert line.error.kind == "outcome_unknown"


@pytest.mark.asyncio
async def test_a_submitted_line_puts_its_job_on_the_list(path: Path) -> None:
    async with opened(path) as journal:
        await journal.begin_submission(LINE)
        await journal.finish_submission(DONE, NOW + timedelta(seconds=5))
        assert await journal.find_submission("kite-1") == replace(DONE, number=0, job=None, is_earlier=True)
    assert await remaining(path) == [IDS[0]]
    entry = entry_of(Journal(path), IDS[0])
    assert (entry.line, entry.path, entry.submitted_at) == ("kite-1", "google-flow/videos", NOW)
    assert entry.added_at == NOW + timedelta(seconds=5)


@pytest.mark.asyncio
async def test_work_without_a_job_is_kept_whole(path: Path) -> None:
    gif = FlowJob("", "completed", "gif", media=(Media("gif", "ok", encoded="R0lGODlh"),))
    async with opened(path) as journal:
        await journal.begin_submission(LINE)
        await journal.finish_submission(replace(LINE, state="submitted", job=gif), NOW)
        line = await journal.find_submission("kite-1")
        assert line is not None
        assert line.job == gif
    assert await remaining(path) == []


@pytest.mark.asyncio
async def test_a_line_that_goes_out_again_is_a_new_one(path: Path) -> None:
    refused = replace(LINE, state="refused", error=ErrorInfo("rate_limited", "busy", retry_after=3.0))
    async with opened(path) as journal:
        await journal.begin_submission(LINE)
        await journal.finish_submission(refused, NOW)
        assert await journal.find_submission("kite-1") == replace(refused, number=0, is_earlier=True)
        await journal.begin_submission(replace(LINE, reply_ref="asyncflow-2", content="beef"))
        line = await journal.find_submission("kite-1")
        assert line is not None
        assert (line.state, line.reply_ref, line.content) == ("unknown", "asyncflow-2", "beef")
        assert len(list(journal.submissions())) == 1


@pytest.mark.asyncio
async def test_what_never_went_out_is_not_noted(path: Path) -> None:
    async with opened(path) as journal:
        await journal.finish_submission(replace(LINE, state="refused", error=ErrorInfo("transport")), NOW)
        assert list(journal.submissions()) == []


@pytest.mark.asyncio
async def test_two_lines_that_came_to_one_job_are_one_entry(path: Path) -> None:
    async with opened(path) as journal:
        for key in ("kite-1", "kite-2"):
            await journal.begin_submission(replace(LINE, key=key))
            await journal.finish_submission(replace(DONE, key=key), NOW)
        assert [entry.line for entry in journal.entries()] == ["kite-1"]
        assert await journal.submitted() == [IDS[0]] * 2


@pytest.mark.asyncio
async def test_what_is_pruned_was_submitted_all_the_same(path: Path) -> None:
    async with opened(path) as journal:
        for key, job_id in (("kite-1", IDS[0]), ("kite-2", IDS[1])):
            await journal.begin_submission(replace(LINE, key=key))
            await journal.finish_submission(replace(DONE, key=key, job_id=job_id, job=None), NOW)
        journal.report(ended(IDS[0]), NOW)
        journal.acknowledge([IDS[0]])
    assert Journal(path).prune() == 1
    first, second = Journal(path).submissions()
    assert (first.state, first.job_id, first.reply_ref, first.error) == ("submitted", None, None, None)
    assert second.job_id == IDS[1]
    with path.open("rb") as file:
        assert IDS[0].encode() not in file.read()


@pytest.mark.asyncio
async def test_a_journal_that_is_closed_begins_nothing(path: Path) -> None:
    async with opened(path) as journal:
        pass
    assert await journal.find_submission("kite-1") is None
    assert await journal.submitted() == []
    journal.failure = JournalError("full", reason="full")
    with pytest.raises(JournalError, match="full"):
        await journal.begin_submission(LINE)
    await journal.finish_submission(DONE, NOW)
    optional = Journal(path, on_error="continue")
    optional.failure = journal.failure
    await optional.begin_submission(LINE)
    assert list(journal.submissions()) == []


# -- files of the first version --------------------------------------------------------------------------------------------------


@pytest.fixture
def first_version(path: Path) -> Path:
    """A file that asyncflow 0.1 wrote before it knew of batches."""
    shutil.copy(VERSION_1, path)
    assert version_of(path) == 1
    return path


def test_a_file_of_the_first_version_is_read_as_it_is(first_version: Path) -> None:
    journal = Journal(first_version)
    assert states(journal) == dict(zip(IDS, ("handled", "ended", "ended", "watched"), strict=True))
    assert entry_of(journal, IDS[1]).status == "failed"
    assert entry_of(journal, IDS[2]).status == "abandoned: not_found"
    assert {entry.line for entry in journal.entries()} == {None}
    assert list(journal.submissions()) == []
    assert version_of(first_version) == 1


@pytest.mark.asyncio
async def test_a_file_of_the_first_version_becomes_one_of_this_and_loses_nothing(first_version: Path) -> None:
    before = list(Journal(first_version).entries())
    journal = Journal(first_version)
    job_ids, learned = await journal.open(lambda _error: None)
    assert (job_ids, learned) == (IDS[3:], {"v": 1, "seen": [1, 2, 3]})
    assert len((await journal.unacknowledged(0))[0]) == 2
    assert list(journal.entries()) == before
    await journal.begin_submission(LINE)
    await journal.finish_submission(replace(DONE, job_id=IDS[3]), NOW)
    journal.report(changed(IDS[3], "started"), NOW)
    await journal.aclose()
    assert version_of(first_version) == len(MIGRATIONS) == 2
    assert entry_of(journal, IDS[3]).line == "kite-1"


def test_a_file_of_the_first_version_can_be_pruned(first_version: Path) -> None:
    assert Journal(first_version).prune() == 1
    assert list(states(Journal(first_version))) == IDS[1:]

"""A journal by itself, on a real file: what it keeps, what it refuses, and how it ends."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journal_kit import NOW, changed, ended, entry_of, job, opened, remaining, states

from asyncflow.errors import JobNotFoundError, JournalError, StallTimeoutError, TransportError, UsageError
from asyncflow.events import Abandoned, Ended, ErrorInfo, Event, Unreachable
from asyncflow.journal import Journal, JournalEntry
from asyncflow.journal.database import Database, translated
from asyncflow.journal.operations import AddJobs, RecordEvent, SavePolicy
from asyncflow.journal.schema import MIGRATIONS, check, migrate
from asyncflow.journal.sqlite_errors import refusal
from asyncflow.records import FlowJob

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG = 2000 if os.environ.get("ASYNCFLOW_LONG") else 60
TOKEN = "user:1234-abcdefghijkl"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.db"


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run *code* in a process of its own: to read a file here would take this process's locks off it when it is closed."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def content(*paths: Path) -> bytes:
    return b"".join(path.read_bytes() for path in paths)


def write(path: Path, text: bytes) -> None:
    path.write_bytes(text)


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


async def open_and_close(path: Path) -> None:
    async with opened(path):
        pass


async def reason_of(path: Path) -> str | None:
    journal = Journal(path)
    with pytest.raises(JournalError) as caught:
        await journal.open(lambda _error: None)
    await journal.aclose()
    assert caught.value.kind == "journal"
    assert path.name in str(caught.value)
    return caught.value.reason


# -- what is kept ----------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_an_id_that_was_added_is_there_after_a_restart(path: Path) -> None:
    async with opened(path) as journal:
        assert list(await journal.add(["b", "a", "b"], NOW)) == ["b", "a", "b"]
    assert await remaining(path) == ["b", "a"]


@pytest.mark.asyncio
async def test_what_was_added_is_durable_when_the_call_returns(path: Path) -> None:
    async with opened(path) as journal:
        await journal.add(["a"], NOW)
        code = "import sys; from asyncflow.journal import Journal; print(len(list(Journal(sys.argv[1]).entries())))"
        seen = run(code, path)
    assert seen.stdout == "1\n"


@pytest.mark.asyncio
async def test_changes_are_kept_with_their_times(path: Path) -> None:
    later = NOW + timedelta(seconds=7)
    async with opened(path) as journal:
        await journal.add(["a", "quiet", "b"], NOW)
        journal.report(changed("b"), NOW)
        journal.report(changed("a", "created"), NOW)
        journal.report(changed("a"), later)
    assert entry_of(journal, "a") == JournalEntry(
        "a", "watched", "started", NOW, later, (("created", NOW), ("started", later)), None
    )
    assert entry_of(journal, "b").changes == (("started", NOW),)
    assert entry_of(journal, "quiet").changed_at is None


@pytest.mark.asyncio
async def test_an_ending_is_kept_with_its_record_until_it_is_acknowledged(path: Path) -> None:
    raw = b'{ "jobid":"a",  "status":"completed", "seed":12345678901234567890, "prompt":"caf\\u00e9" }'
    event = ended("a")
    event = type(event)(msgspec.structs.replace(event.job, record=msgspec.Raw(raw)))
    async with opened(path) as journal:
        await journal.add(["a", "b"], NOW)
        journal.report(event, NOW)
    async with opened(path) as journal:
        events, place = await journal.unacknowledged(0)
        assert list(events) == [event]
        assert events[0].key == ("a", "completed")
        assert isinstance(events[0], Ended)
        assert isinstance(events[0].job, FlowJob)
        assert events[0].job.raw == raw
        assert await journal.unacknowledged(place) == ([], place)
        journal.acknowledge(["a", "b"])
    async with opened(path) as journal:
        assert await journal.unacknowledged(0) == ([], 0)
        assert list(await journal.add(["a", "b"], NOW)) == ["b"]
    assert states(journal) == {"a": "handled", "b": "watched"}
    assert entry_of(journal, "a").event == event


@pytest.mark.asyncio
async def test_many_endings_come_back_in_slices_and_in_order(path: Path) -> None:
    ids = [f"j{number}" for number in range(1200)]
    async with opened(path) as journal:
        await journal.add(ids, NOW)
        for job_id in reversed(ids):
            journal.report(ended(job_id), NOW)
    seen: list[str] = []
    async with opened(path) as journal:
        events, place = await journal.unacknowledged(0)
        while events:
            seen += [event.key[0] for event in events]
            events, place = await journal.unacknowledged(place)
    assert seen == ids[::-1]


@pytest.mark.asyncio
async def test_only_a_refusal_of_the_service_ends_a_job_that_we_gave_up(path: Path) -> None:
    errors = {
        "gone": JobNotFoundError("no such job"),
        "late": StallTimeoutError("it does not move"),
        "silent": TransportError("reset", transient=True),
    }
    async with opened(path) as journal:
        await journal.add([*errors, "running"], NOW)
        for job_id, error in errors.items():
            journal.report(Abandoned(job_id, ErrorInfo.of(error)), NOW)
        journal.acknowledge(list(errors))
    assert states(journal) == {"gone": "handled", "late": "watched", "silent": "watched", "running": "watched"}
    assert (entry_of(journal, "late").event, entry_of(journal, "late").status) == (None, "abandoned: stall_timeout")
    assert entry_of(journal, "gone").event == Abandoned("gone", ErrorInfo.of(errors["gone"]))
    assert await remaining(path) == ["late", "silent", "running"]


@pytest.mark.asyncio
async def test_an_ending_is_final(path: Path) -> None:
    async with opened(path) as journal:
        await journal.add(["a"], NOW)
        journal.report(ended("a"), NOW)
        journal.acknowledge(["a"])
        await journal.add([], NOW)
        journal.report(Abandoned("a", ErrorInfo("forbidden")), NOW)
        journal.discard(["a"])
        journal.report(Unreachable("a", NOW, ErrorInfo("transport")), NOW)
    assert states(journal) == {"a": "handled"}
    assert entry_of(journal, "a").event == ended("a")


@pytest.mark.asyncio
async def test_a_job_that_is_discarded_is_forgotten_and_its_history_with_it(path: Path) -> None:
    async with opened(path) as journal:
        await journal.add(["a"], NOW)
        journal.report(changed("a"), NOW)
        journal.discard(["a", "unknown"])
        assert list(await journal.add(["a"], NOW)) == ["a"]
    assert entry_of(journal, "a") == JournalEntry("a", "watched", None, NOW)


@pytest.mark.asyncio
async def test_an_ending_of_an_id_that_was_never_added_is_kept_all_the_same(path: Path) -> None:
    async with opened(path) as journal:
        journal.report(ended("a", "failed"), NOW)
    assert entry_of(journal, "a").status == "failed"


@pytest.mark.asyncio
async def test_what_was_learned_is_kept(path: Path) -> None:
    journal = Journal(path)
    assert (await journal.open(lambda _error: None))[1] is None
    journal.save_policy({"format": 1})
    journal.save_policy({"format": 2})
    await journal.aclose()
    assert (await journal.open(lambda _error: None))[1] == {"format": 2}
    await journal.aclose()


@pytest.mark.asyncio
async def test_what_is_noted_before_the_start_counts(path: Path) -> None:
    async with opened(path) as journal:
        await journal.add(["a", "b"], NOW)
    journal = Journal(path)
    journal.discard(["a"])
    waiting = asyncio.ensure_future(journal.add(["c"], NOW))
    await asyncio.wait({waiting}, timeout=0)
    assert (await journal.open(lambda _error: None))[0] == ["b", "c"]
    assert list(await waiting) == ["c"]
    await journal.aclose()


@pytest.mark.asyncio
async def test_a_status_of_half_a_character_pair_does_no_harm(path: Path) -> None:
    async with opened(path) as journal:
        assert list(await journal.add(["a", "b\ud83d"], NOW)) == ["a", "b\ud83d"]
        journal.report(changed("a", "caf\u00e9 \ud83d"), NOW)
        journal.report(ended("b\ud83d"), NOW)
    assert [(entry.job_id, entry.status) for entry in journal.entries()] == [("a", "caf\u00e9 ?")]


# -- secrets ---------------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_token_given_as_an_id_is_watched_but_never_written(path: Path) -> None:
    async with opened(path) as journal:
        assert list(await journal.add(["a", TOKEN], NOW)) == ["a", TOKEN]
        journal.report(Abandoned(TOKEN, ErrorInfo("usage", "no job id")), NOW)
        await journal.add(["b"], NOW)
        code = "import sys; print(*(open(name, 'rb').read() for name in sys.argv[1:]))"
        written = run(code, path, f"{path}-wal").stdout
    assert "abcdefghijkl" not in written
    assert len(written) > 4096


@pytest.mark.asyncio
async def test_the_files_are_for_their_owner_only(path: Path) -> None:
    mask = os.umask(0)
    try:
        async with opened(path) as journal:
            await journal.add(["a"], NOW)
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(mask)
    assert modes == dict.fromkeys(("run.db", "run.db-wal", "run.db-shm", "run.db-lock"), 0o600)


@pytest.mark.asyncio
async def test_nothing_of_a_pruned_job_stays_in_the_files(path: Path) -> None:
    async with opened(path) as journal:
        await journal.add(["somebody-in-particular", "b", "c"], NOW)
        journal.report(ended("somebody-in-particular"), NOW)
        journal.report(ended("b"), NOW + timedelta(hours=2))
        journal.acknowledge(["somebody-in-particular", "b"])
    assert b"somebody-in-particular" in content(path)
    assert journal.prune(NOW) == 0
    assert journal.prune(NOW + timedelta(hours=1)) == 1
    assert states(journal) == {"b": "handled", "c": "watched"}
    assert b"somebody-in-particular" not in content(*(path.parent / name for name in names(path.parent)))
    assert journal.prune() == 1
    assert [entry.changes for entry in journal.entries()] == [()]
    async with opened(path) as journal:
        assert list(await journal.add(["b"], NOW)) == ["b"]


def test_an_entry_goes_through_json_and_shows_no_id() -> None:
    entry = JournalEntry("somebody@example.com", "ended", "completed", NOW, NOW, (("completed", NOW),), ended("a"))
    assert msgspec.json.decode(msgspec.json.encode(entry), type=JournalEntry) == entry
    assert "example" not in repr(entry)
    assert "never read" in repr(JournalEntry("a", "watched", None, NOW))


# -- one at a time ---------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_second_journal_on_the_file_is_refused_and_readers_are_not(path: Path, tmp_path: Path) -> None:
    other_name = tmp_path / "link.db"
    async with opened(path) as journal:
        await journal.add(["a"], NOW)
        other_name.symlink_to(path)
        for other in (path, other_name):
            with pytest.raises(JournalError, match=r"run\.db is locked: another watch") as caught:
                await open_and_close(other)
            assert caught.value.reason == "locked"
        with pytest.raises(JournalError, match="locked"):
            Journal(path).prune()
        assert states(Journal(path)) == {"a": "watched"}
        await journal.add(["b"], NOW)
    assert await remaining(path) == ["a", "b"]


@pytest.mark.asyncio
async def test_another_process_is_refused_until_this_one_closes(path: Path) -> None:
    code = (
        "import sys; from asyncflow.journal.database import Database; Database(__import__('pathlib').Path(sys.argv[1])).close()"
    )
    async with opened(path):
        refused = run(code, path)
    assert "is locked: another watch, or another command, uses it" in refused.stderr
    assert run(code, path).returncode == 0


@pytest.mark.asyncio
async def test_a_journal_serves_one_watch_and_then_another(path: Path) -> None:
    async with opened(path) as journal:
        with pytest.raises(UsageError, match="another watch"):
            await journal.open(lambda _error: None)
    assert await journal.open(lambda _error: None) == ([], None)
    journal.close_soon()
    assert await journal.open(lambda _error: None) == ([], None)
    await journal.aclose()


# -- what cannot be a journal ----------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_file_of_something_else_is_refused_and_left_alone(path: Path) -> None:
    write(path, b"These are my holiday plans, not a database.\n" * 100)
    assert await reason_of(path) == "foreign"
    assert content(path).startswith(b"These are my holiday plans")
    with pytest.raises(JournalError, match="foreign file"):
        list(Journal(path).entries())


@pytest.mark.asyncio
async def test_another_programs_database_is_refused_and_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE recipes (name)")
    before = content(path)
    assert await reason_of(path) == "foreign"
    assert content(path) == before


@pytest.mark.asyncio
async def test_a_newer_journal_is_refused(path: Path) -> None:
    await open_and_close(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    assert await reason_of(path) == "newer"
    with pytest.raises(JournalError, match="newer asyncflow"):
        list(Journal(path).entries())


@pytest.mark.asyncio
async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert await reason_of(tmp_path / "nowhere" / "run.db") == "missing"
    for use in (lambda journal: list(journal.entries()), Journal.prune):
        with pytest.raises(JournalError, match=r"run\.db is missing"):
            use(Journal(tmp_path / "run.db"))
    assert names(tmp_path) == []


@pytest.mark.asyncio
async def test_a_folder_is_no_journal(tmp_path: Path) -> None:
    (tmp_path / "run.db").mkdir()
    assert await reason_of(tmp_path / "run.db") == "unreadable"


@contextmanager
def another_user() -> Iterator[Path]:
    """A folder that may only be read, for those to whom permissions mean nothing too."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "run.db").touch(0o444)
        (folder / "run.db-lock").touch(0o666)
        (folder / "run.db-lock").chmod(0o666)
        (folder / "run.db").chmod(0o444)
        folder.chmod(0o555)
        is_root = os.geteuid() == 0
        if is_root:
            os.seteuid(65534)
        try:
            yield folder
        finally:
            if is_root:
                os.seteuid(0)
            folder.chmod(0o755)


@pytest.mark.asyncio
async def test_a_file_that_may_only_be_read_is_refused() -> None:
    with another_user() as folder:
        assert await reason_of(folder / "run.db") == "unwritable"
        assert await reason_of(folder / "new.db") == "unwritable"


@pytest.mark.asyncio
async def test_an_empty_file_becomes_a_journal(tmp_path: Path) -> None:
    descriptor, name = tempfile.mkstemp(dir=tmp_path)
    os.close(descriptor)
    path = Path(name)
    assert list(Journal(path).entries()) == []
    await open_and_close(path)
    assert await remaining(path) == []


def test_an_old_sqlite_is_named() -> None:
    with (
        closing(sqlite3.connect(":memory:")) as connection,
        pytest.raises(JournalError, match=r"needs SQLite 3\.37, this is 3\.31\.1"),
    ):
        check(connection, "run.db", (3, 31, 1))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(5, "Input/output error"), "disk_error"),
        (OSError("something"), "disk_error"),
        (sqlite3.OperationalError("Could not decode to UTF-8"), "damaged"),
        (KeyError("x"), "damaged"),
        (JournalError("as it was", reason="full"), "full"),
    ],
    ids=repr,
)
def test_a_cause_has_a_word(error: Exception, reason: str) -> None:
    assert refusal(Path("run.db"), error).reason == reason


def test_an_error_of_sqlite_that_has_no_word_is_quoted(path: Path) -> None:
    database = Database(path)
    with pytest.raises(JournalError, match="refused by SQLite"), translated(path):
        database._connection.execute("SELECT nothing FROM nowhere")
    database.close()


def test_migrations_lead_from_any_version_to_the_last_or_nowhere(path: Path) -> None:
    Database(path).close()
    steps = [*MIGRATIONS, ["ALTER TABLE jobs ADD COLUMN note TEXT"], ["CREATE TABLE notes (text TEXT) STRICT"]]
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        with pytest.raises(sqlite3.OperationalError, match="duplicate column"):
            migrate(connection, len(MIGRATIONS), [*steps, steps[-2]])
        assert check(connection, "run.db", sqlite3.sqlite_version_info) == len(MIGRATIONS)
        migrate(connection, len(MIGRATIONS), steps)
        assert check(connection, "run.db", sqlite3.sqlite_version_info, versions=len(steps)) == len(steps)
        connection.execute("SELECT note FROM jobs, notes")


@settings(max_examples=LONG, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cuts=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=40)), min_size=1, max_size=4), length=st.floats(0, 1)
)
def test_a_damaged_file_is_a_journal_error_or_none(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[tuple[float, bytes]], length: float
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    path = folder / "run.db"
    database = Database(path)
    ids = [f"j{number}" for number in range(40)]
    reports = [RecordEvent(ended(job_id) if number % 2 else changed(job_id), NOW) for number, job_id in enumerate(ids)]
    database.write([AddJobs(ids, NOW), *reports, SavePolicy({"format": 1})])
    database.close()
    content = bytearray(path.read_bytes())
    for place, piece in cuts:
        start = int(place * len(content))
        content[start : start + len(piece)] = piece
    path.write_bytes(content[: int(max(length, 0.2) * len(content))])
    with suppress(JournalError):
        list(Journal(path).entries())
        database = Database(path)
        try:
            database.remaining()
            database.learned()
            database.unacknowledged(0, 100)
            database.write([AddJobs(["new"], NOW)])
        finally:
            database.close()


@pytest.mark.asyncio
async def test_an_error_that_is_kept_keeps_no_lock(path: Path) -> None:
    async with opened(path) as journal:
        for job_id in "abcd":
            journal.report(ended(job_id), NOW)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE endings SET event = X'7B'")
    with pytest.raises(JournalError) as kept:
        list(journal.entries())
    with closing(sqlite3.connect(path, timeout=0)) as connection:
        assert connection.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
    assert kept.value.reason == "damaged"


# -- when it fails later ---------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("on_error", ["stop", "continue"])
async def test_a_full_disk_is_told_once_and_then_nothing_is_written(
    path: Path, on_error: str, caplog: pytest.LogCaptureFixture
) -> None:
    failures: list[Exception] = []
    journal = Journal(path, on_error="stop" if on_error == "stop" else "continue", max_bytes=150_000)
    await journal.open(failures.append)
    assert list(await journal.add(["a"], NOW)) == ["a"]
    many = [f"{number:0100}" for number in range(5000)]
    if on_error == "stop":
        with pytest.raises(JournalError, match="is full"):
            await journal.add(many, NOW)
        assert failures == [journal.failure]
    else:
        assert list(await journal.add(many, NOW)) == many
        assert failures == []
    assert isinstance(journal.failure, JournalError)
    assert repr(journal) == "<Journal run.db failed>"
    assert list(await journal.add(["b"], NOW)) == ["b"]
    assert await journal.unacknowledged(0) == ([], 0)
    await journal.aclose()
    [record] = caplog.records
    assert (record.name, record.message) == ("asyncflow.journal", "journal_failed")
    assert await remaining(path) == ["a"]


@pytest.mark.asyncio
async def test_a_fact_that_nobody_waits_for_fails_aloud_too(path: Path) -> None:
    failed = asyncio.Event()
    journal = Journal(path, max_bytes=100_000)
    await journal.open(lambda _error: failed.set())
    await journal.add(["a"], NOW)
    journal.report(Abandoned("a", ErrorInfo("forbidden", "x" * 500_000)), NOW)
    await asyncio.wait_for(failed.wait(), 10)
    await journal.aclose()


@pytest.mark.asyncio
async def test_a_mistake_of_ours_ends_the_watch_whatever_the_journal_may_do(path: Path) -> None:
    failures: list[Exception] = []
    journal = Journal(path, on_error="continue")
    await journal.open(failures.append)
    journal.save_policy({"a set": object()})
    with pytest.raises(TypeError):
        await journal.add(["a"], NOW)
    await journal.aclose()
    assert [type(error) for error in failures] == [TypeError]


@pytest.mark.asyncio
async def test_a_journal_that_cannot_be_opened_is_done_without_if_so_wished(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "nowhere" / "run.db", on_error="continue")
    waiting = asyncio.ensure_future(journal.add(["a"], NOW))
    await asyncio.wait({waiting}, timeout=0)
    assert await journal.open(lambda _error: None) == ([], None)
    assert list(await waiting) == ["a"]
    assert journal.failure is not None
    assert journal.failure.reason == "missing"
    await journal.aclose()


@pytest.mark.asyncio
async def test_whoever_waits_for_a_journal_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "nowhere" / "run.db")
    waiting = asyncio.ensure_future(journal.add(["a"], NOW))
    await asyncio.wait({waiting}, timeout=0)
    with pytest.raises(JournalError, match="missing"):
        await journal.open(lambda _error: None)
    with pytest.raises(JournalError, match="missing"):
        await waiting
    await journal.aclose()
    assert journal_threads() == []


@pytest.mark.asyncio
async def test_a_damaged_ending_is_told_when_it_is_read(path: Path) -> None:
    async with opened(path) as journal:
        journal.report(ended("a"), NOW)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE endings SET event = CAST('{}' AS BLOB)")
        connection.commit()
    for on_error in ("stop", "continue"):
        journal = Journal(path, on_error="stop" if on_error == "stop" else "continue")
        await journal.open(lambda _error: None)
        if on_error == "stop":
            with pytest.raises(JournalError, match="damaged"):
                await journal.unacknowledged(0)
        else:
            assert await journal.unacknowledged(0) == ([], 0)
        assert await journal.unacknowledged(0) == ([], 0)
        await journal.aclose()


def test_on_error_is_one_of_two_words() -> None:
    with pytest.raises(UsageError, match="'stop' or 'go_on'"):
        Journal("run.db", on_error="hope")  # type: ignore[arg-type]  # what a user without a type checker does


# -- the end ---------------------------------------------------------------------------------------------------------------


def journal_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("asyncflow-journal")]


@pytest.mark.asyncio
async def test_closing_waits_for_the_last_commit_and_leaves_no_thread(path: Path) -> None:
    async with opened(path) as journal:
        assert repr(journal) == "<Journal run.db open>"
        assert len(journal_threads()) == 1
        await journal.add(["a"], NOW)
        journal.report(changed("a"), NOW)
    assert journal_threads() == []
    assert entry_of(journal, "a").status == "started"
    await journal.aclose()
    assert repr(journal) == "<Journal run.db closed>"
    assert names(path.parent) == ["run.db", "run.db-lock"]


@pytest.mark.asyncio
async def test_what_comes_after_the_end_is_dropped(path: Path) -> None:
    async with opened(path) as journal:
        journal.close_soon()
        journal.report(ended("a"), NOW)
        assert list(await journal.add(["a"], NOW)) == ["a"]
        assert await journal.unacknowledged(0) == ([], 0)
    assert states(journal) == {}


@pytest.mark.asyncio
async def test_a_cancelled_add_is_done_or_not_done_and_the_journal_goes_on(path: Path) -> None:
    async with opened(path) as journal:
        for number in range(50):
            adding = asyncio.ensure_future(journal.add([f"j{number}", f"k{number}"], NOW))
            await asyncio.wait({adding}, timeout=number / 10_000)
            adding.cancel()
            await asyncio.wait({adding})
        await journal.add(["last"], NOW)
    job_ids = await remaining(path)
    assert job_ids[-1] == "last"
    assert {f"k{job_id[1:]}" for job_id in job_ids if job_id[0] == "j"} == {job_id for job_id in job_ids if job_id[0] == "k"}


def test_a_loop_that_is_gone_does_not_disturb_the_thread(path: Path) -> None:
    journal = Journal(path, max_bytes=100_000)

    async def leave() -> None:
        await journal.open(lambda _error: None)
        await journal.add(["a"], NOW)
        journal.report(Abandoned("a", ErrorInfo("forbidden", "x" * 500_000)), NOW)
        journal.close_soon()

    asyncio.run(leave())
    asyncio.run(journal.aclose())
    assert journal.failure is not None
    assert journal_threads() == []


def test_every_event_has_a_place() -> None:
    assert job("a", "completed").outcome == "succeeded"
    assert msgspec.json.decode(msgspec.json.encode(ended("a")), type=Event) == ended("a")

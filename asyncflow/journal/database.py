"""The file of a journal: who may write it, and every statement that is made about it. One thread uses it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import msgspec

from asyncflow.errors import JournalError, WaitTimeoutError, error_class
from asyncflow.events import Abandoned, Changed, Ended, Event
from asyncflow.journal.entry import STATES, JournalEntry
from asyncflow.journal.refusals import refusal
from asyncflow.journal.schema import check, migrate, transaction

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence
    from pathlib import Path

__all__ = ["Database", "read_entries"]

_PATIENCE = 5.0
"""Seconds to wait for somebody else's lock on the file: a reader who repairs what a killed watch left."""

_LOCK_PATIENCE = 0.5
"""Seconds to wait for another watch: one that is just ending may need so long, and nobody waits for one that is not."""

_PAGE_BYTES = 4096

_WATCHED, _ENDED, _HANDLED = range(3)

_ADD = "INSERT OR IGNORE INTO jobs (job_id, added_at) VALUES (?, ?)"
_WATCHED_OF = "SELECT 1 FROM jobs WHERE job_id = ? AND state = 0"
_NOTE_CHANGE = "INSERT INTO changes (number, status, at) SELECT number, ?, ? FROM jobs WHERE job_id = ?"
_CHANGE = "UPDATE jobs SET status = ?, changed_at = ? WHERE job_id = ?"
# The id of an ending may be new: a watch can be over before it came to note all of its ids.
_END = """INSERT INTO jobs (state, status, changed_at, job_id, added_at) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (job_id) DO UPDATE SET
        state = excluded.state, status = coalesce(excluded.status, status), changed_at = excluded.changed_at
    WHERE state = 0"""
_KEEP = "INSERT OR REPLACE INTO endings (number, event) SELECT number, ? FROM jobs WHERE job_id = ? AND state < 2"
_ACKNOWLEDGE = "UPDATE jobs SET state = 2 WHERE job_id = ? AND state = 1"
_DISCARD = "DELETE FROM jobs WHERE job_id = ? AND state = 0"
_REMAINING = "SELECT job_id FROM jobs WHERE state = 0 ORDER BY number"
_UNACKNOWLEDGED = """SELECT number, event FROM jobs JOIN endings USING (number)
    WHERE state = 1 AND number > ? ORDER BY number LIMIT ?"""
_ENTRIES = """SELECT number, job_id, state, status, added_at, changed_at, event
    FROM jobs LEFT JOIN endings USING (number) ORDER BY number"""
_CHANGES = "SELECT number, status, at FROM changes ORDER BY number, rowid"
_ORPHANS = "DELETE FROM {} WHERE number NOT IN (SELECT number FROM jobs)"

_decode_event = msgspec.json.Decoder(Event).decode


class Database:
    """The journal at *path*, open for writing, and nobody else's until `close`. It is made if it is not there."""

    def __init__(self, path: Path, max_bytes: int | None = None) -> None:
        self._path = path
        with ExitStack() as stack, translated(path):
            # First of all, and before the file is so much as touched: closing any second descriptor of a file takes away the
            # locks that this process holds on it, those of another journal's connection too (POSIX).
            _create(self._lock_path)
            lock = _connect(self._lock_path, _LOCK_PATIENCE)
            stack.callback(lock.close)
            # Held until the process ends, however it ends; readers of the journal itself do not meet it.
            _lock(lock, path)
            _create(path)
            connection = _connect(path, _PATIENCE)
            stack.callback(connection.close)
            version = check(connection, path.name, sqlite3.sqlite_version_info)
            _configure(connection, max_bytes)
            migrate(connection, version)
            self._connection = connection
            self._resources = stack.pop_all()

    @property
    def _lock_path(self) -> Path:
        return self._path.with_name(f"{self._path.name}-lock")

    def close(self) -> None:
        """Let go of the file; what was committed is folded into it."""
        self._resources.close()

    @contextmanager
    def transaction(self) -> Generator[None]:
        """Commit what is written in the block as one, durably; `JournalError` if that fails, and then nothing of it is kept."""
        with translated(self._path), transaction(self._connection):
            yield

    # -- what a watch writes, in a transaction ---------------------------------------------------------------------------

    def add(self, job_ids: Sequence[str], at: float) -> list[str]:
        """Note these ids and return those of them that are to be watched."""
        execute = self._connection.execute
        self._connection.executemany(_ADD, [(job_id, at) for job_id in job_ids if _is_fit(job_id)])
        return [job_id for job_id in job_ids if not _is_fit(job_id) or execute(_WATCHED_OF, (job_id,)).fetchone() is not None]

    def report(self, event: Event, at: float) -> None:
        """Note a change of status, or an ending as it is delivered."""
        execute, job_id = self._connection.execute, event.key[0]
        if not _is_fit(job_id):
            return
        status = _text(event.job.status) if isinstance(event, Changed | Ended) else None
        if status is not None:
            execute(_NOTE_CHANGE, (status, at, job_id))
        if isinstance(event, Changed):
            execute(_CHANGE, (status, at, job_id))
        elif isinstance(event, Ended | Abandoned):
            execute(_END, (_ENDED if _is_over(event) else _WATCHED, status, at, job_id, at))
            execute(_KEEP, (msgspec.json.encode(event), job_id))

    def acknowledge(self, job_ids: Iterable[str]) -> None:
        """Note that these endings were handled."""
        self._connection.executemany(_ACKNOWLEDGE, [(job_id,) for job_id in job_ids])

    def discard(self, job_ids: Iterable[str]) -> None:
        """Forget these ids, unless they have ended."""
        self._connection.executemany(_DISCARD, [(job_id,) for job_id in job_ids])

    def learn(self, state: dict[str, Any]) -> None:
        """Keep what a polling policy has learned."""
        self._connection.execute("INSERT OR REPLACE INTO learned VALUES (1, ?)", (msgspec.json.encode(state),))

    def prune(self, before: float | None) -> int:
        """Forget the jobs whose ending was handled, those that ended before an instant if there is one; return how many."""
        execute = self._connection.execute
        execute("PRAGMA secure_delete = ON")
        with self.transaction():
            deleted = execute("DELETE FROM jobs WHERE state = 2 AND (?1 IS NULL OR changed_at < ?1)", (before,)).rowcount
            for table in ("endings", "changes"):
                execute(_ORPHANS.format(table))
        with translated(self._path):
            # Ids are personal data: what is forgotten must not stay behind in the file's unused pages, or in its log.
            execute("VACUUM")
            execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return deleted

    # -- what a watch reads ----------------------------------------------------------------------------------------------

    def remaining(self) -> list[str]:
        """Return the ids that have not ended, oldest first."""
        with translated(self._path):
            return [job_id for (job_id,) in self._connection.execute(_REMAINING)]

    def unacknowledged(self, after: int, limit: int) -> tuple[list[Event], int]:
        """Return up to *limit* endings that nobody has handled, beyond number *after*, and the number of the last of them."""
        with translated(self._path):
            rows = self._connection.execute(_UNACKNOWLEDGED, (after, limit)).fetchall()
            return [_decode_event(event) for _, event in rows], rows[-1][0] if rows else after

    def learned(self) -> dict[str, Any] | None:
        """Return what `learn` kept."""
        with translated(self._path):
            row = self._connection.execute("SELECT state FROM learned").fetchone()
            return None if row is None else msgspec.json.decode(row[0], type=dict[str, Any])


def read_entries(path: Path) -> Iterator[JournalEntry]:
    """Yield what the journal at *path* holds, in the order of adding, as of this moment; a watch may be writing to it."""
    with ExitStack() as stack, translated(path):
        if not path.exists():
            raise FileNotFoundError(path)
        # For writing where that is allowed: whoever is the last to close a file then folds in what a killed watch left.
        connection = _connect(path, _PATIENCE)
        stack.callback(connection.close)
        connection.execute("PRAGMA query_only = ON")
        if not check(connection, path.name, sqlite3.sqlite_version_info):
            return
        # One transaction, so that both tables are seen at one moment.
        connection.execute("BEGIN")
        histories = groupby(connection.execute(_CHANGES), key=itemgetter(0))
        changes_of, changes = next(histories, (None, ()))
        for number, job_id, state, status, added_at, changed_at, event in connection.execute(_ENTRIES):
            while changes_of is not None and changes_of < number:
                changes_of, changes = next(histories, (None, ()))
            own = changes if changes_of == number else ()
            yield JournalEntry(
                job_id,
                STATES[int(state)],
                status,
                _instant(added_at),
                None if changed_at is None else _instant(changed_at),
                tuple((status, _instant(at)) for _, status, at in own),
                None if event is None else _decode_event(event),
            )


@contextmanager
def translated(path: Path) -> Generator[None]:
    """Turn what goes wrong in the block into a `JournalError`."""
    try:
        yield
    except (sqlite3.Error, msgspec.MsgspecError, OSError, ValueError, IndexError, OverflowError) as error:
        raise refusal(path, error) from error


def _connect(path: Path, patience: float) -> sqlite3.Connection:
    # The statements commit where they say so, and nowhere else.
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", timeout=patience, isolation_level=None, uri=True)


def _create(path: Path) -> None:
    """Make an empty file for nobody but its owner, if there is none: job ids are personal data."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _lock(lock: sqlite3.Connection, path: Path) -> None:
    try:
        lock.execute("PRAGMA journal_mode = MEMORY")  # nothing is ever written
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise
        raise JournalError(
            f"the journal {path.name} is locked: another watch, or another command, uses it", reason="locked"
        ) from None


def _configure(connection: sqlite3.Connection, max_bytes: int | None) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    # Each commit reaches the disk, so that a loss of power takes no id. NORMAL would survive a killed process, not that.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")  # where a flush is not one without it: macOS
    connection.execute("PRAGMA checkpoint_fullfsync = ON")
    if max_bytes is not None:
        connection.execute(f"PRAGMA max_page_count = {max(max_bytes // _PAGE_BYTES, 1)}")


def _is_over(ending: Ended | Abandoned) -> bool:
    """Return whether there is nothing more to come. A limit of ours says nothing about the job: it runs on, and is paid for."""
    if isinstance(ending, Ended):
        return True
    return not ending.error.transient and not issubclass(error_class(ending.error.kind), WaitTimeoutError)


def _is_fit(job_id: str) -> bool:
    """Return whether *job_id* can be one: tokens begin otherwise and must not be kept, and half a character pair cannot be."""
    return job_id.lstrip()[:5].lower() != "user:" and (job_id.isascii() or _text(job_id) == job_id)


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _text(text: str) -> str:
    """Return *text* as SQLite can keep it: half a character pair is none."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()

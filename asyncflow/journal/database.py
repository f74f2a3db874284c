"""The file of a journal: who may write it, and every statement that is made about it. One thread uses it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec

from asyncflow.errors import JournalError, WaitTimeoutError, error_class
from asyncflow.events import Abandoned, Changed, Ended, Event
from asyncflow.journal import submissions as submits
from asyncflow.journal.operations import AckEvents, AddJobs, BeginSubmit, DiscardJobs, FinishSubmit, RecordEvent, SavePolicy
from asyncflow.journal.schema import check, migrate, transaction
from asyncflow.journal.sqlite_errors import refusal

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from asyncflow.events import SubmitResult
    from asyncflow.journal.operations import JournalOperation

__all__ = ["Database", "connect", "translated"]

_PATIENCE = 5.0
"""Seconds to wait for somebody else's lock on the file: a reader who repairs what a killed watch left."""

_LOCK_PATIENCE = 0.5
"""Seconds to wait for another watch: one that is just ending may need so long, and nobody waits for one that is not."""

_PAGE_BYTES = 4096

_TROUBLES = (sqlite3.Error, msgspec.MsgspecError, OSError, ValueError, IndexError, OverflowError)

Row = tuple[Any, ...]

_MOST_ROWS = 64
"""Rows of one statement: between two statements the interpreter changes threads, which costs more than a row does."""

# In each, "{}" stands for the rows.
_ADD = "INSERT OR IGNORE INTO jobs (job_id, added_at) VALUES {}"
_OVER = "SELECT job_id FROM jobs WHERE state > 0 AND job_id IN (VALUES {})"
_CHANGE = (
    "INSERT INTO changes (number, status, at) SELECT number, column2, column3 FROM (VALUES {}) JOIN jobs ON job_id = column1"
)
_KEEP = """INSERT INTO endings (number, at, event)
    SELECT number, column2, column3 FROM (VALUES {}) JOIN jobs ON job_id = column1 WHERE state = 0"""
_END = "UPDATE jobs SET state = 1 WHERE state = 0 AND job_id IN (VALUES {})"
_ACKNOWLEDGE = "UPDATE jobs SET state = 2 WHERE state = 1 AND job_id IN (VALUES {})"
_DISCARD = "DELETE FROM jobs WHERE state = 0 AND job_id IN (VALUES {})"

_LEARN = "INSERT OR REPLACE INTO learned VALUES (1, ?)"
_REMAINING = "SELECT job_id FROM jobs WHERE state = 0 ORDER BY number"
_UNACKNOWLEDGED = """SELECT endings.rowid, event FROM endings CROSS JOIN jobs USING (number)
    WHERE state = 1 AND endings.rowid > ? ORDER BY endings.rowid LIMIT ?"""
_PRUNE = """DELETE FROM jobs WHERE state = 2
    AND (:before IS NULL OR number IN (SELECT number FROM endings WHERE at < :before))"""
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
            lock = connect(self._lock_path, _LOCK_PATIENCE)
            stack.callback(lock.close)
            # Held until the process ends, however it ends; readers of the journal itself do not meet it.
            _lock(lock, path)
            _create(path)
            connection = connect(path, _PATIENCE)
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

    # -- what a watch writes ---------------------------------------------------------------------------------------------

    def write(self, facts: Iterable[JournalOperation]) -> list[Any]:
        """Write *facts*, all or none, durably; return the answer to each. `JournalError` if that fails."""
        with translated(self._path), transaction(self._connection):
            return self._write(facts)

    def _write(self, facts: Iterable[JournalOperation]) -> list[Any]:
        """Write reports and acknowledgements in large pieces, as long as nothing depends on their order."""
        answers: list[Any] = []
        reports: list[RecordEvent] = []
        handled: dict[str, None] = {}
        for fact in facts:
            answer = None
            match fact:
                case RecordEvent(event) if event.key[0] not in handled:
                    reports.append(fact)
                case AckEvents(job_ids):
                    handled |= dict.fromkeys(job_ids)
                case _:
                    self._report(reports, handled)
                    reports, handled = [], {}
                    answer = self._do(fact)
            answers.append(answer)
        self._report(reports, handled)
        return answers

    def _do(self, fact: JournalOperation) -> list[str] | None:
        match fact:
            case AddJobs(job_ids, at):
                return self._add(job_ids, at.timestamp())
            case DiscardJobs(job_ids):
                self._execute(_DISCARD, [(job_id,) for job_id in job_ids])
            case BeginSubmit(submission):
                submits.begin(self._connection, submission)
            case FinishSubmit(submission, at):
                submits.settle(self._connection, submission)
                if submission.job_id is not None:
                    self._add([submission.job_id], at.timestamp())
            case SavePolicy(state):
                self._connection.execute(_LEARN, (msgspec.json.encode(state),))
            case RecordEvent():
                self._report([fact], ())
            case AckEvents(job_ids):
                self._report((), job_ids)
        return None

    def _add(self, job_ids: Sequence[str], at: float) -> list[str]:
        fit = [job_id for job_id in job_ids if _is_fit(job_id)]
        self._execute(_ADD, [(job_id, at) for job_id in fit])
        over = {job_id for (job_id,) in self._execute(_OVER, [(job_id,) for job_id in fit])}
        return [job_id for job_id in job_ids if job_id not in over]

    def _report(self, reports: Iterable[RecordEvent], handled: Iterable[str]) -> None:
        changes: list[Row] = []
        endings: list[Row] = []
        over: list[Row] = []
        for event, moment in reports:
            job_id, at = event.key[0], moment.timestamp()
            if not _is_fit(job_id):
                continue
            if isinstance(event, Changed | Ended):
                changes.append((job_id, _text(event.job.status), at))
            elif isinstance(event, Abandoned):
                changes.append((job_id, f"abandoned: {_text(event.error.kind)}", at))
            if isinstance(event, Ended) or (isinstance(event, Abandoned) and not _is_limit(event)):
                endings.append((job_id, at, msgspec.json.encode(event)))
                over.append((job_id,))
        # The id of an ending may be new: a watch can be over before it came to note all of its ids.
        self._execute(_ADD, [ending[:2] for ending in endings])
        self._execute(_CHANGE, changes)
        self._execute(_KEEP, endings)
        self._execute(_END, over)
        self._execute(_ACKNOWLEDGE, [(job_id,) for job_id in handled])

    def _execute(self, statement: str, rows: Sequence[Row]) -> list[Any]:
        """Carry out *statement* for all *rows*, many at a time, and return what it selects."""
        execute, found = self._connection.execute, list[Any]()
        start, size = 0, _MOST_ROWS
        while start < len(rows):
            # A power of two each: the few statements that there are stay prepared, and a commit of any length is few of them.
            while size > len(rows) - start:
                size //= 2
            piece = rows[start : start + size]
            found += execute(_prepared(statement, len(piece[0]), size), list(chain.from_iterable(piece)))
            start += size
        return found

    def prune(self, before: float | None) -> int:
        """Forget the jobs whose ending was handled, those that ended before an instant if there is one; return how many."""
        execute = self._connection.execute
        execute("PRAGMA secure_delete = ON")
        with translated(self._path), transaction(self._connection):
            deleted = execute(_PRUNE, {"before": before}).rowcount
            for table in ("endings", "changes"):
                execute(_ORPHANS.format(table))
            submits.forget(self._connection)
        with translated(self._path):
            # Ids are personal data: what is forgotten must not stay behind in the file's unused pages, or in its log.
            execute("VACUUM")
            execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return deleted

    # -- what a watch reads ----------------------------------------------------------------------------------------------

    def _reading(self) -> AbstractContextManager[None]:
        # In a damaged table any value may be of another type, or NULL.
        return translated(self._path, TypeError)

    def remaining(self) -> list[str]:
        """Return the ids that have not ended, oldest first."""
        with self._reading():
            return [job_id for (job_id,) in self._connection.execute(_REMAINING)]

    def unacknowledged(self, after: int, limit: int) -> tuple[list[Event], int]:
        """Return up to *limit* endings that nobody has handled, beyond the place *after*, and the place of the last of them."""
        with self._reading():
            rows = self._connection.execute(_UNACKNOWLEDGED, (after, limit)).fetchall()
            return [_decode_event(event) for _, event in rows], rows[-1][0] if rows else after

    def submitted(self) -> list[str]:
        """Return the ids of the jobs of all lines."""
        with self._reading():
            return submits.job_ids(self._connection)

    def recall(self, key: str) -> SubmitResult | None:
        """Return what is known of the line called *key*."""
        with self._reading():
            return submits.recall(self._connection, key)

    def learned(self) -> dict[str, Any] | None:
        """Return the policy's state that was saved last."""
        with self._reading():
            row = self._connection.execute("SELECT state FROM learned").fetchone()
            return None if row is None else msgspec.json.decode(row[0], type=dict[str, Any])


@contextmanager
def translated(path: Path, *more: type[Exception]) -> Generator[None]:
    """Turn what goes wrong in the block, *more* included, into a `JournalError`."""
    expected: tuple[type[Exception], ...] = (*_TROUBLES, *more)
    try:
        yield
    except expected as error:
        raise refusal(path, error) from error


@cache
def _prepared(statement: str, columns: int, rows: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return statement.format(", ".join([row] * rows))


def connect(path: Path, patience: float = _PATIENCE, mode: str = "rw") -> sqlite3.Connection:
    """Open the file, which must be there; *patience* is how many seconds to wait for somebody else's lock."""
    # The statements commit where they say so, and nowhere else.
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", timeout=patience, isolation_level=None, uri=True)


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


def _is_limit(event: Abandoned) -> bool:
    """Return whether it was a limit of ours, of time or of failures: it says nothing about the job, which runs on and is paid."""
    return event.error.transient or issubclass(error_class(event.error.kind), WaitTimeoutError)


def _is_fit(job_id: str) -> bool:
    """Return whether *job_id* can be one: tokens begin otherwise and must not be kept, and half a character pair cannot be."""
    return job_id.lstrip()[:5].lower() != "user:" and (job_id.isascii() or _text(job_id) == job_id)


def _text(text: str) -> str:
    """Return *text* as SQLite can keep it: half a character pair is none."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()

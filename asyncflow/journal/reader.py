"""A journal as it is read from outside, while a watch or a batch may be writing to it."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

import msgspec

from asyncflow.errors import JournalError
from asyncflow.events import Event
from asyncflow.journal import submissions as submits
from asyncflow.journal.database import connect, translated
from asyncflow.journal.entry import STATES, JournalEntry
from asyncflow.journal.schema import check
from asyncflow.journal.sqlite_errors import PRIMARY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asyncflow.events import SubmitResult

__all__ = ["read_entries", "read_submissions"]

_ENTRIES = """SELECT jobs.number, jobs.job_id, jobs.state, added_at, event, line, path, requested_at
    FROM jobs LEFT JOIN endings USING (number)
    LEFT JOIN (SELECT job_id, min(number), key AS line, path, requested_at FROM submits WHERE job_id IS NOT NULL GROUP BY job_id)
    AS lines ON lines.job_id = jobs.job_id ORDER BY jobs.number"""
_ENTRIES_OF_1 = """SELECT number, job_id, state, added_at, event, NULL, NULL, NULL
    FROM jobs LEFT JOIN endings USING (number) ORDER BY number"""
_CHANGES = "SELECT number, status, at FROM changes ORDER BY number, rowid"
_WITH_SUBMITS = 2

_BARRED = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
"""What SQLite says where it may not make the files that even a reader needs beside a journal."""

_decode_event = msgspec.json.Decoder(Event).decode


def read_entries(path: Path) -> Iterator[JournalEntry]:
    """Yield what the journal at *path* holds, in the order of adding, as of this moment; a watch may be writing to it."""
    with ExitStack() as stack, translated(path, TypeError):
        connection, version = _open(path, stack)
        if not version:
            return
        # One transaction, so that all tables are seen at one moment.
        connection.execute("BEGIN")
        questions = (_ENTRIES if version >= _WITH_SUBMITS else _ENTRIES_OF_1, _CHANGES)
        # Closed one by one: a connection does not let go of the file before its last cursor does, and an error that somebody
        # keeps holds its cursors.
        rows, history = (stack.enter_context(closing(connection.execute(question))) for question in questions)
        histories = groupby(history, key=itemgetter(0))
        changes_of, changes = next(histories, (None, ()))
        for number, job_id, state, added_at, event, line, target, submitted_at in rows:
            while changes_of is not None and changes_of < number:
                changes_of, changes = next(histories, (None, ()))
            own = [(status, _instant(at)) for _, status, at in changes] if changes_of == number else []
            status, changed_at = own[-1] if own else (None, None)
            yield JournalEntry(
                job_id,
                STATES[int(state)],
                status,
                _instant(added_at),
                changed_at,
                tuple(own),
                None if event is None else _decode_event(event),
                line,
                target,
                None if submitted_at is None else _instant(submitted_at),
            )


def read_submissions(path: Path) -> Iterator[SubmitResult]:
    """Yield the lines that went out with the journal at *path*, in that order, as of this moment."""
    with ExitStack() as stack, translated(path, TypeError):
        connection, version = _open(path, stack)
        if version >= _WITH_SUBMITS:
            yield from stack.enter_context(closing(submits.every(connection)))


def _open(path: Path, stack: ExitStack) -> tuple[sqlite3.Connection, int]:
    if not path.exists():
        raise FileNotFoundError(path)
    try:
        # For writing where that is allowed: whoever is the last to close a file then folds in what a killed watch left.
        return _checked(path, "rw", stack)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & PRIMARY not in _BARRED:
            raise
        return _open_as_it_stands(path, stack, error)


def _open_as_it_stands(path: Path, stack: ExitStack, error: sqlite3.Error) -> tuple[sqlite3.Connection, int]:
    """Open by itself a file that was refused with *error*, which is raised if that was not for what stands beside it."""
    try:
        # https://sqlite.org/uri.html#uriimmutable: it looks at nothing but this file, and takes no lock.
        opened = _checked(path, "ro&immutable=1", stack)
    except sqlite3.OperationalError:
        raise error from None
    # Read without its log, a journal would be trusted for what it does not hold.
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        raise JournalError(
            f"the journal {path.name} stands with {log.name} in an unwritable folder, where it cannot be read whole: "
            "copy both files to another folder",
            reason="unwritable",
        )
    return opened


def _checked(path: Path, mode: str, stack: ExitStack) -> tuple[sqlite3.Connection, int]:
    connection = connect(path, mode=mode)
    stack.callback(connection.close)
    connection.execute("PRAGMA query_only = ON")
    return connection, check(connection, path.name, sqlite3.sqlite_version_info)


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)

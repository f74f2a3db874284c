"""What a journal's tables are, and how a file becomes one.

A file that is not ours is recognised before anything in it is touched.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from asyncflow.errors import JournalError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Generator, Sequence

__all__ = ["MIGRATIONS", "check", "migrate", "transaction"]

_APPLICATION = 0x61736A6C
"""SQLite's field for telling files apart ("asjl")."""

_OLDEST_SQLITE = (3, 37)
"""The first one with STRICT tables."""

MIGRATIONS: Sequence[Sequence[str]] = (
    (
        # A number is never given twice, so that no job inherits the changes of one that was discarded.
        """CREATE TABLE jobs (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            job_id TEXT NOT NULL UNIQUE,
            added_at REAL NOT NULL,  -- instants are seconds since 1970
            state INTEGER NOT NULL DEFAULT 0  -- 0 watched, 1 ended, 2 ended and acknowledged
        ) STRICT""",
        # No index on these, nor on the state: each write would pay for what is read when a journal is opened or shown.
        "CREATE TABLE changes (number INTEGER NOT NULL, status TEXT NOT NULL, at REAL NOT NULL) STRICT",
        # Apart from their jobs, because whatever is changed in a row has the whole row written again, record and all; and in the
        # order in which they come, because a place in the middle would be three more pages to write.
        "CREATE TABLE endings (number INTEGER NOT NULL, at REAL NOT NULL, event BLOB NOT NULL) STRICT",
        "CREATE TABLE learned (only INTEGER PRIMARY KEY CHECK (only = 1), state BLOB NOT NULL) STRICT",
    ),
    (
        # The lines of batches. Of a body there is a digest and no more: what it says is the user's, and nothing here needs it.
        """CREATE TABLE submits (
            number INTEGER PRIMARY KEY,
            key TEXT NOT NULL UNIQUE,
            content TEXT NOT NULL,  -- a digest of path and body
            path TEXT NOT NULL,
            state INTEGER NOT NULL,  -- 0 went out, 1 submitted, 2 refused, 3 unknown
            reply_ref TEXT,
            requested_at REAL NOT NULL,
            job_id TEXT,
            answer BLOB  -- what became of it, without the record of a job that can be read again
        ) STRICT""",
    ),
)
"""The statements that lead from each version to the next; version 0 is an empty file."""


def check(connection: sqlite3.Connection, name: str, library: tuple[int, ...], versions: int = len(MIGRATIONS)) -> int:
    """Return the version of the file behind *connection*; `JournalError` if it is no journal, or one that is newer than we are.

    *name* is how it is called in the error, *library* SQLite's version.
    """
    if library < _OLDEST_SQLITE:
        raise JournalError(
            f"a journal needs SQLite 3.37, this is {'.'.join(map(str, library))} (old_sqlite)", reason="old_sqlite"
        )
    [application] = connection.execute("PRAGMA application_id").fetchone()
    [version] = connection.execute("PRAGMA user_version").fetchone()
    [tables] = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != _APPLICATION and (application or version or tables):
        raise JournalError(f"the journal {name} is a foreign database", reason="foreign")
    if version > versions:
        raise JournalError(f"the journal {name} was written by a newer asyncflow (its version is {version})", reason="newer")
    return int(version)


def migrate(connection: sqlite3.Connection, version: int, steps: Sequence[Sequence[str]] = MIGRATIONS) -> None:
    """Bring the tables from *version* to that of *steps*, wholly or not at all."""
    if version < len(steps):
        with transaction(connection):
            for step in steps[version:]:
                for statement in step:
                    connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {len(steps)}")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Generator[None]:
    """Commit what the block writes, or nothing of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise

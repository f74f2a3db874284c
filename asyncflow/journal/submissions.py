"""The lines of batches in a journal: what is noted before a request goes out, and what after its answer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from asyncflow.events import ErrorInfo, SubmitResult

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Generator

__all__ = ["begin", "every", "forget", "job_ids", "recall", "settle"]

_STATES = ("unknown", "submitted", "refused", "unknown")
_NUMBERS = {"submitted": 1, "refused": 2, "unknown": 3}
_UNANSWERED = ErrorInfo("outcome_unknown", "the request went out, and no answer was noted")

_BEGIN = """INSERT INTO submits (key, content, path, state, reply_ref, requested_at) VALUES (?, ?, ?, 0, ?, ?)
    ON CONFLICT (key) DO UPDATE SET content = excluded.content, path = excluded.path, state = 0,
    reply_ref = excluded.reply_ref, requested_at = excluded.requested_at, job_id = NULL, answer = NULL"""
_SETTLE = "UPDATE submits SET state = ?, job_id = ?, answer = ? WHERE key = ?"
_FORGET = """UPDATE submits SET job_id = NULL, reply_ref = NULL, answer = NULL
    WHERE job_id IS NOT NULL AND job_id NOT IN (SELECT job_id FROM jobs)"""
_EVERY = "SELECT key, content, path, state, reply_ref, requested_at, job_id, answer FROM submits"

_decode = msgspec.json.Decoder(SubmitResult).decode


def begin(connection: sqlite3.Connection, line: SubmitResult) -> None:
    """Note that the request of *line* is about to go out."""
    at = line.requested_at.timestamp() if line.requested_at is not None else 0.0
    connection.execute(_BEGIN, (line.key, line.content, line.path, line.reply_ref, at))


def settle(connection: sqlite3.Connection, line: SubmitResult) -> None:
    """Note what became of *line*; a line that never went out is not noted."""
    # A job that has an id is read again when it is watched. What came without one comes only once.
    kept = msgspec.structs.replace(line, number=0, is_earlier=False, job=None if line.job_id is not None else line.job)
    connection.execute(_SETTLE, (_NUMBERS[line.state], line.job_id, msgspec.json.encode(kept), line.key))


def recall(connection: sqlite3.Connection, key: str) -> SubmitResult | None:
    """Return the line called *key*, as an earlier batch left it."""
    row = connection.execute(f"{_EVERY} WHERE key = ?", (key,)).fetchone()
    return None if row is None else _submission(*row)


def job_ids(connection: sqlite3.Connection) -> list[str]:
    """Return the ids of all jobs that lines came to."""
    return [job_id for (job_id,) in connection.execute("SELECT job_id FROM submits WHERE job_id IS NOT NULL")]


def every(connection: sqlite3.Connection) -> Generator[SubmitResult]:
    """Yield all lines, in the order in which they first went out."""
    for row in connection.execute(f"{_EVERY} ORDER BY number"):
        yield _submission(*row)


def forget(connection: sqlite3.Connection) -> None:
    """Keep of lines whose job was forgotten only that they were submitted, so that they are not submitted again."""
    connection.execute(_FORGET)


def _submission(  # noqa: PLR0917 - the columns of the table
    key: str,
    content: str,
    path: str,
    state: int,
    reply_ref: str | None,
    requested_at: float,
    job_id: str | None,
    answer: bytes | None,
) -> SubmitResult:
    if answer is not None:
        return msgspec.structs.replace(_decode(answer), is_earlier=True)
    word = _STATES[state]
    return SubmitResult(
        key,
        0,
        word,  # type: ignore[arg-type] # out of the same table
        path,
        job_id=job_id,
        error=_UNANSWERED if word == "unknown" else None,
        reply_ref=reply_ref,
        requested_at=datetime.fromtimestamp(requested_at, UTC),
        content=content,
        is_earlier=True,
    )

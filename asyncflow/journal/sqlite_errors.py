"""What SQLite, the file system and the bytes of a file can say against a journal, as `JournalError`.

Pure but for the exceptions that it reads.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from asyncflow.errors import JournalError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PRIMARY", "refusal"]

PRIMARY = 0xFF
"""SQLite's extended error codes keep the family in their lowest byte."""

_WORDS = {
    sqlite3.SQLITE_BUSY: ("locked", "is locked by another program"),
    sqlite3.SQLITE_CANTOPEN: ("unreadable", "cannot be opened (unreadable, or its folder is)"),
    sqlite3.SQLITE_CORRUPT: ("damaged", "is damaged"),
    sqlite3.SQLITE_FULL: ("full", "cannot grow: the disk, or its quota, is full"),
    sqlite3.SQLITE_IOERR: ("disk_error", "cannot be read or written (disk_error)"),
    sqlite3.SQLITE_NOTADB: ("foreign", "is a foreign file, no journal"),
    sqlite3.SQLITE_PERM: ("unwritable", "is unwritable"),
    sqlite3.SQLITE_READONLY: ("unwritable", "is unwritable"),
}


def refusal(path: Path, error: Exception) -> JournalError:
    """Return what *error* means for the journal at *path*; its `reason` is one word of the cause."""
    if isinstance(error, JournalError):
        return error
    reason, words = _read(error)
    return JournalError(f"the journal {path.name} {words}", reason=reason)


def _read(error: Exception) -> tuple[str, str]:
    match error:
        case FileNotFoundError():
            return "missing", "is missing, or the folder that it belongs in"
        case PermissionError():
            return "unwritable", "is unwritable"
        case OSError():
            return "disk_error", f"cannot be opened (disk_error: {(error.strerror or 'unknown').lower()})"
        case sqlite3.Error():
            code: int | None = getattr(error, "sqlite_errorcode", None)
            # Without a code it is Python that cannot make sense of a value: text that is no text.
            return _WORDS.get(PRIMARY & (code or sqlite3.SQLITE_CORRUPT), ("refused", f"is refused by SQLite ({error})"))
        case _:
            return "damaged", "is damaged: it holds what no journal does"

"""Which jobs are watched, across restarts: SQLite in one file, written by one thread.

The watcher does not know this room; it is handed a `Journal` and sees its methods only.
"""

from asyncflow.journal.entry import JournalEntry
from asyncflow.journal.journal import Journal

__all__ = ["Journal", "JournalEntry"]

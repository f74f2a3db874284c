"""What a journal says of one job.

Pure: no clock, no I/O, no asyncio.
"""

from datetime import datetime
from typing import Literal

from asyncflow.events import Event
from asyncflow.redaction import digest, one_line
from asyncflow.services.job import RedactedStruct

__all__ = ["STATES", "JournalEntry", "State"]

State = Literal["watched", "ended", "handled"]
STATES: tuple[State, ...] = ("watched", "ended", "handled")


class JournalEntry(RedactedStruct, frozen=True, gc=False, omit_defaults=True):
    """A job in a journal, in a form that goes through JSON and back.

    *state* is "watched" until the job has ended, then "ended", and "handled" once the ending was acknowledged. *status* is the
    last one that was seen, None before the first answer, or "abandoned: " and why; *changes* are all of them, each with its time
    (aware). *event* is the ending as it is delivered, record and all. A job that was abandoned because a limit of ours was
    reached is still watched: it has not ended. *line*, *path* and *submitted_at* (aware) are those of the line of a batch that
    submitted it with this journal, else None.
    """

    job_id: str
    state: State
    status: str | None
    added_at: datetime
    changed_at: datetime | None = None
    changes: tuple[tuple[str, datetime], ...] = ()
    event: Event | None = None
    line: str | None = None
    path: str | None = None
    submitted_at: datetime | None = None

    def __repr__(self) -> str:
        return one_line(f"<JournalEntry {digest(self.job_id)} {self.state} {self.status or 'never read'}>")

"""What a watch takes over from a journal, and what the commands say of one."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from asyncflow import Ended, Event, Journal, JournalEntry, JournalError
from asyncflow.cli.formatting import key_of, one_line
from asyncflow.cli.output.progress import WatchProgress
from asyncflow.cli.output.streams import complain
from asyncflow.report import ReportBuilder

__all__ = ["ResumeState", "kept_in", "shown_name"]


class ResumeState:
    """A watch with a *journal*, which the user calls *name*: what earlier watches told counts, what they left is gone on with."""

    def __init__(self, journal: Journal, name: str, *, is_optional: bool, entries: Iterable[JournalEntry] = ()) -> None:
        self.journal = journal
        self.name: str = one_line(name)
        self._is_optional = is_optional
        self.job_ids: dict[str, None] = {}
        self._told: list[Event] = []
        self._builder = ReportBuilder()
        for entry in entries:
            self.job_ids[entry.job_id] = None
            if entry.state == "handled" and entry.event is not None:
                self._builder.take(entry.event, key_of(entry.job_id))
                self._told.append(_without_record(entry.event))

    def count_in(self, tally: WatchProgress) -> None:
        """Have *tally* count what was told already, so that the sum is that of one watch."""
        now = datetime.now(UTC)
        for event in self._told:
            tally.apply(event, 0.0, now)
        self._told.clear()
        # Made of the whole records: what was cut off of them to count here tells who was paid for captchas.
        tally.builder = self._builder

    def warn(self) -> None:
        """Say that the journal has failed, if it has and the watch went on all the same."""
        if self._is_optional and self.journal.failure is not None:
            complain(f"{one_line(str(self.journal.failure))}; went on without it")


def kept_in(name: str, *, is_optional: bool, is_new: bool) -> ResumeState:
    """Return what the journal called *name* holds. `JournalError` if it cannot be read, unless it is optional.

    *is_new* says that it need not be there.
    """
    journal = Journal(name, on_error="continue" if is_optional else "stop")
    if is_new and not Path(name).exists():
        return ResumeState(journal, name, is_optional=is_optional)
    try:
        return ResumeState(journal, name, is_optional=is_optional, entries=journal.entries())
    except JournalError:
        if not is_optional:
            raise
        return ResumeState(journal, name, is_optional=True)


def _without_record(event: Event) -> Event:
    """Return *event* without the answer's bytes: of many jobs those are most of it, and they are not counted."""
    if isinstance(event, Ended):
        return Ended(msgspec.structs.replace(event.job, record=msgspec.Raw(b"null")))
    return event


def shown_name(name: str) -> str:
    """Return how a file is called on a screen."""
    return one_line(Path(name).name, 60)

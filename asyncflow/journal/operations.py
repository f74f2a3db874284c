"""What a watch, or a batch of submits, tells its journal, one thing each; they are written in the order in which they were told.

Pure: no clock, no I/O, no asyncio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from asyncflow.events import Event, SubmitResult

__all__ = ["AckEvents", "AddJobs", "BeginSubmit", "DiscardJobs", "FinishSubmit", "JournalOperation", "RecordEvent", "SavePolicy"]


class AddJobs(NamedTuple):
    """Ids to be watched; the answer is which of them have not ended."""

    job_ids: Sequence[str]
    at: datetime


class RecordEvent(NamedTuple):
    """A change of status or an ending."""

    event: Event
    at: datetime


class AckEvents(NamedTuple):
    """Endings that were acknowledged."""

    job_ids: Sequence[str]


class DiscardJobs(NamedTuple):
    """Jobs that are not to be watched any more."""

    job_ids: Sequence[str]


class SavePolicy(NamedTuple):
    """The state of a polling policy."""

    state: dict[str, Any]


class BeginSubmit(NamedTuple):
    """A line whose request is about to go out."""

    submission: SubmitResult


class FinishSubmit(NamedTuple):
    """What became of a line that went out; its job is to be watched."""

    submission: SubmitResult
    at: datetime


JournalOperation = AddJobs | RecordEvent | AckEvents | DiscardJobs | SavePolicy | BeginSubmit | FinishSubmit

"""What a watch reports, and what a batch of submits does.

Pure: no clock, no I/O, no asyncio. Events are frozen tagged structs: `msgspec.json.encode(event)` is one line of `asyncflow watch
--json`, and `msgspec.json.decode(line, type=Event)` gives the event back. A `SubmitResult` is none of them, but of the same make.
"""

from datetime import datetime
from typing import ClassVar, Literal, Self

from asyncflow.errors import AsyncflowError, error_class
from asyncflow.records import AnyJob, Job
from asyncflow.redaction import digest, one_line, redact
from asyncflow.services.job import RedactedStruct

__all__ = ["Abandoned", "Changed", "Ended", "ErrorInfo", "Event", "Expiring", "SubmitResult", "Unreachable"]


class ErrorInfo(RedactedStruct, frozen=True, gc=False, omit_defaults=True):
    """The facts of an `AsyncflowError`, in a form that can be stored and sent; `exception()` makes it one again.

    *message* is fit for a log. The other members are those of the error.
    """

    kind: str
    message: str = ""
    transient: bool = False
    retry_after: float | None = None
    status: int | None = None
    code: int | str | None = None
    reason: str | None = None
    details: tuple[str, ...] = ()

    @classmethod
    def of(cls, error: AsyncflowError) -> Self:
        """Return the facts of *error*."""
        return cls(
            error.kind,
            redact(error.message),
            error.transient,
            error.retry_after,
            error.status,
            error.code,
            error.reason,
            error.details,
        )

    def exception(self, job_id: str | None = None, job: Job | None = None) -> AsyncflowError:
        """Return the error that has these facts, of the class that goes with its kind."""
        return error_class(self.kind)(
            self.message,
            kind=self.kind,
            transient=self.transient,
            retry_after=self.retry_after,
            status=self.status,
            code=self.code,
            reason=self.reason,
            job_id=job_id,
            job=job,
            details=self.details,
        )

    def __repr__(self) -> str:
        return f"<ErrorInfo {self.kind}: {one_line(self.message)}>"


class Changed(RedactedStruct, frozen=True, tag="changed"):
    """The status of a job that still runs is another than before; *previous* is None when it was read for the first time.

    *expected_end_at* (aware) is when it will probably have ended, by what the polling policy knows of such jobs; None if nothing.
    """

    type: ClassVar[Literal["changed"]] = "changed"

    job: AnyJob
    previous: str | None = None
    expected_end_at: datetime | None = None

    @property
    def key(self) -> tuple[str, str]:
        """The id and the status: two events with the same key say the same, should one be delivered again."""
        return self.job.job_id, self.job.status


class Expiring(RedactedStruct, frozen=True, tag="expiring"):
    """Something of a job will soon be gone, at *at* (aware): its "links" or, of a job that still runs, its "record".

    Reported on request only: see the *expiry_warning* of `JobWatcher`. `get_asset_url` returns fresh links to
    Google Flow's files.
    """

    type: ClassVar[Literal["expiring"]] = "expiring"

    job: AnyJob
    at: datetime
    what: Literal["links", "record"]

    @property
    def key(self) -> tuple[str, str]:
        """The id and what expires: two events with the same key say the same, should one be delivered again."""
        return self.job.job_id, f"expiring {self.what}"


class Ended(RedactedStruct, frozen=True, tag="ended"):
    """The job is over, for better or worse: see `job.outcome`. There is exactly one `Ended` or `Abandoned` for each id."""

    type: ClassVar[Literal["ended"]] = "ended"

    job: AnyJob

    @property
    def key(self) -> tuple[str, str]:
        """The id and the status: two events with the same key say the same, should one be delivered again."""
        return self.job.job_id, self.job.status


class Abandoned(RedactedStruct, frozen=True, tag="abandoned"):
    """We stopped asking: the service refuses to tell (*error*), or a limit of time has passed.

    *job* is the last record where it is at hand: from the poll at the deadline, or in the error of the fetch. A watch keeps none
    besides, and so it may be None for a job that has been read.
    """

    type: ClassVar[Literal["abandoned"]] = "abandoned"

    job_id: str
    error: ErrorInfo
    job: AnyJob | None = None

    @property
    def key(self) -> tuple[str, str]:
        """The id and "abandoned", by which the event is known again should it be delivered again."""
        return self.job_id, "abandoned"

    def __repr__(self) -> str:
        return f"Abandoned({digest(self.job_id)}, {self.error!r})"


class Unreachable(RedactedStruct, frozen=True, tag="unreachable"):
    """The job is still watched, but reads of it have been failing *since* then (aware). Reported once for each outage."""

    type: ClassVar[Literal["unreachable"]] = "unreachable"

    job_id: str
    since: datetime
    error: ErrorInfo

    @property
    def key(self) -> tuple[str, str]:
        """The id and when the outage began."""
        return self.job_id, f"unreachable since {self.since.isoformat()}"

    def __repr__(self) -> str:
        return f"Unreachable({digest(self.job_id)}, {self.since:%H:%M:%S}, {self.error!r})"


Event = Changed | Ended | Abandoned | Unreachable | Expiring


class SubmitResult(RedactedStruct, frozen=True, tag="submission", omit_defaults=True):
    """What became of one line of a batch.

    *state* is "submitted" where the job exists: *job_id* is its id, None for the few endpoints that answer with the work and
    without a job, and *job* its first record, None where the line was submitted by an earlier batch (*is_earlier*). "refused"
    lines have no job, and *error* says why. "unknown" is a line whose request went out and has no answer: its job may exist, and
    be paid for; *candidates* are the ids of jobs that may be it.

    *key* names the line within its journal, *number* counts the lines of this batch from 1, *content* is a digest of path and
    body. *requested_at* (aware) is when the request went out, with *reply_ref* as its replyRef.
    """

    type: ClassVar[Literal["submission"]] = "submission"

    key: str
    number: int
    state: Literal["submitted", "refused", "unknown"]
    path: str = ""
    job_id: str | None = None
    job: AnyJob | None = None
    error: ErrorInfo | None = None
    reply_ref: str | None = None
    requested_at: datetime | None = None
    candidates: tuple[str, ...] = ()
    content: str = ""
    is_earlier: bool = False

    def __repr__(self) -> str:
        name = one_line(self.key)
        what = self.error if self.error is not None else f"job {digest(self.job_id)}" if self.job_id else "without a job"
        return f"<SubmitResult {name} {self.state}: {what}>"

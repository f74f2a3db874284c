"""What a download came to: for each file, for each job, and how far it is.

Pure: no clock, no I/O, no asyncio. All are frozen structs that go through JSON and back.
"""

from typing import Literal

from asyncflow.events import ErrorInfo
from asyncflow.redaction import digest, one_line
from asyncflow.services.job import RedactedStruct

__all__ = ["DownloadProgress", "DownloadStats", "FileState", "JobFiles", "MediaFile"]

FileState = Literal["fetched", "present", "missing", "failed"]


class MediaFile(RedactedStruct, frozen=True, gc=False, omit_defaults=True):
    """What became of one media of a job; *index* counts from 1, in the order of `job.media`.

    *state* is "fetched" where the file was written now, "present" where an earlier run had fetched it, "missing" where the job
    never had it (*reasons* says why, as far as the service does) and "failed" where it could not be had or kept; *error* is the
    cause then, and its `transient` says whether another try may help. *path* and *size_bytes* are those of the file on the disk.
    """

    index: int
    kind: str
    state: FileState
    path: str | None = None
    size_bytes: int = 0
    error: ErrorInfo | None = None
    reasons: tuple[str, ...] = ()

    @property
    def is_there(self) -> bool:
        """Whether the file is on the disk."""
        return self.path is not None

    def __repr__(self) -> str:
        cause = "" if self.error is None else f": {self.error.message or self.error.kind}"
        return one_line(f"<MediaFile {self.index} {self.kind} {self.state}{cause}>")


class JobFiles(RedactedStruct, frozen=True, gc=False, omit_defaults=True):
    """All files of one job. *error* says why there are none to speak of: the job cannot be read, or still runs.

    *sidecar* is the path of the record that was asked for, if one was.
    """

    job_id: str
    files: tuple[MediaFile, ...] = ()
    error: ErrorInfo | None = None
    sidecar: str | None = None

    @property
    def problems(self) -> tuple[ErrorInfo, ...]:
        """What went wrong, for the job as a whole and for its files; a file that the job never had is none."""
        found = (self.error, *(file.error for file in self.files))
        return tuple(problem for problem in found if problem is not None)

    def __repr__(self) -> str:
        there = sum(file.is_there for file in self.files)
        return one_line(f"<JobFiles {digest(self.job_id)} {there} of {len(self.files)}>")


class DownloadProgress(RedactedStruct, frozen=True, gc=False):
    """How far one file is: *received_bytes* of *total_bytes* (None where the media host does not say), earlier runs included."""

    job_id: str
    index: int
    received_bytes: int
    total_bytes: int | None

    def __repr__(self) -> str:
        return f"<DownloadProgress {digest(self.job_id)}-{self.index} {self.received_bytes} of {self.total_bytes}>"


class DownloadStats(RedactedStruct, frozen=True, gc=False):
    """How a download is doing: jobs done and *jobs_waiting* (those under way included), files by state, bytes received now."""

    jobs_done: int
    jobs_waiting: int
    fetched: int
    present: int
    missing: int
    failed: int
    active: int
    received_bytes: int
    retries: int

    def __repr__(self) -> str:
        return f"<DownloadStats {self.jobs_done} done, {self.jobs_waiting} waiting, {self.fetched} fetched, {self.failed} failed>"

"""Flow Music's records: songs and their edits.

Pure: no clock, no I/O, no asyncio.
"""

from typing import ClassVar

from asyncflow.records.base import Job


class MusicJob(Job, frozen=True, gc=False, tag="flowmusic"):
    """A song or an edit of one on Flow Music (https://useapi.net/docs/api-flowmusic-v1/get-flowmusic-jobs-jobid).

    *operation* is the edit's kind ("extend", "cover", ...; any str), None for a new song.
    """

    service: ClassVar[str] = "flowmusic"

    operation: str | None = None

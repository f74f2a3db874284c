"""Google Flow's records: images and videos, all shapes, current and legacy.

Pure: no clock, no I/O, no asyncio.
"""

from typing import ClassVar

from asyncflow.records.base import Job


class FlowJob(Job, frozen=True, gc=False, tag="google-flow"):
    """A video or image job of Google Flow (https://useapi.net/docs/api-google-flow-v1/get-google-flow-jobs-jobid)."""

    service: ClassVar[str] = "google-flow"

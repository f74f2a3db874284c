"""What a service says about a job: `Job` and its parts, one module for each service.

Pure: no clock, no I/O, no asyncio.
"""

from asyncflow.records.base import Failure, Job, Media, Outcome
from asyncflow.records.flowmusic import MusicJob
from asyncflow.records.google_flow import FlowJob

__all__ = ["AnyJob", "Failure", "FlowJob", "Job", "Media", "MusicJob", "Outcome"]

AnyJob = FlowJob | MusicJob

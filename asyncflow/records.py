"""What a service says: `Job` and its parts, one module for each service, and the smaller answers.

Pure: no clock, no I/O, no asyncio.
"""

from asyncflow.services.flowmusic.records import MusicJob
from asyncflow.services.google_flow.records import FlowJob
from asyncflow.services.google_flow.stats import (
    ExecutingRow,
    FlowStats,
    HistoryRow,
    MusicAccount,
    MusicStats,
    RunningJob,
    StatsGroup,
    SummaryRow,
)
from asyncflow.services.job import Failure, Job, Media, Outcome
from asyncflow.services.links import AssetLink, Cancelled

__all__ = [
    "AnyJob",
    "AssetLink",
    "Cancelled",
    "ExecutingRow",
    "Failure",
    "FlowJob",
    "FlowStats",
    "HistoryRow",
    "Job",
    "Media",
    "MusicAccount",
    "MusicJob",
    "MusicStats",
    "Outcome",
    "RunningJob",
    "StatsGroup",
    "SummaryRow",
]

AnyJob = FlowJob | MusicJob | Job

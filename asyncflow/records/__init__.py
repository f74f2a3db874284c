"""What a service says: `Job` and its parts, one module for each service, and the smaller answers.

Pure: no clock, no I/O, no asyncio.
"""

from asyncflow.records.answers import AssetLink, Cancelled
from asyncflow.records.base import Failure, Job, Media, Outcome
from asyncflow.records.flowmusic import MusicJob
from asyncflow.records.google_flow import FlowJob
from asyncflow.records.stats import (
    ExecutingRow,
    FlowStats,
    HistoryRow,
    MusicAccount,
    MusicStats,
    RunningJob,
    StatsGroup,
    SummaryRow,
)

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

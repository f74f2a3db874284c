"""Poll many jobs under one budget and yield what changes, each outcome exactly once."""

from asyncflow.watcher.engine import JobIds
from asyncflow.watcher.job_watcher import JobWatcher, WatchOptions
from asyncflow.watcher.persistence import WatchJournal
from asyncflow.watcher.stats import WatchStats

__all__ = ["JobIds", "JobWatcher", "WatchJournal", "WatchOptions", "WatchStats"]

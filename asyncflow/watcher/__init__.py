"""Poll many jobs under one budget and yield what changes, each outcome exactly once."""

from asyncflow.watcher.job_watcher import JobWatcher, WatchOptions
from asyncflow.watcher.keeping import WatchJournal
from asyncflow.watcher.settings import JobIds
from asyncflow.watcher.tally import WatchStats

__all__ = ["JobIds", "JobWatcher", "WatchJournal", "WatchOptions", "WatchStats"]

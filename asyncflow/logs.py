"""Logging: the loggers below "asyncflow", redacted whoever listens to them, and the switch USEAPI_LOG.

A record's message is the constant name of an event, its values are in `extra`. Nothing is printed unless the application sets
logging up, or USEAPI_LOG is "debug" or "info": then records go to stderr, one a line, and the facts of every client and watch
with them.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

import msgspec

from asyncflow.redaction import one_line, redact
from asyncflow.telemetry import BudgetChanged, EventEmitted, Hooks, TelemetryEvent, WatchEnded, WatchStarted, describe

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asyncflow.telemetry import Hook

__all__ = ["ROOMS", "hooks_of", "log_facts", "switch_on"]

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO}
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"asctime", "message", "taskName"}
ROOMS = ("client", "cluster", "journal", "stream", "telemetry", "watcher", "webhook")
"""Who has a logger. A filter hears the records of its own logger only, not those of the loggers below."""


class Redaction(logging.Filter):
    """Takes what is secret out of a record: message, values and traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact *record* in place; it always passes."""
        record.msg, record.args = redact(record.getMessage()), None
        for name, value in vars(record).items():
            if name not in _STANDARD and isinstance(value, str):
                setattr(record, name, redact(value))
        if record.exc_info and not record.exc_text:
            record.exc_text = redact(logging.Formatter().formatException(record.exc_info))
            record.exc_info = None
        return True


class Line(logging.Formatter):
    """One record in one line: time, level, event, values."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname).1s %(name)s %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Add the values to the line."""
        values = [
            f"{name}={_short(value)}"
            for name, value in vars(record).items()
            if name not in _STANDARD and value is not None and value != ""
        ]
        return one_line(" ".join([super().formatMessage(record), *values]))


def switch_on(word: str | None) -> logging.Handler | None:
    """Print to stderr what is logged from level *word* up; return what does so, None for a word that is no level."""
    level = _LEVELS.get((word or "").strip().lower())
    if level is None:
        return None
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Line())
    ours = logging.getLogger("asyncflow")
    ours.addHandler(handler)
    ours.setLevel(level)
    return handler


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


_log = logging.getLogger("asyncflow.telemetry")


def log_facts(fact: TelemetryEvent) -> None:
    """Log *fact*, as a hook: requests and polls at DEBUG, what there is less of at INFO."""
    is_rare = isinstance(fact, WatchStarted | WatchEnded | BudgetChanged) or (
        isinstance(fact, EventEmitted) and fact.event != "changed"
    )
    level = logging.INFO if is_rare else logging.DEBUG
    if _log.isEnabledFor(level):
        _log.log(level, fact.name, extra=msgspec.structs.asdict(fact))


def hooks_of(hooks: Iterable[Hook]) -> Hooks | None:
    """Return *hooks* as one thing, with the log's own where USEAPI_LOG asks for it; None if there is none at all."""
    if isinstance(hooks, Hooks):
        return hooks
    found = Hooks([*hooks, *([log_facts] if _is_on else [])], _failed)
    return found or None


def _failed(hook: Hook, error: Exception) -> None:
    _log.error("hook_failed", extra={"hook": describe(hook)}, exc_info=error)


def _prepare() -> None:
    redaction = Redaction()
    for room in ROOMS:
        logging.getLogger(f"asyncflow.{room}").addFilter(redaction)
    logging.getLogger("asyncflow").addHandler(logging.NullHandler())


_prepare()
_is_on = switch_on(os.environ.get("USEAPI_LOG")) is not None

"""Whatever listens to our loggers hears nothing secret, and USEAPI_LOG shows what goes on."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from secret_watch import leaks

import asyncflow
from asyncflow import logs
from asyncflow.telemetry import EventEmitted, Hooks, TelemetryEvent, WatchStarted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncflow.simulator import SimulatorThread

EMAIL = "jo-ann+flow@example.com"
FLOW_ID = f"j1104093012448120573v-u1234-email:{EMAIL}-bot:google-flow"


class Ears(logging.Handler):
    """Keeps what it hears."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def heard() -> Iterator[list[logging.LogRecord]]:
    ears, ours = Ears(), logging.getLogger("asyncflow")
    ours.addHandler(ears)
    yield ears.records
    ours.removeHandler(ears)


def test_every_logger_is_redacted() -> None:
    files = Path(asyncflow.__file__).parent.rglob("*.py")
    named = {name for file in files for name in re.findall(r'getLogger\("asyncflow\.(\w+)', file.read_text("utf-8"))}
    assert named == set(logs.ROOMS)


@pytest.mark.parametrize("room", logs.ROOMS)
def test_message_values_and_traceback_are_redacted(room: str, heard: list[logging.LogRecord]) -> None:
    values = {"link": "https://a.example/?sig=b", "n": 1}
    logging.getLogger(f"asyncflow.{room}").error("of %s", FLOW_ID, extra=values, exc_info=ValueError(EMAIL))
    [record] = heard
    assert leaks(logging.Formatter().format(record) + repr(vars(record))) == []
    assert record.getMessage().startswith("of job ")
    assert "ValueError: <e-mail>" in str(record.exc_text)
    assert vars(record)["n"] == 1


def test_facts_are_logged_by_how_many_there_are(heard: list[logging.LogRecord]) -> None:
    ended = EventEmitted(1, "ended", "0123456789", "google-flow", "video", "completed", "succeeded", None)
    changed = EventEmitted(1, "changed", "0123456789", "google-flow", "video", "started", "pending", None)
    for fact in (WatchStarted(1, 2), ended, changed):
        logs.log_facts(fact)
    assert [record.levelname for record in heard] == ["INFO", "INFO", "DEBUG"]
    assert [record.getMessage() for record in heard] == ["watch_started", "event_emitted", "event_emitted"]
    assert vars(heard[1])["outcome"] == "succeeded"
    logging.getLogger("asyncflow").setLevel(logging.WARNING)
    logs.log_facts(changed)
    assert len(heard) == 3


def test_a_hook_that_raises_is_logged_once_with_its_traceback(heard: list[logging.LogRecord]) -> None:
    def spoilt(_fact: TelemetryEvent) -> None:
        raise ZeroDivisionError(EMAIL)

    hooks = logs.hooks_of([spoilt])
    assert hooks is not None
    hooks.emit(WatchStarted(1, 2))
    hooks.emit(WatchStarted(1, 2))
    [record] = heard
    assert (record.levelname, record.getMessage()) == ("ERROR", "hook_failed")
    assert "spoilt" in vars(record)["hook"]
    assert "ZeroDivisionError: <e-mail>" in str(record.exc_text)


def test_hooks_are_made_once_and_none_are_nothing() -> None:
    hooks = logs.hooks_of([print])
    assert isinstance(hooks, Hooks)
    assert logs.hooks_of(hooks) is hooks
    assert logs.hooks_of([]) is None


@pytest.mark.parametrize(
    ("word", "level"), [("debug", logging.DEBUG), (" INFO ", logging.INFO), ("", None), (None, None), ("1", None)]
)
def test_the_switch_takes_two_words(word: str | None, level: int | None, capsys: pytest.CaptureFixture[str]) -> None:
    ours = logging.getLogger("asyncflow")
    before = ours.level
    handler = logs.switch_on(word)
    try:
        assert (handler is None) == (level is None)
        assert ours.level == (before if level is None else level)
        logging.getLogger("asyncflow.client").error("event", extra={"job": FLOW_ID})
    finally:
        ours.setLevel(before)
        if handler is not None:
            ours.removeHandler(handler)
    shown = capsys.readouterr().err
    assert leaks(shown) == []
    assert bool(re.fullmatch(r"\d\d:\d\d:\d\d E asyncflow\.client event job=job [0-9a-f]{10}\n", shown)) == (level is not None)


WAIT = """
import asyncio
from asyncflow import AsyncClient

async def main(job_id):
    async with AsyncClient() as client:
        await client.wait(job_id)

asyncio.run(main({!r}))
"""


def test_the_switch_shows_what_goes_on(asyncflow_simulator: SimulatorThread) -> None:
    [job_id] = asyncflow_simulator.seed_jobs(age=600, fate="success")
    for word, lines in (
        ("debug", {"request_made", "poll_answered"}),
        ("info", {"watch_started", "event_emitted", "watch_ended"}),
    ):
        run = [sys.executable, "-c", WAIT.format(job_id)]
        environment = os.environ | {"USEAPI_LOG": word}
        shown = subprocess.run(run, check=True, capture_output=True, text=True, env=environment, timeout=60).stderr
        assert lines <= {line.split()[3] for line in shown.splitlines()}
        assert leaks(shown) == []
        assert ("request_made" in shown) == (word == "debug")

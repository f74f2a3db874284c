"""From a manifest of all kinds of lines to files and a report, on a day when everything fails at times, killed three times.

The short form has 30 lines, the long one (ASYNCFLOW_LONG) 300.
"""

from __future__ import annotations

import faulthandler
import hashlib
import json
import subprocess
import sys
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import msgspec
from cli_processes import environment_of
from killed_submits import FAULTS, Killed, is_long

from asyncflow import Ended, Journal, RunReport
from asyncflow.redaction import digest
from asyncflow.simulator import SimulatorThread

if TYPE_CHECKING:
    from pathlib import Path

    from asyncflow.simulator import JobTruth, MediaTruth

import pytest

pytestmark = pytest.mark.slow

COUNT = 300 if is_long() else 30
WEATHER = msgspec.structs.replace(
    FAULTS,
    kinds=("submit", "read", "stats", "asset", "media"),
    latency=(0.0, 0.05),
    throttle=0.01,
    server_error=0.04,
    reset_midway=0.1,
    truncate=0.05,
    failed=0.1,
    partial=0.1,
    no_media=0.05,
    refused=0.05,
)


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*") if path.suffix in {".gif", ".m4a", ".mp4", ".png"}]


def test_a_day_from_the_manifest_to_the_report(tmp_path: Path) -> None:
    if is_long():
        faulthandler.dump_traceback_later(600, exit=True)  # instead of pytest's own limit, which is for the short form
    out = tmp_path / "out"
    options = ("--wait-for-capacity", "60s", "--watch", "--download", str(out), "--sidecar")
    with SimulatorThread(seed=COUNT, speed=60, media_size=100_000, faults=WEATHER) as service:
        day = Killed(service, tmp_path, COUNT)
        day.run(*options, kill_at=COUNT // 2)
        for share in (COUNT // 3, COUNT * 2 // 3):
            day.run(*options, kill_when=partial(has_files, out, share))
        done, runs = day.run(*options, settings={"PYTHONDEVMODE": "1"}), 4
        while is_unsettled(day) and runs < 13:
            done = day.run(*options)
            runs += 1
        assert {prompt for prompt, number in day.came().items() if number > 1} == set()
        unknown = [line for line in day.known().values() if line.state == "unknown"]
        orders = ("--resubmit-unknown",) if unknown else ()
        while is_unsettled(day, "unknown") and runs < 21:
            done = day.run(*options, *orders)
            runs += 1

        # Each line has its job, but for those that the service would not take.
        states = Counter(line.state for line in day.known().values())
        refused = {str(each.request["prompt"]) for each in service.submits() if each.ended in {"400", "422"}}
        assert states == {"submitted": COUNT - len(refused), "refused": len(refused)}
        ids = [line.job_id for line in day.known().values() if line.job_id is not None]
        assert len(set(ids)) == states["submitted"]
        made = {truth.job_id: truth for truth in service.truth()}
        is_good = not refused and all(made[job_id].expected == "succeeded" for job_id in ids)
        assert (done.returncode, done.stdout) == (0 if is_good else 1, done.stdout)
        assert len(made) - len(set(ids)) <= len(unknown)

        # Each file of each job is there, whole and under its own name; and nothing else is.
        wanted = Counter((digest(truth.job_id), truth.sha256) for job_id in ids for truth in served(service, made[job_id]))
        assert (
            Counter((path.stem.split("-")[-2], hashlib.sha256(path.read_bytes()).hexdigest()) for path in files_in(out)) == wanted
        )
        assert list(out.glob("*.part")) == []
        described = Counter(json.loads(path.read_bytes())["job_id"] for path in out.glob("*.json"))
        endings = [entry.event for entry in Journal(day.journal).entries()]
        assert described == Counter(event.job.job_id for event in endings if isinstance(event, Ended) and event.job.media)

        # The books agree.
        report = report_of(day, service)
        assert (report.jobs, report.running) == (len(ids), 0)
        assert report.outcomes == {"abandoned": 0} | Counter(made[job_id].expected for job_id in ids)
        assert report.files.ok == wanted.total()
        groups = Counter({(group.service, group.kind): 0 for group in report.groups})
        for group in report.groups:
            groups[group.service, group.kind] += group.jobs
        assert groups == Counter((made[job_id].service, made[job_id].kind) for job_id in ids)
        if is_long():
            tell(day, service, report, f"{len(unknown)} lines unknown before --resubmit-unknown, {runs} runs")


def has_files(folder: Path, number: int) -> bool:
    return len(files_in(folder)) >= number


def served(service: SimulatorThread, job: JobTruth) -> list[MediaTruth]:
    """Return the files of *job* that can be had: a song without a link has no other way to it."""
    media = service.media(job.job_id)
    if job.service != "flowmusic":
        return media
    return {"partial": media[:-1], "no_output": []}.get(job.expected, media)


def is_unsettled(day: Killed, *states: str) -> bool:
    """Say whether another run may still do something: a line or an ending is left over."""
    lines = day.known().values()
    if len(lines) < COUNT or any(line.state in states for line in lines):
        return True
    if any(line.error is not None and line.error.kind in {"rate_limited", "unavailable"} for line in lines):
        return True
    return any(entry.state != "handled" for entry in Journal(day.journal).entries())


def report_of(day: Killed, service: SimulatorThread) -> RunReport:
    done = subprocess.run(
        [sys.executable, "-m", "asyncflow", "report", str(day.journal), "--json"],
        check=True,
        capture_output=True,
        env=environment_of(service.url),
    )
    report = msgspec.json.decode(done.stdout, type=RunReport)
    endings = [entry.event for entry in Journal(day.journal).entries()]
    assert report.files.total == sum(event.job.media_total for event in endings if isinstance(event, Ended))
    return report


def tell(day: Killed, service: SimulatorThread, report: RunReport, words: str) -> None:
    sys.__stderr__.write(  # type: ignore[union-attr]  # there is one where tests run
        f"\n{COUNT} lines, {words}: {len(service.submits())} submits came, {report.jobs} jobs, {report.outcomes}, "
        f"{report.files}, {service.stats().by_status}; {day.journal.stat().st_size:,} bytes of journal\n"
    )

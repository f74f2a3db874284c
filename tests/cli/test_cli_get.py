from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from asyncflow import AnyJob
from asyncflow.redaction import digest

if TYPE_CHECKING:
    from cli_processes import Command

    from asyncflow.simulator import SimulatorThread


@pytest.mark.parametrize(
    ("kind", "fate", "code", "words"),
    [
        ("video", "success", 0, ["completed, succeeded", "1 of 1 file", "http"]),
        ("music", "success", 0, ["flowmusic", "2 of 2 files"]),
        ("video", "no_media", 1, ["completed, no output", "PUBLIC_ERROR_"]),
        ("music", "failed", 1, ["failed, failed", "reason"]),
    ],
)
def test_a_job_is_described(
    command: Command, service: SimulatorThread, kind: str, fate: str, code: int, words: list[str]
) -> None:
    [job_id] = service.seed_jobs(kind=kind, fate=fate, age=600)
    done = command("get", job_id)
    assert (done.returncode, done.stderr) == (code, "")
    assert done.stdout.startswith(digest(job_id))
    assert [word for word in words if word not in done.stdout] == []
    assert "example.com" not in done.stdout
    assert "\x1b" not in done.stdout


def test_a_running_job_is_no_failure(command: Command, service: SimulatorThread) -> None:
    [job_id] = service.seed_jobs(fate="endless", age=60)
    done = command("get", job_id)
    assert done.returncode == 0
    assert done.stdout.startswith(f"{digest(job_id)}  started\n")


def test_the_record_as_json(command: Command, service: SimulatorThread) -> None:
    [job_id] = service.seed_jobs(age=600, fate="success")
    done = command("get", job_id, "--json")
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)
    job = msgspec.json.decode(done.stdout, type=AnyJob)
    assert (job.job_id, job.outcome) == (job_id, "succeeded")
    assert b'"jobid"' in job.raw
    assert msgspec.json.decode(msgspec.json.encode(job), type=AnyJob) == job


def test_what_the_service_refuses_is_told_in_one_line(command: Command, service: SimulatorThread) -> None:
    [stranger] = service.seed_jobs(foreign=True)
    missing = "j1121233937813847339v-u1234-email:ada.lind@example.com-bot:google-flow"
    for job_id, status in ((stranger, 403), (missing, 404)):
        done = command("get", job_id)
        assert (done.returncode, done.stdout) == (5, "")
        assert done.stderr.count("\n") == 1
        assert f"job {digest(job_id)}" in done.stderr
        assert f"[HTTP {status}]" in done.stderr
        assert "example.com" not in done.stderr

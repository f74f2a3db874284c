"""From a manifest to files, on a bad day, killed twice: no line is sent twice, and every file is there and whole."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from cli_processes import LAUNCH, environment_of

from asyncflow.simulator import Faults, SimulatorThread

if TYPE_CHECKING:
    from pathlib import Path

JOBS = 300 if os.environ.get("ASYNCFLOW_LONG") else 20
WEATHER = Faults(
    kinds=("read", "asset", "media"), latency=(0.0, 0.02), server_error=0.04, reset=0.04, reset_midway=0.1, truncate=0.05
)


def manifest() -> str:
    video = {"path": "google-flow/videos", "body": {"prompt": "a kite #success"}}
    song = {"path": "flowmusic/music", "body": {"prompt": "a song #success"}}
    return "\n".join(json.dumps(song if number % 5 > 2 else video) for number in range(JOBS))


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*") if path.suffix in {".mp4", ".m4a"}]


def report_of(journal: Path) -> dict[str, Any]:
    run = [sys.executable, "-m", "asyncflow", "report", str(journal), "--json"]
    report: dict[str, Any] = json.loads(subprocess.run(run, check=True, capture_output=True, timeout=60).stdout)
    return report


def test_a_manifest_becomes_files_though_it_is_killed_twice(tmp_path: Path) -> None:
    (tmp_path / "batch.jsonl").write_text(manifest(), "utf-8")
    out = tmp_path / "out"
    arguments = ["submit", "batch.jsonl", "--journal", "run.db", "--watch", "--download", "out", "--sidecar"]
    with SimulatorThread(seed=9, speed=60, media_size=100_000, faults=WEATHER) as service:
        for stage in (1, 2, 3):
            process = subprocess.Popen(
                [sys.executable, "-c", LAUNCH, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=tmp_path,
                env=environment_of(service.url),
            )
            if stage < 3:
                deadline = time.monotonic() + 120  # noqa: TID251 - another process is waited for
                while len(files_in(out)) < JOBS * stage // 3 and process.poll() is None:
                    assert time.monotonic() < deadline  # noqa: TID251 - another process is waited for
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(timeout=0.02)
                process.kill()
            output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output.decode()
        jobs = [truth.job_id for truth in service.truth()]
        assert (len(jobs), service.stats().by_kind["submit"]) == (JOBS, JOBS)
        truths = sorted(truth.sha256 for job_id in jobs for truth in service.media(job_id))
        assert sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in files_in(out)) == truths
    report = report_of(tmp_path / "run.db")
    assert (report["jobs"], report["outcomes"]["succeeded"], report["files"]["ok"]) == (JOBS, JOBS, len(truths))
    assert list(out.glob("*.part")) == []
    assert len(list(out.glob("*.json"))) == JOBS

"""What the kill test of batches shares: manifests of mixed lines, and the command, run and killed on one journal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from cli_processes import environment_of

from asyncflow import Journal
from asyncflow.simulator import Faults, SimulatorThread

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from asyncflow import SubmitResult

FAULTS = Faults(
    kinds=("submit",),
    latency=(0.0, 0.1),
    throttle=0.1,
    retry_after=1.0,
    lost_answer=0.05,
    lost_to_gateway=0.04,
    reset=0.04,
    server_error=0.03,
    garble=0.02,
    truncate=0.02,
)
ASSET = "user:1234-email:00-video:c0ffee01"


def manifest(count: int) -> list[dict[str, Any]]:
    """Return *count* lines of all kinds, most of them fit; the prompt of each is its own, so that it is known again."""
    lines: list[dict[str, Any]] = []
    for number in range(count):
        prompt = f"kite {number}"
        match number % 10:
            case 0 | 1 | 2:
                line: dict[str, Any] = {"path": "google-flow/videos", "body": {"prompt": prompt}}
            case 3:
                line = {"path": "google-flow/videos/extend", "body": {"prompt": prompt, "mediaGenerationId": ASSET}}
            case 4:
                line = {"path": "google-flow/videos/upscale", "body": {"prompt": prompt, "mediaGenerationId": ASSET}}
            case 5 | 6:
                line = {"path": "google-flow/images", "body": {"prompt": prompt, "count": 2}, "key": f"line {number}"}
            case 7 | 8:
                line = {"path": "flowmusic/music", "body": {"prompt": prompt, "replyRef": f"mine-{number}"}}
            case _:
                line = {"path": "google-flow/videos", "body": {"prompt": prompt, "count": 9 if number == 19 else 4}}
        lines.append(line)
    return lines


class Killed:
    """One manifest, one journal, and the command on both, killed when a share of the lines is through."""

    def __init__(self, service: SimulatorThread, folder: Path, count: int) -> None:
        self.folder = folder
        self.lines = manifest(count)
        self.journal = folder / "run.db"
        self._service = service
        self._file = folder / "batch.jsonl"
        self._file.write_text("".join(json.dumps(line) + "\n" for line in self.lines), "utf-8")
        self._random = Random(count)

    def run(
        self,
        *options: str,
        kill_at: int | None = None,
        kill_when: Callable[[], bool] | None = None,
        settings: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Submit; with *kill_at* until that many submits have come to the service, and a random moment longer.

        *kill_when* says when the moment has come that is not told by the number of submits.
        """
        process = subprocess.Popen(
            [sys.executable, "-m", "asyncflow", "submit", str(self._file), "--journal", str(self.journal), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment_of(self._service.url, {"PYTHONDEVMODE": ""} | (settings or {})),
            text=True,
        )
        is_time = kill_when
        if kill_at is not None:
            is_time = partial(self._has_come, kill_at)
        if is_time is not None:
            while not is_time() and process.poll() is None:
                with_patience(process, 0.02)
            with_patience(process, self._random.uniform(0, 0.1))
            process.kill()
        output, _ = process.communicate(timeout=600)
        assert process.returncode == -signal.SIGKILL or is_time is None or process.returncode in {0, 1, 5}
        return subprocess.CompletedProcess(process.args, process.returncode, output)

    def _has_come(self, number: int) -> bool:
        return self._service.stats().by_kind.get("submit", 0) >= number

    def made(self) -> Counter[str]:
        """Return how many jobs the service has made of each line, by its prompt."""
        return Counter(str(each.request["prompt"]) for each in self._service.submits() if each.job_id is not None)

    def came(self) -> Counter[str]:
        """Return how often each line came to the service and was, or may have been, taken: not those that it refused."""
        refusals = {"400", "429", "503"}
        return Counter(str(each.request["prompt"]) for each in self._service.submits() if each.ended not in refusals)

    def known(self) -> dict[str, SubmitResult]:
        """Return what the journal says of each line."""
        return {line.key: line for line in Journal(self.journal).submissions()}

    def until_settled(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Submit again and again, until nothing is refused for a reason that may pass; return the last run."""
        done = self.run(*options)
        while any(line.error is not None and line.error.kind == "unavailable" for line in self.known().values()):
            done = self.run(*options)
        return done


def with_patience(process: subprocess.Popen[Any], seconds: float) -> None:
    """Wait for the end of *process*, not longer than *seconds*."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return


def is_long() -> bool:
    return bool(os.environ.get("ASYNCFLOW_LONG"))

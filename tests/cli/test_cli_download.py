"""`asyncflow download` and `--download` beside a watch, each in a process of its own."""

from __future__ import annotations

import errno
import hashlib
import os
import pty
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from cli_processes import LAUNCH, Command, environment_of
from secret_watch import leaks

from asyncflow import AsyncClient, DownloadError, Journal, fixed_interval
from asyncflow.cli import main
from asyncflow.cli.addons import download as downloading
from asyncflow.cli.commands.download import FileLine
from asyncflow.cli.exits import ExitCode
from asyncflow.cli.formatting import parse_size, size
from asyncflow.cli.output.live_view import plain
from asyncflow.cli.output.progress import WatchProgress
from asyncflow.cli.watch_runner import Times, WatchRunner
from asyncflow.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from asyncflow.simulator import SimulatorThread


def checksums(folder: Path) -> list[str]:
    return sorted(
        hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.suffix in {".mp4", ".png", ".m4a"}
    )


def truths(service: SimulatorThread, ids: list[str]) -> list[str]:
    return sorted(truth.sha256 for job_id in ids for truth in service.media(job_id))


def test_files_come_and_the_second_time_are_there(command: Command, service: SimulatorThread, tmp_path: Path) -> None:
    ids = service.seed_jobs(10, kind="mix", age=600, fate="success")
    (tmp_path / "ids.txt").write_text("\n".join(ids))
    first = command("download", "--file", "ids.txt", "--into", "out")
    assert first.returncode == ExitCode.SUCCEEDED, first.stderr
    assert checksums(tmp_path / "out") == truths(service, ids)
    assert leaks(first.stdout) == []
    assert "12 files of 10 jobs in " in first.stdout
    assert first.stdout.count("fetched  google-flow-") == 8
    second = command("download", "--into", "out", "-f", "-", stdin="\n".join(ids).encode())
    assert "0 fetched   12 present" in second.stdout


def test_each_file_is_a_line_of_json(command: Command, service: SimulatorThread) -> None:
    (job_id,) = service.seed_jobs(kind="video", age=600, fate="partial", media=2)
    (running,) = service.seed_jobs(kind="video", duration=3600)
    done = command("download", job_id, running, "--into", "out", "--json")
    lines = [msgspec.json.decode(line, type=FileLine) for line in done.stdout.splitlines()]
    good, missing, late = sorted(lines, key=lambda line: (line.job_id != job_id, line.index))
    assert (good.job_id, good.index, good.state, good.kind) == (job_id, 1, "fetched", "video")
    assert good.path is not None
    assert Path(good.path).stat().st_size == good.size_bytes
    assert (missing.index, missing.state, missing.path) == (2, "missing", None)
    assert missing.reasons != ()
    assert late.error is not None
    assert (late.job_id, late.index, late.error.reason) == (running, 0, "not_ended")
    assert done.returncode == ExitCode.LOST
    assert "1 job without files" in done.stderr
    assert "1 x the job has not ended" in done.stderr


def test_what_is_missing_is_a_bad_outcome(command: Command, service: SimulatorThread) -> None:
    (job_id,) = service.seed_jobs(kind="video", age=600, fate="no_media")
    assert command("download", job_id, "--into", "out").returncode == ExitCode.BAD_OUTCOME


def test_quiet_says_what_went_wrong_and_nothing_else(command: Command, service: SimulatorThread) -> None:
    ids = service.seed_jobs(2, kind="video", age=600, fate="success")
    service.trick_media(ids[0], ["redirect_private"])
    done = command("download", *ids, "--into", "out", "--quiet")
    assert done.returncode == ExitCode.LOST
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "failed   the link leads to a private address" in done.stderr
    assert command("download", *ids, "--into", "out", "-q").stderr == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["download", "x", "--into", "out"], "no job id"),
        (["download", "--into", "out"], "no job ids"),
        (["download", "{id}"], "missing option '--into'"),
        (["download", "{id}", "--into", "ids.txt"], "it is no folder"),
        (["download", "{id}", "--into", "out", "--name", "{prompt}"], "not {prompt}"),
        (["download", "{id}", "--into", "out", "--name", "a/b"], "slash"),
        (["download", "{id}", "--into", "out", "--download-rate", "fast"], "a size looks like"),
        (["download", "--journal", "missing.db", "--into", "out"], "missing"),
        (["watch", "{id}", "--sidecar"], "--sidecar is about --download"),
        (["watch", "{id}", "--name", "x"], "--name is about --download"),
        (["watch", "{id}", "--downloads", "4"], "--downloads is about --download"),
        (["watch", "{id}", "--queue", "x"], "--queue is about --store"),
        (["watch", "{id}", "--download", "ids.txt"], "it is no folder"),
    ],
)
def test_what_cannot_work_is_one_line_and_a_usage_error(
    arguments: list[str],
    words: str,
    service: SimulatorThread,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (job_id,) = service.seed_jobs(age=600, fate="success")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("USEAPI_TOKEN", service.token)
    monkeypatch.setenv("USEAPI_BASE_URL", service.url)
    Path("ids.txt").write_text(job_id)
    assert main([argument.replace("{id}", job_id) for argument in arguments]) == ExitCode.USAGE
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1


def test_a_watch_fetches_what_ends_and_a_journal_waits_for_the_files(
    command: Command, service: SimulatorThread, tmp_path: Path
) -> None:
    ids = service.seed_jobs(6, kind="mix", duration=60, fate="success")
    service.trick_media(ids[0], ["redirect_loop"])
    service.trick_media(ids[2], ["busy"] * 20)
    (tmp_path / "ids.txt").write_text("\n".join(ids))
    arguments = ("--download", "out", "--sidecar", "--downloads", "8")
    first = command("watch", "--file", "ids.txt", "--journal", "run.db", "--interval", "0.2", *arguments)
    assert first.returncode == ExitCode.LOST, first.stderr
    assert "files: 5 fetched   2 failed" in first.stdout
    assert "1 x the media host failed [HTTP 503]" in first.stdout
    assert "1 x the link redirects in a circle" in first.stdout
    # What another try may get is tried again by the next watch; what nobody can have is told and done with.
    states = {entry.job_id: entry.state for entry in Journal(tmp_path / "run.db").entries()}
    assert [job_id for job_id, state in states.items() if state == "ended"] == [ids[2]]
    service.trick_media(ids[2], [])
    second = command("resume", "run.db", *arguments)
    assert second.returncode == ExitCode.SUCCEEDED, second.stderr
    assert "files: 1 fetched" in second.stdout
    third = command("download", "--journal", "run.db", "--into", "out", ids[0])
    assert "1 fetched   6 present" in third.stdout
    assert checksums(tmp_path / "out") == truths(service, ids)
    assert len(list((tmp_path / "out").glob("*.json"))) == 6


@pytest.mark.parametrize("trick", ["html", "picture", "empty"])
def test_what_came_in_the_place_of_a_file_leaves_the_ending_to_the_next_watch(
    command: Command, service: SimulatorThread, tmp_path: Path, trick: str
) -> None:
    [job_id] = service.seed_jobs(kind="video", age=600, fate="success")
    service.trick_media(job_id, [trick])
    first = command("watch", job_id, "--journal", "run.db", "--download", "out")
    assert first.returncode == ExitCode.LOST, first.stderr
    again = command("resume", "run.db", "--download", "out")
    assert again.returncode == ExitCode.SUCCEEDED, again.stderr
    assert checksums(tmp_path / "out") == truths(service, [job_id])
    assert [entry.state for entry in Journal(tmp_path / "run.db").entries()] == ["handled"]


def test_on_a_terminal_there_is_a_picture_and_then_the_summary(service: SimulatorThread, tmp_path: Path) -> None:
    ids = service.seed_jobs(4, kind="video", age=600, fate="success")
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", LAUNCH, "download", *ids, "--into", "out", "--download-rate", "20k"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=tmp_path,
        env=environment_of(service.url),
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:  # what Linux says at the end
            pass
        assert process.wait() == 0, shown.decode()
    os.close(ours)
    text = shown.decode()
    assert leaks(text) == []
    assert "under way" in text
    assert "of 4 jobs" in text
    assert "4 files of 4 jobs in" in text


@pytest.mark.parametrize(
    ("text", "number"),
    [("500", 500), ("500k", 500_000), ("5MB", 5_000_000), ("1.5 GB/s", 1_500_000_000), ("1KiB", 1024), ("2 mib", 2 << 20)],
)
def test_sizes_are_read(text: str, number: float) -> None:
    assert parse_size(text) == number


@pytest.mark.parametrize("text", ["", "fast", "-1", "0", "0.1", "1e3", "5 TB", "1MB per second", "9" * 30])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (12_345, "12 kB"),
        (9_960_000, "10 MB"),
        (999_600, "1.0 MB"),
        (5e9, "5.0 GB"),
        (3e12, "3.0 TB"),
    ],
)
def test_sizes_are_written(number: float, text: str) -> None:
    assert size(number) == text


@asynccontextmanager
async def session_beside(addon: downloading.DownloadAddon, service: Simulator) -> AsyncGenerator[WatchRunner]:
    async with AsyncClient(service.token, base_url=service.url, policy=fixed_interval(0.1)) as client:
        session = WatchRunner(client, WatchProgress(), fixed_interval(0.1), ("a test", ""))
        session.addons = [addon]
        yield session


@pytest.mark.asyncio
async def test_a_watch_waits_for_its_files_when_too_many_jobs_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloading, "_MOST_WAITING", 1)
    addon = downloading.DownloadAddon(str(tmp_path), {})
    async with Simulator(media_size=100_000) as simulator, session_beside(addon, simulator) as session:
        ids = simulator.seed_jobs(8, age=600, fate="success")
        await session.follow(ids, Times(), 10)
        assert "files: 8 fetched" in plain(addon.summary_lines()[0])
    assert session.code == ExitCode.SUCCEEDED


@pytest.mark.asyncio
@pytest.mark.parametrize("most", [0, 1000])
async def test_a_full_disk_ends_the_watch(most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(downloading, "_MOST_WAITING", most)
    monkeypatch.setattr(os, "writev", full)
    addon = downloading.DownloadAddon(str(tmp_path), {})
    async with Simulator() as simulator, session_beside(addon, simulator) as session:
        ids = simulator.seed_jobs(4, age=600, fate="success")
        with pytest.raises(DownloadError, match="no room left"):
            await session.follow(ids, Times(), 10)

"""Downloads that are interrupted, killed and run side by side: what is on the disk in the end is whole, each file once."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from cli_processes import LAUNCH, environment_of
from download_kit import SIZE, assert_whole, checksum, ended, host, names, parts

from asyncflow import AsyncClient
from asyncflow.simulator import Faults, SimulatorThread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asyncflow import DownloadProgress, MediaFile

pytestmark = pytest.mark.slow

LONG = bool(os.environ.get("ASYNCFLOW_LONG"))
BAD_HOST = Faults(kinds=("media",), latency=(0.0, 0.02), server_error=0.05, reset=0.05, reset_midway=0.15, truncate=0.1)


@pytest.mark.asyncio
@pytest.mark.parametrize("trick", ["right", "other_version", "refused_range", "wrong_start"])
async def test_what_was_cancelled_goes_on_where_it_was(trick: str, tmp_path: Path) -> None:
    async with host() as (simulator, client):
        job_id = ended(simulator)
        job = await client.get_job(job_id)
        simulator.trick_media(job_id, ["stall"])
        task: asyncio.Task[tuple[MediaFile, ...]]

        def stop(_: DownloadProgress) -> None:
            task.cancel()

        task = asyncio.create_task(client.download(job, tmp_path, on_progress=stop))
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(parts(tmp_path)) == len(names(tmp_path)) == 1
        held = (tmp_path / parts(tmp_path)[0]).stat().st_size
        assert SIZE // 4 < held < SIZE
        simulator.trick_media(job_id, [trick])
        first: list[int] = []
        files = await client.download(job, tmp_path, on_progress=lambda progress: first.append(progress.received_bytes))
        assert_whole(simulator, job_id, files)
        assert (first[0] > held) is (trick == "right")
        assert parts(tmp_path) == []


@pytest.mark.asyncio
async def test_a_client_that_is_closed_meanwhile_leaves_a_part_and_no_lock(tmp_path: Path) -> None:
    async with host() as (simulator, client):
        job_id = ended(simulator)
        job = await client.get_job(job_id)
        simulator.trick_media(job_id, ["stall"])
        begun = asyncio.Event()
        async with client.downloader(tmp_path, on_progress=lambda _: begun.set(), max_retries=0) as downloads:
            downloads.add(job)
            await begun.wait()
            await client.aclose()
            (done,) = [each async for each in downloads]
        assert [file.state for file in done.files] == ["failed"]
        async with AsyncClient(simulator.token, base_url=simulator.url) as other:
            assert_whole(simulator, job_id, await other.download(job, tmp_path))


@pytest.mark.asyncio
async def test_a_part_of_nobody_knows_what_begins_anew(tmp_path: Path) -> None:
    async with host() as (simulator, client):
        job_id = ended(simulator)
        (file,) = await client.download(job_id, tmp_path / "first")
        digest = str(file.path).split("-")[-2]
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / f"{digest}-1.part").write_bytes(b"\0" * 1000)
        assert_whole(simulator, job_id, await client.download(job_id, tmp_path / "out"))


@pytest.mark.asyncio
async def test_a_crash_between_two_names_is_mended(tmp_path: Path) -> None:
    """A whole file has two names for a moment: that of the part and its own."""
    async with host() as (simulator, client):
        job_id = ended(simulator)
        (file,) = await client.download(job_id, tmp_path)
        assert file.path is not None
        digest = file.path.split("-")[-2]
        os.link(file.path, tmp_path / f"{digest}-1.part")
        (tmp_path / ".asyncflow-files.jsonl").unlink()
        (again,) = await client.download(job_id, tmp_path)
        assert (again.state, again.path) == ("present", file.path)
        assert_whole(simulator, job_id, [again])
        assert parts(tmp_path) == []


@pytest.mark.asyncio
async def test_two_at_once_into_one_folder_share_the_work(tmp_path: Path) -> None:
    async with host(media_size=500_000) as (simulator, client):
        ids = [ended(simulator, media=2) for _ in range(6)]
        async with client.downloader(tmp_path, sidecar=True) as one, client.downloader(tmp_path, sidecar=True) as other:
            one.add(*ids)
            other.add(*ids)
            results = [[done async for done in downloads] for downloads in (one, other)]
        for done in (*results[0], *results[1]):
            assert_whole(simulator, done.job_id, done.files)
        assert one.stats().fetched + other.stats().fetched == 12
        assert one.stats().present + other.stats().present == 12
        assert len([name for name in names(tmp_path) if name.endswith(".mp4")]) == 12
        assert parts(tmp_path) == []


@pytest.mark.asyncio
async def test_whoever_holds_a_part_and_does_nothing_is_waited_for_in_vain(tmp_path: Path) -> None:
    async with host() as (simulator, client):
        job_id = ended(simulator)
        simulator.trick_media(job_id, ["hang"])
        async with client.downloader(tmp_path) as busy:
            busy.add(job_id)
            while not parts(tmp_path):
                await asyncio.wait([asyncio.ensure_future(asyncio.Event().wait())], timeout=0.01)
            (file,) = await client.download(job_id, tmp_path, stall_timeout=0.2)
            assert file.error is not None
            assert (file.error.reason, file.error.transient) == ("locked", True)


# -- killed -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def service() -> Iterator[SimulatorThread]:
    with SimulatorThread(seed=5, faults=BAD_HOST, media_size=400_000, inline_images=0.3) as running:
        yield running


def start(service: SimulatorThread, folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", LAUNCH, "download", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env=environment_of(service.url),
    )


def files_in(folder: Path) -> list[str]:
    return [name for name in names(folder) if not name.endswith((".part", ".json"))]


def wait_for_files(folder: Path, number: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60  # noqa: TID251 - another process is waited for
    while len(files_in(folder)) < number and process.poll() is None:
        assert time.monotonic() < deadline  # noqa: TID251 - another process is waited for
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.01)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, *[signal.SIGTERM] * LONG])
def test_mixed_jobs_killed_twice_on_a_bad_day_are_all_there_and_whole(
    how: signal.Signals, service: SimulatorThread, tmp_path: Path
) -> None:
    is_thorough = LONG or how is signal.SIGKILL
    jobs = 300 if LONG else 24 if is_thorough else 8
    ids = service.seed_jobs(jobs, kind="mix", age=600, fate="success")
    (tmp_path / "ids.txt").write_text("\n".join(ids))
    out = tmp_path / "out"
    truths = [truth for job_id in ids for truth in service.media(job_id)]
    for stage in (1, 2) if is_thorough else (1,):
        process = start(service, tmp_path, "--file", "ids.txt", "--into", "out", "--sidecar")
        wait_for_files(out, len(truths) * stage // 3, process)
        process.send_signal(how)
        output, _ = process.communicate(timeout=30)
        assert process.returncode in {-9, 130, 143}, output.decode()
        assert how is signal.SIGKILL or b"the same command goes on" in output
        # Whatever has a name is whole already.
        assert {checksum(out / name) for name in files_in(out)} <= {truth.sha256 for truth in truths}
    for expected in (0, 0) if is_thorough else (0,):
        process = start(service, tmp_path, "--file", "ids.txt", "--into", "out", "--sidecar")
        output, _ = process.communicate(timeout=300)
        assert process.returncode == expected, output.decode()
        assert sorted(checksum(out / name) for name in files_in(out)) == sorted(truth.sha256 for truth in truths)
    assert parts(out) == []
    assert len([name for name in names(out) if name.endswith(".json")]) == jobs
    assert service.stats().tokens_at_media == 0

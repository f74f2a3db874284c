"""The folder: names that are taken, links, locks, full disks; and what a run finds that another has left."""

# ruff: noqa: ASYNC240 - a test may hold up its own event loop
from __future__ import annotations

import asyncio
import base64
import errno
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import msgspec
import pytest
from download_kit import SIZE, assert_whole, checksum, ended, host, names, parts
from hypothesis import given
from hypothesis import strategies as st
from secret_watch import leaks

from asyncflow import (
    AsyncClient,
    AuthenticationError,
    DownloadError,
    DownloadProgress,
    FlowJob,
    JobNotFoundError,
    Media,
    UsageError,
)
from asyncflow.download import Downloader
from asyncflow.download import media_transport as carrier
from asyncflow.download.folder_index import MANIFEST_NAME, FolderIndex
from asyncflow.download.partial_file import PartialFile, open_locked, write_all
from asyncflow.download.range_responses import NOTHING, PartialState
from asyncflow.download.target_folder import StoredFile, TargetFolder, disk_error
from asyncflow.simulator import Simulator, samples

if TYPE_CHECKING:
    from collections.abc import Sequence

PLACE = ("0123456789abcdef0123456789abcdef", 1)


def claimed(folder: TargetFolder) -> PartialFile:
    part = folder.open(PLACE, "8244f1551f")
    assert isinstance(part, PartialFile)
    return part


@pytest.fixture
def folder(tmp_path: Path) -> TargetFolder:
    made = TargetFolder(tmp_path / "out")
    made.prepare()
    return made


# -- what a user sees ---------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_all_files_of_a_job_come_in_their_order(tmp_path: Path) -> None:
    async with host(media_size=100_000, inline_images=0.5) as (simulator, client):
        for kind, count in (("video", 4), ("image", 4), ("music", 2)):
            job_id = ended(simulator, kind=kind, media=count)
            files = await client.download(job_id, tmp_path)
            assert [file.index for file in files] == list(range(1, count + 1))
            assert {file.state for file in files} == {"fetched"}
            assert_whole(simulator, job_id, files)
    assert len(names(tmp_path)) == 10
    assert leaks("\n".join(names(tmp_path)) + (tmp_path / MANIFEST_NAME).read_text()) == []


@pytest.mark.asyncio
async def test_what_the_job_never_had_is_missing_and_says_why(tmp_path: Path) -> None:
    async with host(media_size=0) as (simulator, client):
        partial = await client.download(ended(simulator, fate="partial", media=3), tmp_path)
        assert [file.state for file in partial] == ["fetched", "fetched", "missing"]
        assert partial[2].reasons != ()
        assert await client.download(ended(simulator, fate="refused", kind="music"), tmp_path) == ()


@pytest.mark.asyncio
async def test_a_file_without_a_link_is_asked_for(tmp_path: Path) -> None:
    async with host(media_size=0) as (simulator, client):
        job_id = ended(simulator, fate="unlinked", media=2)
        assert_whole(simulator, job_id, await client.download(job_id, tmp_path))


@pytest.mark.asyncio
async def test_the_second_time_nothing_is_fetched(tmp_path: Path) -> None:
    async with host(media_size=100_000) as (simulator, client):
        job_id = ended(simulator, media=2)
        first = await client.download(job_id, tmp_path)
        asked = simulator.stats().by_kind["media"]
        second = await client.download(job_id, tmp_path)
        assert [file.state for file in second] == ["present", "present"]
        assert [file.path for file in second] == [file.path for file in first]
        assert simulator.stats().by_kind["media"] == asked
        Path(str(first[0].path)).unlink()
        third = await client.download(job_id, tmp_path)
        assert [file.state for file in third] == ["fetched", "present"]
        assert_whole(simulator, job_id, third)


@pytest.mark.asyncio
async def test_a_lost_manifest_costs_a_request_and_no_second_file(tmp_path: Path) -> None:
    async with host(inline_images=0.5) as (simulator, client):
        ids = [ended(simulator), ended(simulator, kind="image", media=4)]
        for job_id in ids:
            await client.download(job_id, tmp_path)
        before = names(tmp_path)
        (tmp_path / MANIFEST_NAME).unlink()
        for job_id in ids:
            files = await client.download(job_id, tmp_path)
            assert {file.state for file in files} == {"present"}
            assert_whole(simulator, job_id, files)
        assert names(tmp_path) == before


@pytest.mark.asyncio
async def test_a_file_that_was_changed_stays_and_the_right_one_comes_beside_it(tmp_path: Path) -> None:
    async with host(media_size=50_000) as (simulator, client):
        job_id = ended(simulator)
        (file,) = await client.download(job_id, tmp_path)
        changed = Path(str(file.path))
        changed.write_bytes(b"mine")
        (again,) = await client.download(job_id, tmp_path)
        assert again.state == "fetched"
        assert again.path == str(changed).replace(".mp4", "-2.mp4")
        assert changed.read_bytes() == b"mine"
        assert_whole(simulator, job_id, [again])


@pytest.mark.asyncio
async def test_two_jobs_never_share_a_name(tmp_path: Path) -> None:
    async with host(media_size=50_000) as (simulator, client):
        ids = [ended(simulator) for _ in range(5)]
        (tmp_path / "VIDEO.MP4").write_bytes(b"somebody else's")
        async with client.downloader(tmp_path, template="{kind}.{ext}") as downloads:
            downloads.add(*ids)
            async for done in downloads:
                assert_whole(simulator, done.job_id, done.files)
        assert names(tmp_path) == ["VIDEO.MP4", *(f"video{end}.mp4" for end in ("-2", "-3", "-4", "-5", ""))]
        assert (tmp_path / "VIDEO.MP4").read_bytes() == b"somebody else's"
        for job_id in ids:
            (again,) = await client.download(job_id, tmp_path, template="{kind}.{ext}")
            assert again.state == "present"
            assert_whole(simulator, job_id, [again])


@pytest.mark.asyncio
async def test_a_template_that_is_wrong_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    async with host() as (simulator, client):
        with pytest.raises(UsageError, match="prompt"):
            await client.download(ended(simulator), tmp_path / "out", template="{prompt}")
    assert not (tmp_path / "out").exists()


@pytest.mark.asyncio
async def test_the_sidecar_tells_of_the_job_and_shows_no_signature(tmp_path: Path) -> None:
    async with host(media_size=0) as (simulator, client):
        (job_id,) = simulator.seed_jobs(age=600, fate="partial", media=2, prompt="A paper kite")
        await client.download(job_id, tmp_path, sidecar=True)
        async with client.downloader(tmp_path, sidecar=True) as downloads:
            downloads.add(job_id)
            (done,) = [done async for done in downloads]
        assert done.sidecar is not None
        path = Path(done.sidecar)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        record = json.loads(path.read_text())
        assert record["job_id"] == job_id
        assert record["prompt"] == "A paper kite"
        assert record["outcome"] == "partial"
        assert [file["name"] for file in record["files"]] == [Path(str(done.files[0].path)).name, None]
        assert "Signature" not in path.read_text()
        assert simulator.token not in path.read_text()
        assert len(names(tmp_path)) == 2


@pytest.mark.asyncio
async def test_a_name_that_somebody_took_is_left_to_them_by_a_sidecar_too(tmp_path: Path) -> None:
    async with host(media_size=0) as (simulator, client):
        job = await client.get_job(ended(simulator))
        await client.download(job, tmp_path, sidecar=True)
        (sidecar,) = tmp_path.glob("*.json")
        (tmp_path / MANIFEST_NAME).unlink()
        sidecar.write_text("mine")
        await client.download(job, tmp_path, sidecar=True)
        assert sidecar.read_text() == "mine"
        assert len(list(tmp_path.glob("*.json"))) == 2


@pytest.mark.asyncio
async def test_progress_tells_of_each_batch(tmp_path: Path) -> None:
    seen: list[DownloadProgress] = []
    async with host() as (simulator, client):
        job_id = ended(simulator)
        await client.download(job_id, tmp_path, on_progress=seen.append)
        sizes = [progress.received_bytes for progress in seen]
        assert sizes == sorted(sizes)
        assert len(sizes) > 2
        assert {progress.total_bytes for progress in seen} == {sizes[-1]} == {simulator.media(job_id)[0].size}
        assert leaks(repr(seen)) == []


@pytest.mark.asyncio
async def test_a_rate_is_kept(tmp_path: Path) -> None:
    async with host(media_size=100_000) as (simulator, client):
        ids = [ended(simulator) for _ in range(3)]
        start = asyncio.get_running_loop().time()
        async with client.downloader(tmp_path, rate=500_000) as downloads:
            downloads.add(*ids)
            assert len([done async for done in downloads]) == 3
        assert asyncio.get_running_loop().time() - start >= 0.3


@pytest.mark.asyncio
async def test_no_more_files_are_in_flight_than_allowed(tmp_path: Path) -> None:
    active: list[int] = []
    async with host(media_size=200_000) as (simulator, client):
        ids = [ended(simulator, media=3) for _ in range(4)]
        async with client.downloader(
            tmp_path, concurrency=2, on_progress=lambda _: active.append(downloads.stats().active)
        ) as downloads:
            downloads.add(*ids, *ids)
            done = [done async for done in downloads]
        assert [len(each.files) for each in done] == [3] * 4
        assert max(active) == 2
        stats = downloads.stats()
        assert (stats.fetched, stats.jobs_done, stats.jobs_waiting, stats.active) == (12, 4, 0, 0)


@pytest.mark.asyncio
async def test_to_wait_for_ones_turn_is_no_silence_of_a_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrier, "_CONNECTIONS", 1)
    async with host(media_size=0) as (simulator, client):
        slow, *others = [ended(simulator) for _ in range(4)]
        simulator.trick_media(slow, ["stall"])
        waiting = [client.download(job_id, tmp_path, stall_timeout=1.0) for job_id in (slow, *others)]
        files = [file for (file,) in await asyncio.gather(*waiting)]
        assert {file.state for file in files} == {"fetched"}
        assert simulator.stats().by_kind["media"] == 5


@pytest.mark.asyncio
async def test_a_job_that_cannot_be_read_or_still_runs_is_a_result_among_others(tmp_path: Path) -> None:
    async with host(media_size=0) as (simulator, client):
        running, unknown = simulator.seed_jobs()[0], "j1104093012448120573v-u1234-email:x@example.com-bot:google-flow"
        with pytest.raises(DownloadError, match="not ended"):
            await client.download(running, tmp_path)
        with pytest.raises(JobNotFoundError):
            await client.download(unknown, tmp_path)
        async with client.downloader(tmp_path) as downloads:
            downloads.add(running, unknown, ended(simulator))
            done = {each.job_id: each async for each in downloads}
        assert [problem.kind for problem in done[running].problems + done[unknown].problems] == ["download", "not_found"]
        assert sum(len(each.files) for each in done.values()) == 1
        assert leaks("".join(map(repr, done.values()))) == []


@pytest.mark.asyncio
async def test_jobs_may_come_while_others_are_fetched(tmp_path: Path) -> None:
    told: list[str] = []
    async with host(media_size=0) as (simulator, client):
        async with client.downloader(tmp_path, keep_open=True, on_done=lambda done: told.append(done.job_id)) as downloads:
            first, second = ended(simulator), ended(simulator)
            assert downloads.add(first, first) == 1
            assert downloads.add(first, second) == 1
            assert len(downloads) == 2
            downloads.finish()
            assert [done async for done in downloads] == []
        assert sorted(told) == sorted([first, second])
        assert not downloads.add(first)
        assert "2 of 2" in repr(downloads)


@pytest.mark.asyncio
async def test_a_job_that_met_a_problem_may_be_added_again(tmp_path: Path) -> None:
    async with host(media_size=0) as (simulator, client):
        job_id = ended(simulator)
        simulator.trick_media(job_id, ["html"])
        async with client.downloader(tmp_path, keep_open=True) as downloads:
            assert downloads.add(job_id) == 1
            assert [file.state for file in (await anext(downloads)).files] == ["failed"]
            assert downloads.add(job_id) == 1
            assert [file.state for file in (await anext(downloads)).files] == ["fetched"]
            assert downloads.add(job_id) == 0


@pytest.mark.asyncio
async def test_a_refused_token_ends_the_whole(tmp_path: Path) -> None:
    async with host(media_size=0) as (simulator, client):
        ids = [ended(simulator) for _ in range(3)]
        wrong = client.with_options(token="user:1234-wrong")
        async with wrong.downloader(tmp_path) as downloads:
            downloads.add(*ids)
            with pytest.raises(AuthenticationError):
                await anext(downloads)
        assert isinstance(downloads.failure, AuthenticationError)


@pytest.mark.asyncio
async def test_a_downloader_stands_alone(tmp_path: Path) -> None:
    """Plain functions do for the service."""
    encoded = Media("image", "ok", encoded=base64.b64encode(samples.png("a")).decode())

    async def read(job_id: str) -> FlowJob:
        return FlowJob(job_id, "completed", kind="image", media=(encoded,))

    async with Downloader(tmp_path, read=read) as downloads:
        downloads.add("a", FlowJob("", "completed", kind="gif", media=(encoded,)))
        done = [each async for each in downloads]
    assert [each.files[0].state for each in done] == ["fetched", "fetched"]
    async with Downloader(tmp_path) as downloads:
        downloads.add("b")
        (lost,) = [each async for each in downloads]
    assert [problem.kind for problem in lost.problems] == ["usage"]
    with pytest.raises(UsageError):
        Downloader(tmp_path).add(" ")


@pytest.mark.asyncio
@pytest.mark.parametrize("encoded", ["!!!", "aGk=", ""])
async def test_an_inline_file_that_is_none_is_refused(encoded: str, tmp_path: Path) -> None:
    job = FlowJob("one", "completed", kind="image", media=(Media("image", "ok", encoded=encoded),))
    async with Downloader(tmp_path, max_bytes=10) as downloads:
        downloads.add(job)
        (done,) = [each async for each in downloads]
    assert [file.state for file in done.files] == ["failed"]
    assert names(tmp_path) == []


@pytest.mark.asyncio
async def test_an_inline_file_beyond_the_cap_is_refused(tmp_path: Path) -> None:
    async with host(inline_images=1.0) as (simulator, client):
        (file,) = await client.download(ended(simulator, kind="image"), tmp_path, max_bytes=100)
        assert file.error is not None
        assert file.error.reason == "too_large"


@pytest.mark.parametrize(
    "options", [{"rate": 0}, {"concurrency": 0}, {"max_bytes": 0}, {"stall_timeout": -1}, {"max_retries": -1}]
)
def test_numbers_that_cannot_work_are_refused(options: dict[str, float], tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        Downloader(tmp_path, **options)  # type: ignore[arg-type] # a parameter


@pytest.mark.asyncio
async def test_a_closed_client_downloads_nothing(tmp_path: Path) -> None:
    async with Simulator() as simulator:
        client = AsyncClient(simulator.token, base_url=simulator.url)
        await client.aclose()
        with pytest.raises(UsageError, match="closed"):
            await client.download("a", tmp_path)


# -- folders that take no files ------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_folder_that_is_a_file_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with host(media_size=0) as (simulator, client):
        for path in (tmp_path / "file", tmp_path / "file" / "below"):
            with pytest.raises(DownloadError, match="no folder") as refusal:
                await client.download(ended(simulator), path)
            assert refusal.value.reason == "not_a_folder"


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, "full"),
        (errno.EDQUOT, "full"),
        (errno.EACCES, "unwritable"),
        (errno.EROFS, "unwritable"),
        (errno.ENOTDIR, "not_a_folder"),
        (errno.EFBIG, "too_large"),
        (errno.EIO, "disk_error"),
        (None, "disk_error"),
    ],
)
def test_what_the_system_says_has_a_reason(number: int | None, reason: str) -> None:
    error = disk_error(OSError(number, "words") if number else OSError("words"), "out")
    assert (error.reason, error.kind) == (reason, "download")
    assert "'out'" in str(error)


@pytest.mark.asyncio
async def test_a_full_disk_ends_the_whole_and_keeps_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = 0

    def short(descriptor: int, pieces: Sequence[bytes]) -> None:
        nonlocal written
        written += sum(map(len, pieces))
        if written > 2_500_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        os.writev(descriptor, pieces)

    async with host() as (simulator, client):
        ids = [ended(simulator) for _ in range(3)]
        monkeypatch.setattr(TargetFolder.__init__, "__kwdefaults__", {"write": short})
        async with client.downloader(tmp_path, concurrency=1) as downloads:
            downloads.add(*ids)
            with pytest.raises(DownloadError, match="no room left") as refusal:
                async for _ in downloads:
                    pass
        assert refusal.value.reason == "full"
        assert downloads.failure is refusal.value
        assert len(parts(tmp_path)) == len(names(tmp_path)) == 1
        monkeypatch.undo()
        for job_id in ids:
            assert_whole(simulator, job_id, await client.download(job_id, tmp_path))
        assert parts(tmp_path) == []


# -- parts -------------------------------------------------------------------------------------------------------------------


def test_a_part_is_one_persons_at_a_time(folder: TargetFolder, tmp_path: Path) -> None:
    first = claimed(folder)
    assert TargetFolder(tmp_path / "out").open(PLACE, "8244f1551f") is None
    assert folder.unfinished(PLACE, "8244f1551f") == 0
    first.release()
    assert names(tmp_path / "out") == []
    assert folder.unfinished(PLACE, "8244f1551f") == -1
    claimed(folder).close()


def test_whoever_waited_for_a_part_finds_the_file(folder: TargetFolder, tmp_path: Path) -> None:
    other = TargetFolder(tmp_path / "out")
    part = claimed(folder)
    part.write([samples.mp4("a")])
    kept = folder.finish(part, PLACE, lambda _: "a.mp4")
    assert other.open(PLACE, "8244f1551f") == kept
    assert names(tmp_path / "out") == ["a.mp4"]


def test_a_finished_file_is_found_under_the_lock_too(folder: TargetFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the first look and the lock another process may finish."""
    part = claimed(folder)
    part.write([b"x" * 10])
    kept = folder.finish(part, PLACE, lambda _: "a.bin")
    looks = iter([None, kept])
    monkeypatch.setattr(folder, "find", lambda _: next(looks))
    assert folder.open(PLACE, "8244f1551f") == kept
    assert names(folder.path) == ["a.bin"]


def test_a_link_in_the_place_of_a_part_is_not_followed(folder: TargetFolder, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path = folder.path / "8244f1551f-1.part"
    path.symlink_to(victim)
    part = claimed(folder)
    part.write([b"evil"])
    part.close()
    assert victim.read_text() == "precious"
    assert not path.is_symlink()


def test_a_second_name_of_another_file_is_not_written_to(folder: TargetFolder, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (folder.path / "8244f1551f-1.part").hardlink_to(victim)
    part = claimed(folder)
    part.write([b"evil"])
    part.close()
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_no_part(make: object, folder: TargetFolder) -> None:
    make(folder.path / "8244f1551f-1.part")  # type: ignore[operator] # a parameter
    with pytest.raises(DownloadError):
        folder.open(PLACE, "8244f1551f")


def test_a_link_in_the_place_of_a_file_is_not_overwritten(folder: TargetFolder, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    (folder.path / "a.bin").symlink_to(victim)
    part = claimed(folder)
    part.write([b"x" * 10])
    assert folder.finish(part, PLACE, lambda _: "a.bin") == StoredFile(str(folder.path / "a-2.bin"), 10)
    assert not victim.exists()


def test_a_link_is_no_file_that_is_there(folder: TargetFolder, tmp_path: Path) -> None:
    part = claimed(folder)
    part.write([b"x" * 10])
    kept = folder.finish(part, PLACE, lambda _: "a.bin")
    Path(kept.path).rename(tmp_path / "moved")
    Path(kept.path).symlink_to(tmp_path / "moved")
    assert folder.find(PLACE) is None


def test_a_file_system_without_second_names_will_do(folder: TargetFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    (folder.path / "a.bin").write_text("taken")
    part = claimed(folder)
    part.write([b"x" * 10])
    assert folder.finish(part, PLACE, lambda _: "a.bin").path.endswith("a-2.bin")
    assert names(folder.path) == ["a-2.bin", "a.bin"]


def test_a_file_system_without_locks_will_do(folder: TargetFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    claimed(folder).close()


def test_letting_go_waits_for_the_thread_that_is_still_at_it(folder: TargetFolder) -> None:
    part, begun, go = claimed(folder), Event(), Event()

    def write() -> None:
        begun.set()
        go.wait()
        part.write([b"late"])

    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(part.guarded, write)
        begun.wait()
        leaving = pool.submit(part.release)
        assert not leaving.done()
        go.set()
        writing.result()
        leaving.result()
    assert (folder.path / "8244f1551f-1.part").read_bytes() == b"late"
    with pytest.raises(OSError, match="closed"):
        part.guarded(lambda: None)
    part.close()


def test_a_part_that_is_taken_away_is_made_again(folder: TargetFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder.path / "a.part"
    real, tries = os.open, iter([True, False])

    def taken(name: object, flags: int, mode: int = 0o777) -> int:
        descriptor = real(name, flags, mode)  # type: ignore[arg-type] # passed on
        if next(tries, False):
            path.unlink()
        return descriptor

    monkeypatch.setattr(os, "open", taken)
    part = open_locked(path)
    assert part is not None
    part.close()
    assert path.exists()


# -- the manifest ------------------------------------------------------------------------------------------------------------


def test_a_manifest_survives_cut_and_foreign_lines(tmp_path: Path) -> None:
    first, second = FolderIndex(tmp_path), FolderIndex(tmp_path)
    first.finish(PLACE, "a.mp4", 10)
    with (tmp_path / MANIFEST_NAME).open("ab") as file:
        file.write(b'{"job": "x", "ind')
    first.finish(("other", 1), "b.mp4", 20)
    with (tmp_path / MANIFEST_NAME).open("ab") as file:
        file.write(b"\xff\xfe\nnull\n[1]\n" + b'{"job":"y","index":1,"name":"../../evil.mp4","size":1}\n' + b'{"job":"z"')
    second.refresh()
    assert second.file(PLACE) == ("a.mp4", 10)
    assert second.file(("other", 1)) == ("b.mp4", 20)
    assert second.file(("y", 1)) is None
    assert second.owner("A.MP4") == PLACE
    assert second.owner("c.mp4") is None


def test_a_manifest_that_was_deleted_begins_anew(tmp_path: Path) -> None:
    manifest = FolderIndex(tmp_path)
    manifest.finish(PLACE, "a.mp4", 10)
    manifest.refresh()
    (tmp_path / MANIFEST_NAME).unlink()
    manifest.refresh()
    assert manifest.file(PLACE) is None


def test_what_was_begun_is_worth_what_its_version_is(tmp_path: Path) -> None:
    manifest = FolderIndex(tmp_path)
    manifest.begin(PLACE, '"a"', 100)
    assert manifest.begun(PLACE, 40) == PartialState(40, '"a"', 100)
    assert manifest.begun(PLACE, 0) is NOTHING
    assert manifest.begun(PLACE, 101) is NOTHING
    manifest.begin(PLACE, None, 100)
    assert manifest.begun(PLACE, 40) is NOTHING
    assert manifest.begun(("other", 1), 40) is NOTHING


def test_a_manifest_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("")
    (tmp_path / MANIFEST_NAME).symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic links"):
        FolderIndex(tmp_path).finish(PLACE, "a.mp4", 10)
    assert (tmp_path / "victim").read_text() == ""


def test_the_records_of_the_manifest_hold_no_id(tmp_path: Path) -> None:
    manifest = FolderIndex(tmp_path)
    manifest.begin(PLACE, '"a"', 1)
    lines = (tmp_path / MANIFEST_NAME).read_bytes().split()
    assert [msgspec.json.decode(line) for line in lines] == [{"job": PLACE[0], "index": 1, "validator": '"a"', "total": 1}]


def test_kit_files_are_large_enough() -> None:
    assert SIZE > 2 << 20
    assert checksum(__file__) == checksum(Path(__file__))


@given(pieces=st.lists(st.binary(max_size=20), max_size=40), short=st.integers(1, 30))
def test_pieces_are_written_whole_however_short_the_system_writes(pieces: list[bytes], short: int) -> None:
    real, written = os.writev, bytearray()

    def writev(_: int, views: Sequence[memoryview]) -> int:
        piece = b"".join(views)[:short]
        written.extend(piece)
        return len(piece)

    os.writev = writev  # type: ignore[assignment] # for the moment
    try:
        write_all(0, pieces)
    finally:
        os.writev = real
    assert bytes(written) == b"".join(pieces)

"""Media hosts that break off, lie, redirect and dribble: nothing bad on the disk, a clear line each."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import aiohttp
import msgspec
import pytest
import trustme
from download_kit import SIZE, assert_whole, ended, host, names, parts
from secret_watch import leaks
from service_kit import http, listening

from asyncflow import AsyncClient, DownloadError, FlowJob, Media, MediaFile, TransportError
from asyncflow.download import Downloader, MediaTransport
from asyncflow.simulator import Simulator

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Unpack

    from asyncflow import Job
    from asyncflow.download import DownloadOptions


async def fetch(client: AsyncClient, job_id: str, folder: Path, **options: Unpack[DownloadOptions]) -> MediaFile:
    (file,) = await client.download(job_id, folder, **options)
    return file


HARMLESS = {
    "right": 0,
    "truncate": 1,
    "untagged_truncate": 1,
    "reset": 0,  # asked again by aiohttp
    "reset_midway": 1,
    "busy": 1,
    "unnamed_length": 0,
    "evil_name": 0,
    "redirect": 0,
}


@pytest.mark.asyncio
@pytest.mark.parametrize("trick", HARMLESS)
async def test_what_can_be_made_good_is_made_good(trick: str, tmp_path: Path) -> None:
    async with host() as (simulator, client):
        job_id = ended(simulator)
        simulator.trick_media(job_id, [trick])
        file = await fetch(client, job_id, tmp_path)
        assert file.state == "fetched"
        assert_whole(simulator, job_id, [file])
        assert file.path is not None
        assert names(tmp_path) == [file.path.rpartition("/")[2]]


RANGES = [
    "wrong_start",
    "wrong_total",
    "wrong_length",
    "other_version",
    "unasked_part",
    "ignored_range",
    "refused_range",
    "small_part",
]


@pytest.mark.asyncio
@pytest.mark.parametrize("trick", RANGES)
async def test_a_wrong_answer_to_a_range_costs_time_and_no_byte(trick: str, tmp_path: Path) -> None:
    async with host() as (simulator, client):
        job_id = ended(simulator)
        simulator.trick_media(job_id, ["truncate", trick])
        file = await fetch(client, job_id, tmp_path)
        assert file.state == "fetched"
        assert_whole(simulator, job_id, [file])
        assert parts(tmp_path) == []


REFUSED = {
    "html": ("not_media", "page of text (text/html)"),
    "json_as_media": ("not_media", "page of text (video/mp4)"),
    "empty": ("not_media", "empty"),
    "picture": ("not_media", "png, which is no video"),
    "compressed": ("wrong_answer", "compressed"),
    "unasked_part": ("wrong_answer", "unasked"),
    "redirect_private": ("unsafe_link", "private"),
    "redirect_metadata": ("unsafe_link", "metadata"),
    "redirect_file": ("unsafe_link", "file"),
    "redirect_loop": ("redirects", "circle"),
    "redirect_nowhere": ("redirects", "nowhere"),
    "teapot": ("wrong_answer", "no file"),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("trick", REFUSED)
async def test_what_is_no_file_leaves_nothing_behind(trick: str, tmp_path: Path) -> None:
    async with host() as (simulator, client):
        job_id = ended(simulator)
        simulator.trick_media(job_id, [trick])
        file = await fetch(client, job_id, tmp_path)
        assert file.state == "failed"
        assert file.path is None
        assert file.error is not None
        reason, words = REFUSED[trick]
        assert (file.error.kind, file.error.reason) == ("download", reason)
        assert words in str(file.error.exception())
        assert leaks(repr(file) + repr(file.error)) == []
        assert names(tmp_path) == []
        # And the next run has it.
        assert (await fetch(client, job_id, tmp_path)).state == "fetched"


@pytest.mark.asyncio
async def test_a_file_beyond_the_cap_is_refused_announced_or_not(tmp_path: Path) -> None:
    async with host() as (simulator, client):
        job_id = ended(simulator)
        for trick in ("right", "unnamed_length", "endless", "announced_terabyte"):
            simulator.trick_media(job_id, [trick])
            file = await fetch(client, job_id, tmp_path, max_bytes=SIZE // 2)
            assert file.error is not None
            assert file.error.reason == "too_large"
            assert names(tmp_path) == []


@pytest.mark.asyncio
@pytest.mark.parametrize("trick", ["stall", "trickle", "hang"])
async def test_a_host_that_falls_silent_is_asked_again(trick: str, tmp_path: Path) -> None:
    async with host() as (simulator, client):
        job_id = ended(simulator)
        simulator.trick_media(job_id, [trick])
        start = asyncio.get_running_loop().time()
        file = await asyncio.wait_for(fetch(client, job_id, tmp_path, stall_timeout=0.3), 10)
        assert asyncio.get_running_loop().time() - start >= 0.3
        assert_whole(simulator, job_id, [file])


@pytest.mark.asyncio
async def test_a_host_that_always_breaks_off_is_given_up(tmp_path: Path) -> None:
    async with host() as (simulator, client):
        job_id = ended(simulator)
        simulator.trick_media(job_id, ["reset_midway", *["reset"] * 20])
        file = await fetch(client, job_id, tmp_path, max_retries=0)
        assert file.error is not None
        assert (file.error.kind, file.error.transient) == ("transport", True)
        assert "media host" in file.error.message
        assert all(name.endswith(".part") for name in names(tmp_path))


@pytest.mark.asyncio
async def test_progress_is_not_counted_as_failure(tmp_path: Path) -> None:
    async with host() as (simulator, client):
        job_id = ended(simulator)
        simulator.trick_media(job_id, ["truncate"] * 4)
        file = await fetch(client, job_id, tmp_path, max_retries=0)
        assert_whole(simulator, job_id, [file])


@pytest.mark.asyncio
@pytest.mark.parametrize("trick", ["expired", "gone", "missing"])
async def test_a_link_that_is_refused_is_replaced_by_a_fresh_one(trick: str, tmp_path: Path) -> None:
    async with host() as (simulator, client):
        job_id = ended(simulator)
        simulator.trick_media(job_id, [trick])
        file = await fetch(client, job_id, tmp_path)
        assert_whole(simulator, job_id, [file])
        assert simulator.stats().by_kind["asset"] == 1


@pytest.mark.asyncio
async def test_a_link_known_to_have_ended_is_not_asked(tmp_path: Path) -> None:
    async with host(link_life=0.0) as (simulator, client):
        job_id = ended(simulator)
        job = await client.get_job(job_id)
        simulator.trick_media(job_id, ["expired"])
        file = (await client.download(job, tmp_path))[0]
        assert file.state == "failed"  # the fresh link of this simulator has ended too
        assert file.error is not None
        assert file.error.kind == "url_expired"
        stats = simulator.stats()
        assert (stats.by_kind["asset"], stats.by_kind_and_status.get("media 403")) == (1, 2)


@pytest.mark.asyncio
async def test_a_song_gets_its_link_from_its_record_again(tmp_path: Path) -> None:
    async with host() as (simulator, client):
        job_id = ended(simulator, kind="music")
        job = await client.get_job(job_id)
        old = [Media("music", "ok", f"{simulator.url}/content/audio/gone.m4a", asset_id=media.asset_id) for media in job.media]
        files = await client.download(_with_media(job, old), tmp_path)
        assert_whole(simulator, job_id, files)


def _with_media(job: Job, media: list[Media]) -> Job:
    return msgspec.structs.replace(job, media=tuple(media))


@pytest.mark.asyncio
async def test_no_credential_goes_to_a_media_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login ada password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    body = b"\x89PNG\r\n\x1a\n" + bytes(2000)
    answer = http(200, body, {"Content-Type": "image/png", "Set-Cookie": "session=1; Path=/"})
    async with listening(answer) as media:
        link = media.url.replace("127.0.0.1", "ada:secret@127.0.0.1") + "/a?Signature=c2VjcmV0"
        job = FlowJob("one", "completed", kind="image", media=(Media("image", "ok", link), Media("image", "ok", link)))
        async with AsyncClient("user:1234-abcdef", base_url=media.url) as client:
            files = await client.download(job, tmp_path / "out", concurrency=1)
        assert [file.state for file in files] == ["fetched", "fetched"]
        for request in media.requests:
            assert b"abcdef" not in request
            assert b"secret" not in request.lower().replace(b"signature=c2vjcmv0", b"")
            assert b"\r\ncookie" not in request.lower()
            assert b"\r\nauthorization" not in request.lower()
            assert b"Signature=c2VjcmV0" in request


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "link", ["http://10.0.0.1/a", "http://169.254.169.254/a", "http://[fe80::1]/a", "http://100.64.0.1/", "ftp://127.0.0.1/a"]
)
async def test_a_direct_link_into_a_private_network_is_refused(link: str, tmp_path: Path) -> None:
    job = FlowJob("one", "completed", kind="video", media=(Media("video", "ok", link),))
    async with AsyncClient("user:1234-abcdef", base_url="http://127.0.0.1:1") as client:
        (file,) = await client.download(job, tmp_path)
    assert file.error is not None
    assert file.error.reason == "unsafe_link"


@pytest.mark.asyncio
async def test_this_machine_is_refused_unless_the_service_lies_on_it(tmp_path: Path) -> None:
    async with Simulator() as simulator, AsyncClient(simulator.token, base_url=simulator.url) as client:
        job = await client.get_job(ended(simulator))
        for base_url in ("https://api.useapi.net", "http://api.useapi.net", "http://10.0.0.1"):
            async with Downloader(tmp_path, carrier=(carrier := MediaTransport(base_url))) as downloads:
                downloads.add(job)
                (done,) = [done async for done in downloads]
            await carrier.aclose()
            assert [problem.reason for problem in done.problems] == ["unsafe_link"]
        assert simulator.stats().by_kind.get("media") is None


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["localhost.localdomain.test", "media.example.com"])
async def test_a_name_is_judged_by_the_address_that_is_connected_to(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a name stood for when it was looked up before does not matter: the socket is what counts."""
    async with listening(http(200, b"\x89PNG\r\n\x1a\n" + bytes(2000), {"Content-Type": "image/png"})) as media:
        loop = asyncio.get_running_loop()
        real = loop.getaddrinfo

        async def pointed_here(host: object, port: object, **options: object) -> object:
            return await real("127.0.0.1" if host == name else host, port, **options)  # type: ignore[arg-type] # passed on

        monkeypatch.setattr(loop, "getaddrinfo", pointed_here)
        link = media.url.replace("127.0.0.1", name) + "/a"
        job = FlowJob("one", "completed", kind="image", media=(Media("image", "ok", link),))
        for base_url, state in (("http://api.useapi.net", "failed"), (media.url, "fetched")):
            carrier = MediaTransport(base_url)
            async with Downloader(tmp_path / state, carrier=carrier, max_retries=0) as downloads:
                downloads.add(job)
                (done,) = [done async for done in downloads]
            await carrier.aclose()
            assert [file.state for file in done.files] == [state]
        assert len(media.requests) == 1


@pytest.mark.asyncio
async def test_https_stays_https_and_certificates_are_checked(tmp_path: Path) -> None:
    authority = trustme.CA()
    server, trusting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(trusting)
    async with Simulator(ssl_context=server) as simulator:
        job_id = ended(simulator)
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session,
            AsyncClient(simulator.token, base_url=simulator.url, session=session) as client,
        ):
            job = await client.get_job(job_id)
        expected = {"right": "fetched", "redirect_http": "unsafe_link", "distrust": "transport"}
        for trick, outcome in expected.items():
            simulator.trick_media(job_id, [] if trick == "distrust" else [trick])
            carrier = MediaTransport(simulator.url, ssl_context=None if trick == "distrust" else trusting)
            async with Downloader(tmp_path / trick, carrier=carrier) as downloads:
                downloads.add(job)
                (done,) = [done async for done in downloads]
            await carrier.aclose()
            file = done.files[0]
            assert outcome in {file.state, *(() if file.error is None else (file.error.reason, file.error.kind))}
            assert "prove" in str(file.error) or trick != "distrust"


@pytest.mark.asyncio
async def test_a_media_link_can_be_opened_by_hand() -> None:
    async with host() as (simulator, client):
        job = await client.get_job(ended(simulator))
        async with client.open_media(job.urls[0], {"Range": "bytes=0-99"}) as answer:
            assert (answer.status, len(await answer.read())) == (206, 100)
        with pytest.raises(DownloadError):
            async with client.open_media("http://10.0.0.1/a"):
                pass
        with pytest.raises(TransportError):
            async with client.open_media("http://127.0.0.1:1/a"):
                pass
        assert simulator.stats().tokens_at_media == 0


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "link", ["http://", "http://[::1", "http://a b/", "http://a\r\nHost: b/", "http://\u2603.example.com:0x/"]
)
async def test_what_is_no_link_is_an_error_of_ours(link: str, tmp_path: Path) -> None:
    job = FlowJob("one", "completed", kind="video", media=(Media("video", "ok", link),))
    async with AsyncClient("user:1234-abcdef", base_url="http://127.0.0.1:1") as client:
        (file,) = await client.download(job, tmp_path, max_retries=0)
    assert file.state == "failed"

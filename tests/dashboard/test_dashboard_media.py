"""Files and actions: what the browser gets of the media hosts, and what it can do where that was allowed."""

from __future__ import annotations

from base64 import b64encode
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from dashboard_kit import START, TOKEN, Told, done, listening, running, song, video

from asyncflow import AsyncClient, Changed, Dashboard, Ended, Media
from asyncflow.simulator import Answer, Simulator
from asyncflow.simulator.samples import png

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from asyncflow import Job

pytestmark = pytest.mark.asyncio


class Browser:
    """What a page may ask for."""

    def __init__(self, session: aiohttp.ClientSession, url: str, hello: dict[str, Any]) -> None:
        self._session = session
        self.url = url
        self.hello = hello

    async def get(self, what: str, number: int, index: int = 0, query: str = "", **headers: str) -> tuple[int, Any, bytes]:
        url = f"{self.url}{what}/{self.hello['key']}/{number}/{index}{query}"
        async with self._session.get(url, headers=headers) as answer:
            return answer.status, answer.headers, await answer.read()

    async def act(self, body: object, **headers: str) -> tuple[int, str]:
        named = {"Authorization": f"Bearer {TOKEN}", "Origin": self.url.rstrip("/")} | headers
        async with self._session.post(f"{self.url}act", json=body, headers=named) as answer:
            return answer.status, (await answer.json())["text"]

    async def do(self, action: str, number: int) -> tuple[int, str]:
        return await self.act({"action": action, "number": number, "boot": self.hello["boot"]})


@asynccontextmanager
async def browser_of(dashboard: Dashboard) -> AsyncIterator[Browser]:
    async with dashboard.serve() as link, aiohttp.ClientSession(auto_decompress=False) as session:
        url = link.partition("#")[0]
        async with listening(url) as heard:
            await heard.until(lambda heard: heard.of("hello"))
        yield Browser(session, url, heard.of("hello")[0])


@dataclass
class Scene:
    """The service, a client, the job with the number 1 that ended, and a browser that looks at it."""

    service: Simulator
    client: AsyncClient
    job: Job
    dashboard: Dashboard
    browser: Browser


@asynccontextmanager
async def shown(kind: str = "video", *jobs: Job, **options: Any) -> AsyncIterator[Scene]:  # noqa: ANN401 - those of Dashboard
    async with Simulator(seed=3) as service, AsyncClient(service.token, base_url=service.url) as client:
        [job_id] = service.seed_jobs(kind=kind, age=600, fate="success", media=1)
        job = await client.get_job(job_id)
        dashboard = Dashboard(Told(), client, token=TOKEN, **options)
        dashboard.take(*(Ended(each) for each in (job, *jobs)))
        async with browser_of(dashboard) as browser:
            yield Scene(service, client, job, dashboard, browser)


@pytest.mark.parametrize(("kind", "media_type"), [("video", "video/mp4"), ("image", "image/png"), ("music", "audio/mp4")])
async def test_a_file_comes_whole_and_in_parts(kind: str, media_type: str) -> None:
    async with shown(kind) as scene:
        browser, truth = scene.browser, scene.service.media(scene.job.job_id)[0]
        status, headers, content = await browser.get("file", 1)
        assert (status, headers["Content-Type"], len(content)) == (200, media_type, truth.size)
        status, headers, part = await browser.get("file", 1, Range="bytes=10-19")
        assert (status, part) == (206, content[10:20])
        assert headers["Content-Range"] == f"bytes 10-19/{len(content)}"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        status, _, _ = await browser.get("file", 1, Range=f"bytes={len(content)}-")
        assert status == 416
        status, headers, _ = await browser.get("picture", 1)
        assert (status, headers["Content-Type"]) == (200, "image/png")
        status, headers, _ = await browser.get("file", 1, query="?save")
        assert headers["Content-Disposition"].startswith('attachment; filename="')
        assert "@" not in headers["Content-Disposition"]


async def test_no_credential_of_ours_or_of_the_browser_goes_to_a_media_host() -> None:
    async with shown() as scene:
        for what in ("file", "picture"):
            answer = await scene.browser.get(what, 1, Range="bytes=0-", Authorization=f"Bearer {TOKEN}", Cookie="a=b")
            assert answer[0] == 206
        assert scene.service.stats().by_kind["media"] == 2
        assert scene.service.stats().tokens_at_media == 0


async def test_only_the_key_of_the_page_opens_files() -> None:
    async with shown() as scene:
        scene.browser.hello["key"] = "0" * 32
        assert (await scene.browser.get("file", 1))[0] == 403


@pytest.mark.parametrize(("number", "index"), [(2, 0), (1, 1), (1, 99), (10**11, 0)])
async def test_a_file_that_is_not_there_is_not_found(number: int, index: int) -> None:
    async with shown() as scene:
        assert (await scene.browser.get("file", number, index))[0] == 404


@pytest.mark.parametrize(
    ("trick", "status", "media_type"),
    [
        ("html", 200, "application/octet-stream"),
        ("picture", 200, "image/png"),
        ("redirect", 206, "video/mp4"),
        ("evil_name", 206, "video/mp4"),
        ("refused_range", 416, "video/mp4"),
        ("unnamed_length", 200, "video/mp4"),
        ("busy", 502, "application/json"),
        ("teapot", 502, "application/json"),
        ("redirect_loop", 502, "application/json"),
        ("redirect_private", 502, "application/json"),
        ("redirect_metadata", 502, "application/json"),
        ("redirect_file", 502, "application/json"),
        ("reset", 502, "application/json"),
        ("expired", 206, "video/mp4"),
        ("gone", 206, "video/mp4"),
        ("missing", 206, "video/mp4"),
    ],
)
async def test_whatever_a_media_host_does_stays_a_file_or_a_refusal(trick: str, status: int, media_type: str) -> None:
    """Where a link has run out a fresh one is asked for, and the browser does not notice."""
    async with shown() as scene:
        scene.service.trick_media(scene.job.job_id, [trick] * (1 if status == 206 else 9))
        answer, headers, body = await scene.browser.get("file", 1, Range="bytes=0-")
        assert (answer, headers["Content-Type"].partition(";")[0]) == (status, media_type)
        assert "evil" not in str(headers)
        assert "Set-Cookie" not in headers
        if status == 502:
            assert b"Signature" not in body
            assert b"10.0.0.1" not in body


@pytest.mark.parametrize("trick", ["truncate", "reset_midway"])
async def test_a_file_that_breaks_off_is_seen_to_be_broken(trick: str) -> None:
    async with shown() as scene:
        scene.service.trick_media(scene.job.job_id, [trick] * 9)
        with pytest.raises(aiohttp.ClientError):
            await scene.browser.get("file", 1)
        scene.service.trick_media(scene.job.job_id, ["right"])
        assert (await scene.browser.get("file", 1))[0] == 200


async def test_a_link_that_is_known_to_have_run_out_is_not_even_tried() -> None:
    async with shown(wall_clock=lambda: START + timedelta(days=9999)) as scene:
        assert (await scene.browser.get("file", 1))[0] == 200
        assert scene.service.stats().by_kind["media"] == 1
        assert scene.service.stats().by_kind["asset"] == 1


async def test_a_link_that_cannot_be_had_again_says_so() -> None:
    links = ("http://127.0.0.1:9/x?Signature=s3cret", "http://127.0.0.1:9/t?Signature=s3cret")
    gone = done(1, Media("video", "ok", *links, expires_at=START - timedelta(days=1)))
    unknown = done(2, Media("video", "ok", *links, expires_at=START, asset_id="user:1-email:00-video:x"))
    async with shown("video", gone, unknown) as scene:
        for number in (2, 3):
            status, _, body = await scene.browser.get("file", number)
            assert (status, body) == (502, b'{"text":"the link has run out"}')
        status, _, body = await scene.browser.get("picture", 2)
        assert (status, body) == (502, b'{"text":"the file cannot be had: transport"}')


async def test_links_that_are_no_longer_kept_are_read_again() -> None:
    async with shown() as scene:
        scene.dashboard.model._unshelve(1)
        reads = scene.service.stats().by_kind["read"]
        for _ in range(2):
            assert (await scene.browser.get("file", 1))[0] == 200
        assert scene.service.stats().by_kind["read"] == reads + 1
        scene.dashboard.model._unshelve(1)
        scene.service.play(scene.job.job_id, [Answer(404, body=b'{"error":"Job not found"}')])
        status, _, body = await scene.browser.get("file", 1)
        assert (status, body) == (502, b'{"text":"the job cannot be read: not_found"}')


async def test_inline_pictures_come_whole_and_in_parts_without_a_client() -> None:
    picture = png("a picture")
    dashboard = Dashboard(Told(), token=TOKEN)
    files = [Media("image", "ok", encoded=b64encode(content).decode()) for content in (picture, b"\xff\xd8\xff1", b"<svg/>")]
    dashboard.take(Ended(done(1, *files, video())))
    async with browser_of(dashboard) as browser:
        status, headers, content = await browser.get("picture", 1)
        assert (status, headers["Content-Type"], content) == (200, "image/png", picture)
        assert (await browser.get("file", 1, 1))[1]["Content-Type"] == "image/jpeg"
        assert (await browser.get("file", 1, 2))[1]["Content-Type"] == "application/octet-stream"
        for asked, status, part in (("bytes=4-7", 206, picture[4:8]), ("bytes=4-", 206, picture[4:]), ("bytes=99999-", 416, b"")):
            answer, headers, content = await browser.get("file", 1, Range=asked)
            assert (answer, content) == (status, part)
            assert headers["Content-Range"].endswith(f"/{len(picture)}")
        assert (await browser.get("file", 1, 3))[0] == 404
        dashboard.model._unshelve(1)
        assert (await browser.get("file", 1))[0] == 404


async def test_what_the_source_still_has_is_taken_from_there() -> None:
    job = done(1, Media("image", "ok", encoded=b64encode(png("a picture")).decode()))
    source = Told(jobs={job.job_id: job})
    dashboard = Dashboard(source, token=TOKEN)
    dashboard.take(Ended(job))
    dashboard.model._unshelve(1)
    async with browser_of(dashboard) as browser:
        assert (await browser.get("file", 1))[0] == 200


# -- actions -----------------------------------------------------------------------------------------------------------------


async def test_a_page_may_only_look_unless_told_otherwise() -> None:
    async with shown() as scene:
        assert scene.browser.hello["actions"] == []
        for action in ("cancel", "download"):
            assert (await scene.browser.do(action, 1))[0] == 403


async def test_files_are_saved_where_the_watch_is(tmp_path: Path) -> None:
    async with shown(actions=True, folder=tmp_path / "here") as scene:
        assert scene.browser.hello["actions"] == ["cancel", "download"]
        assert await scene.browser.do("download", 1) == (200, "1 file saved on the machine that watches.")
        [path] = [path for path in (tmp_path / "here").iterdir() if path.is_file() and not path.name.startswith(".")]
        assert path.stat().st_size == scene.service.media(scene.job.job_id)[0].size
        scene.service.trick_media(scene.job.job_id, ["teapot"] * 20)
        path.unlink()
        status, text = await scene.browser.do("download", 1)
        assert status == 502
        assert "http" not in text


async def test_songs_can_be_cancelled_and_videos_cannot() -> None:
    async with shown(actions=True) as scene:
        [job_id] = scene.service.seed_jobs(kind="music")
        scene.dashboard.take(Changed(await scene.client.get_job(job_id)))
        assert await scene.browser.do("cancel", 2) == (200, "Cancelled. Its credits are spent all the same.")
        assert (await scene.client.get_job(job_id)).failure is not None
        scene.dashboard.take(Changed(running(9)), Changed(song(9)))
        assert (await scene.browser.do("cancel", 3))[0] == 409
        status, text = await scene.browser.do("cancel", 4)
        assert status == 502
        assert "jo-ann" not in text


async def test_nothing_is_done_for_strangers_or_for_nonsense() -> None:
    async with shown(actions=True) as scene:
        browser, boot = scene.browser, scene.browser.hello["boot"]
        good = {"action": "cancel", "number": 1, "boot": boot}
        cases: list[tuple[object, dict[str, str], int]] = [
            (good, {"Authorization": "Bearer wrong"}, 403),
            (good, {"Origin": "http://evil.example.net"}, 403),
            (good, {"Origin": "null"}, 403),
            (good, {"Host": "evil.example.net"}, 403),
            (good, {"Sec-Fetch-Site": "cross-site"}, 403),
            (good | {"boot": "0"}, {}, 404),
            (good | {"number": 99}, {}, 404),
            (good | {"action": "submit"}, {}, 403),
            (good | {"number": "1"}, {}, 400),
            ([], {}, 400),
            ("x" * 20_000, {}, 400),
        ]
        for body, headers, status in cases:
            assert (await browser.act(body, **headers))[0] == status, (body, headers)
        async with aiohttp.ClientSession() as session:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            async with session.post(f"{browser.url}act", json=good, headers=headers) as answer:
                assert answer.status == 403
        assert scene.service.stats().by_kind.get("cancel", 0) == 0

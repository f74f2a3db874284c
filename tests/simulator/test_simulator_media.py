import base64
import hashlib
from typing import Any

import aiohttp
import pytest
from yarl import URL

from asyncflow.simulator import ManualClock, Simulator

Call = Any  # the fixtures `call` and `read` of conftest.py


async def links_of(read: Call, job_id: str) -> list[str]:
    record = (await read(job_id))[1]
    if "clips" in record:
        return [clip["audio_url"] for clip in record["clips"]]
    return [media.get("videoUrl") or media["image"]["generatedImage"]["fifeUrl"] for media in record["response"]["media"]]


@pytest.mark.asyncio
@pytest.mark.parametrize(("kind", "content_type"), [("video", "video/mp4"), ("image", "image/png"), ("music", "audio/mp4")])
async def test_links_lead_to_the_files_that_the_truth_tells(
    simulator: Simulator, read: Call, kind: str, content_type: str
) -> None:
    (job_id,) = simulator.seed_jobs(kind=kind, age=1000, media=2)
    truths = simulator.media(job_id)
    assert len(truths) == 2
    async with aiohttp.ClientSession() as anonymous:
        for link, truth in zip(await links_of(read, job_id), truths, strict=True):
            async with anonymous.get(URL(link, encoded=True)) as answer:
                content = await answer.read()
                assert (answer.status, answer.content_type, truth.content_type) == (200, content_type, content_type)
            assert (len(content), hashlib.sha256(content).hexdigest()) == (truth.size, truth.sha256)
    assert truths[0].sha256 != truths[1].sha256
    assert simulator.stats().tokens_at_media == 0


@pytest.mark.asyncio
async def test_only_good_media_of_ended_jobs_are_true(simulator: Simulator, clock: ManualClock) -> None:
    running, failed, partial = (simulator.seed_jobs(fate=fate, media=2)[0] for fate in ("endless", "failed", "partial"))
    clock.advance(1000)
    assert [len(simulator.media(job_id)) for job_id in (running, failed, partial)] == [0, 0, 1]


@pytest.mark.asyncio
async def test_a_link_ends_and_a_token_is_noticed(simulator: Simulator, call: Call, read: Call, clock: ManualClock) -> None:
    (job_id,) = simulator.seed_jobs(duration=10)
    clock.advance(10)
    (link,) = await links_of(read, job_id)
    path = link.removeprefix(simulator.url)
    clock.advance(21_599)
    assert (await call("GET", path))[0] == 200
    clock.advance(2)
    status, body = await call("GET", path)
    assert (status, b"ExpiredToken" in body) == (403, True)
    assert (await call("GET", path.partition("?")[0]))[0] == 403
    assert (await call("GET", "/content/video/nothing"))[0] == 404
    assert simulator.stats().tokens_at_media == 4


@pytest.mark.asyncio
async def test_ranges_are_served(simulator: Simulator, http: aiohttp.ClientSession, read: Call) -> None:
    (job_id,) = simulator.seed_jobs(kind="music", age=1000)
    url = (await links_of(read, job_id))[0]

    async def get(**headers: str) -> tuple[int, str | None, bytes]:
        async with http.get(url, headers={name.replace("_", "-"): value for name, value in headers.items()}) as answer:
            return answer.status, answer.headers.get("Content-Range"), await answer.read()

    async with http.get(url) as answer:
        whole, tag = await answer.read(), answer.headers["ETag"]
    size = len(whole)
    assert await get(Range="bytes=10-19") == (206, f"bytes 10-19/{size}", whole[10:20])
    assert await get(Range="bytes=10-") == (206, f"bytes 10-{size - 1}/{size}", whole[10:])
    assert await get(Range="bytes=-7") == (206, f"bytes {size - 7}-{size - 1}/{size}", whole[-7:])
    assert await get(Range=f"bytes={size}-") == (416, f"bytes */{size}", b"")
    assert await get(Range="bytes=5-", If_Range=tag) == (206, f"bytes 5-{size - 1}/{size}", whole[5:])
    assert await get(Range="bytes=5-", If_Range='"other"') == (200, None, whole)
    assert await get(Range="lines=1-2") == (200, None, whole)
    assert await get(Range="bytes=-") == (200, None, whole)
    assert await get(If_None_Match=tag) == (304, None, b"")
    async with http.head(url) as answer:
        assert (answer.status, answer.headers["Content-Length"], await answer.read()) == (200, str(size), b"")


@pytest.mark.asyncio
async def test_songs_have_sounds_and_covers(simulator: Simulator, call: Call, read: Call) -> None:
    (job_id,) = simulator.seed_jobs(kind="music", age=1000)
    clip = (await read(job_id))[1]["clips"][0]
    assert (await call("GET", clip["wav_url"].removeprefix(simulator.url)))[1].startswith(b"RIFF")
    assert (await call("GET", clip["image_url"].removeprefix(simulator.url)))[1].startswith(b"\x89PNG")


@pytest.mark.asyncio
async def test_media_may_have_an_origin_and_a_size_of_their_own() -> None:
    async with Simulator(separate_media=True, media_size=100_000, inline_images=1.0) as simulator:
        video, image = simulator.seed_jobs(age=1000)[0], simulator.seed_jobs(kind="image", age=1000)[0]
        headers = {"Authorization": f"Bearer {simulator.token}"}
        async with aiohttp.ClientSession() as session:
            async with session.get(URL(f"{simulator.url}/v1/google-flow/jobs/{video}", encoded=True), headers=headers) as answer:
                link = URL((await answer.json())["response"]["media"][0]["videoUrl"], encoded=True)
            assert link.origin() != URL(simulator.url)
            async with session.get(link) as answer:
                assert len(await answer.read()) == 100_000
            async with session.get(URL(f"{simulator.url}/v1/google-flow/jobs/{image}", encoded=True), headers=headers) as answer:
                inline = base64.b64decode(
                    (await answer.json())["response"]["media"][0]["image"]["generatedImage"]["encodedImage"]
                )
        assert simulator.media(video)[0].size == 100_000
        assert simulator.media(image)[0].sha256 == hashlib.sha256(inline).hexdigest()

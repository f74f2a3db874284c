import asyncio
import base64
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from yarl import URL

from asyncflow.simulator import ManualClock, Simulator

pytestmark = pytest.mark.asyncio
Json = Any  # what a service says has any shape
Call = Any  # the fixtures `call` and `read` of conftest.py
FLOW = "/v1/google-flow"
MUSIC = "/v1/flowmusic"


async def test_a_job_is_read_from_created_to_completed(simulator: Simulator, clock: ManualClock, read: Call) -> None:
    (job_id,) = simulator.seed_jobs(duration=100)
    statuses = []
    for _ in range(3):
        status, record = await read(job_id)
        assert (status, record["jobid"]) == (200, job_id)
        statuses.append(record["status"])
        clock.advance(50)
    assert statuses == ["created", "started", "completed"]


async def test_a_song_is_read_encoded_or_raw(simulator: Simulator, clock: ManualClock, read: Call, call: Call) -> None:
    (job_id,) = simulator.seed_jobs(kind="music")
    assert (await read(job_id))[1]["status"] == "pending"
    clock.advance(300)
    status, record = await call("GET", f"{MUSIC}/jobs/{job_id}")
    assert (status, record["status"]) == (200, "completed")


@pytest.mark.parametrize("encoded", ["%3A", "%3a", "%40"])
async def test_an_encoded_google_flow_id_is_refused(simulator: Simulator, call: Call, encoded: str) -> None:
    (job_id,) = simulator.seed_jobs()
    path = job_id.replace("@" if encoded == "%40" else ":", encoded)
    assert await call("GET", f"{FLOW}/jobs/{path}") == (400, {"error": "Invalid job ID format", "code": 400})


async def test_other_escapes_in_an_id_are_read(simulator: Simulator, call: Call) -> None:
    job_id = simulator.seed_jobs(email="jo-ann+flow@example.com")[0]
    assert (await call("GET", f"{FLOW}/jobs/{job_id.replace('+', '%2B')}"))[0] == 200


async def test_refusals_have_their_documented_bodies(simulator: Simulator, read: Call, call: Call) -> None:
    foreign, song = simulator.seed_jobs(foreign=True)[0], simulator.seed_jobs(kind="music", foreign=True)[0]
    old, old_song = simulator.seed_jobs(age=8 * 86_400)[0], simulator.seed_jobs(kind="music", age=8 * 86_400)[0]
    unknown = foreign.replace("j", "j9", 1)
    assert await read(foreign) == (403, {"error": "Access denied - job belongs to different user"})
    assert (await read(song))[0] == 403
    assert await read(old) == (410, {"error": "Job has expired"})
    assert (await read(old_song))[0] == 404
    assert await read(unknown) == (404, {"error": "Job not found"})
    assert await call("GET", f"{FLOW}/jobs/nonsense") == (400, {"error": "Invalid job ID format", "code": 400})
    assert (await call("GET", f"{MUSIC}/jobs/nonsense"))[0] == 404
    assert (await call("PUT", f"{MUSIC}/jobs/nonsense"))[0] == 404


async def test_a_wrong_token_is_refused(simulator: Simulator) -> None:
    (job_id,) = simulator.seed_jobs()
    async with aiohttp.ClientSession() as stranger:
        for headers in ({}, {"Authorization": "Bearer user:1234-wrong"}):
            async with stranger.get(URL(f"{simulator.url}{FLOW}/jobs/{job_id}", encoded=True), headers=headers) as answer:
                assert (answer.status, await answer.json()) == (401, {"error": "Unauthorized"})
        async with stranger.get(f"{simulator.url}{MUSIC}/jobs") as answer:
            assert (answer.status, await answer.json()) == (401, {"error": "Unauthorized", "code": 401})


async def test_the_edge_refuses_an_unnamed_library(simulator: Simulator, read: Call) -> None:
    (job_id,) = simulator.seed_jobs()
    assert await read(job_id, headers={"User-Agent": "Python-urllib/3.11"}) == (403, b"error code: 1010")


async def test_a_dead_account_answers_596(simulator: Simulator, read: Call, call: Call) -> None:
    email = "ada.lind@example.com"
    jobs = [simulator.seed_jobs(kind=kind, email=email)[0] for kind in ("video", "music")]
    simulator.faults.broken_accounts.append(email)
    status, body = await read(jobs[0])
    assert (status, body["code"]) == (596, 596)
    assert "ad***@example.com" in body["error"]
    assert (await read(jobs[1]))[0] == 596
    fields = {"prompt": "a", "email": email, "async": True}
    assert (await call("POST", f"{FLOW}/videos", json=fields))[0] == 596
    assert (await call("POST", f"{MUSIC}/music", json={"prompt": "a", "email": email}))[0] == 596


async def test_paths_that_are_not_there_have_a_hint(call: Call) -> None:
    status, body = await call("GET", "/v1/google-flow/nothing")
    assert (status, body["error"], "llm_docs" in body["hint"]) == (404, "Endpoint not found", True)
    assert (await call("GET", f"{FLOW}/images"))[0] == 400
    assert (await call("GET", f"{FLOW}/assets"))[0] == 405


async def test_an_asynchronous_video_is_201_with_pending_operations(call: Call, read: Call, clock: ManualClock) -> None:
    fields = {"prompt": "a pear", "count": 2, "async": True, "replyRef": "r-7", "aspectRatio": "portrait"}
    status, created = await call("POST", f"{FLOW}/videos", json=fields)
    assert (status, created["status"], created["request"]["replyRef"]) == (201, "created", "r-7")
    assert [item["status"] for item in created["response"]["operations"]] == ["MEDIA_GENERATION_STATUS_PENDING"] * 2
    clock.advance(1000)
    record = (await read(created["jobid"]))[1]
    assert len(record["response"]["media"]) == 2
    assert record["request"]["replyRef"] == "r-7"


async def test_extending_and_upscaling_answer_with_captcha_only(
    call: Call, simulator: Simulator, clock: ManualClock, read: Call
) -> None:
    (job_id,) = simulator.seed_jobs(age=1000)
    asset = (await read(job_id))[1]["response"]["media"][0]["mediaGenerationId"]
    fields = {"mediaGenerationId": asset, "async": True}
    status, upscale = await call("POST", f"{FLOW}/videos/upscale", json={**fields, "resolution": "1080p"})
    assert (status, set(upscale["response"]), "attempts" in upscale["response"]["captcha"]) == (201, {"captcha"}, False)
    status, extension = await call("POST", f"{FLOW}/videos/extend", json={**fields, "prompt": "on"})
    assert (status, set(extension["response"])) == (201, {"captcha"})
    clock.advance(1000)
    media = (await read(upscale["jobid"]))[1]["response"]["media"][0]
    assert media["video"]["dimensions"]["length"] == "0s"
    assert (await call("GET", f"{FLOW}/assets/{media['mediaGenerationId']}"))[0] == 200


async def _until_waiting(call: Call) -> None:
    """Return when the simulator has made the job and waits for its end."""
    async with asyncio.timeout(5):
        while (await call("GET", "/_simulator/stats"))[1]["jobs"] == 0:
            pass


async def test_a_synchronous_creation_waits_for_the_end(call: Call, simulator: Simulator, clock: ManualClock, read: Call) -> None:
    for path, fields in ((f"{FLOW}/videos", {"prompt": "a"}), (f"{FLOW}/images", {"prompt": "a"})):
        await simulator.reset()
        async with asyncio.TaskGroup() as group:
            posting = group.create_task(call("POST", path, json=fields))
            await _until_waiting(call)
            clock.advance(599)
        status, body = posting.result()
        assert status == 200
        assert "status" not in body
        assert (await read(body["jobId"]))[1]["response"]["media"] == body["media"]


async def test_a_synchronous_creation_may_outlast_its_wait(call: Call, clock: ManualClock, read: Call) -> None:
    async with asyncio.TaskGroup() as group:
        posting = group.create_task(call("POST", f"{FLOW}/videos", json={"prompt": "long #endless"}))
        await _until_waiting(call)
        clock.advance(600)
    status, body = posting.result()
    assert (status, body["error"]) == (408, "Polling timeout")
    assert (await read(body["jobId"]))[1]["status"] == "started"


async def test_a_synchronous_creation_may_fail(call: Call, clock: ManualClock) -> None:
    async with asyncio.TaskGroup() as group:
        posting = group.create_task(call("POST", f"{FLOW}/images", json={"prompt": "#failed"}))
        await _until_waiting(call)
        clock.advance(600)
    status, body = posting.result()
    assert (status, body["code"]) == (400, 400)
    assert body["error"]["details"][0]["reason"].startswith("PUBLIC_ERROR_")


@pytest.mark.parametrize(
    ("path", "fields", "status", "error"),
    [
        ("videos", {"prompt": "a", "n": 1}, 400, "Parameter n not supported"),
        ("images", {"prompt": "a", "async": True}, 400, "Parameter async not supported"),
        ("videos", {}, 400, "Parameter prompt is required"),
        ("videos", {"prompt": "a", "count": 9}, 400, "Parameter count must be between 1 and 4"),
        (
            "videos",
            {"prompt": "a", "aspectRatio": "round"},
            400,
            "Parameter aspectRatio must be one of landscape, portrait, square",
        ),
        ("videos", {"prompt": "a", "model": 1}, 400, "Parameter model must be a string"),
        ("videos", {"prompt": "a", "email": "x@example.com"}, 404, "Google Flow account x@example.com not found"),
        ("videos", {"prompt": "a", "replyUrl": "h" * 3000}, 400, "replyUrl is too long"),
        ("videos/upscale", {"mediaGenerationId": "x"}, 400, "Invalid mediaGenerationId format: x"),
        ("videos/gif", {"mediaGenerationId": "x"}, 400, "Invalid mediaGenerationId format: x"),
        ("videos/concatenate", {"media": ["x"]}, 400, "Parameter media must hold 2 to 10 items"),
    ],
)
async def test_bad_creations_are_refused(call: Call, path: str, fields: dict[str, object], status: int, error: str) -> None:
    assert await call("POST", f"{FLOW}/{path}", json=fields) == (status, {"error": error, "code": status})


async def test_a_body_that_is_no_object_is_refused(call: Call) -> None:
    for body in (b"", b"[1]", b"{", b"\xff"):
        assert (await call("POST", f"{FLOW}/videos", data=body))[0] == 400


async def test_gifs_pictures_and_joined_videos_come_inline(call: Call, read: Call) -> None:
    asset = {"mediaGenerationId": "user:1-email:61-video:x"}
    gif = (await call("POST", f"{FLOW}/videos/gif", json=asset))[1]["encodedGif"]
    assert base64.b64decode(gif).startswith(b"GIF89a")
    picture = (await call("POST", f"{FLOW}/images/upscale", json=asset))[1]["encodedImage"]
    assert base64.b64decode(picture).startswith(b"\x89PNG")
    status, joined = await call("POST", f"{FLOW}/videos/concatenate", json={"media": ["a", "b", "c"]})
    assert (status, joined["inputsCount"]) == (200, 3)
    assert base64.b64decode(joined["encodedVideo"])[4:8] == b"ftyp"
    record = (await read(joined["jobId"]))[1]
    assert (record["status"], record["response"]["encodedVideo"]) == ("completed", joined["encodedVideo"])


async def test_statistics_count_by_account(simulator: Simulator, call: Call, clock: ManualClock) -> None:
    for kind, fate in (
        ("video", "success"),
        ("video", "failed"),
        ("video", "endless"),
        ("image", "success"),
        ("music", "success"),
    ):
        simulator.seed_jobs(kind=kind, fate=fate, email="ada.lind@example.com")
    simulator.seed_jobs(foreign=True)
    clock.advance(700)
    status, body = await call("GET", f"{FLOW}/jobs/?options=summary")
    summary = body["videos"]["summary"]["ada.lind@example.com"]
    assert (status, body["emails"]) == (200, ["ada.lind@example.com"])
    assert (summary["executing"], summary["completed"], summary["failed"]) == (1, 1, 1)
    executing = (await call("GET", f"{FLOW}/jobs?options=executing"))[1]["combined"]["executing"]
    assert [entry["elapsed"] for entry in executing.values()] == ["11:40"]
    history = (await call("GET", f"{FLOW}/jobs/?options=history"))[1]
    assert sorted(entry["httpStatus"] for entry in history["combined"]["history"].values()) == [200, 200, 400]
    assert len(history["images"]["history"]) == 1
    assert (await call("GET", f"{FLOW}/jobs/?options=all"))[0] == 400
    clock.advance(3000)
    assert (await call("GET", f"{FLOW}/jobs/?options=history"))[1]["combined"]["history"] == {}


async def test_statistics_of_nothing_are_empty(call: Call) -> None:
    empty: Json = {"summary": {}}
    assert (await call("GET", f"{FLOW}/jobs/"))[1] == {"emails": [], "videos": empty, "images": empty, "combined": empty}
    assert await call("GET", f"{MUSIC}/jobs") == (200, {})


async def test_assets_give_fresh_links(simulator: Simulator, call: Call, clock: ManualClock, read: Call) -> None:
    job_id = simulator.seed_jobs(fate="unlinked", duration=10)[0]
    clock.advance(5)
    started = simulator.seed_jobs(age=1000, foreign=True)[0]
    clock.advance(5)
    asset = (await read(job_id))[1]["response"]["media"][0]["mediaGenerationId"]
    status, body = await call("GET", f"{FLOW}/assets/{asset}")
    assert (status, body["mediaGenerationId"]) == (200, asset)
    assert (await call("GET", body["url"].removeprefix(simulator.url)))[1][4:8] == b"ftyp"
    assert (await call("GET", f"{FLOW}/assets/{quote(asset, safe='')}"))[0] == 200
    assert (await call("GET", f"{FLOW}/assets/{asset}?raw=true"))[1][4:8] == b"ftyp"
    assert (await call("GET", f"{FLOW}/assets/not-an-id"))[1] == {"error": "Invalid mediaGenerationId format: not-an-id"}
    missing = asset[:-4] + "0009"
    for wrong in (missing, "user:1-email:61-video:zz", asset.replace("-video:", "-image:")):
        assert (await call("GET", f"{FLOW}/assets/{wrong}"))[0] == 404
    assert simulator.truth()[1].job_id == started
    foreign = asset.replace(asset.rpartition(":")[2], _first_media(simulator, 1))
    assert (await call("GET", f"{FLOW}/assets/{foreign}"))[0] == 403


def _first_media(simulator: Simulator, number: int) -> str:
    from asyncflow.simulator.identity import media_name  # noqa: PLC0415 - only here

    return media_name(simulator._running().book.jobs[number].facts, 0)


async def test_a_picture_asset_comes_raw_too(simulator: Simulator, call: Call, read: Call) -> None:
    (job_id,) = simulator.seed_jobs(kind="image", age=1000)
    asset = (await read(job_id))[1]["response"]["media"][0]["image"]["generatedImage"]["mediaGenerationId"]
    assert (await call("GET", f"{FLOW}/assets/{asset}?raw=true"))[1].startswith(b"\x89PNG")


async def test_music_is_created_asynchronously(call: Call, read: Call, clock: ManualClock) -> None:
    status, created = await call("POST", f"{MUSIC}/music", json={"prompt": "waltz", "mode": "async", "replyRef": "c-1"})
    assert (status, created["status"], created["request"]["replyRef"]) == (201, "pending", "c-1")
    listed = (await call("GET", f"{MUSIC}/jobs"))[1]
    (account,) = listed.values()
    assert (account["running"], account["maxJobs"], account["jobs"][0]["jobid"]) == (1, 16, created["jobid"])
    clock.advance(300)
    assert (await read(created["jobid"]))[1]["status"] == "completed"
    assert await call("GET", f"{MUSIC}/jobs") == (200, {})


async def test_music_is_created_synchronously(call: Call, clock: ManualClock) -> None:
    async with asyncio.TaskGroup() as group:
        posting = group.create_task(call("POST", f"{MUSIC}/music", json={"prompt": "waltz"}))
        await _until_waiting(call)
        clock.advance(300)
    status, body = posting.result()
    assert (status, body["status"], len(body["clips"])) == (200, "completed", 2)


async def test_songs_are_edited_and_split(call: Call, simulator: Simulator, read: Call, clock: ManualClock) -> None:
    (job_id,) = simulator.seed_jobs(kind="music", age=1000)
    clip = (await read(job_id))[1]["clips"][0]["clip"]
    status, created = await call("POST", f"{MUSIC}/music/edit", json={"operation": "cover", "clip": clip, "mode": "async"})
    assert (status, created["operation"]) == (201, "cover")
    assert next(iter((await call("GET", f"{MUSIC}/jobs"))[1].values()))["jobs"][0]["operation"] == "cover"
    status, stems = await call("POST", f"{MUSIC}/music/edit", json={"operation": "stems", "clip": clip, "mode": "async"})
    assert (status, len(stems["stems"])) == (200, 4)
    assert (await call("POST", f"{MUSIC}/music/edit", json={"operation": "stems", "clip": "x"}))[0] == 404
    assert (await call("POST", f"{MUSIC}/music/edit", json={"operation": "mashup", "clip": clip}))[0] == 400
    clock.advance(300)
    assert (await read(created["jobid"]))[1]["operation"] == "cover"


async def test_songs_are_downloaded_by_clip_or_job(call: Call, simulator: Simulator, read: Call) -> None:
    (job_id,) = simulator.seed_jobs(kind="music", age=1000)
    clip = (await read(job_id))[1]["clips"][0]["clip"]
    for query in (f"clip={quote(clip)}", f"jobid={quote(job_id)}"):
        status, body = await call("GET", f"{MUSIC}/music/download?{query}")
        assert (status, body[4:8]) == (200, b"ftyp")
    assert (await call("GET", f"{MUSIC}/music/download?clip=user:1-x-clip:y"))[0] == 404
    assert (await call("GET", f"{MUSIC}/music/download"))[0] == 404


async def test_busy_accounts_are_429(call: Call, simulator: Simulator) -> None:
    simulator.seed_jobs(160, kind="music", fate="endless")
    status, body = await call("POST", f"{MUSIC}/music", json={"prompt": "waltz", "mode": "async"})
    assert (status, body["error"]) == (429, "All accounts are busy")
    assert (await call("POST", f"{MUSIC}/music", json={"prompt": "a", "email": "x@example.com"}))[0] == 404
    assert (await call("POST", f"{MUSIC}/music", json={"prompt": "a", "mode": "soon"}))[0] == 400


async def test_cancelling_frees_the_slot_and_fails_the_job(
    call: Call, simulator: Simulator, read: Call, clock: ManualClock
) -> None:
    (job_id,) = simulator.seed_jobs(kind="music")
    path = f"{MUSIC}/jobs/{quote(job_id, safe='')}"
    clock.advance(10)
    assert await call("DELETE", path) == (204, b"")
    record = (await read(job_id))[1]
    assert (record["status"], record["error"]["code"], record["duration_ms"]) == ("failed", "user_cancelled", 10_000)
    assert await call("DELETE", path) == (204, b"")
    assert await call("GET", f"{MUSIC}/jobs") == (200, {})
    assert (await call("DELETE", f"{MUSIC}/jobs/none"))[0] == 404
    foreign = simulator.seed_jobs(kind="music", foreign=True)[0]
    assert (await call("DELETE", f"{MUSIC}/jobs/{foreign}"))[0] == 403


async def test_an_endless_song_outlives_its_creator_until_the_end(call: Call, simulator: Simulator) -> None:
    async with asyncio.TaskGroup() as group:
        posting = group.create_task(call("POST", f"{MUSIC}/music", json={"prompt": "#endless"}))
        await _until_waiting(call)
        await simulator.aclose()
    assert posting.result()[0] == 503

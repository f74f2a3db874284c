"""Google Flow's shapes, beyond those of the conformance cases."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from samples import Case, body_of, records

from asyncflow.errors import DecodeError
from asyncflow.records import FlowJob, Media
from asyncflow.services.google_flow.records import decode, kind_of

VIDEO = "https://flow-content.google/video/x?Expires=1793900000"


def job(**fields: object) -> FlowJob:
    """Return the job of a completed record with these fields, read through both paths alike."""
    record: dict[str, object] = {"jobid": "j1v-", "status": "completed"} | fields
    fast = decode(json.dumps(record).encode())
    tolerant = decode(json.dumps(record | {"response_": "\ud800"}).encode())
    assert (fast.media, fast.failure, fast.outcome) == (tolerant.media, tolerant.failure, tolerant.outcome)
    return fast


def media(*entries: object) -> tuple[Media, ...]:
    return job(response={"media": list(entries)}).media


@pytest.mark.parametrize("of", records("google-flow"), ids=lambda of: of.name)
def test_tolerant_path_reads_the_same_as_the_fast_one(of: Case) -> None:
    if not of.body.startswith(b"{"):
        pytest.fail("a record that is no object belongs into a test of its own") if of.name != "127-gf-array-wrapper" else None
    fast = decode(of.body, of.asked_id, is_result=of.http_status == 200)
    tolerant = decode(b"[" + of.body.strip(b"[]") + b"]", of.asked_id, is_result=of.http_status == 200)
    for name in FlowJob.__struct_fields__:
        if name != "record":
            assert getattr(tolerant, name) == getattr(fast, name)
    assert json.loads(tolerant.raw) == json.loads(fast.raw)


def test_completed_video_has_everything() -> None:
    found = decode(body_of(3))
    assert (found.kind, found.model, found.is_terminal, found.duration) == ("video", "veo-3.1-lite", True, 108.559)
    assert found.completed_at == found.updated_at == datetime(2026, 11, 4, 9, 32, 1, 7000, tzinfo=UTC)
    [video] = found.media
    assert (video.kind, video.state, video.seed, video.duration) == ("video", "ok", 71001, 8.0)
    assert video.title == found.prompt == "Paper boats drifting down a rain gutter at dusk"
    assert video.asset_id is not None
    assert video.thumbnail_url is not None
    assert video.expires_at == datetime(2026, 11, 5, 17, 33, 20, tzinfo=UTC)
    assert found.raw == body_of(3)


def test_image_may_come_by_link_or_inline() -> None:
    link, inline = decode(body_of(17)).media
    assert (link.kind, link.content, inline.url) == ("image", None, None)
    assert inline.content == b"\xff\xd8\xff\xe0invented-jpeg-3"


def test_legacy_picture_is_never_the_video() -> None:
    [video] = decode(body_of(10)).media
    assert video.thumbnail_url is not None
    assert "/image/" in video.thumbnail_url
    assert video.asset_id is not None


@pytest.mark.parametrize(
    ("entry", "state", "reasons"),
    [
        (None, "unresolved", ()),
        ({}, "unresolved", ()),
        ({"videoUrl": ""}, "unresolved", ()),
        ({"videoUrl": "gs://bucket/x"}, "unresolved", ()),
        ({"thumbnailUrl": VIDEO}, "unresolved", ()),
        ({"video": {}}, "unresolved", ()),
        ({"image": {}}, "unresolved", ()),
        ({"videoUrl": VIDEO}, "ok", ()),
        ({"video": {"generatedVideo": {"encodedVideo": "AAAA"}}}, "ok", ()),
        ({"videoUrl": VIDEO, "mediaMetadata": {"mediaStatus": {"error": {"message": "odd"}}}}, "ok", ()),
        (
            {"videoUrl": VIDEO, "mediaMetadata": {"mediaStatus": {"mediaGenerationStatus": "MEDIA_GENERATION_STATUS_FAILED"}}},
            "failed",
            (),
        ),
        ({"mediaMetadata": {"mediaStatus": {"mediaGenerationStatus": " failed "}}}, "failed", ()),
        (
            {"mediaMetadata": {"mediaStatus": {"error": {"code": 3, "message": "PUBLIC_ERROR_MINOR"}}}},
            "failed",
            ("PUBLIC_ERROR_MINOR",),
        ),
        ({"mediaMetadata": {"mediaStatus": {"error": {"status": "INTERNAL"}}}}, "failed", ("INTERNAL",)),
        ({"mediaMetadata": {"mediaStatus": {"error": "boom"}}}, "failed", ("boom",)),
        ({"mediaMetadata": {"mediaStatus": {"error": {}}}}, "unresolved", ()),
        ({"mediaMetadata": {"mediaStatus": {"failureReasons": ["IP_PROHIBITED", None]}}}, "failed", ("IP_PROHIBITED",)),
        ({"mediaMetadata": {}}, "unresolved", ()),
    ],
)
def test_state_of_a_file_follows_from_what_there_is(entry: dict[str, Any] | None, state: str, reasons: tuple[str, ...]) -> None:
    [found] = media(entry)
    assert (found.state, found.reasons) == (state, reasons)


@pytest.mark.parametrize(
    ("entry", "state", "url"),
    [
        (None, "unresolved", None),
        ({}, "unresolved", None),
        ({"video": {"uri": VIDEO}}, "ok", VIDEO),
        ({"operation": {"metadata": {}}}, "unresolved", None),
        ({"operation": {"error": "PUBLIC_ERROR_MINOR"}}, "failed", None),
        ({"status": "MEDIA_GENERATION_STATUS_FAILED"}, "failed", None),
        ({"status": "MEDIA_GENERATION_STATUS_PENDING"}, "unresolved", None),
    ],
)
def test_legacy_entry_is_read_too(entry: dict[str, Any] | None, state: str, url: str | None) -> None:
    [found] = job(response={"operations": [entry]}).media
    assert (found.kind, found.state, found.url) == ("video", state, url)
    [nameless] = decode(json.dumps({"status": "completed", "response": {"operations": [entry]}}).encode()).media
    assert nameless.kind == "video"


LENGTHS = [("8s", 8.0), ("7.5s", 7.5), ("0s", None), ("-8s", None), ("9" * 400 + "s", None), ("long", None), (None, None)]


@pytest.mark.parametrize(("length", "seconds"), LENGTHS)
def test_length_is_in_seconds(length: str | None, seconds: float | None) -> None:
    [found] = media({"videoUrl": VIDEO, "video": {"dimensions": {"length": length}}})
    assert found.duration == seconds
    assert type(found.duration) is type(seconds)


@pytest.mark.parametrize(("field", "kind"), [("encodedVideo", "video"), ("encodedGif", "gif"), ("encodedImage", "image")])
def test_answer_may_be_the_file_itself(field: str, kind: str) -> None:
    found = decode(json.dumps({field: "AAAA"}).encode(), is_result=True)
    assert (found.job_id, found.status, found.kind, found.outcome) == ("", "completed", kind, "succeeded")
    assert found.media[0].content == b"\x00\x00\x00"


def test_record_without_status_is_over_only_as_the_result_of_a_post() -> None:
    body = json.dumps({"jobId": "x", "media": [{"videoUrl": VIDEO}]}).encode()
    assert decode(body, is_result=True).outcome == "succeeded"
    assert decode(body).outcome == "pending"
    assert decode(b'{"jobId":"x"}', is_result=True).outcome == "pending"
    assert (
        decode(b'{"jobId":"x","status":"MEDIA_GENERATION_STATUS_PENDING","encodedVideo":"AAAA"}', is_result=True).outcome
        == "pending"
    )


@pytest.mark.parametrize(
    ("body", "is_record"),
    [
        ({"status": "started"}, True),
        ({"status": "started", "error": "x"}, True),
        ({"response": {}}, True),
        ({"status": "ok", "error": "x"}, False),
        ({"response": {}, "error": "x"}, False),
        ({"error": "x"}, False),
        ({"type": "video"}, False),
        ({}, False),
    ],
)
def test_object_is_a_record_if_it_speaks_of_a_job(body: dict[str, Any], is_record: bool) -> None:  # noqa: FBT001 - a column
    content = json.dumps(body).encode()
    if is_record:
        assert decode(content, "asked").job_id == "asked"
    else:
        with pytest.raises(DecodeError, match="no record of a job"):
            decode(content, "asked")


@pytest.mark.parametrize(
    ("fields", "message", "code", "reason", "details"),
    [
        ({}, None, None, None, None),
        ({"error": "API error: 500", "code": "500"}, "API error: 500", 500, None, None),
        ({"error": {"code": 4, "status": "INTERNAL"}}, "INTERNAL", 4, None, None),
        ({"error": "x", "errorDetails": "more"}, "x", None, None, "more"),
        ({"error": "x", "response": {"error": {"code": 5, "message": "y", "status": "Z"}}}, "x", 5, None, "Z: y"),
        ({"response": {"error": "PUBLIC_ERROR_MINOR"}}, "PUBLIC_ERROR_MINOR", None, "PUBLIC_ERROR_MINOR", None),
        ({"response": {"media": [{"mediaMetadata": {"mediaStatus": {"failureReasons": ["IP"]}}}]}}, None, None, "IP", None),
        ({"request": {"prompt": "PUBLIC_ERROR_MINOR"}}, None, None, None, None),
    ],
)
def test_failure_is_found_wherever_it_stands(
    fields: dict[str, Any], message: str | None, code: int | None, reason: str | None, details: str | None
) -> None:
    failure = job(status="failed", **fields).failure
    assert failure is not None
    assert (failure.message, failure.code, failure.reason, failure.details) == (message, code, reason, details)


def test_error_of_a_job_that_did_not_fail_is_told_and_ends_nothing() -> None:
    running = decode(b'{"jobid":"x","status":"started","error":"captcha, again"}')
    assert running.failure is not None
    assert running.failure.message == "captcha, again"
    assert not running.is_terminal
    assert decode(b'{"jobid":"x","status":"queued"}').failure is None


def test_captcha_attempts_are_counted() -> None:
    attempts = [{"success": False}, {"success": True}, None, {}]
    found = job(response={"captcha": {"attempts": attempts}})
    assert (found.captcha_attempts, found.captcha_failed_attempts) == (4, 1)
    assert job(response={"captcha": {}}).captcha_attempts == 0


def test_kind_is_the_type_else_the_letter_else_that_of_the_media() -> None:
    assert decode(b'{"jobid":"j1i-","type":"hologram","status":"started"}').kind == "hologram"
    assert [kind_of(job_id) for job_id in ("j1v-x", "j1i-x", "j1t-x", "20261104093012448-user:1")] == ["video", "image", "", ""]
    assert decode(b'{"status":"completed","response":{"media":[{"image":{}}]}}').kind == "image"
    assert decode(b'{"status":"started"}').kind == ""


def test_invalid_utf8_outside_of_what_is_read_is_repaired_in_the_copy() -> None:
    found = decode(b'{"jobid":"x","status":"started","prompt":"\xff"}')
    assert json.loads(found.raw.decode())["prompt"] == "\ufffd"


def test_depth_is_refused() -> None:
    for depth in (101, 5000, 100_000):
        body = b'{"jobid":"x","status":"started","a":' + b"[" * depth + b"NaN" + b"]" * depth + b"}"
        with pytest.raises(DecodeError, match="too deeply"):
            decode(body)

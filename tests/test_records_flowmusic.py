"""Flow Music's shapes, beyond those of the conformance cases."""

from __future__ import annotations

import json
from typing import Any

import pytest
from samples import Case, body_of, records

from asyncflow.errors import DecodeError
from asyncflow.records import MusicJob
from asyncflow.services.flowmusic.records import decode


@pytest.mark.parametrize("of", records("flowmusic"), ids=lambda of: of.name)
def test_tolerant_path_reads_the_same_as_the_fast_one(of: Case) -> None:
    fast = decode(of.body, of.asked_id)
    tolerant = decode(b"[" + of.body + b"]", of.asked_id)
    for name in MusicJob.__struct_fields__:
        if name != "record":
            assert getattr(tolerant, name) == getattr(fast, name)
    assert json.loads(tolerant.raw) == json.loads(fast.raw)


def test_song_has_everything() -> None:
    found = decode(body_of(161))
    assert (found.kind, found.duration, found.duration_ms, found.reply_ref) == ("music", 131.38, 131380, "cart-12")
    song = found.media[0]
    assert (song.title, song.duration, song.seed, song.url) == (
        "Lighthouse Mail 1",
        142.5,
        9002,
        "https://storage.example.net/fm/1.m4a",
    )
    assert song.thumbnail_url == "https://storage.example.net/fm/1.jpg"
    assert song.asset_id is not None
    assert decode(body_of(179)).model == "lyria-3.5"


def test_wav_stands_in_for_a_missing_m4a() -> None:
    assert decode(b'{"status":"completed","clips":[{"wav_url":"https://x.example/1.wav"}]}').urls == ("https://x.example/1.wav",)


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"duration_ms": 1500}, 1.5),
        ({"duration_ms": -1}, 2.0),
        ({}, 2.0),
        ({"completed_at": "2026-11-05T06:59:59Z"}, None),
        ({"completed_at": None}, None),
        ({"status": "pending", "duration_ms": 5}, None),
    ],
)
def test_duration_is_the_service_s_own_measure_else_the_difference(fields: dict[str, Any], seconds: float | None) -> None:
    record = {"status": "completed", "created_at": "2026-11-05T07:00:00Z", "completed_at": "2026-11-05T07:00:02Z"} | fields
    assert decode(json.dumps(record).encode()).duration == seconds


def test_answer_of_a_synchronous_post_is_over_even_without_a_status() -> None:
    body = b'{"jobid":"x","clips":[{"audio_url":"https://x.example/1.m4a"}]}'
    assert decode(body, is_result=True).outcome == "succeeded"
    assert decode(body).outcome == "pending"


@pytest.mark.parametrize(
    ("error", "message", "code"),
    [
        ({"code": "user_cancelled", "message": "x"}, "x", "user_cancelled"),
        ({"code": "429"}, None, 429),
        ("boom", "boom", None),
        (None, None, None),
    ],
)
def test_failure_may_be_an_object_a_text_or_nothing(error: object, message: str | None, code: int | str | None) -> None:
    failure = decode(json.dumps({"jobid": "x", "status": "Failed", "error": error}).encode()).failure
    assert failure is not None
    assert (failure.message, failure.code, failure.is_cancelled) == (message, code, code == "user_cancelled")


def test_unknown_status_is_no_failure() -> None:
    assert decode(b'{"jobid":"x","status":"paused"}').failure is None
    assert decode(b'{"jobid":"x"}').failure is None


@pytest.mark.parametrize(
    ("body", "is_record"),
    [
        (b'{"clips":[]}', True),
        (b'{"status":"pending"}', True),
        (b'{"status":"pending","error":"x"}', True),
        (b'{"status":"ok","error":"x"}', False),
        (b'{"error":"x"}', False),
        (b"{}", False),
    ],
)
def test_object_is_a_record_if_it_speaks_of_a_job(body: bytes, is_record: bool) -> None:  # noqa: FBT001 - a column
    if is_record:
        assert decode(body, "asked").job_id == "asked"
    else:
        with pytest.raises(DecodeError, match="no record of a job"):
            decode(body, "asked")


def test_invalid_utf8_outside_of_what_is_read_is_repaired_in_the_copy() -> None:
    assert "\ufffd" in decode(b'{"jobid":"x","status":"pending","lyrics":"\xff"}').raw.decode("unicode-escape")


def test_depth_is_refused() -> None:
    for depth in (101, 5000, 100_000):
        with pytest.raises(DecodeError, match="too deeply"):
            decode(b'{"jobid":"x","status":"pending","a":' + b"[" * depth + b"NaN" + b"]" * depth + b"}")


def test_the_voices_of_a_song_are_files_where_they_were_asked_for() -> None:
    body = b'{"operation":"stems","clip":"c","stems":[{"name":"vocals","wav_url":"https://x.example/1.wav"},{"name":"drums"}]}'
    found = decode(body, is_result=True)
    assert (found.job_id, found.outcome, found.operation) == ("", "partial", "stems")
    assert [(media.title, media.state, media.url) for media in found.media] == [
        ("vocals", "ok", "https://x.example/1.wav"),
        ("drums", "unresolved", None),
    ]
    with pytest.raises(DecodeError, match="no record of a job"):
        decode(body)

"""Jobs, their media and failures, and the smaller answers."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime

import msgspec
import pytest
from msgspec import Raw

from asyncflow.errors import DecodeError
from asyncflow.records import AnyJob, AssetLink, Cancelled, Failure, FlowJob, Job, Media, MusicJob, Outcome
from asyncflow.services.links import decode_link

JOB_ID = "j1104093012448120573v-u40417-email:marta.olsen@example.com-bot:google-flow"
OK, FAILED, MISSING = (
    Media("video", "ok", "https://x.example/"),
    Media("video", "failed", reasons=("A", "B")),
    Media("video", "unresolved"),
)
START, END = datetime(2026, 11, 4, 9, 30, tzinfo=UTC), datetime(2026, 11, 4, 9, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "media", "outcome"),
    [
        ("", (), "pending"),
        ("created", (OK,), "pending"),
        ("queued", (OK,), "pending"),
        ("completed", (OK, OK), "succeeded"),
        ("completed", (OK, FAILED), "partial"),
        ("completed", (OK, MISSING), "partial"),
        ("completed", (FAILED, MISSING), "no_output"),
        ("completed", (), "no_output"),
        (" Completed", (OK,), "succeeded"),
        ("failed", (OK,), "failed"),
        ("FAILED ", (), "failed"),
    ],
)
def test_outcome_counts_media_and_cannot_be_set(status: str, media: tuple[Media, ...], outcome: str) -> None:
    job = FlowJob(JOB_ID, status, media=media, outcome=Outcome.PARTIAL)
    assert job.outcome == outcome
    assert job.is_terminal is (outcome != "pending")


def test_media_are_counted() -> None:
    job = FlowJob(JOB_ID, "completed", media=(OK, FAILED, MISSING, Media("video", "unresolved", asset_id="a")))
    assert (job.media_total, job.media_ok, job.media_failed, job.media_unresolved, job.media_resolvable) == (4, 1, 1, 2, 1)
    assert job.urls == ("https://x.example/",)
    assert job.failed_reasons == ("A", "B")
    assert [media.is_resolvable for media in job.media] == [False, False, False, True]


def test_duration_and_end_are_those_of_an_ended_job() -> None:
    ended, running = (
        FlowJob("x", "failed", created_at=START, updated_at=END),
        FlowJob("x", "started", created_at=START, updated_at=END),
    )
    assert (ended.duration, ended.completed_at) == (60.0, END)
    assert (running.duration, running.completed_at) == (None, None)
    assert FlowJob("x", "failed", created_at=START).duration is None
    assert FlowJob("x", "failed", created_at=END, updated_at=START).duration is None


@pytest.mark.parametrize(
    ("raw", "prompt"),
    [
        (b'{"request":{"prompt":"x"}}', "x"),
        (b'{"request":{"prompt":5}}', None),
        (b'{"request":5}', None),
        (b"{}", None),
        (b"null", None),
    ],
)
def test_prompt_is_the_echo(raw: bytes, prompt: str | None) -> None:
    job = FlowJob("x", record=Raw(raw))
    assert job.prompt == prompt
    assert job.raw == raw


@pytest.mark.parametrize(
    ("encoded", "content"),
    [
        (None, None),
        ("AAAA", b"\x00\x00\x00"),
        ("-_8", b"\xfb\xff"),
        ("data:image/png;base64,AAAA", b"\x00\x00\x00"),
        ("AA==\n", b"\x00"),
    ],
)
def test_content_is_decoded_on_demand(encoded: str | None, content: bytes | None) -> None:
    assert Media("image", "ok", encoded=encoded).content == content


def test_content_that_is_no_base64_is_an_error_of_ours() -> None:
    with pytest.raises(DecodeError, match="base64"):
        _ = Media("image", "ok", encoded="A").content


@pytest.mark.parametrize(
    "record",
    [
        FlowJob(
            JOB_ID, "failed", media=(OK, FAILED), failure=Failure("m", 5, "r", "d"), created_at=START, record=Raw(b'{"a":1}')
        ),
        MusicJob(JOB_ID, "pending", operation="cover", duration_ms=5),
        Job(JOB_ID, "completed", media=(OK,)),
    ],
)
def test_job_survives_json_and_pickle(record: AnyJob) -> None:
    again = msgspec.json.decode(msgspec.json.encode(record), type=AnyJob)
    assert again == record == pickle.loads(pickle.dumps(record))  # noqa: S301 - our own
    assert hash(again) == hash(record)
    assert type(again) is type(record)
    assert msgspec.json.decode(msgspec.json.encode(record))["service"] == record.service


def test_nothing_shows_more_than_it_should() -> None:
    job = FlowJob(JOB_ID, "failed", "video", media=(OK,), failure=Failure("marta.olsen@example.com", 5))
    assert repr(job) == "<FlowJob 8244f1551f video failed failed>"
    assert repr(MusicJob("x")) == "<MusicJob 2d711642b7 without status pending>"
    assert repr(FAILED) == "<Media video failed A B>"
    assert repr(Failure(reason="marta.olsen@example.com")) == "<Failure <e-mail>>"
    assert repr(job.failure) == "<Failure 5>"
    assert repr(AssetLink("https://x.example/?Signature=x", "a")) == "<AssetLink ca978112ca>"
    assert repr(Cancelled(JOB_ID)) == "<Cancelled 8244f1551f>"
    for record in (job, OK, job.failure, Cancelled(JOB_ID)):
        assert record is not None
        assert record.__rich_repr__() == [("shown", repr(record))]


def test_failure_has_a_category() -> None:
    assert Failure(reason="PUBLIC_ERROR_MINOR").category == "policy"
    assert not Failure().is_cancelled


def test_services_are_told_apart() -> None:
    assert (FlowJob.service, MusicJob.service) == ("google-flow", "flowmusic")
    assert issubclass(FlowJob, Job)


def test_link_keeps_its_end_and_its_asset() -> None:
    link = decode_link(b'{"url":"https://x.example/?Expires=1793784612","mediaGenerationId":"a"}', "b")
    assert link == AssetLink("https://x.example/?Expires=1793784612", "a", datetime(2026, 11, 4, 9, 30, 12, tzinfo=UTC))
    assert decode_link(b'{"url":"https://x.example/"}', "b").asset_id == "b"
    assert msgspec.json.decode(msgspec.json.encode(link), type=AssetLink) == link
    with pytest.raises(DecodeError, match="no link"):
        decode_link(b'{"url":"x"}')

"""How a job shows itself in a notebook."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from notebook_page import EMAIL, JOB_ID, LINK, NASTY, shown

from asyncflow.records import Failure, FlowJob, Job, Media, MusicJob
from asyncflow.redaction import digest

START = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def test_a_job_that_has_ended() -> None:
    seen = FlowJob(
        JOB_ID,
        "completed",
        "video",
        model="veo-3.1-fast",
        created_at=START,
        updated_at=START + timedelta(seconds=1234),
        media=(Media("video", "ok", LINK, LINK), Media("video", "failed", reasons=("IP", "IP"))),
        remaining_credits=12_345,
        captcha_attempts=2,
        record=msgspec.Raw(b'{"request": {"prompt": "a red kite"}}'),
    )
    assert shown(seen) == [
        *("video: partial", "job", digest(JOB_ID), "service", "google-flow", "model", "veo-3.1-fast"),
        *("status", "completed", "created", "2026-11-21 12:00:00 UTC", "took", "1,234 s", "files", "1 of 2"),
        *("reason", "IP", "credits left", "12,345", "captchas", "2"),
    ]


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        (FlowJob(JOB_ID, "failed", "image", failure=Failure("API error: 400")), ["image: failed", "API error: 400"]),
        (FlowJob(JOB_ID, "failed", "image", failure=Failure(f"see {LINK} of {EMAIL}")), ["image: failed"]),
        (FlowJob(JOB_ID, "started", "video"), ["video: pending", "started"]),
        (MusicJob(JOB_ID, "failed", "music", failure=Failure(NASTY, reason=NASTY)), [NASTY]),
        (Job(JOB_ID), ["job: pending"]),
        (FlowJob(JOB_ID, NASTY, NASTY, model=NASTY), [f"{NASTY}: pending", NASTY]),
    ],
)
def test_jobs_of_all_kinds(value: Job, texts: list[str]) -> None:
    assert set(texts) <= set(shown(value))

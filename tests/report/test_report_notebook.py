"""How a report shows itself in a notebook."""

from __future__ import annotations

import msgspec
from notebook_page import JOB_ID, LINK, NASTY, shown

from asyncflow import Changed, Ended, Failure, FlowJob, Media, MusicJob, RunReport


def test_a_report() -> None:
    events = [
        Ended(FlowJob(JOB_ID, "completed", "video", media=(Media("video", "ok", LINK),), captcha_attempts=3)),
        Ended(FlowJob(f"{JOB_ID}2", "failed", "video", failure=Failure(NASTY))),
        Ended(
            MusicJob(
                "job:1-user:2-a@example.com-bot:flowmusic",
                "completed",
                "music",
                media=(Media("music", "ok", LINK),),
                duration_ms=9e4,
            )
        ),
    ]
    texts = shown(RunReport.from_events(events))
    assert texts[0] == "3 jobs"
    assert {"video", "music", "90 s", "succeeded", "failed", "2 of 2", "1 x", NASTY, "captchas"} <= set(texts)
    assert shown(RunReport.from_events([Changed(FlowJob(JOB_ID, "started", "video")), *events]))[0].startswith("3 jobs")
    assert shown(msgspec.structs.replace(RunReport.from_events(events), running=4))[0] == "3 jobs are over, 4 still run"
    assert shown(RunReport.from_events([])) == ["0 jobs"]

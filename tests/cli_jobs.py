"""Jobs with fixed data, as seen at one moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from asyncflow import FlowJob, Media

NOON = datetime(2026, 5, 12, 12, tzinfo=UTC)
OK = Media("video", "ok", "https://media.example.com/1.mp4")
FAILED = Media("video", "failed", reasons=("PUBLIC_ERROR_UNSAFE_GENERATION",))


def job(name: str, status: str = "started", *media: Media, age: float = 0.0) -> FlowJob:
    """Return a video that was created *age* seconds before noon and last moved at noon."""
    created = NOON - timedelta(seconds=age)
    return FlowJob(name, status, kind="video", model="veo", created_at=created, updated_at=NOON, media=media)

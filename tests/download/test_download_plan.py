"""How fast bytes may come, what of a job is to be had, and how long to wait before another try."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncflow import DownloadError, FlowJob, Media, MusicJob
from asyncflow.download.bandwidth import ByteBucket, batch_bytes
from asyncflow.download.policy import check_ended, is_expired, is_offered, offered_again, pause_before

NOON = datetime(2026, 5, 12, 12, tzinfo=UTC)
OK = Media("video", "ok", "https://media.example.com/1.mp4", asset_id="a")


def test_no_rate_is_no_wait() -> None:
    assert ByteBucket().take(10**12, 0.0) == 0.0


@given(rate=st.floats(1, 1e9), sizes=st.lists(st.integers(1, 2**20), min_size=1, max_size=50))
def test_whoever_waits_as_told_keeps_to_the_rate(rate: float, sizes: list[int]) -> None:
    budget, now = ByteBucket(rate), 100.0
    for size in sizes:
        now += budget.take(size, now)
    assert now - 100.0 >= (sum(sizes) / rate) * (1 - 1e-6) - 0.25
    assert now - 100.0 <= (sum(sizes) / rate) * (1 + 1e-6) + 1e-6


def test_two_who_take_at_once_wait_for_both() -> None:
    budget = ByteBucket(1000)
    assert budget.take(500, 0.0) == 0.5
    assert budget.take(500, 0.0) == 1.0


def test_a_rest_is_not_saved_up() -> None:
    budget = ByteBucket(1000)
    budget.take(1, 0.0)
    assert budget.take(1250, 3600.0) == pytest.approx(1.0)


def test_a_clock_that_goes_back_gives_nothing() -> None:
    budget = ByteBucket(1000)
    budget.take(1000, 10.0)
    assert budget.take(0, 5.0) == 1.0


@pytest.mark.parametrize(("rate", "size"), [(None, 1 << 20), (1e9, 1 << 20), (1_000_000, 250_000), (1000, 16_384)])
def test_slow_rates_have_small_batches(rate: float | None, size: int) -> None:
    assert batch_bytes(rate) == size


def test_a_job_that_runs_has_no_files_yet() -> None:
    with pytest.raises(DownloadError, match="not ended") as refusal:
        check_ended(FlowJob("a", "started"))
    assert refusal.value.transient
    check_ended(FlowJob("a", "failed"))


@pytest.mark.parametrize(
    ("service", "media", "offered"),
    [
        (FlowJob, OK, True),
        (FlowJob, Media("image", "ok", encoded="aGk="), True),
        (FlowJob, Media("video", "unresolved", asset_id="a"), True),
        (FlowJob, Media("video", "unresolved"), False),
        (FlowJob, Media("video", "failed", asset_id="a"), False),
        (MusicJob, Media("music", "unresolved", asset_id="a"), False),
    ],
)
def test_offered_is_what_is_there_or_can_be_asked_for(service: type[FlowJob | MusicJob], media: Media, *, offered: bool) -> None:
    assert is_offered(service("a", "completed", media=(media,)), media) is offered


def test_a_link_ends_at_its_end() -> None:
    assert is_expired(NOON, NOON)
    assert not is_expired(NOON, NOON - timedelta(seconds=1))
    assert not is_expired(None, NOON)


def test_what_is_offered_again_goes_by_its_asset_and_then_by_its_place() -> None:
    other = Media("video", "ok", "https://media.example.com/2.mp4", asset_id="b")
    again = FlowJob("a", "completed", media=(other, OK))
    assert offered_again(OK, 1, again) is OK
    assert offered_again(Media("video", "ok", "x", asset_id="gone"), 1, again) is other
    assert offered_again(Media("video", "ok", "x"), 2, again) is OK
    assert offered_again(Media("video", "ok", "x"), 3, again) is None


def test_pauses_grow_to_a_limit_and_are_as_long_as_the_host_asks() -> None:
    random = Random(1)
    pauses = [pause_before(failures, None, random) for failures in range(1, 12)]
    assert 0.1 <= pauses[0] <= 0.2
    assert pauses[3] > pauses[0]
    assert max(pauses) <= 30
    assert pause_before(1, 7.0, random) == 7.0

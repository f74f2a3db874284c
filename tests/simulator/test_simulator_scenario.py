import json
import re
import statistics
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from asyncflow.simulator import Fate, Scenario
from asyncflow.simulator.identity import JobIdentity
from asyncflow.simulator.scenario import draw_duration, draw_fate, make_facts

Json = Any  # what a service says has any shape


def body(scenario: Scenario, age: float) -> Json:
    return json.loads(scenario.record(age))


def ended(kind: str, fate: Fate, *, seed: int = 0, facts: JobIdentity | None = None) -> Json:
    scenario = Scenario(facts, kind=kind, fate=fate, seed=seed)
    assert scenario.ends_after is not None
    return body(scenario, scenario.ends_after)


@pytest.mark.parametrize(
    ("kind", "low", "middle", "high"), [("video", 57, 100, 179), ("image", 15, 30, 62), ("music", 122, 140, 159)]
)
def test_durations_are_those_of_the_service(kind: str, low: float, middle: float, high: float) -> None:
    random = Random(5)
    quantiles = statistics.quantiles((draw_duration(random, kind) for _ in range(20_000)), n=50)
    assert quantiles[0] == pytest.approx(low, rel=0.1)
    assert quantiles[24] == pytest.approx(middle, rel=0.03)
    assert quantiles[48] == pytest.approx(high, rel=0.1)


def test_upscaling_takes_less_time() -> None:
    assert draw_duration(Random(1), "video", "upscale") < draw_duration(Random(1), "video", "videos")


def test_google_flow_goes_from_created_over_started_to_its_end() -> None:
    scenario = Scenario(seed=3, duration=100)
    assert [scenario.status(age) for age in (0, 20, 99.9, 100)] == ["created", "started", "started", "completed"]
    assert scenario.ends_after == 100


def test_flow_music_goes_from_pending_to_its_end() -> None:
    scenario = Scenario(kind="music", fate="failed", duration=10)
    assert [scenario.status(age) for age in (0, 9, 10)] == ["pending", "pending", "failed"]


def test_half_of_the_failures_come_early() -> None:
    ends = [Scenario(fate="failed", seed=seed).ends_after or 0.0 for seed in range(400)]
    assert 0.1 < sum(end < 40 for end in ends) / len(ends) < 0.4


def test_the_same_seed_tells_the_same_story() -> None:
    assert Scenario(seed=9).record(1000) == Scenario(seed=9).record(1000)
    assert Scenario(seed=9).record(1000) != Scenario(seed=10).record(1000)


def test_speed_shortens_the_life_and_the_times_in_records_alike() -> None:
    scenario = Scenario(duration=120, speed=60, created=1_790_000_000.0)
    assert scenario.ends_after == 2
    record = body(scenario, 2)
    assert record["created"] == "2026-09-21T14:13:20.000Z"
    assert record["updated"] == "2026-09-21T14:13:22.000Z"


def test_a_script_may_say_anything() -> None:
    scenario = Scenario(script=[(5, "completed"), (0, "queued"), (6, "started")])
    assert [scenario.status(age) for age in (-1, 0, 5, 6)] == ["queued", "queued", "completed", "started"]
    assert scenario.ends_after == 5
    assert scenario.has_ended(7)
    assert not scenario.has_ended(4)
    assert scenario.next_change(0) == 5
    assert scenario.next_change(6) is None


def test_a_script_may_begin_at_the_end() -> None:
    record = body(Scenario(script=[(0, "completed")]), 0)
    assert record["updated"] == record["created"]


def test_an_endless_job_has_no_end() -> None:
    scenario = Scenario(fate="endless")
    assert scenario.ends_after is None
    assert scenario.expected == "pending"
    assert scenario.status(1e9) == "started"


@pytest.mark.parametrize(
    ("fate", "expected"),
    [
        ("success", "succeeded"),
        ("partial", "partial"),
        ("no_media", "no_output"),
        ("refused", "no_output"),
        ("unlinked", "no_output"),
        ("failed", "failed"),
    ],
)
def test_each_fate_has_its_outcome(fate: str, expected: str) -> None:
    assert Scenario(fate=fate).expected == expected


def test_a_script_of_failure_is_expected_to_fail() -> None:
    assert Scenario(script=[(0, "failed")]).expected == "failed"


def test_the_first_record_has_only_the_echo() -> None:
    record = body(Scenario(), 0)
    assert set(record) == {"jobid", "type", "status", "created", "request"}
    assert re.fullmatch(r"j\d{19}v-u1234-email:ada\.lind@example\.com-bot:google-flow", record["jobid"])
    assert record["request"]["email"] == "ad***@example.com"


def test_the_echo_holds_the_request_as_it_came() -> None:
    facts = replace(
        make_facts("video", Fate.SUCCESS, 1, 0.0), request={"prompt": "a pear", "replyRef": "r-1", "email": "x@example.com"}
    )
    assert body(Scenario(facts), 0)["request"] == {
        "email": "ad***@example.com",
        "prompt": "a pear",
        "model": "veo-3.1-fast",
        "count": 1,
        "replyRef": "r-1",
    }


def test_a_video_that_succeeded_has_links_credits_and_captcha() -> None:
    response = ended("video", Fate.SUCCESS)["response"]
    (media,) = response["media"]
    assert media["videoUrl"].startswith("http://127.0.0.1/content/video/" + media["name"])
    assert "Expires=" in media["thumbnailUrl"]
    assert media["mediaGenerationId"].startswith("user:1234-email:" + b"ada.lind@example.com".hex() + "-video:")
    assert response["remainingCredits"] == 9000
    assert response["captcha"]["attempts"][-1]["success"] is True


def test_captcha_attempts_are_bounded_and_the_refused_ones_say_so() -> None:
    for seed in range(300):
        attempts = ended("video", Fate.SUCCESS, seed=seed)["response"]["captcha"]["attempts"]
        assert 1 <= len(attempts) <= 8
        assert all("error" in attempt for attempt in attempts[:-1])


def test_media_that_failed_have_a_reason_and_no_link() -> None:
    for fate, failed in ((Fate.PARTIAL, 1), (Fate.NO_MEDIA, 1)):
        media = ended("video", fate)["response"]["media"]
        assert sum("videoUrl" not in item for item in media) == failed
        status = media[-1]["mediaMetadata"]["mediaStatus"]
        assert status["error"]["message"].startswith("PUBLIC_ERROR_")
        assert media[-1]["mediaMetadata"]["visibility"] == "FILTERED"


def test_a_refused_image_has_neither_link_nor_id_nor_reason() -> None:
    (media,) = ended("image", Fate.REFUSED)["response"]["media"]
    assert set(media["image"]["generatedImage"]) == {"seed", "mediaVisibility", "prompt"}
    assert ended("video", Fate.REFUSED)["response"]["media"] == []
    assert ended("music", Fate.REFUSED)["clips"] == []


def test_unlinked_media_keep_their_id() -> None:
    (video,) = ended("video", Fate.UNLINKED)["response"]["media"]
    assert "videoUrl" not in video
    assert "mediaGenerationId" in video
    (image,) = ended("image", Fate.UNLINKED)["response"]["media"]
    assert "fifeUrl" not in image["image"]["generatedImage"]
    assert "audio_url" not in ended("music", Fate.UNLINKED)["clips"][0]


def test_an_image_comes_by_link_or_inline_never_both() -> None:
    facts = make_facts("image", Fate.SUCCESS, 1, 0.0)
    (linked,) = ended("image", Fate.SUCCESS, facts=facts)["response"]["media"]
    (inline,) = ended("image", Fate.SUCCESS, facts=replace(facts, inline=1.0))["response"]["media"]
    assert "fifeUrl" in linked["image"]["generatedImage"]
    assert "encodedImage" not in linked["image"]["generatedImage"]
    assert "fifeUrl" not in inline["image"]["generatedImage"]
    assert inline["image"]["generatedImage"]["encodedImage"].startswith("iVBOR")
    assert "remainingCredits" not in ended("image", Fate.SUCCESS)["response"]


def test_errors_come_in_all_their_places() -> None:
    shapes = {
        tuple(sorted(set(ended("video", Fate.FAILED, seed=seed)) & {"error", "errorDetails", "code", "response"}))
        for seed in range(5)
    }
    assert shapes == {("code", "error", "response"), ("code", "error"), ("response",), ("code", "error", "errorDetails")}
    assert isinstance(ended("video", Fate.FAILED, seed=1)["error"], dict)
    assert "media" in ended("video", Fate.FAILED, seed=3)["response"]
    assert "response" not in ended("image", Fate.FAILED, seed=3)


def test_an_upscaled_video_says_so() -> None:
    facts = replace(make_facts("video", Fate.SUCCESS, 1, 0.0), operation="upscale", request={"mediaGenerationId": "m"})
    record = ended("video", Fate.SUCCESS, facts=facts)
    (media,) = record["response"]["media"]
    assert media["video"]["dimensions"]["length"] == "0s"
    assert media["mediaGenerationId"].endswith("_upsampled")
    assert "prompt" not in record["request"]


def test_a_song_has_clips_and_exact_times() -> None:
    scenario = Scenario(kind="music", duration=131.38)
    record = body(scenario, 200)
    assert record["duration_ms"] == 131380
    assert len(record["clips"]) == 2
    assert record["clips"][0]["audio_url"].endswith(".m4a")
    assert set(body(scenario, 0)) == {"jobid", "email", "request", "status", "created_at"}


def test_a_song_in_part_lacks_a_link() -> None:
    clips = ended("music", Fate.PARTIAL)["clips"]
    assert [("audio_url" in clip) for clip in clips] == [True, False]


def test_an_edited_song_names_its_operation() -> None:
    facts = replace(make_facts("music", Fate.FAILED, 1, 0.0), operation="cover")
    record = ended("music", Fate.FAILED, facts=facts)
    assert record["operation"] == "cover"
    assert record["error"]["code"] in {"moderated", "upstream_error"}


def test_cancelling_fails_a_running_song_and_leaves_an_ended_one() -> None:
    scenario = Scenario(kind="music", duration=100, speed=10)
    cancelled = scenario.cancelled(4.0)
    assert body(cancelled, 4.0)["error"]["code"] == "user_cancelled"
    assert cancelled.ends_after == 4.0
    assert cancelled.expected == "failed"
    assert scenario.cancelled(11.0) is scenario


def test_fates_are_drawn_by_their_chances() -> None:
    random = Random(1)
    drawn = [draw_fate(random, {Fate.FAILED: 0.3, Fate.PARTIAL: 0.2}) for _ in range(3000)]
    assert drawn.count(Fate.FAILED) == pytest.approx(900, rel=0.1)
    assert drawn.count(Fate.SUCCESS) == pytest.approx(1500, rel=0.1)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown kind of job"):
        Scenario(kind="poem")

import asyncio
import struct
import zlib
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from asyncflow.simulator import Answer, Fate, Faults, ManualClock, Outage
from asyncflow.simulator.clock import wait_until
from asyncflow.simulator.faults import FaultInjector, TokenBucket
from asyncflow.simulator.identity import flow_job_id, iso, mask, music_job_id, stranger
from asyncflow.simulator.jobs import JobOrder, JobRegistry
from asyncflow.simulator.metrics import Counters
from asyncflow.simulator.replay import Replay
from asyncflow.simulator.responses import abort, dribble, refusal, write_raw
from asyncflow.simulator.samples import gif, m4a, mp4, png, wav
from asyncflow.simulator.signed_links import SignedLinks

if TYPE_CHECKING:
    from aiohttp import web


def test_ids_have_the_forms_of_production() -> None:
    random = Random(1)
    flow = flow_job_id(random, 1_793_784_612.4, "image", "77", "a-b+c@example.com")
    assert flow.startswith("j1104093012")
    assert flow.endswith("i-u77-email:a-b+c@example.com-bot:google-flow")
    assert len(flow.partition("i-u77")[0]) == 20
    music = music_job_id(random, "77", "a@example.com")
    assert music.startswith("job:")
    assert music.endswith("-user:77-a@example.com-bot:flowmusic")
    assert len(music.partition("-user:")[0]) == 4 + 36


def test_words_about_people_and_times() -> None:
    assert mask("ada.lind@example.com") == "ad***@example.com"
    assert iso(0.0015) == "1970-01-01T00:00:00.002Z"
    assert stranger("1234") == "1235"
    assert stranger("me") == "1"


def test_a_signed_link_is_good_until_its_end() -> None:
    links = SignedLinks("http://h", life=10)
    path, _, query = links.signed("/content/video/x", 1000.2).removeprefix("http://h").partition("?")
    assert "Expires=1011" in query
    assert links.refusal(path, query, 1010.9) is None
    assert links.refusal(path, query, 1011) == "ExpiredToken"
    assert links.refusal("/content/video/y", query, 1000) == "SignatureDoesNotMatch"
    assert links.refusal(path, query.replace("1011", "9999"), 1000) == "SignatureDoesNotMatch"
    assert links.refusal(path, "", 1000) == "SignatureDoesNotMatch"
    assert SignedLinks("http://h", key=b"other").refusal(path, query, 1000) == "SignatureDoesNotMatch"
    assert links.plain("/content/audio/z.m4a") == "http://h/content/audio/z.m4a"


def _boxes(file: bytes) -> list[bytes]:
    kinds: list[bytes] = []
    while file:
        size, kind = struct.unpack(">I4s", file[:8])
        kinds.append(kind)
        file = file[size:]
    return kinds


def test_videos_and_songs_are_whole_files_of_the_wanted_size() -> None:
    for make in (mp4, m4a):
        assert _boxes(make("a"))[0] == b"ftyp"
        assert {b"moov", b"mdat", b"free"} <= set(_boxes(make("a")))
        assert make("a") != make("b")
        assert len(make("a", 50_000)) == 50_000


def test_pictures_decode() -> None:
    picture = png("a")
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    start = picture.index(b"IDAT")
    (length,) = struct.unpack(">I", picture[start - 4 : start])
    assert len(zlib.decompress(picture[start + 4 : start + 4 + length])) == 48 * (48 * 3 + 1)
    assert len(png("a", 30_000)) == pytest.approx(30_000, abs=40)
    assert gif("a").startswith(b"GIF89a")
    assert gif("a").endswith(b";")


def test_sounds_say_their_own_size() -> None:
    sound = wav("a", 20_000)
    assert struct.unpack("<I", sound[4:8])[0] == len(sound) - 8
    assert len(sound) > 16_000
    assert sound != wav("b", 20_000)


def test_a_bucket_lets_its_rate_pass() -> None:
    bucket = TokenBucket(rate=2, burst=3, now=0)
    assert [bucket.take(0) for _ in range(4)] == [True, True, True, False]
    assert bucket.take(0.5)
    assert not bucket.take(0.6)
    assert [bucket.take(100) for _ in range(4)] == [True, True, True, False]


def test_nothing_goes_wrong_by_default() -> None:
    verdict = FaultInjector(Faults(), 1).judge("read", 0)
    assert (verdict.fault, verdict.status, verdict.delay) == (None, 0, 0)


def test_faults_come_as_often_as_they_should() -> None:
    injector = FaultInjector(Faults(server_error=0.1, reset=0.2, throttle=0.1), 1)
    verdicts = [injector.judge("read", 0) for _ in range(5000)]
    assert sum(v.fault == "reset" for v in verdicts) == pytest.approx(1000, rel=0.1)
    assert sum(v.status == 429 for v in verdicts) == pytest.approx(500, rel=0.15)
    assert {v.status for v in verdicts if v.fault == "server_error"} == {500, 502, 503, 524}


def test_faults_touch_only_their_kinds() -> None:
    injector = FaultInjector(Faults(reset=1.0, kinds=("submit",)), 1)
    assert injector.judge("read", 0).fault is None
    assert injector.judge("submit", 0).fault == "reset"


def test_outages_begin_and_end() -> None:
    injector = FaultInjector(Faults(outages=[Outage(9, 12), Outage(20, mode="reset")], latency=0.25), 1)
    assert [injector.judge("read", now).status for now in (8, 9, 11.9, 12)] == [0, 503, 503, 0]
    assert injector.judge("read", 1e6).fault == "reset"
    assert injector.judge("read", 0).delay == 0.25


def test_everything_can_be_refused() -> None:
    verdict = FaultInjector(Faults(refuse_with=402), 1).judge("read", 0)
    assert (verdict.fault, verdict.status) == ("refusal", 402)


def test_the_rate_limit_may_change_while_it_runs() -> None:
    injector = FaultInjector(Faults(rate_limit=1), 1)
    assert [injector.judge("read", 0).status for _ in range(2)] == [0, 429]
    injector.faults.burst = 3
    assert [injector.judge("read", 0).status for _ in range(4)] == [0, 0, 0, 429]
    injector.faults.rate_limit = None
    assert injector.judge("read", 0).status == 0
    injector.faults.rate_limit = 1
    assert injector.judge("read", 0).status == 0


def test_ranges_are_drawn_from() -> None:
    injector = FaultInjector(Faults(latency=(1.0, 2.0)), 1)
    assert 1 <= injector.judge("read", 0).delay <= 2
    assert not injector.hits(0)
    assert injector.hits(1)


def test_presets_have_names() -> None:
    assert Faults.preset("none") == Faults()
    assert Faults.preset("some").fates()[Fate.FAILED] == 0.06
    assert Faults.preset("heavy").latency == (0.01, 0.3)
    with pytest.raises(ValueError, match="one of none, some, heavy"):
        Faults.preset("mild")


def test_the_peak_rate_is_that_of_any_one_second() -> None:
    counters = Counters()
    for now in (0.0, 0.9, 1.0, 1.1, 1.8, 5.0):
        counters.begin("read", now)
    assert counters.peak_rate == 4
    assert counters.peak_in_flight == 6


def test_media_count_apart() -> None:
    counters = Counters()
    counters.begin("media", 0)
    counters.end("media", "200")
    counters.begin("read", 0)
    counters.end("read", "429")
    assert (counters.in_flight, counters.peak_in_flight) == (0, 1)
    assert counters.by(0) == {"media": 1, "read": 1}
    assert counters.by(1) == {"200": 1, "429": 1}


def test_polls_inside_a_retry_after_are_counted() -> None:
    counters = Counters()
    counters.throttle(10, 5)
    for now in (10.01, 10.2, 14.9, 15.0):  # the first crossed the 429 on the wire
        counters.begin("read", now)
    counters.throttle(12, 1)  # a shorter one changes nothing
    counters.begin("read", 14)
    counters.begin("submit", 14)
    assert counters.inside_retry_after == 3
    counters.throttle(20, 5)
    counters.begin("read", 20.01)
    assert counters.inside_retry_after == 3


def test_connections_are_counted() -> None:
    counters = Counters()
    counters.connected()
    counters.connected()
    counters.disconnected()
    counters.connected()
    assert (counters.connections, counters.open_connections, counters.peak_open_connections) == (3, 2, 2)


def test_a_player_repeats_its_last_answer() -> None:
    player = Replay()
    assert player.next("GET", "/v1/flowmusic/jobs/x") is None
    player.load("job:1@x", [Answer(201), "reset"])
    path = "/v1/flowmusic/jobs/job%3A1%40x"
    assert [player.next("GET", path) for _ in range(3)] == [Answer(201), Answer(fault="reset"), Answer(fault="reset")]
    player.load("DELETE /a", [Answer(204)])
    assert player.next("GET", "/a") is None
    assert player.next("DELETE", "/a") == Answer(204)
    player.load("job:1@x", [])
    player.load("job:1@x", [])
    assert player.next("GET", path) is None


def test_a_clock_moved_by_hand_calls_in_order() -> None:
    clock = ManualClock(5)
    seen: list[tuple[str, float]] = []
    clock.call_at(8, lambda: seen.append(("late", clock.now())))
    clock.call_at(6, lambda: seen.append(("early", clock.now())))
    clock.call_at(7, lambda: seen.append(("never", clock.now()))).cancel()
    clock.call_at(1, lambda: seen.append(("past", clock.now())))
    clock.advance(2)
    assert seen == [("past", 5), ("early", 6)]
    assert clock.now() == 7
    clock.advance(10)
    assert seen[-1] == ("late", 8)


@pytest.mark.asyncio
async def test_a_wait_that_was_given_up_is_not_woken() -> None:
    clock = ManualClock()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(wait_until(clock, 1))
        group.create_task(_give_up(waiting, clock))
    assert waiting.cancelled()


async def _give_up(waiting: asyncio.Task[None], clock: ManualClock) -> None:
    waiting.cancel()
    clock.advance(2)


@pytest.mark.asyncio
async def test_nothing_is_written_to_a_client_that_is_gone() -> None:
    gone = cast("web.BaseRequest", SimpleNamespace(transport=None))
    abort(gone)
    write_raw(gone, refusal(500))
    await dribble(gone, refusal(500), ManualClock(), 1)


def test_no_two_jobs_have_one_id() -> None:
    first, second = (JobRegistry(seed=1, speed=1, user="1", links=SignedLinks(), start_wall=0, inline=0) for _ in range(2))
    taken = first.create(JobOrder(), 0, {}).facts.job_id
    second.by_id[taken] = first.jobs[0]
    assert second.create(JobOrder(), 0, {}).facts.job_id != taken


@pytest.mark.asyncio
async def test_waiting_for_what_is_past_takes_no_time() -> None:
    await wait_until(ManualClock(5), 5)

"""Statistics: typed, tolerant, and silent about whose they are."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import msgspec
import pytest
from samples import body_of

from asyncflow.errors import DecodeError
from asyncflow.records import ExecutingRow, FlowStats, HistoryRow, MusicAccount, MusicStats, RunningJob, StatsGroup, SummaryRow
from asyncflow.services.google_flow.stats import decode_flow, decode_music

MAIL = "marta.olsen@example.com"
JOB_ID = "j1104093012448120573v-u40417-email:marta.olsen@example.com-bot:google-flow"
START = datetime(2026, 11, 4, 9, 30, 12, 448000, tzinfo=UTC)


def test_summary_is_by_group_and_account() -> None:
    stats = decode_flow(body_of(150))
    assert list(stats.groups) == ["videos", "images", "combined"]
    assert stats.videos is not None
    assert stats.videos.summary == {MAIL: SummaryRow(1, 14, 2, 1, 83.25, 57)}
    assert (stats.executing_jobs, stats.finished_jobs) == ((), ())


def test_running_jobs_are_found_once() -> None:
    stats = decode_flow(body_of(151))
    assert stats.executing_jobs == (JOB_ID,)
    assert stats.videos is not None
    assert stats.videos.executing == (ExecutingRow(JOB_ID, MAIL, START, 109.0),)


def test_history_is_read() -> None:
    row = {"email": MAIL, "timestamp": 1793784612448, "httpStatus": 200, "responseTime": 1500}
    stats = decode_flow(json.dumps({"images": {"history": {JOB_ID: row, "other": {}, "odd": 5}}}).encode())
    assert stats.images is not None
    assert stats.images.history == (HistoryRow(JOB_ID, MAIL, START, 200, 1.5), HistoryRow("other"))
    assert stats.finished_jobs == (JOB_ID, "other")


@pytest.mark.parametrize(("elapsed", "seconds"), [("01:23", 83.0), ("1:01:23", 3683.0), ("soon", None), (None, None)])
def test_elapsed_time_is_in_seconds(elapsed: str | None, seconds: float | None) -> None:
    stats = decode_flow(json.dumps({"combined": {"executing": {"x": {"elapsed": elapsed}}}}).encode())
    assert stats.combined is not None
    assert stats.combined.executing[0].elapsed == seconds


def test_loose_types_are_mended_or_left_out() -> None:
    stats = decode_flow(body_of(154))
    assert stats.combined is not None
    assert stats.combined.summary == {MAIL: SummaryRow(average_response=1.2345)}
    odd = decode_flow(b'{"emails":[null,"","a@example.com",5],"videos":5,"images":{"summary":[],"executing":null}}')
    assert odd == FlowStats(("a@example.com", "5"), images=StatsGroup())


def test_music_lists_its_running_jobs() -> None:
    stats = decode_music(body_of(193))
    [account] = stats.accounts.values()
    assert (account.running, account.max_jobs, stats.running, stats.max_jobs) == (1, 4, {MAIL: 1}, {MAIL: 4})
    assert stats.emails == (MAIL,)
    assert stats.executing_jobs == (account.jobs[0].job_id,)
    assert account.jobs[0].created_at == datetime(2026, 11, 5, 7, 0, 0, 120000, tzinfo=UTC)
    assert decode_music(b'{"a":{"jobs":[null,{},{"jobid":"x"}]},"b":5}') == MusicStats(
        {"a": MusicAccount(jobs=(RunningJob("x"),))}
    )


@pytest.mark.parametrize("body", [b"", b"5", b'"x"'])
def test_what_is_no_object_is_an_error(body: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_flow(body)
    with pytest.raises(DecodeError):
        decode_music(body)


def test_statistics_survive_json() -> None:
    for stats in (decode_flow(body_of(151)), decode_music(body_of(193))):
        assert msgspec.json.decode(msgspec.json.encode(stats), type=FlowStats | MusicStats) == stats


def test_no_repr_shows_an_account_or_an_id() -> None:
    flow, music = decode_flow(body_of(151)), decode_music(body_of(193))
    assert repr(flow) == "<FlowStats accounts=1 executing=1>"
    assert repr(music) == "<MusicStats accounts=1 executing=1>"
    assert flow.videos is not None
    assert repr(flow.videos) == "<StatsGroup accounts=1 executing=1 history=0>"
    assert repr(flow.videos.executing[0]) == "<ExecutingRow 8244f1551f>"
    assert repr(flow.videos.summary[MAIL]) == "<SummaryRow executing=1 completed=14 failed=2>"
    assert repr(HistoryRow(JOB_ID, MAIL, http_status=200)) == "<HistoryRow 8244f1551f 200>"
    assert repr(music.accounts[MAIL]) == "<MusicAccount 1 of 4>"
    assert repr(music.accounts[MAIL].jobs[0]) == "<RunningJob 9abe677965 pending>"

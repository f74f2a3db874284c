"""What a report counts, and that its memory is bounded whatever there is to count."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from cli_jobs import FAILED, NOON, OK, job
from hypothesis import given
from hypothesis import strategies as st

from asyncflow import Abandoned, Changed, Ended, ErrorInfo, Failure, FlowJob, Media, MusicJob
from asyncflow.redaction import digest
from asyncflow.report import CAPTCHA_PRICES, ReportBuilder, RunReport, reason_of
from asyncflow.report.reservoir import ReservoirSample
from asyncflow.report.time_histogram import TimeHistogram
from asyncflow.report.values import cost_of

if TYPE_CHECKING:
    from asyncflow import Event, Job

ACCOUNT = "ada.lind@example.com"
ENDS: list[Event] = [
    Ended(job("a", "completed", OK, OK, age=60)),
    Ended(job("b", "completed", OK, FAILED, age=80)),
    Ended(job("c", "completed", age=100)),
    Ended(MusicJob("d", "failed", kind="music", failure=Failure("moderated"))),
    Abandoned("e", ErrorInfo("not_found")),
    Abandoned("f", ErrorInfo("rate_limited", reason="PUBLIC_ERROR_HIGH_TRAFFIC"), job("f")),
    Changed(job("g")),
]


def flow(number: int, **members: Any) -> FlowJob:  # noqa: ANN401 - those of FlowJob
    name = f"j11040930124481{number:05}v-u1234-email:{ACCOUNT}-bot:google-flow"
    return msgspec.structs.replace(job(name, "completed", OK), **members)


def test_each_ending_counts_once_and_all_sums_are_those_of_the_groups() -> None:
    report = RunReport.from_events(ENDS)
    assert report.jobs == 6
    assert report.outcomes == {"succeeded": 1, "partial": 1, "no_output": 1, "failed": 1, "abandoned": 2}
    assert report.succeeded == 1
    assert (report.files.ok, report.files.failed, report.files.total) == (3, 1, 4)
    assert [(group.service, group.kind, group.model, group.jobs) for group in report.groups] == [
        ("google-flow", "video", "veo", 4),
        ("", "", "", 1),
        ("flowmusic", "music", "", 1),
    ]
    assert [(reason.word, reason.jobs) for reason in report.reasons] == [
        ("PUBLIC_ERROR_HIGH_TRAFFIC", 1),
        ("PUBLIC_ERROR_UNSAFE_GENERATION", 1),
        ("moderated", 1),
        ("no reason given", 1),
        ("not_found", 1),
    ]
    for name in ("succeeded", "partial", "no_output", "failed", "abandoned"):
        assert sum(group.outcomes[name] for group in report.groups) == report.outcomes[name]


def test_a_job_that_was_given_up_without_a_record_counts_where_it_belongs_if_that_is_known() -> None:
    builder = ReportBuilder()
    for key in (None, ("google-flow", "video", "veo")):
        builder.take(Abandoned("e", ErrorInfo("not_found")), key)
    assert [(group.service, group.kind, group.model) for group in builder.report().groups] == [
        ("", "", ""),
        ("google-flow", "video", "veo"),
    ]


def test_durations_are_those_of_the_services_clock() -> None:
    [video, *others] = RunReport.from_events(ENDS).groups
    assert video.durations is not None
    assert (video.durations.jobs, video.durations.median, video.durations.p95) == (3, 80, 98)
    assert (video.durations.shortest, video.durations.p25, video.durations.p75, video.durations.longest) == (60, 70, 90, 100)
    assert [other.durations for other in others] == [None, None]


def test_a_report_goes_through_json_and_back() -> None:
    builder = ReportBuilder()
    for event in ENDS:
        builder.take(event)
    report = builder.report(running=3, requests=70, polls=60, failed_polls=2, began_at=NOON, ended_at=NOON + timedelta(hours=1))
    assert report.elapsed == 3600
    assert msgspec.json.decode(msgspec.json.encode(report), type=RunReport) == report


def test_a_report_without_a_beginning_has_no_length_and_time_never_runs_backwards() -> None:
    assert RunReport.from_events([]).elapsed is None
    assert ReportBuilder().report(began_at=NOON).elapsed is None
    assert ReportBuilder().report(began_at=NOON, ended_at=NOON - timedelta(seconds=1)).elapsed == 0


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (job("a", "failed"), "no reason given"),
        (msgspec.structs.replace(job("a", "failed"), failure=Failure("API error: 500", 500, "PUBLIC_ERROR_X")), "PUBLIC_ERROR_X"),
        (msgspec.structs.replace(job("a", "failed"), failure=Failure(code=500)), "500"),
        (msgspec.structs.replace(job("a", "failed", FAILED), failure=Failure()), "PUBLIC_ERROR_UNSAFE_GENERATION"),
        (msgspec.structs.replace(job("a", "failed"), failure=Failure(f"account {ACCOUNT}\x1b[2J")), "account <e-mail> [2J"),
        (job("a", "completed", OK), ""),
    ],
)
def test_the_reason_is_the_deepest_word(record: Job, reason: str) -> None:
    assert reason_of(record) == reason


# -- captchas -------------------------------------------------------------------------------------------------------------------


def attempts(*names: str | None) -> msgspec.Raw:
    solved = [{"service": name, "success": True} for name in names]
    return msgspec.Raw(msgspec.json.encode({"response": {"captcha": {"attempts": solved}}}))


def test_captchas_are_counted_by_provider_and_priced() -> None:
    names = ("CapSolver", "CapSolver", "UserProvided", None)
    events = [
        Ended(flow(1, captcha_attempts=4, captcha_failed_attempts=2, record=attempts(*names))),
        Ended(flow(2, captcha_attempts=2)),  # a record that was cut off to save room: nobody knows who
        Ended(flow(3)),
    ]
    captchas = RunReport.from_events(events).captchas
    assert (captchas.attempts, captchas.refused) == (6, 2)
    assert captchas.providers == {"": 3, "CapSolver": 2, "UserProvided": 1}
    assert captchas.cost == pytest.approx(5 * CAPTCHA_PRICES[""])
    assert RunReport.from_events(events, captcha_prices={"capsolver": 1.0, "": 0.5}).captchas.cost == pytest.approx(3.5)


@pytest.mark.parametrize(
    "raw", [b"null", b"[]", b"{}", b'{"captcha": null}', b'{"captcha": {"attempts": [null]}}', b'{"captcha": 1}', b"\xff"]
)
def test_an_odd_captcha_is_counted_nameless(raw: bytes) -> None:
    event = Ended(flow(1, captcha_attempts=2, record=msgspec.Raw(raw)))
    assert RunReport.from_events([event]).captchas.providers == {"": 2}


def test_a_price_list_need_not_be_whole() -> None:
    assert cost_of({"UserProvided": 5}, {}) == 0
    assert cost_of({"EzCaptcha": 2}, {"ezcaptcha": 0.25}) == 0.5
    assert cost_of({}, {}) == 0


# -- credits --------------------------------------------------------------------------------------------------------------------


@given(st.permutations([(0, 100), (1, 90), (1, 80), (2, 70), (2, 60)]))
def test_a_balance_is_first_and_last_by_when_jobs_began_however_they_end(order: list[tuple[int, int]]) -> None:
    jobs = [
        flow(number, remaining_credits=balance, created_at=NOON + timedelta(minutes=minute))
        for number, (minute, balance) in enumerate(order)
    ]
    [credit] = RunReport.from_events(map(Ended, jobs)).credits
    assert (credit.account, credit.first, credit.last, credit.used) == (digest(ACCOUNT), 100, 60, 40)
    assert (credit.first_at, credit.last_at) == (NOON, NOON + timedelta(minutes=2))


def test_accounts_are_kept_apart_and_shown_by_digests() -> None:
    music = f"job:0f1e2d3c-4b5a-4678-9abc-def012345678-user:1234-{ACCOUNT}-bot:flowmusic"
    events = [
        Ended(flow(1, remaining_credits=5)),
        Ended(MusicJob(music, "completed", media=(OK,), remaining_credits=3)),
        Ended(job("12345678901234567-user:1234-bot:google-flow", "completed", OK)),
        Ended(msgspec.structs.replace(job("12345678901234567-user:1234-bot:google-flow", "completed", OK), remaining_credits=9)),
    ]
    report = RunReport.from_events(events)
    assert [(credit.account, credit.first, credit.last) for credit in report.credits] == [("", 9, 9), (digest(ACCOUNT), 5, 3)]
    assert ACCOUNT not in repr(report) + report.text() + report.html()


# -- what is bounded ------------------------------------------------------------------------------------------------------------


def test_groups_reasons_and_accounts_are_bounded() -> None:
    def strange(number: int) -> FlowJob:
        name = f"j11040930124481{number:05}v-u1234-email:ada{number}@example.com-bot:google-flow"
        failure = Failure(f"{number} " + "x" * 500)
        return FlowJob(name, "failed", model=f"model {number}", failure=failure, remaining_credits=1)

    events: list[Event] = [Ended(strange(number)) for number in range(500)]
    same = [Ended(msgspec.structs.replace(strange(number), model="one")) for number in range(500)]
    report = RunReport.from_events([*events, *same])
    assert (report.jobs, len(report.groups), len(report.credits)) == (1000, 201, 200)
    other = next(group for group in report.groups if group.service == "(other)")
    assert (other.jobs, len(other.reasons), other.reasons[0].word) == (800, 201, "(other)")
    assert max(len(reason.word) for reason in report.reasons) == 80


def test_a_long_reason_that_is_cut_off_is_one_reason() -> None:
    long = Ended(FlowJob("a", "failed", failure=Failure("no " * 100)))
    assert [reason.jobs for reason in RunReport.from_events([long, long]).reasons] == [2]


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200))
def test_a_sample_that_holds_all_is_exact(numbers: list[float]) -> None:
    sample = ReservoirSample()
    for number in numbers:
        sample.add(number)
    summary = sample.summary()
    assert summary is not None
    assert (summary.jobs, summary.shortest, summary.longest) == (len(numbers), min(numbers), max(numbers))
    ordered = sorted(numbers)
    middle = len(numbers) // 2
    median = ordered[middle] if len(numbers) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    assert summary.median == pytest.approx(median, abs=0.001)
    assert summary.shortest - 0.001 <= summary.p25 <= summary.median <= summary.p75 <= summary.p95 <= summary.longest + 0.001


def test_a_sample_of_many_is_small_and_fair() -> None:
    sample = ReservoirSample()
    for number in range(40_000):
        sample.add(float(number))
    summary = sample.summary()
    assert summary is not None
    assert (summary.jobs, summary.shortest, summary.longest) == (40_000, 0, 39_999)
    assert summary.median == pytest.approx(20_000, rel=0.05)
    assert summary.p95 == pytest.approx(38_000, rel=0.02)
    assert len(sample._kept) == 4096


# -- the time line --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "step"),
    [([0], 1), ([0, 119], 1), ([0, 130], 2), ([7200, 0], 120), ([0, 86_400 * 7], 7200), ([0, 86_400 * 900], 30 * 86_400)],
)
def test_the_steps_widen_with_the_time(seconds: list[int], step: float) -> None:
    calendar = TimeHistogram()
    for second in seconds:
        calendar.add(NOON + timedelta(seconds=second), "succeeded")
    calendar.add(NOON, "failed")
    timeline = calendar.timeline()
    assert timeline is not None
    assert timeline.step == step
    assert {outcome: sum(counts) for outcome, counts in timeline.outcomes.items()} == {"succeeded": len(seconds), "failed": 1}
    assert all(len(counts) <= 121 for counts in timeline.outcomes.values())
    assert timeline.start <= NOON < timeline.start + timedelta(seconds=timeline.step)


def test_a_clock_that_is_off_by_centuries_is_passed_over() -> None:
    calendar = TimeHistogram()
    for year in (1, 1970, 9999):
        calendar.add(datetime(year, 1, 2, tzinfo=UTC), "succeeded")
    assert calendar.timeline() is None
    for year in (2000, 2099):
        calendar.add(datetime(year, 1, 2, tzinfo=UTC), "succeeded")
    timeline = calendar.timeline()
    assert timeline is not None
    assert (timeline.step, len(timeline.outcomes["succeeded"])) == (365 * 86_400, 100)


def test_unresolved_files_are_told_apart() -> None:
    missing = Media("image", "unresolved")
    files = RunReport.from_events([Ended(job("a", "completed", OK, missing))]).files
    assert (files.ok, files.failed, files.unresolved, files.total) == (1, 0, 1, 2)

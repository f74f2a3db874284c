"""A report as a table and as a page."""

from __future__ import annotations

import re
from datetime import timedelta
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import msgspec
import pytest
from cli_jobs import FAILED, NOON, OK, job

from asyncflow import Abandoned, Ended, ErrorInfo, Failure, FlowJob, Media
from asyncflow.report import Captchas, Credits, Reason, ReportBuilder, RunReport, Timeline
from asyncflow.report.charts import box_plot, columns
from asyncflow.report.formatting import clock, money, per_cent, span
from asyncflow.report.html import page
from asyncflow.report.text import table
from asyncflow.report.values import Durations

if TYPE_CHECKING:
    from asyncflow import Event

SPITEFUL = "<script>alert(1)</script>\"'&\x1b[2J"
EMPTY = RunReport.from_events([])


def run(jobs: int = 5, **models: str) -> RunReport:
    builder = ReportBuilder()
    missing = Media("video", "unresolved")
    for number in range(jobs):
        media = [OK, FAILED, missing] if number % 5 == 3 else [OK]
        record = job(f"{number}", "completed", *media, age=30 + number)
        builder.take(Ended(msgspec.structs.replace(record, captcha_attempts=2, captcha_failed_attempts=1, remaining_credits=50)))
    for name, model in models.items():
        builder.take(Ended(FlowJob(name, "failed", kind=model, model=model, failure=Failure(model))))
    builder.take(Abandoned("x", ErrorInfo("not_found")))
    later = NOON + timedelta(minutes=12)
    return builder.report(running=2, requests=40, polls=30, failed_polls=1, began_at=NOON, ended_at=later)


def test_a_report_shows_itself_as_the_table_and_the_page() -> None:
    assert (EMPTY.text(), EMPTY.html()) == (table(EMPTY), page(EMPTY))


def test_the_table_tells_all() -> None:
    lines = run(1200).text().splitlines()
    assert lines[:6] == [
        "1,201 jobs in 12 min 0 s: 960 succeeded, 240 partial, 1 given up, 2 not over",
        "",
        " " * 14 + "   jobs   ok  part  none  fail  lost  files  median    p95",
        "google-flow",
        "  video veo     1,200  960   240     -     -     -    71%   10:30  19:29",
        "never read",
    ]


def test_a_table_fits_eighty_columns() -> None:
    reports = [run(), run(30_000, a="a-model-with-a-name-that-is-far-too-long-for-any-table", b="x" * 300), EMPTY]
    for report in reports:
        assert max(map(len, report.text().splitlines())) <= 80
        assert str(report) == report.text()


def test_a_table_says_what_there_is_and_nothing_else() -> None:
    assert EMPTY.text() == "0 jobs\n"
    text = run().text()
    for words in (
        "4 succeeded, 1 partial, 1 given up, 2 not over",
        "google-flow",
        "video veo",
        "never read",
        "1 x not_found",
        "files     5 of 7 there, 1 failed, 1 missing",
        "captchas  10 solutions, 5 refused, about $0.030",
        "credits   account unknown: 50 -> 50, 0 used",
        "asked     40 requests; 30 polls, 1 without an answer",
    ):
        assert words in text


def test_long_lists_are_cut_and_say_so() -> None:
    events: list[Event] = [
        Ended(FlowJob(f"{n}", "failed", model=f"model {n}", failure=Failure(f"reason {n}"))) for n in range(70)
    ]
    accounts = tuple(Credits(f"{number:010}", 5, 3) for number in range(30))
    report = msgspec.structs.replace(RunReport.from_events(events), credits=accounts)
    assert all(words in report.text() for words in ("and 30 smaller groups", "and 58 other reasons", "and 22 other accounts"))
    assert all(words in report.html() for words in ("and 10 smaller groups", "and 50 other reasons", "and 10 other accounts"))


# -- the page -------------------------------------------------------------------------------------------------------------------

VOID = {"meta", "br"}


class Checker(HTMLParser):
    """Notes tags and attributes, and that every tag is closed in its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize(
    "report",
    [
        EMPTY,
        run(),
        run(300, a=SPITEFUL),
        msgspec.structs.replace(run(), captchas=Captchas(), requests=None),
        msgspec.structs.replace(run(), captchas=Captchas(), credits=()),
        msgspec.structs.replace(run(), captchas=Captchas(), credits=(), polls=None, requests=None),
        msgspec.structs.replace(run(), ended_at=NOON + timedelta(days=3), reasons=(Reason(SPITEFUL, 3),)),
        msgspec.structs.replace(run(), captchas=Captchas(3, 0, {SPITEFUL: 2, "": 1}), timeline=Timeline(NOON, 60, {})),
        msgspec.structs.replace(run(), timeline=Timeline(NOON, 7200, {"succeeded": [1] * 40, "failed": [0] * 40})),
        msgspec.structs.replace(run(), timeline=Timeline(NOON, 1, {"succeeded": [0, 0]})),
    ],
)
def test_a_page_is_whole_loads_nothing_and_runs_nothing(report: RunReport) -> None:
    text = report.html()
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert checker.tags.isdisjoint({"script", "link", "img", "iframe", "a", "form", "object", "base"})
    assert checker.attributes.isdisjoint({"href", "src", "xlink:href", "action", "style"})
    assert not [name for name in checker.attributes if name.startswith("on")]
    assert "http:" not in text
    assert "https:" not in text
    assert "url(" not in text
    assert "default-src 'none'" in text
    assert "\x1b" not in text


def test_a_page_knows_light_and_dark() -> None:
    text = EMPTY.html()
    assert "prefers-color-scheme: dark" in text
    used, defined = set(re.findall(r"var\((--\w+)\)", text)), set(re.findall(r"(--\w+):", text))
    assert used <= defined


def test_the_time_of_a_run_is_told_shortly() -> None:
    assert "12 May 2026, 12:00 to 12:12 UTC · 12 min 0 s · 2 jobs not over yet" in run().html()
    assert "12 May 2026, 12:00 UTC to 15 May 2026, 12:00 UTC" in (
        msgspec.structs.replace(run(), ended_at=NOON + timedelta(days=3)).html()
    )


def test_a_single_job_among_thousands_is_seen() -> None:
    page = run(5000).html()
    [widths] = [re.findall(r'class="abandoned"[^>]* width="([\d.]+)"', page.split("</section>")[0])]
    assert float(widths[0]) >= 3


def test_charts_of_nothing_are_empty_and_not_broken() -> None:
    assert "nan" not in columns(Timeline(NOON, 1, {}))
    assert 'width="4.00"' in box_plot(Durations(1, 0, 0, 0, 0, 0, 0), 0.0)


@pytest.mark.parametrize(
    ("seconds", "short", "words"),
    [
        (0.04, "0.0s", "0.0 s"),
        (9.94, "9.9s", "9.9 s"),
        (43.4, "43s", "43 s"),
        (59.7, "1:00", "1 min 0 s"),
        (103, "1:43", "1 min 43 s"),
        (7500, "2:05:00", "2 h 5 min"),
        (200_000, "55:33:20", "2 d 8 h"),
    ],
)
def test_durations_are_told_shortly_and_in_words(seconds: float, short: str, words: str) -> None:
    assert (clock(seconds), span(seconds)) == (short, words)


def test_shares_and_sums_are_rounded_honestly() -> None:
    assert [per_cent(*pair) for pair in [(0, 0), (0, 5), (1, 1000), (999, 1000), (5, 5), (1, 3)]] == [
        *("-", "0%", "<1%", ">99%", "100%", "33%")
    ]
    assert [money(sum_) for sum_ in (0, 0.012, 0.5, 1234.5)] == ["$0.00", "$0.012", "$0.50", "$1,234.50"]

"""The picture of a watch and its summary, as text."""

from __future__ import annotations

import re
import time
import timeit

import pytest
from cli_jobs import FAILED, NOON, OK, job

from asyncflow import Changed, Ended, RateLimitedError
from asyncflow.cli.output.live_view import Line, LiveMetrics, frame, plain
from asyncflow.cli.output.progress import RunningJobs, WatchProgress
from asyncflow.cli.output.summary import progress_line, summary
from asyncflow.redaction import digest


def busy_tally(count: int = 12) -> WatchProgress:
    tally = WatchProgress([f"job {number}" for number in range(count)])
    for number in range(count - 4):
        tally.apply(Changed(job(f"job {number}", age=number)), 100.0, NOON)
    tally.apply(Ended(job("job 0", "completed", OK, age=43)), 100.0, NOON)
    tally.apply(Ended(job("job 1", "completed", OK, FAILED, age=50)), 100.0, NOON)
    tally.apply(Ended(job("job 2", "failed")), 100.0, NOON)
    return tally


def expected(_: RunningJobs, age: float) -> float | None:
    return age + 63 if age < 6 else None


def drawn(tally: WatchProgress, columns: int = 80, rows: int = 24, gauges: LiveMetrics | None = None) -> list[str]:
    lines = frame(
        tally,
        gauges or LiveMetrics(8.4, 1234),
        ("asyncflow watch", "12 jobs"),
        67.0,
        100.0,
        size=(columns, rows),
        expect=expected,
    )
    return [plain(line) for line in lines]


def test_a_picture_at_eighty_columns() -> None:
    assert drawn(busy_tally()) == [
        "  asyncflow watch  12 jobs                                                1:07",
        "  ━━━━━━━━━━━━━━━━━─────────────────────────────────────────────────   3 of 12",
        "   1 succeeded    1 partial    0 no output    1 failed    0 given up",
        "  8 requests/s, 1,234 in all",
        "",
        "",
        "  running    left  status      kind     model                   job",
        f"     0:07          started     video    veo                     {digest('job 7')}",
        f"     0:06          started     video    veo                     {digest('job 6')}",
        f"     0:05   ~1:03  started     video    veo                     {digest('job 5')}",
        f"     0:04   ~1:03  started     video    veo                     {digest('job 4')}",
        f"     0:03   ~1:03  started     video    veo                     {digest('job 3')}",
        "  4 not read yet",
    ]


@pytest.mark.parametrize("size", [(80, 24), (160, 50), (40, 12), (20, 5), (300, 10), (80, 1)])
@pytest.mark.parametrize("count", [4, 12, 3000])
def test_a_picture_fits_its_terminal(size: tuple[int, int], count: int) -> None:
    columns, rows = size
    lines = drawn(busy_tally(count), columns, rows)
    assert len(lines) <= max(rows - 1, 6)
    assert columns < 80 or max(map(len, lines)) < columns


def test_a_wide_terminal_shows_twice_as_many_jobs() -> None:
    narrow, wide = (drawn(busy_tally(3000), columns, 40) for columns in (80, 160))
    assert len(narrow) == len(wide)
    assert wide[7].count("started") == 2
    shown = sum(line.count("started") for line in wide)
    assert f"  {3000 - 4 - 3 - shown:,} more running, 4 not read yet" == wide[-1]


def test_trouble_is_told_where_nothing_moves() -> None:
    tally = busy_tally()
    calm = drawn(tally)
    tally.failed("job 7", RateLimitedError("slow down", transient=True, status=429))
    troubled = drawn(tally, gauges=LiveMetrics(8.4, 1234, 5, None, 12.0))
    assert troubled[3] == "  8 requests/s, 1,234 in all, 5 x 429, paused for 12 s as the service asked"
    assert troubled[4] == "  1 job without an answer, still trying: too many requests [HTTP 429]"
    assert "no answer" in troubled[7]
    assert (len(troubled), troubled[8:]) == (len(calm), calm[8:])


def test_a_long_pause_is_announced() -> None:
    assert drawn(busy_tally(), gauges=LiveMetrics(0.0, 1, next_poll=14.0))[3] == "  0 requests/s, 1 in all, next in 14 s"


def test_what_the_service_says_cannot_draw_on_the_screen() -> None:
    tally = WatchProgress(["a"])
    tally.apply(Changed(job("a", "\x1b[2J\nada.lind@example.com")), 100.0, NOON)
    text = "\n".join(drawn(tally))
    assert "\x1b" not in text
    assert "example" not in text


def test_the_bar_is_full_only_at_the_end() -> None:
    tally = WatchProgress([f"job {number}" for number in range(1000)])
    for number in range(999):
        tally.apply(Ended(job(f"job {number}", "completed", OK)), 100.0, NOON)
    assert "━─ " in drawn(tally)[1]
    tally.apply(Ended(job("job 999", "completed", OK)), 100.0, NOON)
    assert "─" not in drawn(tally)[1]


def test_ten_thousand_jobs_are_drawn_in_no_time() -> None:
    tally = busy_tally(10_000)
    assert min(timeit.repeat(lambda: drawn(tally, 160, 50), number=1, repeat=10, timer=time.process_time)) < 0.02


def test_where_others_poll_no_requests_are_counted() -> None:
    lines = frame(busy_tally(), None, ("asyncflow watch", "12 jobs"), 67.0, 100.0, size=(80, 24), expect=expected)
    assert [plain(line) for line in lines] == [line for line in drawn(busy_tally()) if "requests" not in line]
    assert texts(summary(busy_tally(), None, 60.0))[-1] == "2 of 3 files"
    assert progress_line(busy_tally(), None, 7.0).endswith("1 failed")


def texts(lines: list[Line]) -> list[str]:
    return [plain(line) for line in lines]


def test_a_summary_counts_by_kind_and_ranks_reasons() -> None:
    assert texts(summary(busy_tally(), LiveMetrics(1.0, 120, 2), 60.0)) == [
        "3 jobs in 1 min 0 s",
        "",
        "          jobs  succeeded  partial  no output  failed  given up      median",
        "video        3          1        1          -       1         -        43 s",
        "",
        "1 x PUBLIC_ERROR_UNSAFE_GENERATION",
        "1 x no reason given",
        "",
        "2 of 3 files",
        "120 requests, 2.0 a second; 2 x 429",
    ]


def test_a_summary_of_one_job_has_no_table() -> None:
    tally = WatchProgress(["a"])
    tally.apply(Ended(job("a", "completed", OK, age=43)), 100.0, NOON)
    assert texts(summary(tally, LiveMetrics(0.0, 1), 2.0)) == ["1 job in 2.0 s", "", "1 request, 0.5 a second"]


def test_progress_is_a_line() -> None:
    line = progress_line(busy_tally(), LiveMetrics(8.4), 7.0)
    assert line == "    7 s   3 of 12    1 succeeded    1 partial    1 failed   8 requests/s"


@pytest.fixture(scope="module")
def thousands() -> WatchProgress:
    return busy_tally(10_000)


@pytest.mark.parametrize("columns", [20, 30, 40, 60, 72, 80, 100, 160, 300])
@pytest.mark.parametrize("rows", [1, 5, 8, 12, 24, 50])
def test_a_picture_fits_every_terminal(thousands: WatchProgress, columns: int, rows: int) -> None:
    lines = drawn(thousands, columns, rows)
    assert len(lines) <= max(rows - 1, 1)
    table = [line for line in lines if re.search(r"\b[0-9a-f]{10}\b", line)]
    assert bool(table) is (rows >= 12)
    assert columns < 24 or all(len(line) < columns for line in table)


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        (80, ["running", "left", "status", "kind", "model", "job"]),
        (66, ["running", "left", "status", "kind", "model", "job"]),
        (52, ["running", "left", "status", "kind", "job"]),
        (44, ["running", "left", "status", "job"]),
        (36, ["running", "status", "job"]),
        (25, ["running", "job"]),
    ],
)
def test_which_job_it_is_stays_longest(columns: int, names: list[str]) -> None:
    header = next(line for line in drawn(busy_tally(), columns) if "running" in line)
    assert header.split() == names


def test_the_counts_of_thousands_are_whole_at_eighty_columns() -> None:
    tally = WatchProgress(expected=10_000)
    tally.ended.update({"succeeded": 8000, "partial": 500, "no_output": 400, "failed": 1000, "given up": 100})
    assert drawn(tally)[2] == "  8,000 succeeded  500 partial  400 no output  1,000 failed  100 given up"
    assert drawn(tally, 100)[2].startswith("   8,000 succeeded      500 partial  ")
    tally.ended.update({"succeeded": -8000, "no_output": -400})
    assert drawn(tally, 45)[2] == "  500 partial  1,000 failed  100 given up"
    assert drawn(WatchProgress(expected=10_000), 40)[2] == "  0 succeeded"


@pytest.mark.parametrize(("columns", "rows", "shown"), [(80, 24, 15), (160, 50, 82)])
def test_a_picture_of_thousands_looks_at_those_it_shows(thousands: WatchProgress, columns: int, rows: int, shown: int) -> None:
    asked: list[str] = []

    def expect(job: RunningJobs, age: float) -> float:
        asked.append(job.job_id)
        return age + 60.0

    frame(thousands, LiveMetrics(), ("asyncflow watch", "10,000 jobs"), 67.0, 100.0, size=(columns, rows), expect=expect)
    assert len(asked) == len(set(asked)) <= shown

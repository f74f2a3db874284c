"""One picture of a watch: the lines that a terminal shows while it goes on.

Pure: no clock, no I/O, no asyncio. A `Line` is a list of (text, style) pairs; the styles are rich's, and all can be read
without them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from asyncflow import Outcome
from asyncflow.cli.formatting import OUTCOMES, clock, count, one_line, problem_text, span
from asyncflow.cli.output.progress import GIVEN_UP, RunningJobs, WatchProgress
from asyncflow.redaction import digest

__all__ = ["STYLES", "WORDS", "Line", "LiveMetrics", "frame", "plain"]

Line = list[tuple[str, str]]
Expect = Callable[[RunningJobs, float], float | None]

STYLES: dict[str, str] = {
    Outcome.SUCCEEDED: "green",
    Outcome.PARTIAL: "yellow",
    Outcome.NO_OUTPUT: "magenta",
    Outcome.FAILED: "red",
    GIVEN_UP: "bright_red",
}
WORDS: dict[str, str] = OUTCOMES | {GIVEN_UP: GIVEN_UP}
_QUIET = frozenset({"created", "pending"})
_MARGIN = 2
_PANEL = 76
_GAP = 4
_LEAST_ROWS = 2
_LEAST_WORD = 8
_RIGHT = frozenset({"running", "left"})


@dataclass(frozen=True, slots=True)
class LiveMetrics:
    """The instruments: *rate* in requests a second, *requests* in all, *throttled* of them; seconds to *next_poll*, *pause*."""

    rate: float = 0.0
    requests: int = 0
    throttled: int = 0
    next_poll: float | None = None
    pause: float = 0.0


def plain(line: Line) -> str:
    """Return *line* without its styles."""
    return "".join(text for text, _ in line).rstrip()


def frame(
    tally: WatchProgress,
    gauges: LiveMetrics | None,
    title: tuple[str, str],
    elapsed: float,
    now: float,
    *,
    size: tuple[int, int],
    expect: Expect,
    extra: Sequence[Line] = (),
) -> list[Line]:
    """Return the picture at *now*, no larger than *size*, columns and rows.

    *gauges* are None where others poll. *expect* says how long a job will have lived when it ends, or None. *elapsed* is the age
    of the watch in seconds. *extra* are lines of others.
    """
    columns, rows = size
    width = max(min(columns, 2 * _PANEL + _GAP + _MARGIN) - _MARGIN, 20)
    head = [
        _title(title, elapsed, width),
        _bar(tally, width - _MARGIN),
        _counts(tally, width),
        *([] if gauges is None else [_instruments(gauges)]),
        *([("  ", ""), *line] for line in extra),
        _trouble(tally),
        [],
    ]
    room = rows - len(head) - 3  # the header of the table, what it leaves out, and one row for the cursor
    # A picture that is higher than its terminal could not be painted over.
    return head + _table(tally, now, room, width, expect) if room >= _LEAST_ROWS else head[: max(rows - 1, 1)]


def _title(title: tuple[str, str], elapsed: float, width: int) -> Line:
    name, subject = title
    time = clock(elapsed)
    subject = one_line(subject, max(width - _MARGIN - len(name) - len(time) - 4, 10))
    gap = " " * max(width - _MARGIN - len(name) - 2 - len(subject) - len(time), 1)
    return [("  ", ""), (name, "bold"), ("  ", ""), (subject, ""), (gap, ""), (time, "dim")]


def _bar(tally: WatchProgress, width: int) -> Line:
    """Return a bar with a part for each outcome, then the numbers."""
    total = max(tally.total, tally.done, 1)
    label = f"{tally.done:,} of {total:,}".rjust(2 * len(f"{total:,}") + 4)
    cells = max(width - len(label) - 2, 5)
    line: Line = [("  ", "")]
    ended = filled = 0
    for outcome, style in STYLES.items():
        ended += tally.ended[outcome]
        # Rounded up, so that a single failure among thousands is still seen; full only when all is over.
        upto = cells * ended // total if ended == total else min(-(-cells * ended // total), cells - 1)
        if upto > filled:
            line.append(("━" * (upto - filled), style))
            filled = upto
    return [*line, ("─" * (cells - filled), "dim"), ("  ", ""), (label, "bold")]


def _counts(tally: WatchProgress, width: int) -> Line:
    """Return the counts by outcome: at fixed places if there is room for it, else close together, and at last without zeros."""
    digits = len(f"{max(tally.total, tally.done):,}")
    present = [outcome for outcome in STYLES if tally.ended[outcome]] or [Outcome.SUCCEEDED]
    for outcomes, places, separator in ((STYLES, digits, "   "), (STYLES, digits, "  "), (STYLES, 0, "  "), (present, 0, "  ")):
        line: Line = [("  ", "")]
        for outcome in outcomes:
            number = tally.ended[outcome]
            line += [(separator, "")] if len(line) > 1 else []
            line += [(f"{number:>{places},}", STYLES[outcome] if number else "dim")]
            line += [(f" {WORDS[outcome]}", "" if number else "dim")]
        if sum(len(text) for text, _ in line) <= width:
            break
    return line


def _instruments(gauges: LiveMetrics) -> Line:
    line: Line = [(f"  {gauges.rate:.0f} requests/s, {gauges.requests:,} in all", "dim")]
    if gauges.throttled:
        line.append((f", {gauges.throttled:,} x 429", "yellow"))
    if gauges.pause > 0:
        line.append((f", paused for {span(gauges.pause)} as the service asked", "yellow"))
    elif gauges.next_poll is not None and gauges.next_poll >= 1:
        line.append((f", next in {span(gauges.next_poll)}", "dim"))
    return line


def _trouble(tally: WatchProgress) -> Line:
    if not tally.silent:
        return []
    cause = problem_text(next(reversed(tally.silent.values())))
    return [("  ", ""), (f"{count(len(tally.silent), 'job')} without an answer, still trying: {cause}", "yellow")]


def _table(tally: WatchProgress, now: float, room: int, width: int, expect: Expect) -> list[Line]:
    """Return the running jobs in one panel or, where there is room, in two, read down."""
    panels = 2 if width >= 2 * _PANEL + _GAP - _MARGIN else 1
    jobs = tally.oldest(room * panels)
    if not jobs:
        return [[(f"  {count(len(tally.unread), 'job')} not read yet", "dim")]] if tally.unread else []
    columns = _columns(width // panels)
    blocks = [jobs[start : start + room] for start in range(0, len(jobs), room)]
    gap: Line = [(" " * _GAP, "")]
    lines = [_side_by_side([_header(columns) for _ in blocks], gap)]
    for number in range(len(blocks[0])):
        cells = [_row(block[number], tally, columns, now, expect) for block in blocks if number < len(block)]
        lines.append(_side_by_side(cells, gap))
    rest = [f"{left:,} more running"] if (left := len(tally.running) - len(jobs)) else []
    rest += [f"{len(tally.unread):,} not read yet"] if tally.unread else []
    if rest:
        lines.append([(f"  {', '.join(rest)}", "dim")])
    return lines


def _side_by_side(cells: Sequence[Line], gap: Line) -> Line:
    line: Line = []
    for cell in cells:
        line += [*gap, *cell] if line else cell
    return line


def _columns(width: int) -> dict[str, int]:
    """Return the columns of the table and their widths, as many as fit into *width*: which job it is goes last."""
    columns = {"running": 7, "left": 6, "status": 10, "kind": 7, "model": 22, "job": 10}
    for name in ("model", "kind", "left", "status"):
        excess = _MARGIN + sum(columns.values()) + 2 * (len(columns) - 1) - width
        if excess <= 0:
            break
        if columns[name] - excess >= _LEAST_WORD and name == "model":
            columns[name] -= excess
        else:
            del columns[name]
    return columns


def _header(columns: dict[str, int]) -> Line:
    cells = (f"{name:>{size}}" if name in _RIGHT else f"{name:<{size}}" for name, size in columns.items())
    return [(f"  {'  '.join(cells)}", "dim underline")]


def _row(job: RunningJobs, tally: WatchProgress, columns: dict[str, int], now: float, expect: Expect) -> Line:
    age = max(now - job.born, 0.0)
    usual = expect(job, age)
    is_silent = job.job_id in tally.silent
    cells = {
        "running": (clock(age), ""),
        "left": ("" if usual is None else "soon" if usual - age < 1 else f"~{clock(usual - age)}", "dim"),
        "status": ("no answer", "yellow") if is_silent else (job.status, "dim" if job.status in _QUIET else ""),
        "kind": (job.kind, ""),
        "model": (job.model, "dim"),
        "job": (digest(job.job_id), "cyan"),
    }
    line: Line = [("  ", "")]
    for name, size in columns.items():
        text, style = cells[name]
        text = one_line(text, size)
        line += [(f"{text:>{size}}" if name in _RIGHT else f"{text:<{size}}", style), ("  ", "")]
    return line[:-1]

"""What a watch came to, in a few lines.

Pure: no clock, no I/O, no asyncio.
"""

from statistics import median

from asyncflow import Outcome, RunReport
from asyncflow.cli.formatting import count, one_line, span
from asyncflow.cli.output.live_view import STYLES, WORDS, Line, LiveMetrics
from asyncflow.cli.output.progress import KindProgress, WatchProgress

__all__ = ["progress_line", "summary"]

_MOST_REASONS = 5


def summary(tally: WatchProgress, gauges: LiveMetrics | None, elapsed: float) -> list[Line]:
    """Return the summary of a watch that took *elapsed* seconds: a table by kind if there is more than one job.

    *gauges* are None where others polled.
    """
    lines: list[Line] = [[(f"{count(tally.done, 'job')} in {span(elapsed)}", "bold")]]
    if tally.done > 1:
        lines += [[], *_table(tally)]
    lines += [[], *_reasons(tally)] if tally.reasons else []
    worth = _worth(tally.builder.report()) if tally.done > 1 else []
    requests = [] if gauges is None else [_requests(tally, gauges, elapsed)]
    return [*lines, [], *worth, *requests]


def _table(tally: WatchProgress) -> list[Line]:
    kinds = sorted(tally.kinds.items(), key=lambda item: -sum(item[1].ended.values()))
    header = f"{'':<8}{'jobs':>6}{''.join(f'{word:>{len(word) + 2}}' for word in WORDS.values())}{'median':>12}"
    lines: list[Line] = [[(header, "dim")], *(_table_row(one_line(name, 8) or "unknown", kind) for name, kind in kinds)]
    if len(kinds) > 1:
        lines.append(_table_row("all", KindProgress(tally.ended, [])))
    return lines


def _table_row(name: str, kind: KindProgress) -> Line:
    total = sum(kind.ended.values())
    line: Line = [(f"{name:<8}", ""), (f"{total:>6}", "bold")]
    for outcome, style in STYLES.items():
        number = kind.ended[outcome]
        line.append((f"{number or '-':>{len(WORDS[outcome]) + 2}}", style if number else "dim"))
    if kind.durations:
        line.append((f"{span(median(kind.durations)):>12}", "dim"))
    return line


def _reasons(tally: WatchProgress) -> list[Line]:
    ranked = tally.reasons.most_common()
    width = len(f"{ranked[0][1]:,}")
    lines: list[Line] = [[(f"{number:>{width},} x ", "dim"), (reason, "")] for reason, number in ranked[:_MOST_REASONS]]
    if len(ranked) > _MOST_REASONS:
        lines.append([(f"and {count(len(ranked) - _MOST_REASONS, 'other reason')}", "dim")])
    return lines


def _worth(report: RunReport) -> list[Line]:
    parts = [f"{report.files.ok:,} of {count(report.files.total, 'file')}"] if report.files.total else []
    if used := sum(each.used for each in report.credits):
        parts.append(count(used, "credit"))
    if report.captchas.attempts:
        parts.append(f"{count(report.captchas.attempts, 'captcha')} (about ${report.captchas.cost:,.2f})")
    return [[(", ".join(parts), "")]] if parts else []


def _requests(tally: WatchProgress, gauges: LiveMetrics, elapsed: float) -> Line:
    parts = [f"{count(gauges.requests, 'request')}, {gauges.requests / max(elapsed, 0.001):.1f} a second"]
    if tally.failures:
        parts.append(f"{count(tally.failures, 'failed read')}{'' if tally.lost else ' made good'}")
    if gauges.throttled:
        parts.append(f"{gauges.throttled:,} x 429")
    return [("; ".join(parts), "dim")]


def progress_line(tally: WatchProgress, gauges: LiveMetrics | None, elapsed: float) -> str:
    """Return how far a watch is, in one line of text."""
    digits = len(f"{tally.total:,}")
    parts = [f"{elapsed:>5.0f} s  {tally.done:>{digits},} of {tally.total:,}"]
    parts += [
        f"{tally.ended[outcome]:>{digits},} {word}"
        for outcome, word in WORDS.items()
        if outcome is Outcome.SUCCEEDED or tally.ended[outcome]
    ]
    if gauges is not None:
        parts.append(f"{gauges.rate:.0f} requests/s")
    return "   ".join(parts)

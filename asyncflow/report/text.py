"""A report as text, at most 80 columns wide.

Pure: no clock, no I/O, no asyncio.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from asyncflow.redaction import one_line
from asyncflow.report.formatting import OUTCOMES, captcha_line, clock, count, per_cent, requests_line, span

if TYPE_CHECKING:
    from asyncflow.report.values import ReportGroup, RunReport

__all__ = ["table"]

_WIDTH = 80
_LEAST_NAME = 14
_MOST_ROWS = 40
_MOST_REASONS = 12
_MOST_ACCOUNTS = 8
_HEADS = ("jobs", "ok", "part", "none", "fail", "lost", "files", "median", "p95")

Row = tuple[str, ...]


def table(report: RunReport) -> str:
    """Return the lines of *report*, each ended."""
    blocks = [_head(report), _groups(report), _reasons(report), _facts(report)]
    return "\n".join("".join(f"{line.rstrip()}\n" for line in block) for block in blocks if block)


def _head(report: RunReport) -> list[str]:
    parts = [f"{report.outcomes[key]:,} {word}" for key, word in OUTCOMES.items() if report.outcomes.get(key)]
    parts += [f"{report.running:,} not over"] if report.running else []
    time = f" in {span(report.elapsed)}" if report.elapsed is not None else ""
    head, rest = f"{count(report.jobs, 'job')}{time}", ", ".join(parts)
    if not rest:
        return [head]
    line = f"{head}: {rest}"
    return [line] if len(line) <= _WIDTH else [f"{head}:", f"  {rest}"]


def _groups(report: RunReport) -> list[str]:
    if not report.groups:
        return []
    shown = report.groups[:_MOST_ROWS]
    rows = {id(group): _cells(group) for group in shown}
    widths = [max(len(head), *(len(row[place]) for row in rows.values())) + 2 for place, head in enumerate(_HEADS)]
    names = {id(group): f"  {one_line(' '.join((group.kind or '-', group.model)))}" for group in shown}
    room = max(min(_WIDTH - sum(widths), max(map(len, names.values()))), _LEAST_NAME)
    lines = [" " * room + _line(_HEADS, widths)]
    by_service = sorted(shown, key=lambda group: (not group.service, group.service))
    for service, groups in groupby(by_service, key=lambda group: group.service):
        lines.append(_cut(service or "never read", _WIDTH))
        lines += [f"{_cut(names[id(group)], room):<{room}}{_line(rows[id(group)], widths)}" for group in groups]
    left = len(report.groups) - len(shown)
    return [*lines, f"  and {count(left, 'smaller group')}"] if left else lines


def _cells(group: ReportGroup) -> Row:
    times = ("-", "-") if group.durations is None else (clock(group.durations.median), clock(group.durations.p95))
    outcomes = (f"{group.outcomes.get(key, 0):,}" for key in OUTCOMES)
    cells = (f"{group.jobs:,}", *outcomes, per_cent(group.files.ok, group.files.total), *times)
    return tuple("-" if cell == "0" else cell for cell in cells)


def _line(cells: Row, widths: list[int]) -> str:
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


def _reasons(report: RunReport) -> list[str]:
    shown = report.reasons[:_MOST_REASONS]
    width = len(f"{shown[0].jobs:,}") if shown else 0
    lines = [_cut(f"{reason.jobs:>{width},} x {reason.word}", _WIDTH) for reason in shown]
    left = len(report.reasons) - len(shown)
    return [*lines, f"and {count(left, 'other reason')}"] if left else lines


def _facts(report: RunReport) -> list[str]:
    files, captchas = report.files, report.captchas
    lines: list[str] = []
    if files.total:
        missing = [f"{number:,} {word}" for number, word in ((files.failed, "failed"), (files.unresolved, "missing")) if number]
        lines.append(f"files     {', '.join([f'{files.ok:,} of {files.total:,} there', *missing])}")
    if captchas.attempts:
        lines.append(f"captchas  {captcha_line(captchas)}")
    for each in report.credits[:_MOST_ACCOUNTS]:
        account = f"account {each.account}" if each.account else "account unknown"
        lines.append(f"credits   {account}: {each.first:,} -> {each.last:,}, {each.used:,} used")
    if (left := len(report.credits) - _MOST_ACCOUNTS) > 0:
        lines.append(f"credits   and {count(left, 'other account')}")
    if asked := requests_line(report):
        lines.append(f"asked     {asked}")
    return lines


def _cut(text: str, width: int) -> str:
    indent = text[: len(text) - len(text.lstrip())]
    text = indent + one_line(text)
    return text if len(text) <= width else f"{text[: width - 1]}…"

"""A report as a page in one piece: nothing is loaded from anywhere, nothing runs, and every word from outside is escaped.

Pure: no clock, no I/O, no asyncio.
"""

from __future__ import annotations

from datetime import timedelta
from html import escape
from typing import TYPE_CHECKING

from asyncflow.redaction import one_line
from asyncflow.report.charts import box_plot, columns, share_bar, stacked_bar
from asyncflow.report.css import STYLE
from asyncflow.report.formatting import OUTCOMES, captcha_line, clock, count, moment, money, per_cent, requests_line, span

if TYPE_CHECKING:
    from asyncflow.report.values import Captchas, ReportGroup, RunReport, Timeline

__all__ = ["page"]

_MOST_ROWS = 60
_MOST_REASONS = 20
_MOST_ACCOUNTS = 20
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(report: RunReport) -> str:
    """Return *report* as an HTML document."""
    parts = [
        _header(report),
        _outcomes(report),
        _tiles(report),
        "" if report.timeline is None else _timeline(report.timeline),
        _groups(report),
        _reasons(report),
        _costs(report),
        _footer(),
    ]
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="referrer" content="no-referrer">
<title>Run report: {count(report.jobs, "job")}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
{"".join(part for part in parts if part)}</main>
</body>
</html>
"""


def _header(report: RunReport) -> str:
    parts: list[str] = []
    if report.began_at is not None and report.ended_at is not None:
        is_one_day = report.began_at.date() == report.ended_at.date()
        until = f"{report.ended_at:%H:%M} UTC" if is_one_day else moment(report.ended_at)
        since = moment(report.began_at)
        since = since.removesuffix(" UTC") if is_one_day else since
        parts = [f"{since} to {until}", span(report.elapsed or 0.0)]
    parts += [f"{count(report.running, 'job')} not over yet"] if report.running else []
    return f'<header><h1>{count(report.jobs, "job")}</h1><p class="soft">{" · ".join(parts) or "Run report"}</p></header>\n'


def _card(title: str, inner: str) -> str:
    return f'<section class="card"><h2>{escape(title)}</h2>{inner}</section>\n'


def _outcomes(report: RunReport) -> str:
    legend = "".join(
        f'<li class="{key}"><b>{report.outcomes.get(key, 0):,}</b>{word} '
        f'<span class="soft">{per_cent(report.outcomes.get(key, 0), report.jobs)}</span></li>'
        for key, word in OUTCOMES.items()
    )
    return _card("Outcomes", f'{stacked_bar(report.outcomes)}<ul class="legend">{legend}</ul>')


def _tiles(report: RunReport) -> str:
    files, captchas, used = report.files, report.captchas, sum(each.used for each in report.credits)
    tiles = [(per_cent(report.succeeded, report.jobs), "jobs with all files", f"{report.succeeded:,} of {report.jobs:,}")]
    if files.total:
        missing = [f"{number:,} {word}" for number, word in ((files.failed, "failed"), (files.unresolved, "missing")) if number]
        tiles.append((f"{files.ok:,}", "files", ", ".join(missing) or "none missing"))
    if report.requests is not None or report.polls is not None:
        asked = report.requests if report.requests is not None else report.polls or 0
        tiles.append((f"{asked:,}", "requests", f"{asked / max(report.jobs, 1):.1f} a job"))
    if captchas.attempts:
        tiles.append((money(captchas.cost), "captchas, estimated", f"{captchas.attempts:,} solutions"))
    if report.credits:
        tiles.append((f"{used:,}", "credits used", count(len(report.credits), "account")))
    inner = "".join(
        f'<div class="tile"><b>{escape(number)}</b><span>{escape(name)}</span><small>{escape(more)}</small></div>'
        for number, name, more in tiles
    )
    return f'<div class="tiles">{inner}</div>\n'


def _timeline(timeline: Timeline) -> str:
    length = max((len(counts) for counts in timeline.outcomes.values()), default=0)
    most = max((sum(place) for place in zip(*timeline.outcomes.values(), strict=True)), default=0)
    if length < 2:
        return ""
    marks = [timeline.start + timedelta(seconds=timeline.step * length * part / 4) for part in range(5)]
    is_long = timeline.step * length > 86400
    labels = "".join(f"<span>{mark:{'%d %b %H:%M' if is_long else '%H:%M:%S'}}</span>" for mark in marks)
    caption = f"Jobs ended, up to {most:,} in each {_step(timeline.step)}; UTC"
    return _card("Over time", f'{columns(timeline)}<div class="scale">{labels}</div><small>{caption}</small>')


def _step(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 60 else span(seconds)


def _groups(report: RunReport) -> str:
    if not report.groups:
        return ""
    shown = report.groups[:_MOST_ROWS]
    longest = max((group.durations.p95 for group in shown if group.durations is not None), default=0.0)
    axis = f"<small> 0 to {clock(longest)}</small>" if longest else ""
    head = (
        '<tr><th>Kind and model</th><th class="n">Jobs</th><th>Outcomes</th><th class="n">Files</th>'
        f'<th>Duration{axis}</th><th class="n">Median</th><th class="n">p95</th><th class="n">Captchas</th></tr>'
    )
    rows = "".join(_group_row(group, longest) for group in shown)
    left = len(report.groups) - len(shown)
    more = f"<small>and {count(left, 'smaller group')}</small>" if left else ""
    table = f'<div class="wide"><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>{more}'
    return _card("By service, kind and model", table)


def _group_row(group: ReportGroup, longest: float) -> str:
    more = " · ".join(_shown(word) for word in (group.model, group.service or "never read") if word)
    name = f"{_shown(group.kind or 'unknown')}<small>{more}</small>"
    times = group.durations
    plot = "" if times is None else box_plot(times, longest)
    median, p95 = ("-", "-") if times is None else (clock(times.median), clock(times.p95))
    files = f"{group.files.ok:,} / {group.files.total:,}" if group.files.total else "-"
    cost = money(group.captchas.cost) if group.captchas.attempts else "-"
    return (
        f'<tr><td class="name">{name}</td><td class="n">{group.jobs:,}</td><td>{stacked_bar(group.outcomes)}</td>'
        f'<td class="n">{files}</td><td>{plot}</td><td class="n">{median}</td><td class="n">{p95}</td>'
        f'<td class="n">{cost}</td></tr>'
    )


def _reasons(report: RunReport) -> str:
    if not report.reasons:
        return ""
    shown = report.reasons[:_MOST_REASONS]
    rows = "".join(
        f'<tr><td class="n">{reason.jobs:,}</td><td class="bar">{share_bar(reason.jobs, shown[0].jobs, "failed")}</td>'
        f'<td class="word">{_shown(reason.word)}</td></tr>'
        for reason in shown
    )
    left = len(report.reasons) - len(shown)
    more = f"<small>and {count(left, 'other reason')}</small>" if left else ""
    return _card("Why jobs failed, lack files or were given up", f'<table class="list"><tbody>{rows}</tbody></table>{more}')


def _costs(report: RunReport) -> str:
    cards = [_captchas(report.captchas)] if report.captchas.attempts else []
    cards += [_credits(report)] if report.credits else []
    asked = requests_line(report)
    cards += [_card("Requests", f"<p>{asked}</p>")] if asked and not cards else []
    return f'<div class="pair">{"".join(cards)}</div>\n' if cards else ""


def _captchas(captchas: Captchas) -> str:
    most = max(captchas.providers.values(), default=1)
    rows = "".join(
        f'<tr><td class="name">{_shown(name) or "unknown"}</td><td class="bar">{share_bar(number, most, "accent")}</td>'
        f'<td class="n">{number:,}</td></tr>'
        for name, number in captchas.providers.items()
    )
    told = f'<p class="soft lead">{captcha_line(captchas)}</p>'
    return _card("Captchas", f'{told}<table class="list"><tbody>{rows}</tbody></table>')


def _credits(report: RunReport) -> str:
    shown = report.credits[:_MOST_ACCOUNTS]
    rows = "".join(
        f'<tr><td class="word">{_shown(each.account) or "unknown"}</td><td class="n">{each.first:,}</td>'
        f'<td class="n">{each.last:,}</td><td class="n">{each.used:,}</td></tr>'
        for each in shown
    )
    head = '<tr><th>Account</th><th class="n">First</th><th class="n">Last</th><th class="n">Used</th></tr>'
    left = len(report.credits) - len(shown)
    more = f"<small>and {count(left, 'other account')}</small>" if left else ""
    return _card("Credits", f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>{more}")


def _shown(text: str) -> str:
    """Return what others wrote, fit for a page: a report may come from a file that somebody else has made."""
    return escape(one_line(text))


def _footer() -> str:
    return (
        "<footer>Outcomes count files, not statuses. Durations are those of the service's clock: the line reaches from the "
        "shortest to the 95th percentile, the box holds the middle half, the mark is the median. Captcha prices are estimates. "
        "Accounts are shown by digests.</footer>\n"
    )

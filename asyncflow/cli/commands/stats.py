"""`asyncflow stats`: how busy the accounts are."""

import sys
from typing import Literal, cast

import click
import msgspec

from asyncflow import AsyncflowError, ErrorInfo, FlowStats, MusicStats
from asyncflow.cli.client import open_client
from asyncflow.cli.errors import error_text
from asyncflow.cli.exits import REFUSALS, ExitCode, code_of, graver
from asyncflow.cli.formatting import count, one_line, span
from asyncflow.cli.input.options import color_option, json_option
from asyncflow.cli.output.live_view import Line, plain
from asyncflow.cli.output.streams import OutputStream, complain
from asyncflow.cli.terminal import is_live, screen_on
from asyncflow.cli.watch_runner import run
from asyncflow.redaction import digest

__all__ = ["SERVICES", "describe", "mask", "stats"]

SERVICES = ("google-flow", "flowmusic")
_ACCOUNT = 24
_MOST_JOBS = 20

Stats = FlowStats | MusicStats
Detail = Literal["summary", "executing", "history"]


@click.command(
    epilog="""\b
Examples:
  asyncflow stats
  asyncflow stats google-flow --detail executing
  asyncflow stats --json

\b
The service counts what its accounts have done lately; it is no list of all
jobs. The running jobs are the only way to a lost id: --json prints them
whole, for a quarter of an hour. Addresses are masked but in --json, which
prints an object with the statistics of each service by its name, and under
errors why one did not answer.

\b
Environment: USEAPI_TOKEN, USEAPI_BASE_URL, NO_COLOR
""",
)
@click.argument("service", type=click.Choice(SERVICES), required=False)
@click.option(
    "--detail",
    type=click.Choice(["summary", "executing", "history"]),
    default="summary",
    show_default=True,
    help="Google Flow: counts, the running jobs, or those of the last 15 minutes.",
)
@json_option("Print the statistics as a line of JSON.")
@color_option
def stats(*, service: str | None, detail: str, as_json: bool, no_color: bool) -> int:
    """Show the load of the accounts, of one service or of both."""
    names = SERVICES if service is None else (service,)

    async def main() -> ExitCode:
        found, errors = dict[str, Stats](), dict[str, AsyncflowError]()
        async with open_client() as client:
            for name in names:
                try:
                    found[name] = (
                        await client.get_stats("google-flow", cast("Detail", detail))
                        if name == "google-flow"
                        else await client.get_stats("flowmusic")
                    )
                except AsyncflowError as refusal:
                    if refusal.kind in REFUSALS:
                        raise
                    errors[name] = refusal
        for name, error in errors.items():
            complain(f"{name}: {error_text(error)}")
        if as_json:
            problems = {name: ErrorInfo.of(error) for name, error in errors.items()}
            await OutputStream(sys.stdout).write(msgspec.json.encode({**found, "errors": problems}) + b"\n")
        else:
            await _show([line for each in found.values() for line in describe(each)], no_color=no_color)
        # Whoever has accounts of one service only need not name it.
        return graver(map(code_of, errors.values())) if not found else ExitCode.SUCCEEDED

    return run(main)


async def _show(lines: list[Line], *, no_color: bool) -> None:
    if is_live(sys.stdout):
        screen_on(sys.stdout, no_color=no_color).print(lines)
    else:
        await OutputStream(sys.stdout).write("".join(f"{plain(line)}\n" for line in lines))


def mask(email: str) -> str:
    """Return *email* as the service itself masks it, `jo***@example.com`; what is none becomes a digest."""
    name, at, domain = email.rpartition("@")
    if not at or not name:
        return digest(email)
    return one_line(f"{name[:2] if len(name) > 2 and name[:2].isalnum() else name[0] if name[0].isalnum() else ''}***@{domain}")


def describe(found: Stats) -> list[Line]:
    """Return *found* as a table by account."""
    return _flow(found) if isinstance(found, FlowStats) else _music(found)


def _title(name: str, words: str) -> Line:
    return [(f"{name}  ", "bold"), (words, "dim")]


def _flow(found: FlowStats) -> list[Line]:
    lines = [_title("google-flow", count(len(found.emails), "account"))]
    heads = f"  {'account':<{_ACCOUNT}}{'kind':<8}{'running':>8}{'completed':>11}{'failed':>8}{'429':>6}{'response':>11}"
    lines.append([(heads, "dim")])
    for email in found.emails:
        name = mask(email)
        for kind in ("videos", "images"):
            group = found.groups.get(kind)
            row = None if group is None else group.summary.get(email)
            if row is None:
                continue
            lines.append(
                [
                    (f"  {one_line(name, _ACCOUNT - 2):<{_ACCOUNT}}", "cyan"),
                    (f"{kind:<8}", ""),
                    (f"{row.executing:>8,}", "" if row.executing else "dim"),
                    (f"{row.completed:>11,}", "" if row.completed else "dim"),
                    (f"{row.failed:>8,}", "red" if row.failed else "dim"),
                    (f"{row.rate_limited:>6,}", "yellow" if row.rate_limited else "dim"),
                    (f"{span(row.average_response) if row.average_response else '-':>11}", "dim"),
                ]
            )
            name = ""
    return lines + _jobs("running", list(found.executing_jobs)) + _jobs("ended", list(found.finished_jobs))


def _music(found: MusicStats) -> list[Line]:
    lines = [_title("flowmusic", count(len(found.accounts), "account"))]
    lines.append([(f"  {'account':<{_ACCOUNT}}{'running':>8}{'at most':>11}", "dim")])
    for email, account in found.accounts.items():
        style = "yellow" if account.max_jobs and account.running >= account.max_jobs else "" if account.running else "dim"
        name = one_line(mask(email), _ACCOUNT - 2)
        lines.append([(f"  {name:<{_ACCOUNT}}", "cyan"), (f"{account.running:>8,}", style), (f"{account.max_jobs:>11,}", "dim")])
    return lines + _jobs("running", list(found.executing_jobs))


def _jobs(word: str, job_ids: list[str]) -> list[Line]:
    if not job_ids:
        return []
    shown = ", ".join(digest(job_id) for job_id in job_ids[:_MOST_JOBS])
    rows = [f"  {word}: {count(len(job_ids), 'job')}"]
    rows += [f"    {shown[start : start + 72]}" for start in range(0, len(shown), 72)]
    more = len(job_ids) - _MOST_JOBS
    return [[(row, "")] for row in rows] + ([[(f"    and {more:,} more", "dim")]] if more > 0 else [])

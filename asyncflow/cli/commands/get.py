"""`asyncflow get`: read one job."""

import sys

import click
import msgspec

from asyncflow import Job, Media, Outcome
from asyncflow.cli.client import open_client
from asyncflow.cli.exits import ExitCode
from asyncflow.cli.formatting import OUTCOMES, count, one_line, reason_of, span
from asyncflow.cli.input.ids import collect_ids
from asyncflow.cli.input.options import color_option, json_option
from asyncflow.cli.output.live_view import STYLES, Line, plain
from asyncflow.cli.output.streams import OutputStream
from asyncflow.cli.terminal import is_live, screen_on
from asyncflow.cli.watch_runner import run
from asyncflow.redaction import digest

__all__ = ["get"]


@click.command(
    epilog="""\b
Examples:
  asyncflow get "$JOB_ID"
  asyncflow get "$JOB_ID" --json > job.json

\b
The exit code is 0 for a job that runs or has succeeded, 1 for one that
failed or lacks files, 5 where the service does not tell.

\b
Environment: USEAPI_TOKEN, USEAPI_BASE_URL, NO_COLOR
""",
)
@click.argument("job_id", metavar="ID")
@json_option("Print the record as JSON, with the answer as it came under raw.")
@color_option
def get(*, job_id: str, as_json: bool, no_color: bool) -> int:
    """Read one job and show its state and its files."""
    [job_id] = collect_ids([job_id], [])

    async def main() -> Job:
        async with open_client() as client:
            job = await client.get_job(job_id)
        if as_json:
            await OutputStream(sys.stdout).write(msgspec.json.encode(job) + b"\n")
        elif is_live(sys.stdout):
            screen_on(sys.stdout, no_color=no_color).print(describe(job), is_whole=True)
        else:
            await OutputStream(sys.stdout).write("".join(f"{plain(line)}\n" for line in describe(job)))
        return job

    job = run(main)
    return ExitCode.SUCCEEDED if job.outcome in (Outcome.PENDING, Outcome.SUCCEEDED) else ExitCode.BAD_OUTCOME


def describe(job: Job) -> list[Line]:
    """Return what people want to know of *job*; its links are whole, since they are what was asked for."""
    facts = {
        "service": job.service,
        "kind": one_line(job.kind),
        "model": one_line(job.model or ""),
        "created": f"{job.created_at:%Y-%m-%d %H:%M:%S %Z}" if job.created_at is not None else "",
        "took": span(job.duration) if job.duration is not None else "",
        "files": f"{job.media_ok} of {count(job.media_total, 'file')}" if job.media_total else "",
        "reason": reason_of(job) if job.is_terminal else "",
        "captchas": str(job.captcha_attempts or ""),
        "credits": f"{job.remaining_credits:,} left" if job.remaining_credits is not None else "",
    }
    state: Line = [(f"{digest(job.job_id)}  ", "bold"), (one_line(job.status) or "without status", "")]
    if job.is_terminal:
        state += [(", ", ""), (OUTCOMES[job.outcome], STYLES[job.outcome])]
    lines: list[Line] = [state]
    lines += [[(f"  {name:<10}", "dim"), (fact, "")] for name, fact in facts.items() if fact]
    return lines + [_media_line(number, media) for number, media in enumerate(job.media, 1)]


def _media_line(number: int, media: Media) -> Line:
    where = media.url or ("inline, see --json" if media.encoded else one_line(", ".join(media.reasons)))
    style = {"ok": "green", "failed": "red"}.get(media.state, "yellow")
    return [(f"  {number:>4}  ", "dim"), (f"{one_line(media.kind, 6):<6}  ", ""), (f"{media.state:<10}  ", style), (where, "")]

"""`asyncflow cancel`: give up songs that are being made."""

import sys
from collections.abc import Sequence

import click
import msgspec

from asyncflow import AsyncflowError, ErrorInfo, UsageError
from asyncflow.cli.client import open_client
from asyncflow.cli.exits import REFUSALS, CommandExit, ExitCode, code_of, graver
from asyncflow.cli.formatting import problem_text, some_digests
from asyncflow.cli.input.ids import collect_ids
from asyncflow.cli.input.options import files_option, json_option, quiet_option
from asyncflow.cli.output.streams import OutputStream
from asyncflow.cli.watch_runner import run
from asyncflow.redaction import digest

__all__ = ["cancel"]


@click.command(
    epilog="""\b
Examples:
  asyncflow cancel "$SONG_ID"
  asyncflow cancel -f songs.txt --json

\b
The credits are spent all the same, and the song may still be finished; what
is freed is its place among the songs that an account makes at a time. Google
Flow has no such thing: its jobs run to their ends.
--json prints job_id, cancelled and error for each job.

\b
Environment: USEAPI_TOKEN, USEAPI_BASE_URL
""",
)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@files_option
@json_option("Print what became of each as a line of JSON.")
@quiet_option
def cancel(*, ids: Sequence[str], files: Sequence[str], as_json: bool, quiet: bool) -> int:
    """Cancel Flow Music jobs."""
    job_ids = collect_ids(ids, files)
    # All are looked at before the first is cancelled: half a list is worse than none.
    others = [job_id for job_id in job_ids if not job_id.endswith("-bot:flowmusic")]
    if others:
        raise CommandExit(
            f"only Flow Music jobs can be cancelled, not {some_digests(others)}; nothing was cancelled", ExitCode.USAGE
        )

    async def main() -> ExitCode:
        outlet, codes = OutputStream(sys.stdout), list[ExitCode]()
        async with open_client() as client:
            for job_id in job_ids:
                error: AsyncflowError | None = None
                try:
                    await client.cancel(job_id)
                except UsageError:
                    raise
                except AsyncflowError as refusal:
                    if refusal.kind in REFUSALS:
                        raise
                    error = refusal
                    codes.append(code_of(refusal))
                if as_json:
                    await outlet.write(_json(job_id, error))
                elif not quiet:
                    told = "cancelled" if error is None else problem_text(ErrorInfo.of(error))
                    await outlet.write(f"{digest(job_id)}  {told}\n")
        return graver(codes)

    return run(main)


def _json(job_id: str, error: AsyncflowError | None) -> bytes:
    line = {"job_id": job_id, "cancelled": error is None, "error": None if error is None else ErrorInfo.of(error)}
    return msgspec.json.encode(line) + b"\n"

"""`asyncflow resume`: go on with a watch that was ended, however it was."""

from typing import Unpack

import click

from asyncflow.cli.commands.watch import WatchFlags, follow, watch_options
from asyncflow.cli.input.resume_state import kept_in

__all__ = ["resume"]


@click.command(
    epilog="""\b
Examples:
  asyncflow watch --journal run.db --file ids.txt
  asyncflow resume run.db

\b
What the watch before had told is not told again, but it counts: the summary
and the exit code are those of all jobs.

\b
Environment: USEAPI_TOKEN, USEAPI_BASE_URL, NO_COLOR; ASYNCFLOW_SECRET for
--listen
""",
)
@click.argument("name", type=click.Path(dir_okay=False), metavar="JOURNAL")
@watch_options
def resume(*, name: str, **flags: Unpack[WatchFlags]) -> int:
    """Go on with the watch of a journal.

    Endings that were not told are told first; then what has not ended is watched.
    """
    return follow([], kept_in(name, is_optional=False, is_new=False), "asyncflow resume", flags)

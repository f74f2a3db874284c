"""`asyncflow dashboard`: a page that shows a journal."""

import asyncio
import os
from contextlib import suppress
from typing import Any

import click

import asyncflow
from asyncflow import Journal
from asyncflow.cli.addons.dashboard import as_web_address, guarded, page_at
from asyncflow.cli.client import open_client
from asyncflow.cli.exits import CommandExit, ExitCode, Interrupted
from asyncflow.cli.input.resume_state import shown_name
from asyncflow.cli.output.streams import emit
from asyncflow.cli.watch_runner import run

__all__ = ["dashboard"]

_NO_TOKEN = "user:0-none"  # noqa: S105 - a client wants one; media hosts are not told any


@click.command(
    epilog="""\b
Examples:
  asyncflow dashboard run.db
  asyncflow dashboard run.db --web=127.0.0.1:8765

\b
It reads the journal and writes nothing; a watch may be writing to it
meanwhile. Ctrl-C ends it. Files are shown as long as their links are good;
with USEAPI_TOKEN set, fresh ones are asked for.

\b
Environment: USEAPI_TOKEN, USEAPI_BASE_URL; ASYNCFLOW_WEB_TOKEN: the key in
the link, else a new one for each run.
""",
)
@click.argument("name", metavar="JOURNAL")
@click.option(
    "--web", default="127.0.0.1:0", callback=as_web_address, metavar="HOST:PORT", help="Where to listen, else a free port."
)
@click.option("--allow-actions", is_flag=True, help="Let the page cancel songs and save files to ./downloads.")
def dashboard(*, name: str, web: tuple[str, int], allow_actions: bool) -> None:
    """Show a journal on a page, live while a watch writes it."""
    journal = Journal(name)
    if not journal.path.exists():
        raise CommandExit(f"the journal {shown_name(name)} is missing", ExitCode.USAGE)
    next(journal.entries(), None)  # what is no journal is said at once

    async def main() -> None:
        client = open_client() if allow_actions or os.environ.get("USEAPI_TOKEN", "").strip() else _client_for_files()
        async with client:

            def make(**options: Any) -> asyncflow.Dashboard:  # noqa: ANN401 - those of Dashboard
                return asyncflow.Dashboard(journal, client, **options)

            page = page_at(make, web, is_acting=allow_actions, title=shown_name(name))
            async with guarded(page, web) as link:
                emit(f"{link}\n")
                await asyncio.Event().wait()

    with suppress(Interrupted):  # to be stopped is how it ends
        run(main)


def _client_for_files() -> asyncflow.AsyncClient:
    return asyncflow.AsyncClient(_NO_TOKEN)

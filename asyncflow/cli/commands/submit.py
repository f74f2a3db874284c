"""`asyncflow submit`: create the jobs of a manifest, each once."""

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypedDict, Unpack

import click
import msgspec

from asyncflow import AsyncflowError, Journal, SubmitBatch, SubmitResult
from asyncflow.cli.addon import refuse_without
from asyncflow.cli.addons.store import STORING
from asyncflow.cli.client import open_client
from asyncflow.cli.commands.watch import COMPANIONS, follow, watch
from asyncflow.cli.exits import CommandExit, ExitCode, Interrupted, graver
from asyncflow.cli.formatting import count, one_line
from asyncflow.cli.input.ids import read_source, text_of
from asyncflow.cli.input.manifest import ManifestLine, ManifestProblems, read_manifest
from asyncflow.cli.input.options import POSITIVE, as_duration, color_option, json_option, quiet_option
from asyncflow.cli.input.resume_state import kept_in
from asyncflow.cli.output.streams import OutputStream, complain, emit
from asyncflow.cli.output.submit_summary import SubmitSummary
from asyncflow.cli.watch_runner import heard, run

__all__ = ["submit"]

_BESIDE = tuple(addon for addon in COMPANIONS if addon is not STORING)
"""What may run beside the watch that follows; that one has a journal, and no store therefore."""
_NO_JOURNAL = "without one, the ids of the jobs are printed by --json alone"


class SubmitFlags(TypedDict):
    """The options of the batch itself."""

    concurrency: int
    rate: float | None
    wait_for_capacity: float | None
    resubmit_unknown: bool


def _watch_options(command: Any) -> Any:  # noqa: ANN401 - click's decorators
    """Add the options of what may run beside the watch that follows."""
    for addon in reversed(_BESIDE):
        for option in reversed(addon.options):
            command = option(command)
    return command


@click.command(
    epilog="""\b
Examples:
  asyncflow submit batch.jsonl --dry-run
  asyncflow submit batch.jsonl --journal run.db
  asyncflow submit batch.csv --journal run.db --watch --download out
  asyncflow submit - --json < batch.jsonl > jobs.jsonl

\b
A manifest holds one submit a line, as JSON
  {"path": "google-flow/videos", "body": {"prompt": "a kite"}, "key": "k1"}
or as CSV, whose first line names its columns: path, key, and fields of the
body. The key is yours, and may be missing. See docs/submit.md.

\b
All lines are checked before the first is sent. With --journal each line is
noted before and after it goes out: however the command ends, run it again,
and it goes on; no line is sent twice without your word.

\b
The exit code is 0 when every line has a job, 1 when lines were refused, 4
for token or payment, 5 when it is not known of a line or not all were begun.
With --watch, that of the watch where it is graver.

\b
Environment: USEAPI_TOKEN, USEAPI_BASE_URL, NO_COLOR
""",
)
@click.argument("manifest", metavar="MANIFEST")
@click.option("--journal", metavar="JOURNAL", help="Keep the lines in a file: run again, the command goes on.")
@click.option("--watch", "is_watched", is_flag=True, help="Then follow the jobs of the journal until each has ended.")
@click.option("--dry-run", "is_dry", is_flag=True, help="Check the lines, say what would be sent, and send nothing.")
@json_option("Print each result as a line of JSON; words go to stderr.")
@click.option("--format", "form", type=click.Choice(["json", "csv"]), help="What the manifest is, instead of looking.")
@click.option("--concurrency", type=click.IntRange(1, 1000), default=8, show_default=True, help="Lines at a time.")
@click.option("--rate", type=POSITIVE, metavar="N", help="At most N requests a second.")
@click.option(
    "--wait-for-capacity", callback=as_duration, metavar="TIME", help="Try a line again this long while the service is full."
)
@click.option("--resubmit-unknown", is_flag=True, help="Send lines again of which nobody knows whether they have a job.")
@click.option("--timeout", callback=as_duration, metavar="TIME", help="Stop the watch after this long.")
@_watch_options
@quiet_option
@color_option
def submit(
    *,
    manifest: str,
    journal: str | None,
    is_watched: bool,
    is_dry: bool,
    as_json: bool,
    form: Any,  # noqa: ANN401 - one of the choices
    concurrency: int,
    rate: float | None,
    wait_for_capacity: float | None,
    resubmit_unknown: bool,
    quiet: bool,
    **watching: Any,  # noqa: ANN401 - the options of the watch, as `follow` has them
) -> int:
    """Create the jobs of a manifest, each once.

    MANIFEST is a file of JSON lines or CSV, - for standard input.
    """
    # All are made, not only the first, so that what they refuse is refused before anything is paid for.
    beside = [addon.make(watching) for addon in _BESIDE]
    # Whoever wants something beside the watch wants the watch.
    is_watched = is_watched or any(beside)
    if not is_watched:
        refuse_without("--watch", ("timeout",))
    if journal is None and not is_dry and (is_watched or not as_json):
        why = "the watch takes the jobs from there" if is_watched else _NO_JOURNAL
        raise CommandExit(f"name a --journal; {why}", ExitCode.USAGE)
    entries = _entries(manifest, form, journal)
    if is_dry:
        _tell_what_would_be_sent(entries, journal)
        return ExitCode.SUCCEEDED
    flags = SubmitFlags(
        concurrency=concurrency, rate=rate, wait_for_capacity=wait_for_capacity, resubmit_unknown=resubmit_unknown
    )
    code = _SubmitRun(entries, journal, as_json=as_json, is_quiet=quiet).run(**flags)
    if journal is not None and is_watched:
        # What is not asked for here is as asyncflow watch has it.
        options: Any = watch.make_context("watch", []).params | {"as_json": as_json, "rate": rate, "quiet": quiet} | watching
        kept = kept_in(journal, is_optional=False, is_new=False)
        return graver([code, ExitCode(follow([], kept, "asyncflow submit", options))])
    return code


def _entries(manifest: str, form: Any, journal: str | None) -> list[ManifestLine]:  # noqa: ANN401 - one of the choices
    """Return the lines of the manifest, all of them fit to be sent, as far as can be known before."""
    name = "standard input" if manifest == "-" else one_line(Path(manifest).name, 60)
    entries = read_manifest(text_of(read_source(manifest, "submits"), name), name, form)
    problems, earlier = ManifestProblems(name), _earlier(journal)
    for entry in entries:
        before = earlier.get(entry.key)
        if before is not None and before.state != "refused" and before.content != entry.line.content:
            problems.note(entry.number, f"the key {entry.key!r} is in the journal, with another path or body")
    problems.raise_if_any()
    return entries


def _earlier(journal: str | None) -> dict[str, SubmitResult]:
    if journal is None or not Path(journal).exists():
        return {}
    return {line.key: line for line in Journal(journal).submissions()}


def _tell_what_would_be_sent(entries: Sequence[ManifestLine], journal: str | None) -> None:
    earlier = _earlier(journal)
    new = Counter(entry.line.path for entry in entries if entry.key not in earlier)
    states: Counter[str] = Counter(earlier[entry.key].state for entry in entries if entry.key in earlier)
    lines = [f"{count(len(entries), 'line')}, all of them fit; nothing was sent"]
    lines += [f"{number:>8,}  to {one_line(path)}" for path, number in new.most_common()]
    words = {"submitted": "submitted before", "refused": "refused before", "unknown": "sent before, without an answer"}
    lines += [f"{states[state]:>8,}  {word}" for state, word in words.items() if states[state]]
    emit("".join(f"{line}\n" for line in lines))


class _SubmitRun:
    """A batch of *entries* on the command line, with the journal called *journal*."""

    def __init__(self, entries: Sequence[ManifestLine], journal: str | None, *, as_json: bool, is_quiet: bool) -> None:
        self._entries = entries
        self._journal = journal
        self._results = OutputStream(sys.stdout)
        self._words = OutputStream(sys.stderr if as_json else sys.stdout)
        self._is_json = as_json
        self._is_quiet = is_quiet
        self._submitted = SubmitSummary(len(entries), last=entries[-1].number)
        self._signals: list[int] = []
        self._error: AsyncflowError | Interrupted | None = None

    def run(self, **flags: Unpack[SubmitFlags]) -> ExitCode:
        """Submit the lines and return the exit code. `Interrupted` says what was submitted, and how to go on."""

        async def main() -> None:
            start = asyncio.get_running_loop().time()
            async with open_client(rate=flags["rate"]) as client:
                batch = client.submit_many(
                    [entry.line for entry in self._entries],
                    concurrency=flags["concurrency"],
                    journal=None if self._journal is None else Journal(self._journal),
                    wait_for_capacity=flags["wait_for_capacity"],
                    resubmit_unknown=flags["resubmit_unknown"],
                )
                with self._stopping(batch):
                    await self._deliver(batch)
            if not (self._signals or self._is_quiet or isinstance(self._error, Interrupted)):
                lines = self._submitted.summary(asyncio.get_running_loop().time() - start)
                await self._words.write("".join(f"{line}\n" for line in lines))

        try:
            run(main)
        except Interrupted as interrupted:
            raise self._interrupted(interrupted.text, interrupted.code) from None
        except asyncio.CancelledError:
            if not self._signals:
                raise
        if self._signals:
            code = ExitCode.INTERRUPTED if self._signals[0] == signal.SIGINT else ExitCode.TERMINATED
            raise self._interrupted(code.name.lower(), code)
        if isinstance(self._error, Interrupted):
            raise self._interrupted(self._error.text, self._error.code)
        if self._error is not None:
            raise self._error
        return self._submitted.code

    async def _deliver(self, batch: SubmitBatch) -> None:
        try:
            async with batch:
                async for result in batch:
                    try:
                        await self._take(result)
                    except Interrupted as closed:
                        # Nobody reads on, but what is under way is paid for: it is to have its answer in the journal.
                        self._error = closed
                        batch.stop()
        except AsyncflowError as error:
            self._error = error
        except asyncio.CancelledError:
            async for result in batch:
                await self._take(result)
            raise

    async def _take(self, result: SubmitResult) -> None:
        result = msgspec.structs.replace(result, number=self._entries[result.number - 1].number)
        self._submitted.take(result)
        if isinstance(self._error, Interrupted):
            return
        if self._is_json:
            await self._results.write(msgspec.json.encode(result) + b"\n")
        elif not self._is_quiet:
            await self._results.write(self._submitted.line(result))

    @contextmanager
    def _stopping(self, batch: SubmitBatch) -> Generator[None]:
        """Within the block a signal begins no more lines, and a second one breaks off those under way."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def stop(number: int) -> None:
            self._signals.append(number)
            if len(self._signals) > 1 and task is not None:
                task.cancel()
                return
            batch.stop()
            if batch.in_flight:
                complain(f"waiting for the answers of {count(batch.in_flight, 'line')}; again to break off")

        numbers = heard("SIGINT", "SIGTERM", "SIGHUP")
        with suppress(NotImplementedError):  # Windows
            for number in numbers:
                loop.add_signal_handler(number, stop, number)
        try:
            yield
        finally:
            with suppress(NotImplementedError):
                for number in numbers:
                    loop.remove_signal_handler(number)

    def _interrupted(self, why: str, code: ExitCode) -> Interrupted:
        """Return how the command ends: *why*, what has been submitted, what is not known, and how to go on."""
        words = f"{why}; {self._submitted.counts()}"
        if self._journal is not None:
            words += "; the same command goes on"
        return Interrupted(code, words)

"""`asyncflow journal`: look into the journal of a watch, take it elsewhere, forget what is done."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import click
import msgspec

from asyncflow import Ended, Journal, JournalEntry, SubmitResult
from asyncflow.cli.formatting import OUTCOMES, count, one_line
from asyncflow.cli.input.options import as_duration, json_option
from asyncflow.cli.input.resume_state import shown_name
from asyncflow.cli.output.streams import emit
from asyncflow.redaction import digest

__all__ = ["journal"]

_MOST_SHOWN = 20
_MOST_NAMED = 5
_STATES = {"watched": "still watched", "ended": "ended, not told yet", "handled": "ended and told"}


@click.group(
    epilog="""\b
Examples:
  asyncflow journal show run.db
  asyncflow journal export run.db > jobs.jsonl
  asyncflow journal prune run.db --older-than 7d
""",
)
def journal() -> None:
    """Look into the journal of a watch, export it, or prune it."""


@journal.command(
    epilog="""\b
Examples:
  asyncflow journal show run.db
""",
)
@click.argument("name", type=click.Path(dir_okay=False), metavar="JOURNAL")
@json_option("Print the counts as a line of JSON: jobs, then each state by status.")
def show(*, name: str, as_json: bool) -> None:
    """Show how far the jobs are; the watch may be running.

    Jobs are shown by a digest of their ids, since ids hold e-mail addresses.
    """
    states: Counter[str] = Counter()
    statuses: dict[str, Counter[str]] = {state: Counter() for state in _STATES}
    left: list[JournalEntry] = []
    for entry in Journal(name).entries():
        states[entry.state] += 1
        statuses[entry.state][_word(entry)] += 1
        if entry.state != "handled" and len(left) < _MOST_SHOWN:
            left.append(entry)
    if as_json:
        batches = Counter(line.state for line in Journal(name).submissions())
        counts = {"jobs": states.total(), **statuses, "lines": batches}
        emit(msgspec.json.encode(counts) + b"\n")
        return
    lines = [f"{shown_name(name)}: {count(states.total(), 'job')}"]
    for state, words in _STATES.items():
        if states[state]:
            detail = ", ".join(f"{number:,} {word}" for word, number in statuses[state].most_common())
            lines.append(f"{states[state]:>8,}  {words}: {detail}")
    lines += _batches(Journal(name).submissions())
    if left:
        lines += ["", *(f"  {digest(entry.job_id)}  {_since(entry):%Y-%m-%d %H:%M:%S}  {_word(entry)}" for entry in left)]
        more = states["watched"] + states["ended"] - len(left)
        lines += [f"  and {more:,} more"] if more else []
    emit("".join(f"{line}\n" for line in lines))


@journal.command(
    epilog="""\b
Examples:
  asyncflow journal export run.db > jobs.jsonl
  asyncflow journal export run.db --events > events.jsonl
  asyncflow journal export run.db --lines > lines.jsonl
""",
)
@click.argument("name", type=click.Path(dir_okay=False), metavar="JOURNAL")
@click.option("--events", "is_events", is_flag=True, help="Only the endings, as asyncflow watch --json prints them.")
@click.option("--lines", "is_lines", is_flag=True, help="Only the lines of batches, as asyncflow submit --json prints them.")
def export(*, name: str, is_events: bool, is_lines: bool) -> None:
    """Print what is known of each job as a line of JSON, whole ids and records."""
    encoder = msgspec.json.Encoder()
    if is_lines:
        for line in Journal(name).submissions():
            emit(encoder.encode(line) + b"\n")
        return
    for entry in Journal(name).entries():
        if not is_events:
            emit(encoder.encode(entry) + b"\n")
        elif entry.event is not None:
            emit(encoder.encode(entry.event) + b"\n")


@journal.command(
    epilog="""\b
Examples:
  asyncflow journal prune run.db --older-than 7d
""",
)
@click.argument("name", type=click.Path(dir_okay=False), metavar="JOURNAL")
@click.option("--older-than", callback=as_duration, metavar="TIME", help="Only what ended this long ago, such as 12h, 7d.")
@json_option("Print how many were forgotten as a line of JSON.")
def prune(*, name: str, older_than: float | None, as_json: bool) -> None:
    """Forget the jobs that have ended and were told; nothing of them stays in the file.

    Their ids are new from then on: given to a watch again, they are watched again.
    """
    before = None if older_than is None else datetime.now(UTC) - timedelta(seconds=older_than)
    forgotten = Journal(name).prune(before)
    emit(f'{{"forgotten":{forgotten}}}\n' if as_json else f"{count(forgotten, 'job')} forgotten\n")


def _batches(lines: Iterable[SubmitResult]) -> list[str]:
    """Return how the lines of batches stand, and which of them nobody knows of."""
    states: Counter[str] = Counter()
    unknown: list[str] = []
    for line in lines:
        states[line.state] += 1
        if line.state == "unknown":
            unknown.append(one_line(line.key, 40))
    if not states:
        return []
    words = ", ".join(f"{states[state]:,} {state}" for state in ("submitted", "refused", "unknown") if states[state])
    shown = [f"{'':>8}  unknown, sent without an answer: {', '.join(unknown[:_MOST_NAMED])}"] if unknown else []
    return [f"{states.total():>8,}  lines of batches: {words}", *shown]


def _word(entry: JournalEntry) -> str:
    if isinstance(entry.event, Ended):
        return OUTCOMES[entry.event.job.outcome]
    return one_line(entry.status or "never read")


def _since(entry: JournalEntry) -> datetime:
    return (entry.changed_at or entry.added_at).astimezone()

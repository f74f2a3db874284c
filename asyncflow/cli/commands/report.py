"""`asyncflow report`: what the jobs of a journal, or of a file of events, cost and what they were worth."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from stat import S_IMODE
from typing import Any, TypeVar

import click
import msgspec

from asyncflow import Event, Journal, RunReport, SubmitResult
from asyncflow.cli.exits import CommandExit, ExitCode
from asyncflow.cli.formatting import key_of, one_line
from asyncflow.cli.input.ids import read_source
from asyncflow.cli.input.options import json_option
from asyncflow.cli.output.streams import emit
from asyncflow.report import CAPTCHA_PRICES, ReportBuilder

__all__ = ["as_prices", "prices_option", "report", "write_page"]

F = TypeVar("F", bound=Callable[..., Any])

_SQLITE = b"SQLite format 3\0"


def as_prices(_: click.Context, __: click.Parameter, value: Sequence[str]) -> Mapping[str, float]:
    """Return the prices that words such as `CapSolver=0.002` and `0.003` (for all others) name, over the usual ones."""
    prices = dict(CAPTCHA_PRICES)
    for word in value:
        name, _equals, price = word.rpartition("=")
        try:
            prices[name.strip()] = number = float(price)
        except ValueError:
            number = -1.0
        if not 0 <= number < 1_000_000:
            raise click.BadParameter(f"{word!r}: a price looks like 0.003 or CapSolver=0.002, in dollars for a solution")
    return prices


def prices_option(command: F) -> F:
    """Add --captcha-price, passed on as `prices`."""
    option = click.option(
        "--captcha-price",
        "prices",
        multiple=True,
        callback=as_prices,
        metavar="[NAME=]USD",
        help="What a captcha solution costs, for one provider or for all others.",
    )
    return option(command)


@click.command(
    epilog="""\b
Examples:
  asyncflow watch --journal run.db --file ids.txt
  asyncflow report run.db --html run.html
  asyncflow watch --file ids.txt --json | asyncflow report - --json

\b
Captcha prices are estimates: 0.003 dollars for a solution, 0 for those of
UserProvided. Give your provider's own: --captcha-price CapSolver=0.002
""",
)
@click.argument("source", type=click.Path(dir_okay=False, allow_dash=True), metavar="JOURNAL|EVENTS")
@json_option("Print the report as a line of JSON.")
@click.option("--html", "page", type=click.Path(dir_okay=False), metavar="FILE", help="Write a page with charts to FILE.")
@prices_option
def report(*, source: str, as_json: bool, page: str | None, prices: Mapping[str, float]) -> None:
    """Say what jobs cost and what they were worth.

    Of a journal, which may be in use, or of the events that asyncflow watch --json has printed; - is standard input.
    """
    drawn = _of_journal(source, prices) if _is_journal(source) else _of_events(source, prices)
    if page is not None:
        write_page(Path(page), drawn)
    if as_json:
        emit(msgspec.json.encode(drawn) + b"\n")
    else:
        emit(drawn.text())


def write_page(path: Path, drawn: RunReport) -> None:
    """Write *drawn* as a page, or as JSON where *path* ends so. If that fails, a file there stays as it was: `CommandExit`."""
    content = msgspec.json.encode(drawn) if path.suffix == ".json" else drawn.html().encode()
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)  # a pipe or a device, which nothing can take the place of
        else:
            _put_in_place(Path(os.path.realpath(path)), content)
    except OSError as error:
        reason = (error.strerror or "cannot be written").lower()
        raise CommandExit(f"{one_line(str(path))}: {reason}", ExitCode.USAGE) from error


def _put_in_place(path: Path, content: bytes) -> None:
    """Have the file *path* hold *content*, or what it held before."""
    part = path.with_name(f".{token_hex(8)}.part")
    try:
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # some file systems say only now that they are full
        if path.exists():
            part.chmod(S_IMODE(path.stat().st_mode))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _is_journal(source: str) -> bool:
    if source == "-":
        return False
    try:
        with Path(source).open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except (OSError, ValueError):
        return False  # whoever reads it as events says what is wrong with it


def _of_journal(name: str, prices: Mapping[str, float]) -> RunReport:
    builder, times, running = ReportBuilder(), list[datetime](), 0
    for entry in Journal(name).entries():
        for time in (entry.added_at, entry.changed_at):
            if time is not None:
                times = [min(times[0], time), max(times[1], time)] if times else [time, time]
        if entry.event is None or entry.state == "watched":
            running += 1
        else:
            builder.take(entry.event, key_of(entry.job_id))
    began_at, ended_at = times or (None, None)
    return builder.report(captcha_prices=prices, running=running, began_at=began_at, ended_at=ended_at)


def _of_events(source: str, prices: Mapping[str, float]) -> RunReport:
    """Draw up the report of the events of *source*, the output of one watch or of several that went on with each other.

    An ending that was told again counts once, and a job that the next watch took up is not given up.
    """
    builder, ended, open_ids, given_up = ReportBuilder(), set[str](), set[str](), dict[str, Event]()
    for event in _events(source):
        job_id = event.key[0]
        if job_id in ended:
            continue
        open_ids.discard(job_id)
        given_up.pop(job_id, None)
        if event.type == "ended":
            builder.take(event)
            ended.add(job_id)
        elif event.type == "abandoned":
            given_up[job_id] = event
        else:
            open_ids.add(job_id)
    for job_id, event in given_up.items():
        builder.take(event, key_of(job_id))
    return builder.report(captcha_prices=prices, running=len(open_ids))


def _events(source: str) -> Iterator[Event]:
    name = "standard input" if source == "-" else one_line(source, 200)
    decoder = msgspec.json.Decoder(Event | SubmitResult)
    is_empty = True
    for number, line in enumerate(read_source(source).splitlines(), 1):
        if not line.strip():
            continue
        is_empty = False
        try:
            event = decoder.decode(line)
        except msgspec.MsgspecError:
            raise CommandExit(
                f"{name}, line {number}: neither a journal nor an event of asyncflow watch --json", ExitCode.USAGE
            ) from None
        # asyncflow submit --watch --json prints those between its events.
        if not isinstance(event, SubmitResult):
            yield event
    if is_empty:
        raise CommandExit(f"{name} is empty: give a journal, or the output of asyncflow watch --json", ExitCode.USAGE)

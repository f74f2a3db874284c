"""`asyncflow doctor`: what may be wrong between this machine and the service, and what to do about it."""

import sys
from collections.abc import Iterator, Sequence

import click
import msgspec

from asyncflow.cli.doctor.environment import Finding, look_at_installation, look_at_settings
from asyncflow.cli.doctor.network import look_at_service
from asyncflow.cli.exits import ExitCode
from asyncflow.cli.formatting import count
from asyncflow.cli.input.options import as_duration, color_option, json_option
from asyncflow.cli.output.live_view import Line, plain
from asyncflow.cli.output.streams import OutputStream
from asyncflow.cli.terminal import is_live, screen_on
from asyncflow.cli.watch_runner import run

__all__ = ["doctor"]

_STYLES = {"ok": "green", "warn": "yellow", "fail": "red", "skip": "dim"}
_MARKS = {"ok": "ok", "warn": "!", "fail": "FAIL", "skip": "-"}
_WIDTH = 78


@click.command(
    epilog="""\b
Examples:
  asyncflow doctor
  asyncflow doctor --offline --json

\b
It looks at Python and the packages, at another package or file that takes
the name asyncflow, at token and base URL, and then at the service: name,
connection, TLS, clock, and whether it takes the token. The token is not
shown. The exit code is 0 if nothing fails, else 1.
--json prints for each finding: name, state (ok, warn, fail, skip), text and
advice.

\b
Environment: USEAPI_TOKEN, USEAPI_BASE_URL, NO_COLOR
""",
)
@click.option("--offline", is_flag=True, help="Do not ask the service.")
@click.option("--timeout", callback=as_duration, default="10s", show_default=True, metavar="TIME", help="For each question.")
@json_option("Print each finding as a line of JSON.")
@color_option
def doctor(*, offline: bool, timeout: float, as_json: bool, no_color: bool) -> int:
    """Find out what is wrong, and say what to do."""
    findings = [*look_at_installation(), *look_at_settings()]

    async def main() -> None:
        if not offline:
            findings.extend([finding async for finding in look_at_service(timeout)])
        if as_json:
            await OutputStream(sys.stdout).write(msgspec.json.Encoder().encode_lines(findings))
        elif is_live(sys.stdout):
            screen_on(sys.stdout, no_color=no_color).print(list(lines(findings)), is_whole=True)
        else:
            await OutputStream(sys.stdout).write("".join(f"{plain(line)}\n" for line in lines(findings)))

    run(main)
    return ExitCode.BAD_OUTCOME if any(finding.state == "fail" for finding in findings) else ExitCode.SUCCEEDED


def lines(findings: Sequence[Finding]) -> Iterator[Line]:
    """Yield what people read of *findings*: a line each, what to do under it, and the sum."""
    for finding in findings:
        state = finding.state
        first, *more = _folded(finding.text)
        yield [(f"  {_MARKS[state]:<5}", _STYLES[state]), (f"{finding.name:<13}", "bold"), (first, "")]
        yield from ([(f"{'':<20}{row}", "")] for row in more)
        yield from ([(f"{'':<20}{row}", _STYLES[state])] for row in _folded(finding.advice) if row)
    failed = sum(finding.state == "fail" for finding in findings)
    warned = sum(finding.state == "warn" for finding in findings)
    yield []
    if failed:
        yield [(f"{count(failed, 'problem')}{f', {warned} more to look at' if warned else ''}", "red")]
    elif warned:
        yield [(f"nothing is broken; {count(warned, 'thing')} to look at", "yellow")]
    else:
        yield [("all is well", "green")]


def _folded(text: str) -> list[str]:
    """Return *text* in lines that fit, words whole."""
    rows = [""]
    for word in text.split():
        if rows[-1] and len(rows[-1]) + 1 + len(word) > _WIDTH - 20:
            rows.append("")
        rows[-1] = f"{rows[-1]} {word}".strip()
    return rows

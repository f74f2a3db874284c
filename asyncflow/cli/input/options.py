"""The options that several commands share, and the types of their values."""

from collections.abc import Callable
from typing import Any, TypeVar

import click
import msgspec

from asyncflow import simulator
from asyncflow.cli.formatting import parse_duration

__all__ = ["POSITIVE", "as_duration", "as_faults", "color_option", "files_option", "json_option", "quiet_option"]

F = TypeVar("F", bound=Callable[..., Any])

POSITIVE = click.FloatRange(min=0, min_open=True, max=1_000_000)


def as_duration(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """Return the seconds that *value* stands for."""
    try:
        return None if value is None else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r}: {error}") from error


def as_faults(_: click.Context, __: click.Parameter, value: str) -> "simulator.Faults":
    """Return the faults that *value* names: a preset, members such as `failed=0.1` or `latency=0.1..0.5`, or several of these."""
    preset, members = "none", dict[str, Any]()
    for word in filter(None, (word.strip() for word in value.split(","))):
        name, is_member, setting = word.partition("=")
        if is_member:
            first, dots, last = setting.strip().partition("..")
            members[name.strip()] = [first, last] if dots else first
        else:
            preset = name
    try:
        faults = msgspec.to_builtins(simulator.Faults.preset(preset)) | members
        return msgspec.convert(faults, simulator.Faults, strict=False)
    except (ValueError, TypeError) as error:
        raise click.BadParameter(f"{value!r}: {error}") from error


def _set_color(ctx: click.Context, _: click.Parameter, value: bool) -> bool:  # noqa: FBT001 - click's signature
    return value or bool(ctx.obj)


def color_option(command: F) -> F:
    """Add --no-color, which may stand before the command's name too."""
    return click.option("--no-color", is_flag=True, callback=_set_color, help="No colours; NO_COLOR does the same.")(command)


def json_option(help_text: str) -> Callable[[F], F]:
    """Add --json, passed on as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help=help_text)


def quiet_option(command: F) -> F:
    """Add --quiet: the exit code says it all."""
    return click.option("-q", "--quiet", is_flag=True, help="Print nothing but what --json asks for, and errors.")(command)


def files_option(command: F) -> F:
    """Add --file, passed on as `files`."""
    option = click.option(
        "-f",
        "--file",
        "files",
        multiple=True,
        type=click.Path(),
        metavar="FILE",
        help="Read ids from FILE, - for standard input.",
    )
    return option(command)

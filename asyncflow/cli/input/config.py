"""`--config FILE`: defaults of options in TOML, read strictly; what is on the command line or in the environment goes before.

[defaults]        # for every command that has such an option
timeout = "30m"

[watch]           # for one command
concurrency = 50
interval = 10
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import click

from asyncflow.cli.exits import CommandExit, ExitCode
from asyncflow.cli.formatting import one_line
from asyncflow.cli.input.options import as_duration

__all__ = ["DEFAULTS", "options_of", "read_config"]

DEFAULTS = "defaults"
_HEADER = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(?:#.*)?")
_LONGEST = 1_000_000

Table = dict[str, Any]


class _Flaw(Exception):  # noqa: N818 - it ends the reading, and is told as an `CommandExit`
    """What is wrong with the entry *key* of the table *path*."""

    def __init__(self, path: tuple[str, ...], key: str, text: str) -> None:
        super().__init__(text)
        self.path, self.key, self.text = path, key, text


def read_config(name: str, group: click.Group) -> Table:
    """Return what the file called *name* says as click wants it: tables of values by command. `CommandExit` tells of a flaw."""
    shown = one_line(Path(name).name, 60)
    try:
        content = Path(name).read_bytes()
        if len(content) > _LONGEST:
            raise ValueError("too long")  # noqa: TRY301 - told like the others
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise _ending(shown, None, (error.strerror or "cannot be read").lower()) from error
    except ValueError as error:
        raise _ending(shown, None, "no text file in UTF-8, or too long for settings") from error
    try:
        return _defaults(tomllib.loads(text), group)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\(at line (\d+), column \d+\)$", str(error))
        words = str(error)[: place.start()].strip() if place is not None else str(error)
        raise _ending(shown, int(place[1]) if place is not None else None, one_line(words.lower())) from None
    except _Flaw as flaw:
        where = f"[{'.'.join(flaw.path)}] " if flaw.path else ""
        raise _ending(shown, _line_of(text, flaw), f"{where}{one_line(flaw.key, 60)}: {flaw.text}") from None


def _ending(name: str, line: int | None, text: str) -> CommandExit:
    return CommandExit(f"{name}{'' if line is None else f', line {line}'}: {text}", ExitCode.USAGE)


def options_of(command: click.Command) -> dict[str, click.Option]:
    """Return the options of *command* by their long names, without the dashes."""
    options = (parameter for parameter in command.params if isinstance(parameter, click.Option))
    return {name.removeprefix("--"): option for option in options for name in option.opts if name.startswith("--")}


def _defaults(tables: Table, group: click.Group) -> Table:
    known = dict(_commands(group, click.Context(group)))
    general = _table(tables, (DEFAULTS,))
    unused, result = set(general), Table()
    for key in tables:
        if key != DEFAULTS and (key,) not in known:
            names = sorted(path[0] for path in known if len(path) == 1)
            raise _Flaw((), key, f"no such table: one of {', '.join((DEFAULTS, *names))}")
    for path, command in known.items():
        options = options_of(command)
        mine = {key: value for key, value in general.items() if key.replace("_", "-") in options}
        unused -= set(mine)
        values = _values(options, mine, (DEFAULTS,))
        own = {key: value for key, value in _table(tables, path).items() if (*path, key) not in known}
        _put(result, path, values | _values(options, own, path))
    for key in sorted(unused):
        raise _Flaw((DEFAULTS,), key, _unknown(key, []))
    return result


def _values(options: Mapping[str, click.Option], table: Table, path: tuple[str, ...]) -> Table:
    values: Table = {}
    for key, value in table.items():
        option = options.get(key.replace("_", "-"))
        if option is None:
            raise _Flaw(path, key, _unknown(key, list(options)))
        values[str(option.name)] = _value(option, value, path, key)
    return values


def _commands(group: click.Group, context: click.Context) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None:
            yield (name,), command
        if isinstance(command, click.Group):
            yield from (((name, *path), inner) for path, inner in _commands(command, click.Context(command)))


def _table(tables: Table, path: tuple[str, ...]) -> Table:
    found = tables
    for place, key in enumerate(path):
        inner = found.get(key, {})
        if not isinstance(inner, dict):
            raise _Flaw(path[:place], key, f"this is a table: write it as [{'.'.join(path[: place + 1])}]")
        found = cast("Table", inner)
    return found


def _put(result: Table, path: tuple[str, ...], values: Table) -> None:
    for key in path:
        result = result.setdefault(key, {})
    result.update(values)


def _unknown(key: str, names: list[str]) -> str:
    if "token" in key.lower():
        return "a token does not belong into a file of settings: set USEAPI_TOKEN"
    return f"no such option: one of {', '.join(sorted(names))}" if names else "no such option of any command"


def _value(option: click.Option, value: object, path: tuple[str, ...], key: str) -> object:
    """Return *value* as click takes it, if it is of the type that *option* has."""
    wanted = _wanted(option)
    if option.multiple and not isinstance(value, list):
        raise _Flaw(path, key, "a list is wanted, in square brackets")
    items: list[object] = cast("list[object]", value) if option.multiple else [value]
    for item in items:
        if isinstance(item, bool) is not (bool in wanted[1]) or not isinstance(item, wanted[1]):
            raise _Flaw(path, key, f"{wanted[0]} is wanted, not {_kind(item)}")
    texts = [item if isinstance(item, bool) else str(item) for item in items]
    context = click.Context(click.Command(path[-1]))
    try:
        for text in texts:
            converted = option.type(text, param=option, ctx=context)
            if option.callback is as_duration:
                as_duration(context, option, converted)
    except click.BadParameter as error:
        raise _Flaw(path, key, one_line(error.message).rstrip(".")) from None
    return texts if option.multiple else texts[0]


def _wanted(option: click.Option) -> tuple[str, tuple[type, ...]]:
    """Return what the value of *option* is in TOML, in words and as types."""
    if option.is_flag:
        return "true or false", (bool,)
    if option.callback is as_duration:
        return '"30m" or a number of seconds', (str, int, float)
    if isinstance(option.type, click.IntRange) or option.type is click.INT:
        return "a whole number", (int,)
    if isinstance(option.type, click.FloatRange) or option.type is click.FLOAT:
        return "a number", (int, float)
    return "a text in quotes", (str,)


def _kind(value: object) -> str:
    names: Mapping[type, str] = {bool: "true or false", str: "a text", int: "a whole number", float: "a number", list: "a list"}
    return names.get(type(value), "a table" if isinstance(value, dict) else "a date")


def _line_of(text: str, flaw: _Flaw) -> int | None:
    """Return the line that *flaw* stands in, None where the entry is written in another way than most."""
    table: tuple[str, ...] = ()
    key = re.compile(rf"""\s*["']?{re.escape(flaw.key)}["']?\s*=""")
    own = ".".join((*flaw.path, flaw.key))
    for number, line in enumerate(text.splitlines(), 1):
        header = _HEADER.fullmatch(line)
        if header is not None:
            table = tuple(part.strip("\"' ") for part in header[1].split("."))
            if ".".join(table) == own:
                return number
        elif table == flaw.path and key.match(line):
            return number
    return None

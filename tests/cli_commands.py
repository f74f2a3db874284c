"""All commands of `asyncflow`, as click knows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from asyncflow.cli.app import group

if TYPE_CHECKING:
    from collections.abc import Iterator

Path = tuple[str, ...]


def commands(found: click.Group, *path: str) -> Iterator[tuple[Path, click.Command]]:
    """Yield the commands of a group, and those of the groups in it, with their names."""
    context = click.Context(found)
    for name in found.list_commands(context):
        command = found.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)


ALL = dict(commands(group))


def options(command: click.Command) -> set[str]:
    """Return the long names of the options of *command*."""
    names = {name for parameter in command.params if isinstance(parameter, click.Option) for name in parameter.opts}
    return {name for name in names if name.startswith("--")}

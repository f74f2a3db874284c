"""docs/command.md tells of every command and of every option that `--help` shows."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from cli_commands import ALL, options

from asyncflow.cli.app import COMMANDS, group

PAGE = (Path(__file__).parents[2] / "docs" / "command.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^## asyncflow (\S+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
# What these do is what a watch does: its section tells of their options too.
LIKE_A_WATCH = {"resume", "submit"}


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_the_page_tells_of_a_command_and_its_options(path: tuple[str, ...]) -> None:
    text = SECTIONS.get(path[0], "")
    assert f"asyncflow {' '.join(path)}" in PAGE
    assert text, f"docs/command.md has no section '## asyncflow {path[0]}'"
    told = text + (SECTIONS["watch"] if path[0] in LIKE_A_WATCH else "")
    assert sorted(name for name in options(ALL[path]) if not re.search(rf"{name}\b", told)) == []


def test_the_page_tells_of_the_commands_own_options() -> None:
    assert all(name in PAGE for name in options(group) | {"--help"})


def test_the_page_tells_of_nothing_that_is_not_there() -> None:
    assert set(SECTIONS) <= set(COMMANDS)
    for name, text in SECTIONS.items():
        known = {option for path, command in ALL.items() if path[0] in {name, "watch"} for option in options(command)}
        mentioned = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - {"--help"}
        others = {option for command in ALL.values() for option in options(command)}
        assert mentioned <= (known if name != "report" else others)


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_option_says_what_it_does(path: tuple[str, ...]) -> None:
    for parameter in ALL[path].params:
        if isinstance(parameter, click.Option):
            assert parameter.help
            assert parameter.help.endswith((".", "..."))

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import click
import pytest

import asyncflow
from asyncflow.cli.app import COMMANDS, group

if TYPE_CHECKING:
    from cli_processes import Command

PATHS = [(), *((name,) for name in COMMANDS)]


@pytest.mark.parametrize("path", PATHS)
def test_help_fits_eighty_columns_and_has_an_example(command: Command, path: tuple[str, ...]) -> None:
    done = command(*path, "-h" if path else "--help", settings={"COLUMNS": "200"})
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) < 80
    assert re.search(r"^  Examples:\n    \S*.*asyncflow", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("name", ["get", "watch"])
def test_help_names_the_environment(command: Command, name: str) -> None:
    text = command(name, "--help").stdout
    assert all(variable in text for variable in ("USEAPI_TOKEN", "USEAPI_BASE_URL", "NO_COLOR"))


def test_the_list_of_commands_says_what_each_is() -> None:
    context = click.Context(group)
    for name in COMMANDS:
        found = group.get_command(context, name)
        assert isinstance(found, click.Command)
        assert found.name == name
        assert all(parameter.help for parameter in found.params if isinstance(parameter, click.Option))
        assert import_module(f"asyncflow.cli.commands.{name}").__all__
    assert group.get_command(context, "group") is None


def test_the_version(command: Command) -> None:
    done = command("--version")
    assert (done.returncode, done.stdout) == (0, f"asyncflow {asyncflow.__version__}\n")


def test_without_a_command_there_is_help(command: Command) -> None:
    done = command()
    assert done.returncode == 2
    assert "Usage: asyncflow" in done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["watch", "--help"], ["get", "--help"], ["demo", "--help"], ["nonsense"]])
def test_help_loads_neither_aiohttp_nor_rich(arguments: list[str]) -> None:
    run = [sys.executable, "-X", "importtime", "-m", "asyncflow", *arguments]
    report = subprocess.run(run, check=False, capture_output=True, text=True, timeout=60).stderr
    loaded = {line.rpartition("|")[2].strip() for line in report.splitlines() if line.startswith("import time:")}
    assert "click" in loaded
    assert loaded.isdisjoint({"aiohttp", "rich"})


def test_without_the_extra_one_line_says_what_to_install() -> None:
    # What is not loaded yet cannot be found any more.
    hidden = "import sys; sys.path_hooks.clear(); sys.path_importer_cache.clear()\n"
    program = f"import asyncflow.cli, importlib.util\n{hidden}sys.exit(asyncflow.cli.main(['demo']))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr == "asyncflow: click and rich not installed: pip install 'asyncflow-useapi[cli]'\n"
    assert done.stdout == ""

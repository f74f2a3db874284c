"""Completion in a shell: commands, options, values and files, without loading what a command would need."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from asyncflow.cli.app import COMMANDS, run

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[str], list[str]]:
    """Return what bash is offered for the last word of a line."""

    def offered(line: str) -> list[str]:
        words = line.split(" ")
        monkeypatch.setenv("_ASYNCFLOW_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        with pytest.raises(SystemExit) as ending:
            run([])
        assert ending.value.code == 0
        return capsys.readouterr().out.splitlines()

    return offered


def test_commands_are_offered(complete: Callable[[str], list[str]]) -> None:
    assert complete("asyncflow ") == [f"plain,{name}" for name in COMMANDS]
    assert complete("asyncflow wa") == ["plain,wait", "plain,watch"]
    assert complete("asyncflow journal p") == ["plain,prune"]


def test_options_and_their_values_are_offered(complete: Callable[[str], list[str]]) -> None:
    assert complete("asyncflow --c") == ["plain,--config"]
    assert complete("asyncflow watch --tim") == ["plain,--timeout"]
    assert complete("asyncflow wait --until ") == ["plain,terminal", "plain,started"]


@pytest.mark.parametrize("line", ["watch --file ", "wait -f ", "resume ", "report ", "report run.db --html ", "--config "])
def test_where_a_file_is_wanted_files_are_offered(complete: Callable[[str], list[str]], line: str) -> None:
    assert complete(f"asyncflow {line}") == ["file,"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shell: str) -> None:
    monkeypatch.setenv("_ASYNCFLOW_COMPLETE", f"{shell}_source")
    with pytest.raises(SystemExit):
        run([])
    assert "_ASYNCFLOW_COMPLETE" in capsys.readouterr().out


def test_a_completion_loads_no_command() -> None:
    program = """
import os, sys
os.environ |= {"_ASYNCFLOW_COMPLETE": "bash_complete", "COMP_WORDS": "asyncflow w", "COMP_CWORD": "1"}
from asyncflow.cli import main
try:
    main([])
except SystemExit:
    assert not {"aiohttp", "rich", "msgspec", "asyncflow.cli.commands.watch"} & set(sys.modules), sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "plain,watch" in done.stdout

"""`--config FILE`: defaults, read strictly; the command line goes before the environment, and that before the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest

from asyncflow.cli.app import group, run
from asyncflow.cli.exits import CommandExit
from asyncflow.cli.input import config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], str]:
    def to_file(text: str) -> str:
        path = tmp_path / "asyncflow.toml"
        path.write_text(text, "utf-8")
        return str(path)

    return to_file


def test_a_general_table_serves_every_command_that_has_the_option_and_an_own_one_goes_before(write: Callable[[str], str]) -> None:
    text = """
[defaults]
timeout = "30m"
no_color = true

[watch]
timeout = 90
concurrency = 50
file = ["ids.txt"]
rate = 2

[journal.prune]
older-than = "7d"
"""
    found = config.read_config(write(text), group)
    assert found["watch"] == {"timeout": "90", "no_color": True, "concurrency": "50", "files": ["ids.txt"], "rate": "2"}
    assert found["wait"] == {"timeout": "30m"}
    assert found["get"] == {"no_color": True}
    assert found["journal"] == {"show": {}, "export": {}, "prune": {"older_than": "7d"}} | {
        name: found["journal"][name] for name in set(found["journal"]) - {"show", "export", "prune"}
    }


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x = = 5", "line 1: invalid value"),
        ('\n[watch]\nconcurrency = "many"', "line 3: [watch] concurrency: a whole number is wanted, not a text"),
        ("[watch]\nconcurrency = true", "line 2: [watch] concurrency: a whole number is wanted, not true or false"),
        ("[watch]\nconcurrency = 0", "line 2: [watch] concurrency: 0 is not in the range 1<=x<=10000"),
        ('[watch]\nrate = "1"', "line 2: [watch] rate: a number is wanted, not a text"),
        ('[watch]\ntimeout = "soon"', "line 2: [watch] timeout: 'soon': a duration looks like 90s, 30m, 2h or 1h30m"),
        ("[watch]\ntimeout = 2026-01-01", 'line 2: [watch] timeout: "30m" or a number of seconds is wanted, not a date'),
        ("[watch]\njson = 1", "line 2: [watch] json: true or false is wanted, not a whole number"),
        ('[watch]\n"file" = "ids.txt"', "line 2: [watch] file: a list is wanted, in square brackets"),
        ("[watch]\nfile = [1.5]", "line 2: [watch] file: a text in quotes is wanted, not a number"),
        ("[watch]\njournal = []", "line 2: [watch] journal: a text in quotes is wanted, not a list"),
        ("watch = 5", "line 1: watch: this is a table: write it as [watch]"),
        ("defaults = 5", "line 1: defaults: this is a table: write it as [defaults]"),
        ("[journal]\nprune = 5", "line 2: [journal] prune: this is a table: write it as [journal.prune]"),
        ("[watch.file]\na = 1", "line 1: [watch] file: a list is wanted"),
        ("[journal.prune]\nnewer = 5", "line 2: [journal.prune] newer: no such option: one of json, older-than"),
        ("[defaults]\nspeeed = 5", "line 2: [defaults] speeed: no such option of any command"),
        (
            '[watch]\ntoken = "user:1234-abcdef"',
            "line 2: [watch] token: a token does not belong into a file of settings: set USEAPI_TOKEN",
        ),
        ("watch.concurrency = 0", "[watch] concurrency: 0 is not in the range"),
    ],
)
def test_a_flaw_is_told_with_its_line(write: Callable[[str], str], text: str, complaint: str) -> None:
    with pytest.raises(CommandExit) as ending:
        config.read_config(write(text), group)
    assert ending.value.text.startswith("asyncflow.toml")
    assert complaint in ending.value.text
    assert ending.value.code == 2
    assert "abcdef" not in ending.value.text


@pytest.mark.parametrize(("key", "complaint"), [("wach", "no such table: one of defaults, "), ("e\u0301", "no such table")])
def test_an_unknown_table_is_told_with_the_known_ones(write: Callable[[str], str], key: str, complaint: str) -> None:
    with pytest.raises(CommandExit, match=complaint):
        config.read_config(write(f'["{key}"]\n'), group)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"#" * 1_000_001])
def test_what_is_no_text_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(CommandExit, match="x: no text file in UTF-8, or too long for settings"):
        config.read_config(str(tmp_path / "x"), group)


def test_a_file_of_a_windows_editor_is_read(write: Callable[[str], str]) -> None:
    found = config.read_config(write("\ufeff[wait]\r\ntimeout = '30m'\r\n"), group)
    assert found["wait"] == {"timeout": "30m"}


def test_a_missing_file_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--config", "missing.toml", "stats"]) == 2
    assert capsys.readouterr().err == "asyncflow: missing.toml: no such file or directory\n"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A command that notes the value of its option; it takes the place of `stats`."""
    seen: list[float] = []

    @click.command("stats")
    @click.option("--timeout", type=float)
    def stats(timeout: float) -> None:
        seen.append(timeout)

    monkeypatch.setattr("asyncflow.cli.commands.stats.stats", stats)
    return seen


def test_the_order_of_precedence(write: Callable[[str], str], asked: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    name = write("[stats]\ntimeout = 1.0\n")
    run(["--config", name, "stats"])
    monkeypatch.setenv("ASYNCFLOW_CONFIG", name)
    run(["stats"])
    monkeypatch.setenv("ASYNCFLOW_STATS_TIMEOUT", "2")
    run(["stats"])
    run(["stats", "--timeout", "3"])
    assert asked == [1.0, 1.0, 2.0, 3.0]

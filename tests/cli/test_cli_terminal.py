"""What a terminal shows: the command runs on a pseudo-terminal, and a small terminal of our own reads what it writes."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from typing import TYPE_CHECKING

import pytest
from cli_processes import LAUNCH, environment_of

from asyncflow.cli.output.screen import Screen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asyncflow.cli.output.live_view import Line
    from asyncflow.simulator import SimulatorThread

pytestmark = pytest.mark.slow

COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Paper:
    """The least of terminals: it knows what a screen writes, and holds what would be seen."""

    def __init__(self) -> None:
        self.lines: list[str] = [""]
        self.row = 0

    def feed(self, text: str) -> None:
        for token in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", COLOURS.sub("", text)):
            if token == "\n":
                self.row += 1
                self.lines += [""] * (self.row - len(self.lines) + 1)
            elif token.endswith("A") and token.startswith("\x1b"):
                self.row -= int(token[2:-1])
            elif token == "\x1b[J":
                self.lines[self.row :] = [""]
            elif token == "\x1b[K" and self.is_fresh:
                self.lines[self.row] = ""
            elif not token.startswith(("\x1b", "\r")):
                self.lines[self.row] = token
            self.is_fresh = token in {"\r", "\n"}

    is_fresh = True


def resize(terminal: int, columns: int, rows: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a pseudo-terminal of 80 by 24: ours, and that of a program."""
    ours, theirs = pty.openpty()
    resize(theirs, 80, 24)
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


def lines_of(*texts: str) -> list[Line]:
    return [[(text, "green")] if text else [] for text in texts]


@pytest.fixture
def painted(terminal: tuple[int, int]) -> Iterator[tuple[Screen, Paper, int]]:
    ours, theirs = terminal
    with os.fdopen(os.dup(theirs), "w", encoding="utf-8") as stream:
        yield Screen(stream, is_plain=True), Paper(), ours


def read(terminal: int, end: str = "\x1b[?2026l") -> str:
    text = ""
    while not text.endswith(end):
        text += os.read(terminal, 1 << 16).decode()
    return text


def test_only_lines_that_changed_are_written_again(painted: tuple[Screen, Paper, int]) -> None:
    screen, paper, terminal = painted
    screen.paint(lines_of("one", "two", "three"))
    paper.feed(read(terminal))
    screen.paint(lines_of("one", "TWO", "three"))
    again = read(terminal)
    paper.feed(again)
    assert paper.lines == ["one", "TWO", "three"]
    assert "one" not in again
    assert "three" not in again


def test_a_smaller_picture_keeps_its_place(painted: tuple[Screen, Paper, int]) -> None:
    screen, paper, terminal = painted
    for lines in (lines_of("one", "two", "three"), lines_of("one"), lines_of("one", "2", "3", "4")):
        screen.paint(lines)
        paper.feed(read(terminal))
        if lines == lines_of("one"):
            assert paper.lines == ["one", "", ""]
    assert paper.lines == ["one", "2", "3", "4"]


def test_the_picture_goes_and_the_cursor_comes_back(painted: tuple[Screen, Paper, int]) -> None:
    screen, paper, terminal = painted
    screen.paint(lines_of("one", "two"))
    screen.clear()
    screen.print(lines_of("in the end"))
    text = read(terminal, "in the end\r\n")
    paper.feed(text)
    assert paper.lines == ["in the end", ""]
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


def test_a_narrower_terminal_is_painted_afresh(painted: tuple[Screen, Paper, int]) -> None:
    screen, _, terminal = painted
    screen.paint(lines_of("x" * 79, "two"))
    read(terminal)
    resize(terminal, 40, 24)
    screen.paint(lines_of("x" * 79, "two"))
    text = read(terminal)
    assert "\x1b[2A" in text  # the first line has been folded, so the picture was three rows high
    assert f"{'x' * 38}…" in text


def on_terminal(
    terminal: tuple[int, int], arguments: list[str], url: str, folder: Path, settings: dict[str, str]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", LAUNCH, *arguments],
        stdin=terminal[1],
        stdout=terminal[1],
        stderr=subprocess.PIPE,
        cwd=folder,
        env=environment_of(url, settings),
    )


def shown_until(terminal: int, words: str) -> str:
    text = ""
    while words not in COLOURS.sub("", text):
        text += os.read(terminal, 1 << 16).decode("utf-8", "replace")
    return text


@pytest.mark.parametrize(
    ("settings", "options", "is_coloured"), [({}, [], True), ({"NO_COLOR": "1"}, [], False), ({}, ["--no-color"], False)]
)
def test_a_demo_on_a_terminal(
    terminal: tuple[int, int],
    service: SimulatorThread,
    tmp_path: Path,
    settings: dict[str, str],
    options: list[str],
    *,
    is_coloured: bool,
) -> None:
    arguments = ["demo", "--jobs", "30", "--speed", "100", *options]
    with on_terminal(terminal, arguments, service.url, tmp_path, settings) as process:
        text = shown_until(terminal[0], "each told once")
        assert process.wait(10) == 0
    assert ("\x1b[32m" in text) is is_coloured
    assert "  asyncflow demo  30 simulated jobs" in COLOURS.sub("", text)
    assert re.search(r"running +left +status +kind +model +job", COLOURS.sub("", text))
    assert "example.com" not in text
    paper = Paper()
    paper.feed(text)
    assert paper.lines[0].startswith("30 jobs in ")


def test_a_dumb_terminal_gets_plain_lines(terminal: tuple[int, int], service: SimulatorThread, tmp_path: Path) -> None:
    [job_id] = service.seed_jobs(age=600, fate="success")
    with on_terminal(terminal, ["watch", job_id], service.url, tmp_path, {"TERM": "dumb"}) as process:
        text = shown_until(terminal[0], "1 job in ")
        assert process.wait(10) == 0
    assert "\x1b" not in text


def test_the_links_of_a_job_are_whole_on_a_narrow_terminal(
    terminal: tuple[int, int], service: SimulatorThread, tmp_path: Path
) -> None:
    [job_id] = service.seed_jobs(age=600, fate="success")
    with on_terminal(terminal, ["get", job_id], service.url, tmp_path, {}) as process:
        text = shown_until(terminal[0], "Signature=")
        assert process.wait(10) == 0
    assert re.search(r"https?://\S+Expires=\d+&\S+Signature=\w{16,}\s", text)


def test_an_interrupted_picture_leaves_a_clean_screen(
    terminal: tuple[int, int], service: SimulatorThread, tmp_path: Path
) -> None:
    ids = service.seed_jobs(3, fate="endless", age=60)
    with on_terminal(terminal, ["watch", *ids], service.url, tmp_path, {}) as process:
        text = shown_until(terminal[0], "started")
        process.send_signal(signal.SIGINT)
        text += shown_until(terminal[0], "\x1b[?25h")
        assert process.wait(10) == 130
        assert process.stderr is not None
        assert re.fullmatch(rb"asyncflow: interrupted; 3 of 3 jobs still running: .*\n", process.stderr.read())
    paper = Paper()
    paper.feed(text)
    assert paper.lines == [""]

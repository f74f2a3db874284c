"""Every example of every help text runs against the simulator, most of them in this process.

The shell around them is a small one of our own: `&&`, pipes, redirections and "$NAME". Other programs run as themselves.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, TextIO, cast

import pytest
from cli_commands import ALL

from asyncflow.cli import main
from asyncflow.cli.app import group
from asyncflow.simulator import SimulatorThread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import click

pytestmark = pytest.mark.slow

IS_LONG = bool(os.environ.get("ASYNCFLOW_LONG"))
# These serve until they are stopped: tests of their own start them as processes.
SERVERS = re.compile(r"asyncflow (?:simulate|worker|dashboard|store)\b|--web\b|--store\b")
MANIFEST = '{"path": "google-flow/videos", "body": {"prompt": "a kite"}, "key": "k1"}\n'


def examples(command: click.Command) -> list[str]:
    """Return the examples in the help of *command*; a line that ends in a backslash goes on."""
    found = re.search(r"^Examples:\n(.*?)(?=^\S|\Z)", command.epilog or "", re.MULTILINE | re.DOTALL)
    lines = (found[1] if found is not None else "").replace("\b", "").replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip()]


FOUND = {
    f"{' '.join(path) or 'asyncflow'}: {line}": line
    for path, command in [((), group), *ALL.items()]
    for line in examples(command)
}
HERE = {name: line for name, line in FOUND.items() if not SERVERS.search(line)}


def test_every_command_has_an_example() -> None:
    assert [path for path, command in ALL.items() if not examples(command)] == []
    assert all(re.search(r"\basyncflow\b", line) for line in FOUND.values())


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorThread]:
    with SimulatorThread(seed=9, speed=60) as running:
        yield running


class Shell:
    """Runs a line of shell, `asyncflow` in this process."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self._folder = folder
        self._variables = variables
        self.failed: list[str] = []

    def run(self, line: str) -> None:
        for step in line.split(" && "):
            piped = (self._folder / "ids.txt").read_bytes()
            for part in step.split(" | "):
                piped = self._part(part, piped)

    def _part(self, part: str, piped: bytes) -> bytes:
        words = shlex.split(part)
        source = sink = None
        if "<" in words:
            source = words.pop(words.index("<") + 1)
        if ">" in words:
            sink = words.pop(words.index(">") + 1)
        command = [self._expand(word) for word in words if word not in {"<", ">"}]
        given = piped if source is None else (self._folder / source).read_bytes()
        told = self._here(command[1:], given) if command[0] == "asyncflow" else self._there(command, given)
        if sink is not None:
            (self._folder / sink).write_bytes(told)
            return b""
        return told

    def _expand(self, word: str) -> str:
        return re.sub(r"\$(\w+)", lambda name: self._variables[name[1]], word)

    def _there(self, command: list[str], given: bytes) -> bytes:
        return subprocess.run(command, input=given, capture_output=True, check=True, timeout=60).stdout

    def _here(self, arguments: list[str], given: bytes) -> bytes:
        saved = sys.stdin, sys.stdout
        path = self._folder / ".stdout"
        with path.open("w", encoding="utf-8") as output:
            sys.stdin, sys.stdout = io.TextIOWrapper(io.BytesIO(given)), cast("TextIO", output)
            try:
                code = main(arguments)
            finally:
                sys.stdin, sys.stdout = saved
        if code:
            self.failed.append(f"{' '.join(arguments[:2])}: {code}")
        return path.read_bytes()


@pytest.mark.parametrize("line", HERE.values(), ids=list(HERE))
def test_an_example_runs(
    line: str, simulator: SimulatorThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = simulator.seed_jobs(2, age=600, fate="success")
    songs = simulator.seed_jobs(2, kind="music", fate="endless")
    for name, text in {"ids.txt": "\n".join(ids), "songs.txt": "\n".join(songs), "batch.jsonl": MANIFEST}.items():
        (tmp_path / name).write_text(text, "utf-8")
    (tmp_path / "batch.csv").write_text("path,key,prompt\ngoogle-flow/videos,k1,a kite\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("USEAPI_TOKEN", simulator.token)
    monkeypatch.setenv("USEAPI_BASE_URL", simulator.url)
    shell = Shell(tmp_path, {"JOB_ID": ids[0], "OTHER_ID": ids[1], "SONG_ID": songs[0]})
    if "run.db" in line and "watch" not in line and "submit" not in line:
        shell.run("asyncflow watch --journal run.db --file ids.txt --quiet")
    if not IS_LONG and "asyncflow demo" in line:
        line = re.sub(r" --jobs \d+", "", line) + " --jobs 10 --speed 200"
    shell.run(re.sub(r"(--listen \S+?):\d+", r"\1:0", line))
    assert shell.failed == [], capsys.readouterr().err

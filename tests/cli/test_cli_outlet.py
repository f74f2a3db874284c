"""Outputs that take nothing: closed from the start, or a file that may not grow, as on a full disk."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import pytest
from cli_processes import environment_of

from asyncflow.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from asyncflow.simulator import SimulatorThread

CLOSED, STUCK = "{}>&-", "{}>stuck.txt"
FULL = "standard output cannot be written: file too large"


def run(service: SimulatorThread, folder: Path, redirection: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a shell does with this *redirection*; files may not grow."""
    return subprocess.run(
        ["/bin/sh", "-c", f'ulimit -f 0; exec "$0" -m asyncflow "$@" {redirection}', sys.executable, *arguments],
        capture_output=True,
        check=False,
        cwd=folder,
        env=environment_of(service.url),
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(("redirection", "words"), [(CLOSED, "standard output is closed"), (STUCK, FULL)])
@pytest.mark.parametrize("arguments", [["get"], ["get", "--json"], ["watch"], ["watch", "--json"]])
def test_an_output_that_takes_nothing_is_told_in_one_line(
    service: SimulatorThread, tmp_path: Path, arguments: list[str], redirection: str, words: str
) -> None:
    done = run(service, tmp_path, redirection.format(""), *arguments, *service.seed_jobs(age=600, fate="success"))
    assert done.returncode == 141
    assert done.stderr.startswith(f"asyncflow: {words}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("redirection", "code", "words"), [(CLOSED, 0, ""), (STUCK, 141, f"asyncflow: {FULL}\n")])
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["watch", "--help"]])
def test_a_help_that_cannot_be_written_is_no_bug(
    service: SimulatorThread, tmp_path: Path, arguments: list[str], redirection: str, code: int, words: str
) -> None:
    done = run(service, tmp_path, redirection.format(""), *arguments)
    assert (done.returncode, done.stderr) == (code, words)


@pytest.mark.parametrize("redirection", [CLOSED, STUCK])
def test_words_for_people_that_nobody_can_hear_cost_no_event(service: SimulatorThread, tmp_path: Path, redirection: str) -> None:
    ids = service.seed_jobs(3, age=600, fate="success")
    done = run(service, tmp_path, redirection.format("2"), "watch", "--json", *ids)
    assert (done.returncode, done.stdout.count('"type":"ended"')) == (0, 3)


@pytest.fixture(scope="module")
def kept(service: SimulatorThread, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a journal and a manifest."""
    folder = tmp_path_factory.mktemp("kept")
    ids = service.seed_jobs(3, age=600, fate="success")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("USEAPI_TOKEN", service.token)
        patch.setenv("USEAPI_BASE_URL", service.url)
        assert main(["watch", "--journal", "run.db", "--quiet", *ids]) == 0
    (folder / "batch.jsonl").write_text('{"path": "google-flow/images", "body": {"prompt": "a kite"}}\n', "utf-8")
    return folder


@contextmanager
def closed() -> Iterator[None]:
    yield None


@contextmanager
def full() -> Iterator[TextIO]:
    with open("/dev/full", "w", encoding="utf-8") as stream:  # noqa: PTH123 - no path of ours
        yield stream


@contextmanager
def unread() -> Iterator[TextIO]:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", encoding="utf-8") as stream:
        yield stream


OUTPUTS = [(closed, "is closed"), (full, "cannot be written: no space left on device"), (unread, "was closed")]


@pytest.mark.parametrize(("make", "words"), OUTPUTS)
@pytest.mark.parametrize(
    "line",
    [
        "report run.db",
        "report run.db --json",
        "journal show run.db",
        "journal show run.db --json",
        "journal export run.db",
        "journal prune run.db --older-than 7d",
        "submit batch.jsonl --dry-run",
    ],
)
def test_commands_that_need_no_service_tell_it_too(
    kept: Path,
    line: str,
    make: Callable[[], AbstractContextManager[TextIO | None]],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(kept)
    with make() as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert main(line.split()) == 141
        monkeypatch.undo()
    assert capsys.readouterr().err == f"asyncflow: standard output {words}\n"


def test_a_help_that_nobody_reads_is_no_bug(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with unread() as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert main(["--help"]) == 141
        monkeypatch.undo()
    assert capsys.readouterr().err == "asyncflow: standard output was closed before the end\n"

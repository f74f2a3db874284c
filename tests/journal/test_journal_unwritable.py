"""A journal where nothing may be written: on a read-only mount, in somebody else's folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from journal_kit import NOW, changed, ended, states

from asyncflow.cli import main
from asyncflow.errors import JournalError
from asyncflow.events import SubmitResult
from asyncflow.journal import Journal
from asyncflow.journal.database import Database
from asyncflow.journal.operations import AddJobs, BeginSubmit, RecordEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_NOBODY = 65534

# It ends as if killed: nothing is folded into the file that it has written.
_KILLED = """
import os, sys
from datetime import datetime, UTC
from pathlib import Path
from asyncflow.journal.database import Database
from asyncflow.journal.operations import AddJobs

Database(Path(sys.argv[1])).write([AddJobs(["late"], datetime.now(UTC))])
os._exit(0)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user can get at; those of pytest are for their owner."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        yield folder
        folder.chmod(0o755)


@contextmanager
def only_reading(folder: Path, mode: int = 0o444) -> Iterator[None]:
    """Be somebody who can do with the files what *mode* says, and cannot write to the folder: root is held up by nothing."""
    for file in folder.iterdir():
        file.chmod(mode)
    folder.chmod(0o555)
    names = sorted(folder.iterdir())
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(_NOBODY)
    try:
        with pytest.raises(PermissionError):
            (folder / "new").touch()
        yield
    finally:
        if is_root:
            os.seteuid(0)
    assert sorted(folder.iterdir()) == names


def closed(folder: Path) -> Path:
    """Return a journal whose watch has ended."""
    path = folder / "run.db"
    database = Database(path)
    database.write(
        [
            AddJobs(["a", "b"], NOW),
            RecordEvent(changed("a"), NOW),
            RecordEvent(ended("b"), NOW),
            BeginSubmit(SubmitResult("line", 1, "unknown", "/v1/images", requested_at=NOW, content="0")),
        ]
    )
    database.close()
    return path


def killed(folder: Path) -> Path:
    """Return a journal whose watch was killed: its last commit stands in the log beside it."""
    path = closed(folder)
    subprocess.run([sys.executable, "-c", _KILLED, path], check=True)
    assert path.with_name("run.db-wal").stat().st_size > 0
    return path


def test_a_journal_in_a_folder_that_cannot_be_written_is_read(folder: Path) -> None:
    path = closed(folder)
    with only_reading(folder):
        assert states(Journal(path)) == {"a": "watched", "b": "ended"}
        assert [line.key for line in Journal(path).submissions()] == ["line"]


def test_an_empty_log_is_none(folder: Path) -> None:
    path = closed(folder)
    path.with_name("run.db-wal").touch()
    with only_reading(folder):
        assert states(Journal(path)) == {"a": "watched", "b": "ended"}


def test_what_a_killed_watch_noted_last_is_read_too(folder: Path) -> None:
    path = killed(folder)
    with only_reading(folder):
        assert states(Journal(path)) == {"a": "watched", "b": "ended", "late": "watched"}


def test_a_log_that_cannot_be_read_there_is_never_left_out(folder: Path) -> None:
    path = killed(folder)
    path.with_name("run.db-shm").unlink()
    with only_reading(folder), pytest.raises(JournalError) as caught:
        list(Journal(path).entries())
    assert caught.value.reason == "unwritable"
    assert str(caught.value) == (
        "the journal run.db stands with run.db-wal in an unwritable folder, where it cannot be read whole: "
        "copy both files to another folder"
    )
    with tempfile.TemporaryDirectory() as other:
        for name in ("run.db", "run.db-wal"):
            shutil.copyfile(folder / name, Path(other, name))
        assert states(Journal(Path(other, "run.db"))) == {"a": "watched", "b": "ended", "late": "watched"}


@pytest.mark.parametrize("make", [closed, killed])
def test_a_file_that_may_not_be_read_is_unreadable_there(folder: Path, make: Callable[[Path], Path]) -> None:
    path = make(folder)
    with only_reading(folder, 0), pytest.raises(JournalError) as caught:
        list(Journal(path).entries())
    assert caught.value.reason == "unreadable"


def test_what_is_no_journal_is_none_there_either(folder: Path) -> None:
    path = folder / "notes.txt"
    path.write_text("Remember the milk.\n" * 20, "utf-8")
    with only_reading(folder), pytest.raises(JournalError, match="is a foreign file, no journal"):
        list(Journal(path).entries())


def test_it_cannot_be_pruned_there(folder: Path) -> None:
    path = closed(folder)
    with only_reading(folder), pytest.raises(JournalError, match="is unwritable"):
        Journal(path).prune()


@pytest.mark.parametrize("arguments", ["journal show", "journal export", "journal export --lines", "report"])
def test_a_command_reads_the_same_there_as_elsewhere(folder: Path, arguments: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = closed(folder)
    # This loads, too, what whoever is not root may be unable to load.
    assert main([*arguments.split(), str(path)]) == 0
    elsewhere = capfd.readouterr()
    with only_reading(folder):
        code = main([*arguments.split(), str(path)])
    assert (code, capfd.readouterr()) == (0, elsewhere)
    assert elsewhere.out
    assert elsewhere.err == ""

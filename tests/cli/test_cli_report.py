"""`asyncflow report`: of a journal and of events, as a table, as JSON and as a page."""

from __future__ import annotations

import re
import resource
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest
from cli_jobs import OK, job
from secret_watch import leaks

from asyncflow import Ended, RunReport
from asyncflow.cli.app import run

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from cli_processes import Command

    from asyncflow.simulator import SimulatorThread

pytestmark = pytest.mark.slow


def test_the_events_of_watches_that_went_on_with_each_other_count_each_job_once(
    command: Command, service: SimulatorThread, tmp_path: Path
) -> None:
    ids = [*service.seed_jobs(2, age=600, fate="success"), *service.seed_jobs(2, fate="endless")]
    (tmp_path / "ids.txt").write_text("\n".join(ids), "utf-8")
    first = command("watch", "--journal", "run.db", "--file", "ids.txt", "--json", "--timeout", "1s")
    again = command("resume", "run.db", "--json", "--timeout", "1s")
    assert (first.returncode, again.returncode) == (3, 3)
    told_twice = first.stdout + first.stdout + again.stdout
    given_up = msgspec.json.decode(command("report", "-", "--json", stdin=told_twice.encode()).stdout, type=RunReport)
    assert (given_up.jobs, given_up.outcomes["succeeded"], given_up.outcomes["abandoned"]) == (4, 2, 2)
    taken_up = told_twice + "".join(line for line in first.stdout.splitlines(keepends=True) if '"changed"' in line)
    running = msgspec.json.decode(command("report", "-", "--json", stdin=taken_up.encode()).stdout, type=RunReport)
    assert (running.jobs, running.running) == (2, 2)


def test_a_journal_and_its_events_say_the_same(command: Command, service: SimulatorThread, tmp_path: Path) -> None:
    ids = service.seed_jobs(10, kind="mix", age=600)
    (tmp_path / "ids.txt").write_text("\n".join(ids), "utf-8")
    events = command("watch", "--journal", "run.db", "--file", "ids.txt", "--json")
    (tmp_path / "events.jsonl").write_text(events.stdout, "utf-8")
    of_journal = command("report", "run.db", "--html", "run.html", "--json", "--captcha-price", "1")
    of_events = command("report", "events.jsonl", "--json", "--captcha-price", "1")
    of_input = command("report", "-", "--captcha-price", "1", stdin=events.stdout.encode())
    report = msgspec.json.decode(of_journal.stdout, type=RunReport)
    assert report.jobs == 10
    assert report.captchas.cost == report.captchas.attempts > 0
    other = msgspec.json.decode(of_events.stdout, type=RunReport)
    assert msgspec.structs.replace(report, began_at=None, ended_at=None) == other
    assert of_input.stdout == other.text()
    page = (tmp_path / "run.html").read_text("utf-8")
    assert page == report.html()
    shown = (of_journal, of_events, of_input)
    assert [leak for text in (*(each.stdout for each in shown), page) for leak in leaks(text)] == []
    assert [each.returncode for each in shown] == [0, 0, 0]


@contextmanager
def files_of_at_most(size: int) -> Generator[None]:
    """Within the block the system refuses to let a file grow beyond *size* bytes, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("before", [None, "the report of yesterday"])
def test_a_page_that_cannot_be_written_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], before: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    page, events = tmp_path / "run.html", tmp_path / "events.jsonl"
    events.write_bytes(msgspec.json.encode(Ended(job("1", "completed", OK))))
    if before is not None:
        page.write_text(before, "utf-8")
    with files_of_at_most(1000):
        code = run(["report", events.name, "--html", page.name])
    assert (code, capsys.readouterr().err) == (2, "asyncflow: run.html: file too large\n")
    assert {path: path.read_text("utf-8") for path in tmp_path.iterdir() if path != events} == (
        {} if before is None else {page: before}
    )
    assert run(["report", events.name, "--html", page.name]) == 0
    assert page.read_text("utf-8").startswith("<!DOCTYPE html>")
    assert set(tmp_path.iterdir()) == {page, events}


def test_a_page_takes_the_place_of_a_file_and_not_of_a_link_or_a_device(command: Command, tmp_path: Path) -> None:
    events = msgspec.json.encode(Ended(job("1", "completed", OK)))
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "run.html").write_text("the report of yesterday", "utf-8")
    (tmp_path / "shared" / "run.html").chmod(0o640)
    (tmp_path / "run.html").symlink_to("shared/run.html")
    assert command("report", "-", "--html", "run.html", stdin=events).returncode == 0
    assert (tmp_path / "run.html").is_symlink()
    assert (tmp_path / "shared" / "run.html").read_text("utf-8").startswith("<!DOCTYPE html>")
    assert stat.filemode((tmp_path / "shared" / "run.html").stat().st_mode) == "-rw-r-----"
    assert command("report", "-", "--html", "/dev/stdout", stdin=events).stdout.startswith("<!DOCTYPE html>")


def test_what_a_batch_with_its_watch_printed_can_be_reported(command: Command, tmp_path: Path) -> None:
    (tmp_path / "batch.jsonl").write_text('{"path": "google-flow/images", "body": {"prompt": "a kite #success"}}\n', "utf-8")
    printed = command("submit", "batch.jsonl", "--journal", "batch.db", "--watch", "--json").stdout
    assert printed.startswith('{"type":"submission"')
    assert command("report", "-", stdin=printed.encode()).stdout.startswith("1 job")


def test_a_watch_ends_with_the_short_form(command: Command, service: SimulatorThread) -> None:
    done = command("watch", *service.seed_jobs(2, age=600, fate="success"))
    assert re.search(r"^2 of 2 files, (?:\d+ credits?, )?\d+ captchas? \(about \$0\.\d\d\)$", done.stdout, re.MULTILINE)


def test_jobs_that_are_not_over_are_counted_as_such(command: Command, service: SimulatorThread) -> None:
    ids = [*service.seed_jobs(fate="endless"), *service.seed_jobs(age=600, fate="success")]
    command("watch", *ids, "--journal", "half.db", "--timeout", "1s")
    assert command("report", "half.db").stdout.splitlines()[0].endswith(": 1 succeeded, 1 not over")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["report", "missing.db"], "missing.db: no such file or directory"),
        (["report", "empty"], "empty is empty: give a journal, or the output of asyncflow watch --json"),
        (["report", "words"], "words, line 2: neither a journal nor an event of asyncflow watch --json"),
        (["report", "words", "--captcha-price", "x"], "invalid value for '--captcha-price': 'x': a price looks like"),
        (["report", "words", "--captcha-price", "a=-1"], "invalid value for '--captcha-price': 'a=-1'"),
        (["report", "words", "--captcha-price", "nan"], "invalid value for '--captcha-price': 'nan'"),
        (["report", "none.db", "--html", "no/such/folder.html"], "no/such/folder.html: no such file or directory"),
    ],
)
def test_what_cannot_be_reported_is_one_line(command: Command, tmp_path: Path, arguments: list[str], complaint: str) -> None:
    (tmp_path / "empty").write_text("\n", "utf-8")
    (tmp_path / "words").write_text("\nids and such\n", "utf-8")
    if "none.db" in arguments:
        command("watch", "--journal", "none.db", "12345678901234567-user:1234-bot:google-flow")
    done = command(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"asyncflow: {complaint}")
    assert done.stderr.count("\n") == 1

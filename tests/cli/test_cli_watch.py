from __future__ import annotations

import re
import select
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest
from cli_processes import environment_of

from asyncflow import Changed, Ended, Event
from asyncflow.redaction import digest

if TYPE_CHECKING:
    from pathlib import Path

    from cli_processes import Command, Start

    from asyncflow.simulator import SimulatorThread


def ended(service: SimulatorThread, count: int, **options: str) -> list[str]:
    return service.seed_jobs(count, kind="mix", age=600, fate=options.get("fate", "success"))


def in_file(path: Path, ids: list[str]) -> str:
    path.write_text("\n".join(ids), "utf-8")
    return path.name


def test_a_line_a_change_and_a_summary(command: Command, service: SimulatorThread) -> None:
    [job_id] = service.seed_jobs(kind="video", fate="success", duration=600)
    done = command("watch", job_id, "--interval", "300ms")
    assert (done.returncode, done.stderr) == (0, "")
    *changes, blank, summary, _, requests = done.stdout.splitlines()
    assert re.fullmatch(rf"\d\d:\d\d:\d\d  {digest(job_id)}  video   (created|started)", changes[0])
    assert re.fullmatch(rf"\d\d:\d\d:\d\d  {digest(job_id)}  video   succeeded: 1 file, 10 s", changes[-1])
    assert blank == ""
    assert summary.startswith("1 job in ")
    assert "request" in requests
    assert "\x1b" not in done.stdout
    assert "example.com" not in done.stdout


def test_json_lines_are_the_events_themselves(command: Command, service: SimulatorThread) -> None:
    ids = [*ended(service, 10), *service.seed_jobs(duration=300)]
    done = command("watch", *ids, "--json", "--interval", "500ms")
    lines = done.stdout.encode().splitlines()
    events = [msgspec.json.decode(line, type=Event) for line in lines]
    assert [msgspec.json.decode(msgspec.json.encode(event), type=Event) for event in events] == events
    assert sorted(event.job.job_id for event in events if isinstance(event, Ended)) == sorted(ids)
    assert any(isinstance(event, Changed) for event in events)
    assert done.returncode == 0
    assert done.stderr.startswith("11 jobs in ")
    assert "example.com" not in done.stderr


@pytest.mark.parametrize("arguments", [["--file", "-"], ["-f", "-"], ["-"]])
def test_ids_come_from_standard_input(command: Command, service: SimulatorThread, arguments: list[str]) -> None:
    ids = ended(service, 3)
    lines = "\r\n".join(["# three", "", *ids, ""])
    done = command("watch", *arguments, stdin=lines.encode("utf-8-sig"))
    assert (done.returncode, done.stderr) == (0, "")
    assert all(digest(job_id) in done.stdout for job_id in ids)


def test_a_bad_ending_is_code_1_and_its_reason_is_told(command: Command, service: SimulatorThread, tmp_path: Path) -> None:
    name = in_file(tmp_path / "ids.txt", [*ended(service, 2), *ended(service, 2, fate="no_media")])
    done = command("watch", "--file", name)
    assert done.returncode == 1
    assert "no output: " in done.stdout
    assert re.search(r"^\d x \S", done.stdout, re.MULTILINE)


def test_a_job_that_is_not_there_is_code_5(command: Command, service: SimulatorThread) -> None:
    missing = "j1121233937813847339v-u1234-email:ada.lind@example.com-bot:google-flow"
    done = command("watch", *ended(service, 1), missing)
    assert done.returncode == 5
    assert f"{digest(missing)}  -       given up: " in done.stdout
    assert "example.com" not in done.stdout + done.stderr


@pytest.mark.parametrize("option", ["--timeout", "--job-timeout"])
def test_the_time_is_up_with_code_3(command: Command, service: SimulatorThread, option: str) -> None:
    done = command("watch", *service.seed_jobs(fate="endless"), option, "700ms")
    assert done.returncode == 3
    assert "given up: not over after 1 s" in done.stdout


@pytest.mark.parametrize(
    ("environment", "code", "words"),
    [
        ({"USEAPI_TOKEN": "user:1234-wrong"}, 4, "HTTP 401"),
        ({"USEAPI_TOKEN": ""}, 2, "no token: set USEAPI_TOKEN"),
        ({"USEAPI_TOKEN": "1234-abcdef"}, 2, "must begin with 'user:'"),
        ({"USEAPI_TOKEN": "user:1234 abcdef"}, 2, "USEAPI_TOKEN"),
        ({"USEAPI_BASE_URL": "nowhere"}, 2, "the base URL must look like"),
        ({"USEAPI_BASE_URL": "http://ada.lind:secret@127.0.0.1:1"}, 2, "the base URL must look like"),
    ],
)
@pytest.mark.parametrize("name", ["get", "watch"])
def test_wrong_settings_are_one_line(
    command: Command, service: SimulatorThread, name: str, environment: dict[str, str], code: int, words: str
) -> None:
    done = command(name, *ended(service, 1), settings=environment)
    assert (done.returncode, done.stdout) == (code, "")
    assert re.fullmatch(rf"asyncflow: .*{re.escape(words)}.*\n", done.stderr)
    assert not re.search(r"example\.com|abcdef|wrong|secret", done.stderr)


@pytest.mark.parametrize("name", ["get", "watch"])
def test_nobody_at_the_address_is_one_line_and_code_5(command: Command, service: SimulatorThread, name: str) -> None:
    done = command(name, *ended(service, 1), settings={"USEAPI_BASE_URL": "http://127.0.0.1:1"})
    assert done.returncode == 5
    assert done.stderr == "asyncflow: no connection to 127.0.0.1:1 (connection refused); is USEAPI_BASE_URL right?\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["watch"], "no job ids: name some, or a --file of them"),
        (["watch", "-f", "missing"], "missing: no such file or directory"),
        (["watch", "-f", "-"], "no job ids in standard input"),
        (["watch", "ada.lind@example.com"], "'<e-mail>' is no job id: it does not end in -bot:google-flow or -bot:flowmusic"),
        (
            ["watch", "--timeout", "soon", "x"],
            "invalid value for '--timeout': 'soon': a duration looks like 90s, 30m, 2h or 1h30m",
        ),
        (["watch", "--rate", "0", "x"], "invalid value for '--rate'"),
        (["get"], "missing argument 'ID'"),
        (["get", ""], "a job id is empty"),
        (["get", "a", "ada.lind@example.com"], "got unexpected extra argument (<e-mail>"),
        (["gte"], "no such command 'gte'"),
        (["demo", "--faults", "bad"], "invalid value for '--faults'"),
        (["demo", "--faults", "reset=often"], "invalid value for '--faults'"),
        (["demo", "--jobs", "0"], "invalid value for '--jobs'"),
    ],
)
def test_wrong_usage_is_one_line(command: Command, arguments: list[str], complaint: str) -> None:
    done = command(*arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"asyncflow: {complaint}")


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_closed_output_ends_the_watch_in_one_line(start: Start, service: SimulatorThread, options: list[str]) -> None:
    process = start("watch", *ended(service, 2), *service.seed_jobs(3, kind="image", duration=60), *options)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline()
    process.stdout.close()
    assert re.fullmatch(rb"asyncflow: standard output was closed; \d of 5 jobs still running: .+\n", process.stderr.read())
    assert process.wait(20) == 141


def test_a_slow_reader_does_not_hold_up_the_polls(start: Start, service: SimulatorThread, tmp_path: Path) -> None:
    ids = ended(service, 300)
    process = start("watch", "--json", "--file", in_file(tmp_path / "ids.txt", ids), "--interval", "1s")
    assert process.stdout is not None
    shown: set[str] = set()
    while shown != set(ids):
        # Nobody reads standard output, and its pipe holds far less than three hundred records.
        select.select([process.stdout.fileno()], [], [], 0)
        select.select([], [], [], 0.05)
        assert process.poll() is None
        shown = {truth.job_id for truth in service.truth() if truth.job_id in set(ids) and truth.shown_at is not None}
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, len(output.splitlines())) == (0, 300)
    assert errors.startswith(b"300 jobs in ")


@pytest.mark.parametrize(("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")])
def test_an_interrupted_watch_says_what_was_running(
    start: Start, service: SimulatorThread, number: int, code: int, word: str
) -> None:
    ids = service.seed_jobs(8, fate="endless", age=60)
    process = start("watch", *ids, "--interval", "1s")
    assert process.stdout is not None
    for _ in ids:
        assert process.stdout.readline()
    process.send_signal(number)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == code
    assert re.fullmatch(rf"asyncflow: {word}; 8 of 8 jobs still running: (\w{{10}}(, | and )){{5}}3 more\n", errors.decode())


def test_a_hang_up_is_ignored_under_nohup(service: SimulatorThread, tmp_path: Path) -> None:
    [job_id] = service.seed_jobs(duration=300, fate="success")
    process = subprocess.Popen(
        ["/bin/sh", "-c", 'trap "" HUP; exec "$0" -m asyncflow watch "$@"', sys.executable, job_id, "--interval", "200ms"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment_of(service.url),
    )
    with process:
        assert process.stdout is not None
        assert b"video" in process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, b"")
    assert b"succeeded" in output


def test_an_interrupt_is_heard_while_nobody_reads(start: Start, service: SimulatorThread, tmp_path: Path) -> None:
    ids = ended(service, 300)
    process = start("watch", "--json", "--file", in_file(tmp_path / "ids.txt", ids))
    assert process.stdout is not None
    assert process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130

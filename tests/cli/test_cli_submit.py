"""`asyncflow submit`: from a manifest to jobs, and on to their files."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from cli_processes import TOKEN, environment_of
from killed_submits import with_patience
from secret_watch import leaks

from asyncflow import Journal, SubmitResult
from asyncflow.cli.app import run as run_command
from asyncflow.simulator import Answer, Faults, SimulatorThread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cli_processes import Command, Start

VIDEOS = "google-flow/videos"


@pytest.fixture
def service() -> Iterator[SimulatorThread]:
    """One for each test, whose books have only its submits."""
    with SimulatorThread(seed=3, speed=200) as running:
        yield running


@pytest.fixture
def command(
    service: SimulatorThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Command:
    """Run the command to its end in this process, which takes a tenth of the time that a process of its own takes."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, stdin: bytes = b"", settings: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        (tmp_path / ".stdin").write_bytes(stdin)
        with (
            pytest.MonkeyPatch.context() as patch,
            (tmp_path / ".stdin").open(encoding="utf-8") as given,
        ):
            for name, value in environment_of(service.url, settings).items():
                patch.setenv(name, value)
            patch.setattr(sys, "stdin", given)
            code = run_command(arguments)
        (tmp_path / ".stdin").unlink()
        output, words = capfdbinary.readouterr()
        assert leaks(words.decode()) == []
        return subprocess.CompletedProcess(arguments, code, output.decode(), words.decode())

    return run


def line(number: int, **more: Any) -> str:  # noqa: ANN401 - members of a line
    return json.dumps({"path": VIDEOS, "body": {"prompt": f"kite {number}"}} | more) + "\n"


@pytest.fixture
def batch(tmp_path: Path) -> Path:
    """Three lines, the first of them with a key."""
    path = tmp_path / "batch.jsonl"
    path.write_text(line(0, key="first") + "\n" + line(1) + line(2, path="google-flow/images"), "utf-8")
    return path


def results(output: str) -> list[SubmitResult]:
    return [msgspec.json.decode(each, type=SubmitResult) for each in output.splitlines()]


def test_each_line_becomes_a_job(command: Command, batch: Path, service: SimulatorThread, tmp_path: Path) -> None:
    done = command("submit", batch.name, "--journal", "run.db")
    assert (done.returncode, done.stderr) == (0, "")
    *told, summary = done.stdout.splitlines()
    assert sorted(each.split()[0] for each in told) == ["1", "3", "4"]
    assert any("first" in each and "job " in each and each.endswith("created") for each in told)
    assert summary.startswith("3 lines in ")
    assert summary.endswith(": 3 submitted")
    assert leaks(done.stdout) == []
    assert {entry.job_id for entry in Journal(tmp_path / "run.db").entries()} == {job.job_id for job in service.truth()}


def test_running_it_again_sends_nothing(command: Command, batch: Path, service: SimulatorThread) -> None:
    command("submit", batch.name, "--journal", "run.db")
    done = command("submit", batch.name, "--journal", "run.db")
    assert done.returncode == 0
    assert done.stdout.count("submitted before") == 4
    assert len(service.submits()) == 3
    shown = command("journal", "show", "run.db")
    assert "3 jobs" in shown.stdout


def test_json_has_whole_ids_and_the_numbers_of_the_file(command: Command, batch: Path, service: SimulatorThread) -> None:
    done = command("submit", "-", "--json", stdin=batch.read_bytes())
    assert done.returncode == 0
    assert sorted((each.number, each.state) for each in results(done.stdout)) == [(number, "submitted") for number in (1, 3, 4)]
    assert {each.job_id for each in results(done.stdout)} == {job.job_id for job in service.truth()}
    assert "3 lines in" in done.stderr


def test_quiet_says_nothing_but_what_is_asked_for(command: Command, batch: Path) -> None:
    done = command("submit", batch.name, "--journal", "run.db", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = command("submit", batch.name, "--journal", "run.db", "--quiet", "--json")
    assert ([each.is_earlier for each in results(done.stdout)], done.stderr) == ([True] * 3, "")


def test_a_table_will_do(command: Command, service: SimulatorThread) -> None:
    table = f"path;key;prompt;count\n{VIDEOS};a;one;2\ngoogle-flow/images;b;two;4\n"
    done = command("submit", "-", "--journal", "run.db", stdin=table.encode("utf-8-sig"))
    assert done.returncode == 0
    assert sorted((str(each.request["prompt"]), each.request["count"]) for each in service.submits()) == [("one", 2), ("two", 4)]
    done = command("submit", "-", "--format", "json", "--dry-run", stdin=table.encode())
    assert (done.returncode, "line 1: is no JSON" in done.stderr) == (2, True)


def test_the_watch_and_the_files_follow(command: Command, batch: Path, service: SimulatorThread, tmp_path: Path) -> None:
    done = command("submit", batch.name, "--journal", "run.db", "--watch", "--download", "out")
    assert done.returncode == 0
    assert "3 lines in" in done.stdout
    assert "3 jobs in" in done.stdout
    assert len(list((tmp_path / "out").glob("[!.]*"))) == sum(len(service.media(job.job_id)) for job in service.truth())
    again = command("submit", batch.name, "--journal", "run.db", "--watch", "--json")
    assert again.returncode == 0
    assert [json.loads(each)["type"] for each in again.stdout.splitlines()] == ["submission"] * 3
    assert len(service.submits()) == 3


def test_an_option_of_the_watch_wants_the_watch(command: Command, batch: Path) -> None:
    done = command("submit", batch.name, "--journal", "run.db", "--download", "out")
    assert "3 jobs in" in done.stdout
    done = command("submit", batch.name, "--json", "--download", "out")
    assert (done.returncode, "--journal" in done.stderr) == (2, True)


@pytest.mark.parametrize("table", ["submit", "defaults"])
def test_a_file_of_settings_may_want_the_watch_too(command: Command, tmp_path: Path, table: str) -> None:
    (tmp_path / "asyncflow.toml").write_text(f"[{table}]\ndownload = 'out'\n", "utf-8")
    image = line(0, path="google-flow/images").encode()
    done = command("--config", "asyncflow.toml", "submit", "-", "--journal", "run.db", stdin=image)
    assert (done.returncode, "1 job in" in done.stdout) == (0, True)
    assert list((tmp_path / "out").glob("[!.]*")) != []
    done = command("--config", "asyncflow.toml", "submit", "-", "--json", stdin=image)
    assert (done.returncode, done.stderr) == (2, "asyncflow: name a --journal; the watch takes the jobs from there\n")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--sidecar"], "--download"),
        (["--web-stay"], "--web"),
        (["--download", "out", "--name", "{prompt}"], "not {prompt}"),
        (["--download", "batch.jsonl"], "it is no folder"),
        (["--listen", "0.0.0.0:0"], "--public-url"),
    ],
)
def test_what_the_watch_will_refuse_is_refused_before_anything_is_sent(
    command: Command, batch: Path, service: SimulatorThread, options: list[str], told: str
) -> None:
    done = command("submit", batch.name, "--journal", "run.db", "--watch", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert service.submits() == []


def test_a_secret_that_will_not_do_is_refused_before_anything_is_sent(
    command: Command, batch: Path, service: SimulatorThread
) -> None:
    arguments = ("submit", batch.name, "--journal", "run.db", "--listen", "127.0.0.1:0")
    done = command(*arguments, settings={"ASYNCFLOW_SECRET": "not/fit"})
    assert (done.returncode, done.stdout) == (2, "")
    assert "ASYNCFLOW_SECRET" in done.stderr
    assert service.submits() == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--timeout", "5m"], "--timeout is about --watch"),
        (["--downloads", "8"], "--downloads is about --download"),
        (["--download-rate", "5MB"], "--download-rate is about --download"),
        (["--name", "{digest}-{index}.{ext}", "--dry-run"], "--name is about --download"),
        (["--allow-actions"], "--allow-actions is about --web"),
    ],
)
def test_what_only_a_watch_reads_is_refused_without_one(
    command: Command, batch: Path, service: SimulatorThread, arguments: list[str], told: str
) -> None:
    done = command("submit", batch.name, "--journal", "run.db", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"asyncflow: {told}: give that too; see asyncflow submit --help\n"
    assert service.submits() == []


def test_what_only_a_watch_reads_may_be_a_default(command: Command, batch: Path, tmp_path: Path) -> None:
    (tmp_path / "asyncflow.toml").write_text(
        '[defaults]\ntimeout = "5m"\nsidecar = true\nqueue = "q"\nweb-stay = true\n', "utf-8"
    )
    settings = {"ASYNCFLOW_CONFIG": "asyncflow.toml", "ASYNCFLOW_SUBMIT_DOWNLOADS": "8", "ASYNCFLOW_QUEUE": "q"}
    done = command("submit", batch.name, "--journal", "run.db", settings=settings)
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 jobs in" not in done.stdout


def test_a_store_is_no_matter_of_a_batch(command: Command, batch: Path, service: SimulatorThread) -> None:
    done = command("submit", batch.name, "--journal", "run.db", "--watch", "--store", "redis://127.0.0.1:9/0")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("asyncflow: no such option")
    assert "--store" in done.stderr
    assert service.submits() == []


def test_a_bad_end_of_a_job_is_that_of_the_command(command: Command) -> None:
    text = line(0, body={"prompt": "kite #failed"})
    assert command("submit", "-", "--journal", "run.db", "--watch", stdin=text.encode()).returncode == 1


def test_flaws_are_told_before_anything_is_sent(command: Command, service: SimulatorThread) -> None:
    text = "".join(line(number) for number in range(199)) + '{"path": "nowhere"}\n'
    done = command("submit", "-", "--journal", "run.db", stdin=text.encode())
    assert done.returncode == 2
    assert "nothing was submitted" in done.stderr
    assert "standard input, line 200: unknown service 'nowhere'" in done.stderr
    assert service.submits() == []


def test_a_key_of_another_line_is_a_flaw(command: Command, batch: Path, service: SimulatorThread) -> None:
    command("submit", batch.name, "--journal", "run.db")
    for more in ((), ("--dry-run",)):
        done = command("submit", "-", "--journal", "run.db", *more, stdin=line(9, key="first").encode())
        assert done.returncode == 2
        assert "line 1: the key 'first' is in the journal" in done.stderr
    assert len(service.submits()) == 3


def test_a_dry_run_says_what_would_be_sent(command: Command, batch: Path, service: SimulatorThread, tmp_path: Path) -> None:
    done = command("submit", batch.name, "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "3 lines, all of them fit; nothing was sent",
        "       2  to google-flow/videos",
        "       1  to google-flow/images",
    ]
    assert service.submits() == []
    service.play(f"POST /v1/{VIDEOS}", ["reset"])
    command("submit", batch.name, "--journal", "run.db")
    told = command("submit", batch.name, "--journal", "run.db", "--dry-run").stdout
    assert "       1  submitted before\n       2  sent before, without an answer\n" in told
    assert {path.name for path in tmp_path.iterdir()} == {"batch.jsonl", "run.db", "run.db-lock"}


def test_without_a_journal_somebody_must_take_the_ids(command: Command, batch: Path, service: SimulatorThread) -> None:
    done = command("submit", batch.name)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--journal" in done.stderr
    assert service.submits() == []


def test_refused_and_unknown_lines_are_named_and_tried_again(command: Command, batch: Path, service: SimulatorThread) -> None:
    busy = Answer(429, {"Retry-After": "60"}, b'{"error": "busy"}')
    service.play(f"POST /v1/{VIDEOS}", ["reset", busy])
    done = command("submit", batch.name, "--journal", "run.db", "--concurrency", "1")
    assert done.returncode == 5
    assert "3 lines in" in done.stdout
    assert "1 submitted, 1 refused, 1 unknown" in done.stdout
    assert "unknown: line 1; run again to look" in done.stdout
    assert "refused: 1 x rate limited" in done.stdout
    service.play(f"POST /v1/{VIDEOS}", [])
    done = command("submit", batch.name, "--journal", "run.db")
    assert (done.returncode, "1 submitted, 1 submitted before, 1 unknown" in done.stdout) == (5, True)
    done = command("submit", batch.name, "--journal", "run.db", "--resubmit-unknown")
    assert (done.returncode, "1 submitted, 2 submitted before" in done.stdout) == (0, True)


def test_capacity_is_waited_for(command: Command, batch: Path, service: SimulatorThread) -> None:
    busy = Answer(429, {"Retry-After": "0.2"}, b'{"error": "busy"}')
    created = Answer(
        201, {}, b'{"jobid": "j1104093012448120573v-u1234-email:jo@example.com-bot:google-flow", "status": "created"}'
    )
    service.play(f"POST /v1/{VIDEOS}", [busy, busy, created])
    done = command("submit", batch.name, "--journal", "run.db", "--wait-for-capacity", "30s")
    assert done.returncode == 0


@pytest.mark.parametrize(("status", "code"), [(400, 1), (402, 4), (422, 1)])
def test_the_exit_code_says_what_kind_of_refusal(command: Command, service: SimulatorThread, status: int, code: int) -> None:
    service.play(f"POST /v1/{VIDEOS}", [Answer(status, {}, b'{"error": "no", "code": 1}')])
    done = command("submit", "-", "--journal", "run.db", stdin=line(0).encode())
    assert done.returncode == code


def test_a_refused_token_ends_the_batch(command: Command, service: SimulatorThread) -> None:
    text = "".join(line(number) for number in range(50))
    done = command("submit", "-", "--journal", "run.db", stdin=text.encode(), settings={"USEAPI_TOKEN": f"{TOKEN}x"})
    assert done.returncode == 4
    assert "not begun" in done.stdout
    assert "USEAPI_TOKEN" in done.stderr
    assert service.truth() == []


def test_a_service_that_is_not_there_ends_the_batch(command: Command) -> None:
    text = "".join(line(number) for number in range(50))
    done = command("submit", "-", "--journal", "run.db", stdin=text.encode(), settings={"USEAPI_BASE_URL": "http://127.0.0.1:9"})
    assert done.returncode == 5
    assert "USEAPI_BASE_URL" in done.stderr


def test_the_journal_shows_the_lines_of_batches(command: Command, batch: Path, service: SimulatorThread) -> None:
    service.play(f"POST /v1/{VIDEOS}", ["reset", Answer(400, {}, b'{"error": "no"}')])
    command("submit", batch.name, "--journal", "run.db", "--concurrency", "1")
    shown = command("journal", "show", "run.db").stdout
    assert "       3  lines of batches: 1 submitted, 1 refused, 1 unknown\n" in shown
    assert "          unknown, sent without an answer: first\n" in shown
    exported = results(command("journal", "export", "run.db", "--lines").stdout)
    assert sorted((each.state, each.path) for each in exported) == [
        ("refused", VIDEOS),
        ("submitted", "google-flow/images"),
        ("unknown", VIDEOS),
    ]


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 143)])
def test_a_signal_lets_what_is_under_way_have_its_answer(
    start: Start, service: SimulatorThread, tmp_path: Path, name: str, code: int
) -> None:
    (tmp_path / "batch.jsonl").write_text("".join(line(number) for number in range(40)), "utf-8")
    service.faults = Faults(kinds=("submit",), latency=0.5)
    process = start("submit", "batch.jsonl", "--journal", "run.db", "--concurrency", "4")
    wait_for_submits(service, 4, process)
    process.send_signal(getattr(signal, name))
    output, words = process.communicate(timeout=30)
    assert process.returncode == code
    assert f"waiting for the answers of 4 lines; again to break off\nasyncflow: {name_of(code)}; 4 submitted, 36 not begun" in (
        words.decode()
    )
    assert words.decode().rstrip().endswith("the same command goes on")
    assert output.count(b"created") == len(service.truth()) == 4


def test_a_closed_output_lets_what_is_under_way_have_its_answer(start: Start, service: SimulatorThread, tmp_path: Path) -> None:
    (tmp_path / "batch.jsonl").write_text("".join(line(number) for number in range(40)), "utf-8")
    service.faults = Faults(kinds=("submit",), latency=(0.1, 0.5))
    process = start("submit", "batch.jsonl", "--journal", "run.db", "--concurrency", "4")
    assert process.stdout is not None
    assert process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    words = process.stderr.read().decode()
    assert process.wait(30) == 141
    assert words.startswith("asyncflow: standard output was closed; ")
    assert words.endswith(" not begun; the same command goes on\n")
    made = {truth.job_id for truth in service.truth()}
    assert {(each.state, each.job_id) for each in Journal(tmp_path / "run.db").submissions()} == {
        ("submitted", each) for each in made
    }
    assert len(made) < 40


def test_a_second_signal_breaks_off_and_names_what_is_unknown(start: Start, service: SimulatorThread, tmp_path: Path) -> None:
    (tmp_path / "batch.jsonl").write_text("".join(line(number) for number in range(40)), "utf-8")
    service.faults = Faults(kinds=("submit",), hang=1.0)
    process = start("submit", "batch.jsonl", "--journal", "run.db", "--concurrency", "3")
    wait_for_submits(service, 3, process)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert b"waiting for the answers of 3 lines" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    output, words = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"0 submitted, 3 unknown, 37 not begun; the same command goes on" in words
    assert output.count(b"unknown: sent, without an answer") == 3
    assert [each.state for each in Journal(tmp_path / "run.db").submissions()] == ["unknown"] * 3


def name_of(code: int) -> str:
    return {130: "interrupted", 143: "terminated"}[code]


def wait_for_submits(service: SimulatorThread, number: int, process: subprocess.Popen[bytes]) -> None:
    """Return when so many submits are under way."""
    while service.stats().in_flight < number:
        with_patience(process, 0.05)
        assert process.poll() is None

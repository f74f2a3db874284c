"""`--web` and `asyncflow dashboard`: a page beside a watch, and one over a journal."""

from __future__ import annotations

import http.client
import re
import signal
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click
import msgspec
import pytest

from asyncflow.cli.addons.dashboard import WEB, as_web_address
from asyncflow.cli.app import run
from asyncflow.cli.commands.simulate import is_loopback
from asyncflow.simulator import Answer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cli_processes import Command, Start

    from asyncflow.simulator import SimulatorThread

pytestmark = pytest.mark.slow

LINK = re.compile(r"(http://127\.0\.0\.1:\d+/)#([\w-]{32}|of-my-own-and-long)\n")
JOB_ID = "j1104093012448120573v-u40417-email:jo-ann@example.com-bot:google-flow"
KEY = {"ASYNCFLOW_WEB_TOKEN": "of-my-own-and-long"}


def link_of(line: bytes) -> tuple[str, str]:
    found = LINK.search(line.decode())
    assert found is not None, line
    return found[1], found[2]


def get(
    url: str, path: str, token: str = "", last: str = "", begun: Callable[[], object] = bool
) -> tuple[int, str | None, bytes]:
    """Return the answer, that of a stream up to the message called *last*; *begun* is called when it has begun."""
    with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)) as connection:
        connection.request("GET", f"/{path}", headers={"Authorization": f"Bearer {token}"} if token else {})
        with connection.getresponse() as response:
            begun()
            body = b""
            if not last:
                body = response.read()
            while last and f"event: {last}\n".encode() not in body:
                line = response.readline()
                assert line, body
                body += line
            body += response.readline() if last else b""
            return response.status, response.getheader("content-type"), body


def told(url: str, token: str, last: str, begun: Callable[[], object] = bool) -> dict[str, Any]:
    """Listen up to the first message called *last*; return the last of each name."""
    status, _, body = get(url, "events", token, last, begun)
    assert status == 200
    return {name: msgspec.json.decode(value) for name, value in re.findall(r"event: (\w+)\ndata: (.*)", body.decode())}


@pytest.fixture
def here(
    service: SimulatorThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> pytest.CaptureFixture[str]:
    """Run commands in this process, which is quicker; give what they say."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("USEAPI_TOKEN", service.token)
    monkeypatch.setenv("USEAPI_BASE_URL", service.url)
    return capsys


def test_a_page_shows_the_watch_and_goes_with_it(start: Start, service: SimulatorThread) -> None:
    job_id, other = service.seed_jobs(1, duration=1e6) + service.seed_jobs(1, age=600, fate="success")
    process = start("watch", job_id, other, "--web", "--interval", "200ms", settings=KEY)
    assert process.stderr is not None
    url, token = link_of(process.stderr.readline())
    assert token == KEY["ASYNCFLOW_WEB_TOKEN"]
    assert b"<title>asyncflow</title>" in get(url, "")[2]
    assert get(url, "events")[0] == 401
    # Only now the watch may end, as its page goes with it.
    gone = Answer(404, {"Content-Type": "application/json"}, b'{"error": "Job not found"}')
    found = told(url, token, "over", begun=lambda: service.play(job_id, [gone]))
    assert found["hello"]["title"] == f"2 jobs at {urlsplit(service.url).netloc}"
    assert found["hello"]["actions"] == []
    assert found["totals"]["states"] == {"succeeded": 1, "abandoned": 1}
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 5
    assert token.encode() not in output + errors


def test_a_page_may_stay_after_the_end(start: Start, service: SimulatorThread) -> None:
    [job_id] = service.seed_jobs(1, age=600, fate="success")
    process = start("watch", job_id, "--web", "--web-stay", "--allow-actions")
    assert process.stderr is not None
    url, token = link_of(process.stderr.readline())
    assert process.stderr.readline() == b"asyncflow: the page stays; Ctrl-C ends it\n"
    found = told(url, token, "over")
    assert found["totals"]["states"] == {"succeeded": 1}
    assert found["hello"]["actions"] == ["cancel", "download"]
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, b"")
    assert b"1 job " in output


def test_a_journal_is_shown_without_a_token_of_the_service(
    start: Start, command: Command, service: SimulatorThread, tmp_path: Path
) -> None:
    ids = service.seed_jobs(2, age=600, fate="success")
    assert command("watch", "--journal", "run.db", *ids).returncode == 0
    before = (tmp_path / "run.db").read_bytes()
    process = start("dashboard", "run.db", settings={"USEAPI_TOKEN": ""})
    assert process.stdout is not None
    url, token = link_of(process.stdout.readline())
    found = told(url, token, "totals")
    assert (found["hello"]["title"], found["hello"]["has_files"]) == ("run.db", True)
    assert found["totals"]["states"] == {"succeeded": 2}
    number = found["cards"][0][0]
    status, kind, content = get(url, f"file/{found['hello']['key']}/{number}/0")
    assert (status, kind, len(content)) == (200, "video/mp4", service.media(ids[0])[0].size)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, b"")
    assert (tmp_path / "run.db").read_bytes() == before


def test_a_resumed_watch_shows_what_the_one_before_had(start: Start, service: SimulatorThread) -> None:
    ended, running = service.seed_jobs(1, age=600, fate="success") + service.seed_jobs(1, duration=1e6)
    first = start("watch", "--journal", "run.db", ended, running, "--timeout", "1s")
    assert first.wait(30) == 3
    process = start("resume", "run.db", "--web", "--timeout", "60s")
    assert process.stderr is not None
    url, token = link_of(process.stderr.readline())
    found = told(url, token, "totals")
    assert found["totals"]["states"] == {"succeeded": 1, "running": 1}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dashboard", "none.db"], "the journal none.db is missing"),
        (["dashboard", "odd.db"], "odd.db"),
        (["watch", JOB_ID, "--web=127.0.0.1:99999"], "is no HOST:PORT"),
        (["watch", JOB_ID, "--web=192.0.2.1:1"], "cannot listen at 192.0.2.1 port 1"),
        (["watch", JOB_ID, "--allow-actions"], "--allow-actions is about --web: give that too"),
        (["watch", JOB_ID, "--web-stay"], "--web-stay is about --web: give that too"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(
    here: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], said: str
) -> None:
    (tmp_path / "odd.db").write_bytes(b"x" * 5000)
    assert run(arguments) == 2
    [line] = here.readouterr().err.splitlines()
    assert said in line


def test_a_key_that_is_too_short_is_refused(here: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASYNCFLOW_WEB_TOKEN", "short")
    assert run(["watch", JOB_ID, "--web"]) == 2
    assert here.readouterr().err == (
        "asyncflow: ASYNCFLOW_WEB_TOKEN: a token is made of 16 letters, digits and -._~ or more: it becomes a part of a link\n"
    )


def test_a_page_that_others_can_reach_is_warned_of(
    here: pytest.CaptureFixture[str], service: SimulatorThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    [job_id] = service.seed_jobs(1, age=600, fate="success")
    for name, is_warned in (("127.0.0.1", False), ("localhost", False), ("0.0.0.0", True)):  # noqa: S104 - not listened on
        assert is_loopback(name) is not is_warned
    monkeypatch.setattr("asyncflow.cli.addons.dashboard.is_loopback", lambda _: False)
    assert run(["watch", job_id, "--web"]) == 0
    assert "is sent unencrypted" in here.readouterr().err


@pytest.mark.parametrize(
    ("value", "address"),
    [("127.0.0.1:8080", ("127.0.0.1", 8080)), ("[::1]:0", ("::1", 0)), ("jobs.example.com:80", ("jobs.example.com", 80))],
)
def test_an_address_is_a_host_and_a_port(value: str, address: tuple[str, int]) -> None:
    assert as_web_address(_CONTEXT, _PARAMETER, value) == address


def test_an_id_that_is_taken_for_an_address_is_not_repeated() -> None:
    job_id = "j1104093012448120573v-u40417-email:jo-ann@example.com-bot:google-flow"
    with pytest.raises(click.BadParameter, match="after the ids") as refusal:
        as_web_address(_CONTEXT, _PARAMETER, job_id)
    assert "jo-ann" not in refusal.value.message


def test_without_the_option_there_is_no_page() -> None:
    assert WEB.make({"web": None, "allow_actions": False, "web_stay": False}) is None


_CONTEXT = click.Context(click.Command("watch"))
_PARAMETER = click.Option(["--web"])

"""`asyncflow watch --listen`: a receiver beside the watch."""

from __future__ import annotations

import http.client
import json
import re
import signal
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import pytest

if TYPE_CHECKING:
    import subprocess

    from cli_processes import Command, Start

    from asyncflow.simulator import SimulatorThread

HERE = "127.0.0.1:0"
GREETING = re.compile(r"asyncflow: callbacks are received at (http://127\.0\.0\.1:\d+); the replyUrl is (\S+)\n")


def greeting(process: subprocess.Popen[bytes]) -> tuple[str, str]:
    assert process.stderr is not None
    found = GREETING.fullmatch(process.stderr.readline().decode())
    assert found is not None
    return found[1], found[2]


def post(url: str, job_id: str) -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    try:
        connection.request("POST", parts.path, json.dumps({"jobid": job_id}))
        return connection.getresponse().status
    finally:
        connection.close()


def cancel(service: SimulatorThread, job_id: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(service.url).netloc, timeout=10)
    try:
        headers = {"Authorization": f"Bearer {service.token}"}
        connection.request("DELETE", f"/v1/flowmusic/jobs/{quote(job_id, safe='')}", headers=headers)
        assert connection.getresponse().status == 204
    finally:
        connection.close()


def first_line(process: subprocess.Popen[bytes]) -> bytes:
    """Return the first line of output: from there on the watch runs."""
    assert process.stdout is not None
    return process.stdout.readline()


def test_a_callback_is_seen_although_polls_are_an_hour_apart(start: Start, service: SimulatorThread) -> None:
    [job_id] = service.seed_jobs(kind="music", duration=1e6)
    process = start("watch", job_id, "--listen", HERE, "--interval", "1h", "--timeout", "60s")
    url, reply_url = greeting(process)
    secret = reply_url.removeprefix(f"{url}/")
    assert re.fullmatch(r"[\w-]{32}", secret)
    assert b"pending" in first_line(process)
    assert [post(url, job_id), post(f"{url}/wrong", job_id), post(reply_url, "another")] == [403, 403, 404]
    cancel(service, job_id)
    assert post(reply_url, job_id) == 204
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert b"failed" in output
    assert b"\n1 callback taken, 3 refused\n" in output
    assert secret.encode() not in output + errors


def test_the_reply_url_is_below_the_public_url_and_has_the_secret_of_the_environment(
    start: Start, service: SimulatorThread
) -> None:
    [job_id] = service.seed_jobs(duration=3600)
    settings = {"ASYNCFLOW_SECRET": "of-my-own"}
    process = start("watch", job_id, "--listen", HERE, "--public-url", "https://hooks.example.com/a/", settings=settings)
    url, reply_url = greeting(process)
    assert reply_url == "https://hooks.example.com/a/of-my-own"
    first_line(process)
    assert post(f"{url}/of-my-own", job_id) == 204
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 143
    assert errors.startswith(b"asyncflow: terminated; 1 of 1 job still running")
    with pytest.raises(OSError, match=r"(?i)connect"):
        post(url, job_id)


def test_json_has_standard_output_for_itself(command: Command, service: SimulatorThread) -> None:
    [job_id] = service.seed_jobs(age=600, fate="success")
    done = command("watch", job_id, "--json", "--listen", HERE)
    assert [json.loads(line)["type"] for line in done.stdout.splitlines()] == ["ended"]
    assert GREETING.match(done.stderr)
    assert "0 callbacks taken\n" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--listen", "8080"], "HOST:PORT"),
        (["--listen", ":8080"], "HOST:PORT"),
        (["--listen", "127.0.0.1:x"], "HOST:PORT"),
        (["--listen", "127.0.0.1:65536"], "HOST:PORT"),
        (["--listen", "0.0.0.0:0"], "--public-url"),
        (["--listen", "[::]:0"], "--public-url"),
        (["--listen", "192.0.2.1:8080"], "cannot listen at 192.0.2.1 port 8080: "),
        (["--public-url", "https://hooks.example.com"], "--listen"),
        (["--listen", HERE, "--public-url", "hooks.example.com"], "give the address"),
        (["--listen", HERE, "--public-url", "https://hooks.example.com/?a=b"], "give the address"),
        (["--public-url", "https://[::1", "--listen", HERE], "give the address"),
    ],
)
def test_what_cannot_work_is_told_in_a_line(command: Command, arguments: list[str], words: str) -> None:
    done = command("watch", "j1-bot:google-flow", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_secret_that_does_not_fit_into_a_url_is_refused_and_not_shown(command: Command) -> None:
    done = command("watch", "j1-bot:google-flow", "--listen", HERE, settings={"ASYNCFLOW_SECRET": "not/fit"})
    assert done.returncode == 2
    assert done.stderr.startswith("asyncflow: ASYNCFLOW_SECRET: ")
    assert "not/fit" not in done.stderr

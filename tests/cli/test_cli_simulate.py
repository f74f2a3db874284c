from __future__ import annotations

import re
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from asyncflow.cli.commands.simulate import is_loopback

if TYPE_CHECKING:
    from pathlib import Path

    from cli_processes import Command, Start


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_stopped(start: Start, command: Command, tmp_path: Path, number: int) -> None:
    options = ["--port", "0", "--speed", "1000", "--faults", "failed=1"]
    process = start("simulate", *options, "--jobs", "12", "--write-ids", "ids.txt")
    assert process.stdout is not None
    lines = [process.stdout.readline().decode() for _ in range(10)]
    settings = dict(re.findall(r"export (\w+)=(\S+)", "".join(lines)))
    assert "with 12 jobs. Ctrl-C stops it." in lines[0]
    assert len((tmp_path / "ids.txt").read_text("utf-8").split()) == 12
    done = command("watch", "--file", "ids.txt", "--interval", "200ms", settings=settings)
    assert done.returncode == 1
    assert done.stdout.count("  failed: ") == 12
    process.send_signal(number)
    assert process.wait(5) == 0
    assert process.stderr is not None
    assert process.stderr.read() == b""


def test_a_port_in_use_is_one_line(command: Command) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = command("simulate", "--port", str(port))
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(rf"asyncflow: cannot listen at 127\.0\.0\.1 port {port}: .*in use.*\n", done.stderr)


def test_only_this_machine_is_served_unasked() -> None:
    assert all(map(is_loopback, ["127.0.0.1", "127.9.9.9", "::1", "localhost"]))
    assert not any(map(is_loopback, ["0.0.0.0", "::", "192.0.2.1", "example.com"]))  # noqa: S104 - nothing is bound


def test_another_address_must_be_meant(command: Command) -> None:
    done = command("simulate", "--host", "0.0.0.0")  # noqa: S104 - it is refused
    assert done.returncode == 2
    assert done.stderr == "asyncflow: 0.0.0.0 can be reached from other machines: add --allow-remote if you mean it\n"


def test_a_file_that_cannot_be_written_is_one_line(command: Command) -> None:
    done = command("simulate", "--port", "0", "--write-ids", "missing/ids.txt")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "asyncflow: missing/ids.txt: no such file or directory\n"

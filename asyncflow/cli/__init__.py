"""`asyncflow`, the command: one module a command, loaded when it is asked for.

The extra `cli` brings click and rich. Without it the command says so in one line; nothing here needs them at import.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with *arguments*, those of the process if None, and return its exit code."""
    missing = [name for name in ("click", "rich") if find_spec(name) is None]
    if missing:
        sys.stderr.write(f"asyncflow: {' and '.join(missing)} not installed: pip install 'asyncflow-useapi[cli]'\n")
        return 2
    try:
        code: int = import_module("asyncflow.cli.group").run(arguments)
    except KeyboardInterrupt:
        # To load all takes a moment, in which whoever mistyped a command may have noticed it.
        sys.stderr.write("asyncflow: interrupted\n")
        return 130
    return code

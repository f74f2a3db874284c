"""`asyncflow`, the command: one module a command, loaded when it is asked for.

The extra `cli` brings click and rich. Without it the command says so in one line; nothing here needs them at import.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: "Sequence[str] | None" = None) -> int:
    """Run the command with *arguments*, those of the process if None, and return its exit code."""
    # To load all takes a moment, in which whoever mistyped a command may have noticed it: nothing is loaded before this.
    try:
        from importlib.util import find_spec  # noqa: PLC0415 - see above

        missing = [name for name in ("click", "rich") if find_spec(name) is None]
        if missing:
            sys.stderr.write(f"asyncflow: {' and '.join(missing)} not installed: pip install 'asyncflow-useapi[cli]'\n")
            return 2
        from asyncflow.cli.app import run  # noqa: PLC0415 - see above

        return run(arguments)
    except KeyboardInterrupt:
        sys.stderr.write("asyncflow: interrupted\n")
        return 130

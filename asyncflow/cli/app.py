"""The command `asyncflow` itself: it loads a command when it is called for, and turns every ending into one line and a code."""

import logging
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module

import click
from click.shell_completion import CompletionItem

import asyncflow
from asyncflow.cli.exits import CommandExit, ExitCode
from asyncflow.cli.output.streams import complain

__all__ = ["COMMANDS", "group", "run"]

COMMANDS = {
    "cancel": "Cancel Flow Music jobs.",
    "cluster": "Look after the watch list that workers share.",
    "dashboard": "Show a journal on a page.",
    "demo": "Watch two hundred simulated jobs run to their ends.",
    "doctor": "Find out what is wrong, and say what to do.",
    "download": "Fetch the files of jobs into a folder.",
    "get": "Read one job.",
    "journal": "Look into the journal of a watch, export it, or prune it.",
    "report": "Say what jobs cost and what they were worth.",
    "resume": "Go on with the watch of a journal.",
    "simulate": "Serve a simulated useapi.net on this machine.",
    "stats": "Show the load of the accounts.",
    "submit": "Create the jobs of a manifest, each once.",
    "wait": "Wait until each job has ended, or has begun.",
    "watch": "Follow jobs until each has ended.",
    "worker": "Poll the jobs of a store, beside other workers.",
}
"""Each command is the function of its name in the module of its name; here it says of itself what `asyncflow --help` shows."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called, so that help and mistakes cost nothing."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"asyncflow.cli.commands.{cmd_name}"), cmd_name)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands, and the options of the group, that begin like *incomplete*, without importing a command."""
        found = [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 80,
        "auto_envvar_prefix": "ASYNCFLOW",
    },
    epilog="""\b
Examples:
  asyncflow demo
  asyncflow watch --file ids.txt

\b
Environment:
  USEAPI_TOKEN     the API token, user:<number>-...
  USEAPI_BASE_URL  another server than https://api.useapi.net
  NO_COLOR         no colours, like --no-color
  ASYNCFLOW_CONFIG a file of settings, like --config
  and every option of a command: ASYNCFLOW_WATCH_TIMEOUT=30m
  The command line goes before the environment, and that before the file.

\b
Exit codes:
  0    all succeeded
  1    a job failed, or came out partial or empty
  2    usage: wrong arguments, no ids, no token
  3    the time was up
  4    token or payment refused
  5    a job was abandoned or stayed unreachable, or a file could not be had
  130  interrupted, 143 terminated, 141 output closed
  Of several reasons for a watch, 3 goes before 5 before 1.
""",
)
@click.version_option(asyncflow.__version__, prog_name="asyncflow", message="%(prog)s %(version)s")
@click.option(
    "--config",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help='Defaults of options, in TOML: [watch] timeout = "30m".',
)
@click.option("--no-color", is_flag=True, help="No colours.")
@click.pass_context
def group(ctx: click.Context, *, config: str | None, no_color: bool) -> None:
    """Watch generation jobs on useapi.net until each has ended."""
    ctx.obj = no_color
    if config is not None:
        ctx.default_map = import_module("asyncflow.cli.input.config").read_config(config, ctx.command)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code. Whatever ends it is told in one line; nothing escapes."""
    is_debugging = bool(os.environ.get("ASYNCFLOW_DEBUG"))
    if not is_debugging:
        # Whoever runs a command did not ask for its log, and some of asyncio's records hold tracebacks.
        logging.getLogger().addHandler(logging.NullHandler())
    try:
        result = _call(arguments)
        if sys.stdout is not None:  # closed before we came; click writes nothing then
            sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return ExitCode.USAGE
    except BrokenPipeError:
        _forget_output()
        complain("standard output was closed before the end")
        return ExitCode.OUTPUT_CLOSED
    except CommandExit as ending:
        complain(ending.text)
        return ending.code
    except (click.Abort, KeyboardInterrupt):
        complain("interrupted")
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - a bug of ours must not put a record or a token on somebody's screen
        if is_debugging:
            traceback.print_exc()
        return _tell(error)
    else:
        return result or ExitCode.SUCCEEDED


def _tell(error: Exception) -> int:
    text, code = import_module("asyncflow.cli.errors").told(error)
    if code == ExitCode.OUTPUT_CLOSED:
        _forget_output()
    complain(text)
    return int(code)


def _call(arguments: Sequence[str] | None) -> int | None:
    output = sys.stdout
    try:
        result: int | None = group.main(arguments, prog_name="asyncflow", standalone_mode=False)
    except SystemExit as end:
        # When nobody reads its help click leaves like this, with an output of its own in the old one's place; after a
        # completion it does too.
        if sys.stdout is output:
            raise
        raise BrokenPipeError from end
    return result


def _forget_output() -> None:
    # What is left in the buffer would be tried again at exit, and would fail with a traceback.
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

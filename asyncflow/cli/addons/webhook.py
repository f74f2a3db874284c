"""`--listen`: callbacks, received beside a watch while it lasts."""

import ipaddress
import os
import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

import asyncflow
from asyncflow.cli.addon import Addon, AddonOptions
from asyncflow.cli.exits import CommandExit, ExitCode
from asyncflow.cli.formatting import count, one_line
from asyncflow.cli.output.streams import complain

if TYPE_CHECKING:
    from asyncflow.cli.output.live_view import Line
    from asyncflow.cli.watch_runner import WatchRunner

__all__ = ["LISTENING", "Address", "WebhookAddon", "as_address", "as_public_url"]

_SECRET = "ASYNCFLOW_SECRET"  # noqa: S105 - the name of a variable

Address = tuple[str, int]


def as_address(_: click.Context, __: click.Parameter, value: str | None) -> Address | None:
    """Return the host and the port that *value* names."""
    if value is None:
        return None
    host, _colon, port = value.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise click.BadParameter(f"{value!r}: give HOST:PORT, such as 127.0.0.1:8080")
    return host, int(port)


def as_public_url(ctx: click.Context, _: click.Parameter, value: str | None) -> str | None:
    """Return *value* without a slash at its end, if a callback can be sent below it."""
    if value is None:
        return None
    if ctx.params.get("listen") is None:
        raise click.BadParameter("it is where --listen can be reached: give that too")
    try:
        parts = urlsplit(value)
        is_good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or any(letter in value for letter in " ?#@") or not value.isprintable():
        raise click.BadParameter("give the address and perhaps a path, such as https://hooks.example.com/asyncflow")
    return value.rstrip("/")


class WebhookAddon(Addon):
    """Callbacks, received at *address* while the watch lasts.

    Standard error is told which `replyUrl` leads there, the secret included: nobody could use it otherwise.
    """

    def __init__(self, address: Address, public_url: str | None) -> None:
        self._address = address
        self._public_url = public_url
        self._runner: WatchRunner | None = None
        given = os.environ.get(_SECRET)
        self._secret = given if given is not None else secrets.token_urlsafe(24)
        try:
            self._receiver = asyncflow.WebhookReceiver(self._nudge, self._secret)
        except asyncflow.UsageError as error:
            raise CommandExit(f"{_SECRET}: {one_line(error.message)}", ExitCode.USAGE) from error
        if public_url is None and _is_everywhere(address[0]):
            raise CommandExit("say with --public-url where callbacks find this machine", ExitCode.USAGE)

    @asynccontextmanager
    async def run(self, runner: "WatchRunner") -> AsyncGenerator[None]:
        """Receive callbacks while the block lasts."""
        self._runner = runner
        host, port = self._address
        async with AsyncExitStack() as stack:
            try:
                url = await stack.enter_async_context(self._receiver.serve(host, port))
            except OSError as error:
                reason = (error.strerror or "cannot listen").rpartition("] ")[2].lower()
                raise CommandExit(f"cannot listen at {one_line(host)} port {port}: {reason}", ExitCode.USAGE) from error
            complain(f"callbacks are received at {url}; the replyUrl is {self._public_url or url}/{self._secret}")
            yield

    def summary_lines(self) -> "list[Line]":
        """Return what has come."""
        return [[(_tell(self._receiver.stats()), "dim")]]

    def _nudge(self, job_id: str) -> bool:
        return self._runner is not None and self._runner.nudge(job_id)


def _make(flags: Mapping[str, Any]) -> WebhookAddon | None:
    return None if flags["listen"] is None else WebhookAddon(flags["listen"], flags["public_url"])


LISTENING = AddonOptions(
    (
        click.option(
            "--listen", callback=as_address, is_eager=True, metavar="HOST:PORT", help="Receive callbacks there, and poll less."
        ),
        click.option("--public-url", callback=as_public_url, metavar="URL", help="Where callbacks reach --listen from outside."),
    ),
    _make,
)


def _tell(answers: dict[int, int]) -> str:
    taken = answers.get(204, 0)
    refused = sum(answers.values()) - taken
    return f"{count(taken, 'callback')} taken" + (f", {refused:,} refused" if refused else "")


def _is_everywhere(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False

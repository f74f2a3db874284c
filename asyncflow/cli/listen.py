"""`--listen`: callbacks, received beside a watch while it lasts."""

import ipaddress
import os
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

import asyncflow
from asyncflow.cli.endings import Ending
from asyncflow.cli.exit_codes import ExitCode
from asyncflow.cli.outlet import complain
from asyncflow.cli.words import count, one_line

if TYPE_CHECKING:
    from asyncflow.cli.frame import Line

__all__ = ["Address", "as_address", "as_public_url", "listening"]

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


@asynccontextmanager
async def listening(
    address: Address | None, public_url: str | None, nudge: Callable[[str], bool]
) -> AsyncGenerator["Callable[[], list[Line]]"]:
    """Receive callbacks at *address* while the block lasts, and say which `replyUrl` leads there; nothing without an address.

    It gives a function that returns what has come, in a line for the summary. Standard error gets the secret, as a part of the
    URL: nobody could use it otherwise.
    """
    if address is None:
        yield list
        return
    given = os.environ.get(_SECRET)
    try:
        receiver = asyncflow.WebhookReceiver(nudge, secret := given if given is not None else secrets.token_urlsafe(24))
    except asyncflow.UsageError as error:
        raise Ending(f"{_SECRET}: {one_line(error.message)}", ExitCode.USAGE) from error
    host, port = address
    if public_url is None and _is_everywhere(host):
        raise Ending("say with --public-url where callbacks find this machine", ExitCode.USAGE)
    async with AsyncExitStack() as stack:
        try:
            url = await stack.enter_async_context(receiver.serve(host, port))
        except OSError as error:
            reason = (error.strerror or "cannot listen").rpartition("] ")[2].lower()
            raise Ending(f"cannot listen at {one_line(host)} port {port}: {reason}", ExitCode.USAGE) from error
        complain(f"callbacks are received at {url}; the replyUrl is {public_url or url}/{secret}")
        yield lambda: [[(_tell(receiver.stats()), "dim")]]


def _tell(answers: dict[int, int]) -> str:
    taken = answers.get(204, 0)
    refused = sum(answers.values()) - taken
    return f"{count(taken, 'callback')} taken" + (f", {refused:,} refused" if refused else "")


def _is_everywhere(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False

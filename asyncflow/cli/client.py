"""The service that a command talks to: its address as it may be shown, and a client for it.

The client, and aiohttp with it, is loaded when one is made.
"""

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncflow
from asyncflow.cli.exits import CommandExit, ExitCode
from asyncflow.cli.formatting import one_line

if TYPE_CHECKING:
    from asyncflow import AsyncClient

__all__ = ["host", "open_client"]


def host() -> str:
    """Return where requests go, as it may be shown."""
    address = os.environ.get("USEAPI_BASE_URL") or "https://api.useapi.net"
    try:
        place = urlsplit(address).netloc.rpartition("@")[2]
    except ValueError:
        place = ""
    return one_line(place or address, 60)


def open_client(**options: Any) -> "AsyncClient":  # noqa: ANN401 - those of AsyncClient
    """Return a client with the token and the address of the environment."""
    if not os.environ.get("USEAPI_TOKEN", "").strip():
        raise CommandExit("no token: set USEAPI_TOKEN to your API token (user:<number>-...)", ExitCode.USAGE)
    try:
        return asyncflow.AsyncClient(**options)
    except asyncflow.UsageError as error:
        name = {"token": "USEAPI_TOKEN: ", "base_url": "USEAPI_BASE_URL: "}.get(error.reason or "", "")
        raise CommandExit(f"{name}{one_line(str(error))}", ExitCode.USAGE) from error

"""`--store`: the shared watch list that a command works on."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from asyncflow import UsageError
from asyncflow.cli.addon import Addon, AddonOptions, refuse_without
from asyncflow.cli.exits import CommandExit, ExitCode
from asyncflow.cli.formatting import one_line

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from asyncflow.cli.output.live_view import Line
    from asyncflow.cli.watch_runner import WatchRunner
    from asyncflow.cluster import RedisStore

__all__ = ["STORING", "StoreAddon", "open_store", "queue_option", "store_option"]

F = TypeVar("F", bound="Callable[..., Any]")


def store_option(command: F) -> F:
    """Add --store, which a command needs; a URL with a password is better given by the environment."""
    return click.option(
        "--store", "url", envvar="ASYNCFLOW_STORE", required=True, metavar="URL", help="Redis or Valkey: redis://HOST:PORT/0."
    )(command)


def queue_option(command: F) -> F:
    """Add --queue."""
    return click.option(
        "--queue", envvar="ASYNCFLOW_QUEUE", default="default", show_default=True, metavar="NAME", help="One API token's list."
    )(command)


def open_store(url: str, queue: str, **options: Any) -> RedisStore:  # noqa: ANN401 - those of RedisStore
    """Return the store at *url*; nothing is opened yet."""
    try:
        from asyncflow.cluster import RedisStore  # noqa: PLC0415 - help and mistakes should cost nothing

        return RedisStore(url, queue, **options)
    except UsageError as error:
        raise CommandExit(f"--store: {one_line(str(error))}", ExitCode.USAGE) from None


class StoreAddon(Addon):
    """Has the jobs of a watch polled by the workers of a store, instead of by this process."""

    def __init__(self, url: str, queue: str) -> None:
        self._url = url
        self._queue = queue
        self._place = ""

    @asynccontextmanager
    async def run(self, runner: WatchRunner) -> AsyncGenerator[None]:
        """Open the store for the time of the watch."""
        if runner.journal is not None:
            raise CommandExit("--store and --journal do the same: give one of them", ExitCode.USAGE)
        async with open_store(self._url, self._queue) as store:
            self._place = f"queue {one_line(self._queue)} at {one_line(store.place)}"
            runner.others_poll = True
            runner.source = lambda job_ids, times, _: store.watch(job_ids, timeout=times.watch)
            yield

    def live_lines(self) -> list[Line]:
        """Say who polls: the requests of this process do not tell."""
        return [[(f"  polled by the workers of {self._place}", "dim")]]

    def summary_lines(self) -> list[Line]:
        """Say who polled."""
        return [[(f"polled by the workers of {self._place}", "dim")]]


def _make(values: Mapping[str, Any]) -> StoreAddon | None:
    if values.get("store") is None:
        refuse_without("--store", ("queue",))
        return None
    return StoreAddon(values["store"], values["queue"])


STORING = AddonOptions(
    (
        click.option("--store", metavar="URL", help="Have the workers of this store poll: redis://HOST:PORT/0."),
        queue_option,
    ),
    _make,
)

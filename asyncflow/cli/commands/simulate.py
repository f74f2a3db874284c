"""`asyncflow simulate`: the service on this machine, until it is interrupted."""

from __future__ import annotations

import asyncio
import ipaddress
import sys
from pathlib import Path

import click

from asyncflow import simulator
from asyncflow.cli.exits import CommandExit, ExitCode, Interrupted
from asyncflow.cli.formatting import count, one_line
from asyncflow.cli.input.options import POSITIVE, as_faults
from asyncflow.cli.output.streams import OutputStream
from asyncflow.cli.watch_runner import run

__all__ = ["simulate"]


@click.command(
    epilog="""\b
Examples:
  asyncflow simulate --speed 60 --jobs 20 --write-ids ids.txt
  asyncflow simulate --port 0 --faults some
  asyncflow simulate --faults none,reset=0.1,latency=0.1..0.5

\b
It stops at Ctrl-C, with exit code 0. The members of --faults are those of
asyncflow.simulator.Faults: server_error, reset, garble, truncate, throttle,
hang, rate_limit, latency; failed, partial, no_media, refused, endless.
""",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), default=8787, show_default=True, help="Port, 0 for a free one.")
@click.option("--speed", type=POSITIVE, default=1.0, show_default=True, help="Let jobs live this many times faster.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed makes the same jobs.")
@click.option("--faults", callback=as_faults, default="none", show_default=True, help="none, some, heavy, or members.")
@click.option("--jobs", type=click.IntRange(0, 1_000_000), default=0, show_default=True, help="Jobs to begin with.")
@click.option("--write-ids", type=click.Path(dir_okay=False, writable=True), metavar="FILE", help="Write their ids to FILE.")
@click.option("--allow-remote", is_flag=True, help="Listen at addresses that other machines reach.")
def simulate(
    *,
    host: str,
    port: int,
    speed: float,
    seed: int,
    faults: simulator.Faults,
    jobs: int,
    write_ids: str | None,
    allow_remote: bool,
) -> int:
    """Serve a simulated useapi.net on this machine.

    It is a toy for tests: its token is no secret, and whoever reaches it may command it.
    """
    if not allow_remote and not is_loopback(host):
        raise CommandExit(
            f"{one_line(host)} can be reached from other machines: add --allow-remote if you mean it", ExitCode.USAGE
        )

    async def main() -> None:
        server = simulator.Simulator(host=host, port=port, speed=speed, seed=seed, faults=faults)
        try:
            await server.start()
        except OSError as error:
            reason = (error.strerror or "cannot listen").rpartition("] ")[2].lower()
            raise CommandExit(f"cannot listen at {one_line(host)} port {port}: {reason}", ExitCode.USAGE) from error
        try:
            ids = server.seed_jobs(jobs, kind="mix") if jobs else []
            if write_ids is not None:
                _write(Path(write_ids), ids)
            await OutputStream(sys.stdout).write(greeting(server.url, server.token, len(ids)))
            await asyncio.Event().wait()
        finally:
            await server.aclose()

    try:
        run(main)
    except Interrupted:
        return ExitCode.SUCCEEDED  # to be stopped is how it ends
    return ExitCode.SUCCEEDED


def greeting(url: str, token: str, jobs: int) -> str:
    """Return what is printed once the simulator listens."""
    return f"""\
The simulator listens at {url} with {count(jobs, "job")}. Ctrl-C stops it.
Its token is {token}

In another shell:

  export USEAPI_BASE_URL={url}
  export USEAPI_TOKEN={token}

  curl -s -X POST {url}/_simulator/jobs -d '{{"count": 3, "kind": "mix"}}'
  curl -s -H "Authorization: Bearer $USEAPI_TOKEN" {url}/v1/google-flow/jobs/
  curl -s {url}/_simulator/stats

"""


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches *host*."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _write(path: Path, ids: list[str]) -> None:
    try:
        path.write_text("".join(f"{job_id}\n" for job_id in ids), "utf-8")
    except OSError as error:
        raise CommandExit(f"{one_line(str(path))}: {(error.strerror or 'cannot be written').lower()}", ExitCode.USAGE) from error

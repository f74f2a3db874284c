"""`asyncflow demo`: a simulated service and a watch of it, in one process."""

from __future__ import annotations

import asyncio
import sys
from math import exp, log
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import click
import msgspec

import asyncflow
from asyncflow import Abandoned, Ended, Event, PollPolicy, simulator
from asyncflow.cli.addon import Addon
from asyncflow.cli.addons.dashboard import WEB, with_web_options
from asyncflow.cli.exits import ExitCode, Interrupted
from asyncflow.cli.formatting import count
from asyncflow.cli.input.options import POSITIVE, as_faults, color_option, json_option
from asyncflow.cli.output.progress import WatchProgress
from asyncflow.cli.output.renderers import JsonRenderer, ProgressRenderer, Renderer, SummaryRenderer
from asyncflow.cli.output.streams import OutputStream
from asyncflow.cli.terminal import is_live, live_feed
from asyncflow.cli.watch_runner import Times, WatchRunner, run, what_runs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from asyncflow.cli.output.live_view import Line

__all__ = ["DemoAudit", "demo"]

_ARRIVAL = 54.0
"""Seconds within which all jobs are created, at speed 1."""

_GROUP = 10
"""Jobs created at once: one round of the simulator's mix."""

_SAMPLES = 40
_USUAL = (
    (("google-flow", "video", "veo-3.1-fast"), 100.0, 0.28),
    (("google-flow", "image", "nano-banana-2"), 30.0, 0.35),
    (("flowmusic", "music", ""), 140.0, 0.07),
)
"""How long jobs usually take: service, kind and model, the median in seconds, the standard deviation of its logarithm."""


@click.command(
    epilog="""\b
Examples:
  asyncflow demo
  asyncflow demo --jobs 1000 --faults heavy
  asyncflow demo --jobs 50 --faults none --json
  asyncflow demo --web --web-stay

\b
No token, no network: the service is simulated on a free port of this
machine, and its jobs live faster than real ones. The exit code is 0 when
every outcome is what the simulator has on its books.
""",
)
@click.option("--jobs", type=click.IntRange(1, 100_000), default=200, show_default=True, help="How many.")
@click.option("--speed", type=POSITIVE, default=18.0, show_default=True, help="Let jobs live this many times faster.")
@click.option("--faults", callback=as_faults, default="some", show_default=True, help="none, some, heavy, or members.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed makes the same jobs.")
@json_option("Print each event as a line of JSON; words go to stderr.")
@with_web_options
@color_option
def demo(
    *,
    jobs: int,
    speed: float,
    faults: simulator.Faults,
    seed: int,
    as_json: bool,
    no_color: bool,
    **flags: Any,  # noqa: ANN401 - those of the page
) -> int:
    """Watch simulated video, image and song jobs run to their ends.

    Some fail, some lack files, and the service has a bad day: connections break, answers are garbled, requests are refused.
    """
    tally = WatchProgress(expected=jobs)

    async def main() -> ExitCode:
        async with simulator.Simulator(speed=speed, seed=seed, faults=demo_faults(faults, speed)) as service:
            policy = demo_policy(speed)
            async with asyncflow.AsyncClient(service.token, base_url=service.url, policy=policy) as client:
                runner = WatchRunner(client, tally, policy, ("asyncflow demo", count(jobs, "simulated job")))
                verdicts = DemoAudit(service, created(service, jobs, tally, _ARRIVAL / speed))
                runner.feeds = feeds(runner, as_json=as_json, no_color=no_color)
                runner.addons = [verdicts, *filter(None, [WEB.make(flags)])]
                await runner.follow([], Times(), concurrency=100)
            return verdicts.exit_code

    try:
        return run(main)
    except Interrupted as interrupted:
        raise Interrupted(interrupted.code, f"{interrupted.text}; {what_runs(tally)}") from None


def demo_faults(faults: simulator.Faults, speed: float) -> simulator.Faults:
    """Return the faults of a preset as they are at *speed*; others as they are."""
    if faults not in (simulator.Faults.preset("some"), simulator.Faults.preset("heavy")):
        return faults
    # A budget recovers in seconds of its own, and jobs live faster here: a 429 in a hundred weighs as much as many there.
    return msgspec.structs.replace(faults, throttle=faults.throttle / max(speed, 1.0) ** 0.5)


def demo_policy(speed: float) -> PollPolicy:
    """Return a policy that has seen such jobs before, *speed* times faster than real ones."""
    policy = PollPolicy(delay=max(5.0 / speed, 0.3), min_interval=max(2.0 / speed, 0.25), max_interval=max(30.0 / speed, 1.0))
    for key, median, spread in _USUAL:
        for step in range(1, _SAMPLES):
            policy.learn(key, exp(NormalDist(log(median), spread).inv_cdf(step / _SAMPLES)) / speed)
    return policy


async def created(service: simulator.Simulator, jobs: int, tally: WatchProgress, seconds: float) -> AsyncIterator[str]:
    """Yield the ids of *jobs* jobs as they are created, over *seconds*."""
    start = asyncio.get_running_loop().time()
    for first in range(0, jobs, _GROUP):
        for job_id in service.seed_jobs(min(_GROUP, jobs - first), kind="mix"):
            tally.added(job_id)
            yield job_id
        await asyncio.sleep(max(start + seconds * (first + _GROUP) / jobs - asyncio.get_running_loop().time(), 0))


def feeds(runner: WatchRunner, *, as_json: bool, no_color: bool) -> list[Renderer]:
    """Return where the events of *runner* go."""
    if not as_json:
        if is_live(sys.stdout):
            return [live_feed(sys.stdout, runner.picture, no_color=no_color)]
        return [ProgressRenderer(OutputStream(sys.stdout), runner.progress)]
    json = JsonRenderer(OutputStream(sys.stdout))
    if is_live(sys.stderr) and not sys.stdout.isatty():
        return [json, live_feed(sys.stderr, runner.picture, no_color=no_color)]
    return [json, SummaryRenderer(OutputStream(sys.stderr))]


class DemoAudit(Addon):
    """Compares what the watch said of each of *job_ids* with what *service* has on its books."""

    def __init__(self, service: simulator.Simulator, job_ids: AsyncIterator[str]) -> None:
        self._service = service
        self._job_ids = job_ids
        self._said: dict[str, list[str]] = {}

    @property
    def job_ids(self) -> AsyncIterator[str]:
        """The jobs, as they are created."""
        return self._job_ids

    async def on_events(self, events: Sequence[Event]) -> None:
        """Note what the watch says."""
        for event in events:
            match event:
                case Ended(job):
                    self._said.setdefault(job.job_id, []).append(job.outcome.value)
                case Abandoned(job_id):
                    self._said.setdefault(job_id, []).append("abandoned")
                case _:
                    pass

    @property
    def differences(self) -> int:
        """For how many jobs the two disagree."""
        books: Mapping[str, list[str]] = {truth.job_id: [truth.expected] for truth in self._service.truth()}
        return sum(self._said.get(job_id) != outcome for job_id, outcome in books.items())

    @property
    def exit_code(self) -> ExitCode:
        """Success if every job got exactly one ending, and the right one."""
        return ExitCode.BAD_OUTCOME if self.differences else ExitCode.SUCCEEDED

    def summary_lines(self) -> list[Line]:
        """Return the comparison in words."""
        jobs = len(self._service.truth())
        if not self.differences:
            return [[("the simulator agrees: ", ""), (f"{jobs:,} of {jobs:,} outcomes, each told once", "green")]]
        return [[(f"the simulator disagrees about {count(self.differences, 'job')}", "red")]]

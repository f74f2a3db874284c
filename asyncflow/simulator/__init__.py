"""An independent witness of the service: both useapi.net services over HTTP, with timelines, faults, and a count of what it saw.

It shares no code with the client, so that a bug in common cannot cancel out. Names are loaded when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncflow.simulator.clock import ManualClock
    from asyncflow.simulator.faults import Faults, Outage
    from asyncflow.simulator.identity import Fate
    from asyncflow.simulator.jobs import JobTruth
    from asyncflow.simulator.media import MediaTruth
    from asyncflow.simulator.metrics import SimulatorStats
    from asyncflow.simulator.replay import Answer
    from asyncflow.simulator.request import SubmitTruth
    from asyncflow.simulator.scenario import Scenario
    from asyncflow.simulator.server import Simulator
    from asyncflow.simulator.thread import SimulatorThread

__all__ = [
    "Answer",
    "Fate",
    "Faults",
    "JobTruth",
    "ManualClock",
    "MediaTruth",
    "Outage",
    "Scenario",
    "Simulator",
    "SimulatorStats",
    "SimulatorThread",
    "SubmitTruth",
]

_ROOMS = {
    "Answer": "replay",
    "Fate": "identity",
    "Faults": "faults",
    "JobTruth": "jobs",
    "ManualClock": "clock",
    "MediaTruth": "media",
    "Outage": "faults",
    "Scenario": "scenario",
    "Simulator": "server",
    "SimulatorStats": "metrics",
    "SimulatorThread": "thread",
    "SubmitTruth": "request",
}


def __getattr__(name: str) -> object:
    room = _ROOMS.get(name)
    if room is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{room}"), name)
    globals()[name] = value
    return value

"""When to ask about each job again: the schedule of a watch, and the policies that fill it.

Pure: no clock, no I/O, no asyncio, no randomness of its own. Every time is a float on one clock of the caller's.
"""

from asyncflow.polling.adaptive_policy import PollPolicy
from asyncflow.polling.policy import Key, Policy, Ranking, backoff, every, failure_delay
from asyncflow.polling.schedule import EXPECTED, INTERACTIVE, NUDGED, REST, Schedule, Watched
from asyncflow.polling.webhook_fallback import safety_net

__all__ = [
    "EXPECTED",
    "INTERACTIVE",
    "NUDGED",
    "REST",
    "Key",
    "Policy",
    "PollPolicy",
    "Ranking",
    "Schedule",
    "Watched",
    "backoff",
    "every",
    "failure_delay",
    "safety_net",
]

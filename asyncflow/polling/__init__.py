"""When to ask about each job again: the schedule of a watch, and the policies that fill it.

Pure: no clock, no I/O, no asyncio, no randomness of its own. Every time is a float on one clock of the caller's.
"""

from asyncflow.polling.adaptive_policy import PollPolicy
from asyncflow.polling.policy import Key, Policy, PrioritizingPolicy, backoff, failure_delay, fixed_interval
from asyncflow.polling.schedule import EXPECTED, INTERACTIVE, NUDGED, REST, Schedulable, Schedule
from asyncflow.polling.webhook_fallback import webhook_fallback

__all__ = [
    "EXPECTED",
    "INTERACTIVE",
    "NUDGED",
    "REST",
    "Key",
    "Policy",
    "PollPolicy",
    "PrioritizingPolicy",
    "Schedulable",
    "Schedule",
    "backoff",
    "failure_delay",
    "fixed_interval",
    "webhook_fallback",
]

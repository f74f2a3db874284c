"""How fast to ask at all: one budget for every request of a client, learned from what the service answers.

Pure: no clock, no I/O, no asyncio. *now* is any float that does not run backwards; whoever asks does the waiting.

Every request is paid for by `take` and ended by exactly one of `answered`, `throttled`, `failed`, `released`. Five rules decide
when the next one may go, and all of them must agree:

- *Spacing*: starts are a learned gap apart, forty a second to begin with. The rate doubles each second, gently at first, once it
  has been the bottleneck for a second and answers are good; a 429 halves it, and from then on it creeps up, the more slowly the
  longer the pause was that the service asked for. 429s that come at any rate, as a few in a hundred do with some services,
  halve nothing as long as their pauses leave more time than they take.
- *Pauses*: after a 429 nobody starts anything until the service's time has come.
- *Room*: only so many are in flight, eight until there is need for more, fewer while latency climbs, and two places more for the
  interactive.
- *Circuit*: after eight failures in a row single probes go out, at pauses of a third of the outage so far, until one is answered.
- *Turns*: the higher priority goes first, but every class that waits gets at least one start in nine; within a class the watches
  and clients that wait go in turn.
"""

from asyncflow.pacing.fair_queue import Priority
from asyncflow.pacing.pacer import Pacer, PacerStats
from asyncflow.pacing.permit import Permit, prepaid

__all__ = ["Pacer", "PacerStats", "Permit", "Priority", "prepaid"]

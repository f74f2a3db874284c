"""The rate limiter: one request budget for a client, learned from how the service answers.

Pure: no clock, no I/O, no asyncio. *now* is any float that does not run backwards; the caller does the waiting.

`Pacer.try_acquire` grants a request, and exactly one of `succeeded`, `throttled`, `failed` and `cancelled` ends it. Five rules
decide when the next request may start, and all of them must agree:

- *Adaptive rate*: requests start a learned gap apart, at forty a second to begin with. The rate doubles each second, gently at
  first, once it has been the bottleneck for a second and answers are good. A 429 halves it; from then on it grows slowly, the
  more slowly the longer the pause was that the service asked for. Some services answer a few requests in a hundred with 429 at
  any rate: those halve nothing as long as their pauses leave more time than they take.
- *Pauses*: after a 429 no request starts before the time that the service asked for.
- *Adaptive concurrency*: at most eight requests are in flight until more are needed, fewer while latency climbs. Interactive
  requests have two places more.
- *Circuit breaker*: after eight failures in a row only single probes are sent, with pauses of a third of the outage so far, until
  one is answered.
- *Fair queue*: the higher priority goes first, but every waiting priority gets at least one start in nine. Within a priority, the
  waiting watches and clients take turns.
"""

from asyncflow.pacing.fair_queue import Priority
from asyncflow.pacing.pacer import Pacer, PacerStats
from asyncflow.pacing.permit import Permit, prepaid

__all__ = ["Pacer", "PacerStats", "Permit", "Priority", "prepaid"]

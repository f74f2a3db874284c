"""Rate signals: what the end of a request tells the rate limiter that paid for it.

Pure: no clock, no I/O, no asyncio. The client and the worker pool use this one table, so that an answer has the same effect
on a pacer whoever made the request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from asyncflow.errors import AsyncflowError, RateLimitedError, ServiceError, UsageError

if TYPE_CHECKING:
    from asyncflow.protocol.requests import Request

__all__ = ["RateLimiter", "RateSignal", "rate_signal", "record_outcome"]

RateSignal = Literal["succeeded", "throttled", "failed", "cancelled"]


class RateLimiter(Protocol):
    """What a signal is reported to: `asyncflow.Pacer` is one. Times are seconds on the caller's clock."""

    def succeeded(self, now: float, latency: float, /) -> None:
        """Record that the service answered after *latency* seconds."""
        ...

    def throttled(self, now: float, retry_after: float | None, /) -> None:
        """Record that the service asked for fewer requests, and for a pause of *retry_after* seconds if that is known."""
        ...

    def failed(self, now: float, /) -> None:
        """Record that the service did not answer."""
        ...

    def cancelled(self) -> None:
        """Record that the request ended without telling anything about the service."""
        ...


def rate_signal(outcome: object, request: Request | None = None) -> RateSignal:
    """Return what *outcome* means for the rate of further requests.

    Args:
        outcome: the answer, an `AsyncflowError`, or None for a request that was cancelled.
        request: the request itself; None for a caller's own fetch, which is taken for the read of a job.
    """
    if outcome is None or (request is not None and request.method == "POST"):
        # A submit waits for the work itself and is refused for quotas of its own: neither tells how fast we may read.
        return "cancelled"
    if not isinstance(outcome, AsyncflowError):
        return "succeeded"
    if isinstance(outcome, UsageError):
        return "cancelled"  # refused before it was sent
    if isinstance(outcome, RateLimitedError):
        return "throttled"
    if isinstance(outcome, ServiceError) and outcome.retry_after is not None:
        # An asset that is still being prepared is refused in the same words as every request in an overload.
        return "succeeded" if request is not None and request.expects == "asset" else "throttled"
    return "failed" if outcome.transient else "succeeded"


def record_outcome(limiter: RateLimiter, outcome: object, start: float, now: float, request: Request | None = None) -> None:
    """End a request on *limiter* that was sent at *start* and ended *now*; see `rate_signal` for *outcome* and *request*."""
    match rate_signal(outcome, request):
        case "succeeded":
            limiter.succeeded(now, now - start)
        case "throttled":
            limiter.throttled(now, outcome.retry_after if isinstance(outcome, AsyncflowError) else None)
        case "failed":
            limiter.failed(now)
        case _:
            limiter.cancelled()

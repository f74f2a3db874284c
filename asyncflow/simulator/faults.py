"""What goes wrong, how often, and when.

Pure: no clock, no I/O, no asyncio. A `Faults` may be changed at any time, its members one by one; probabilities are per request,
times are seconds since the simulator's start. Only requests of the named *kinds* suffer; a creation is spared unless named.
"""

from random import Random
from typing import Literal

import msgspec
from msgspec import Struct, field

from asyncflow.simulator.identity import Fate

__all__ = ["REQUEST_KINDS", "FaultDecision", "FaultInjector", "Faults", "Outage", "TokenBucket"]

_PRESETS: dict[str, dict[str, object]] = {
    "none": {},
    "some": {
        "latency": (0.005, 0.05),
        "server_error": 0.02,
        "reset": 0.02,
        "garble": 0.01,
        "throttle": 0.005,
        "retry_after": 1.0,
        "failed": 0.06,
        "partial": 0.05,
        "refused": 0.03,
        "no_media": 0.02,
    },
    "heavy": {
        "latency": (0.01, 0.3),
        "server_error": 0.08,
        "reset": 0.05,
        "reset_midway": 0.02,
        "truncate": 0.03,
        "garble": 0.03,
        "throttle": 0.02,
        "retry_after": 1.0,
        "failed": 0.15,
        "partial": 0.1,
        "refused": 0.05,
        "no_media": 0.05,
    },
}
REQUEST_KINDS = ("read", "submit", "stats", "cancel", "asset", "media")


class Outage(Struct, frozen=True, forbid_unknown_fields=True):
    """From *start* to *end* (None: for ever) every request of the kinds is answered with 503, reset, or never answered."""

    start: float
    end: float | None = None
    mode: Literal["503", "reset", "hang"] = "503"


class Faults(Struct, kw_only=True, forbid_unknown_fields=True):
    """The weather. With its defaults nothing ever goes wrong.

    *latency*: seconds before every answer, or a range. *rate_limit*: requests a second that a token bucket of *burst* (as
    many as the rate, if None) lets pass; the others get 429. *retry_after* goes with every 429, in *retry_after_form*: whole
    seconds, HTTP date, the body's `retryAfter`, or not at all.

    Probabilities: *throttle* (429), *server_error* (one of *server_errors*), *reset* (nothing was done), *lost_answer* (all
    was done, then RST), *lost_to_gateway* (all was done, then the page of a gateway that gave up), *reset_midway* (RST inside
    the body), *truncate* (the body ends early), *garble* (200 and no JSON), *hang* (no answer), *slow* (the body dribbles for
    *slow_seconds*), *callback_lost*, *callback_twice*. *callback_delay*: seconds, or a range.

    *refuse_with*: every request is refused with this status. *broken_accounts*: addresses whose session is dead (596).
    *failed*, *partial*, *no_media*, *refused*, *unlinked*, *endless*: probabilities of the fates of new jobs.
    """

    kinds: tuple[str, ...] = ("read", "stats", "asset")
    latency: float | tuple[float, float] = 0.0
    rate_limit: float | None = None
    burst: float | None = None
    retry_after: float = 5.0
    retry_after_form: Literal["seconds", "date", "body", "none"] = "seconds"
    throttle: float = 0.0
    server_error: float = 0.0
    server_errors: tuple[int, ...] = (500, 502, 503, 524)
    reset: float = 0.0
    lost_answer: float = 0.0
    lost_to_gateway: float = 0.0
    reset_midway: float = 0.0
    truncate: float = 0.0
    garble: float = 0.0
    hang: float = 0.0
    slow: float = 0.0
    slow_seconds: float = 1.0
    outages: list[Outage] = field(default_factory=list[Outage])
    refuse_with: int | None = None
    broken_accounts: list[str] = field(default_factory=list[str])
    failed: float = 0.0
    partial: float = 0.0
    no_media: float = 0.0
    refused: float = 0.0
    unlinked: float = 0.0
    endless: float = 0.0
    callback_lost: float = 0.0
    callback_twice: float = 0.0
    callback_delay: float | tuple[float, float] = 0.0

    @classmethod
    def preset(cls, name: str) -> "Faults":
        """Return the faults that go by *name*: none, some (a bad day) or heavy (a very bad one)."""
        if name not in _PRESETS:
            raise ValueError(f"unknown faults: {name!r} (one of {', '.join(_PRESETS)})")
        return msgspec.convert(_PRESETS[name], cls)

    def fates(self) -> dict[Fate, float]:
        """Return how likely each fate but success is for a new job."""
        return {
            Fate.FAILED: self.failed,
            Fate.PARTIAL: self.partial,
            Fate.NO_MEDIA: self.no_media,
            Fate.REFUSED: self.refused,
            Fate.UNLINKED: self.unlinked,
            Fate.ENDLESS: self.endless,
        }


class TokenBucket:
    """Lets *rate* requests a second pass and, after a rest, *burst* at once."""

    __slots__ = ("_at", "_tokens", "burst", "rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate: float = rate
        self.burst: float = burst
        self._tokens = burst
        self._at = now

    def take(self, now: float) -> bool:
        """Return whether a request may pass at *now*, and count it if so."""
        self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class FaultDecision(Struct, frozen=True):
    """What befalls one request: *fault* is None or its name, *status* the one of an error answer, *delay* comes before all."""

    fault: str | None = None
    status: int = 0
    delay: float = 0.0


_CALM = FaultDecision()
_AFTER_WORK = ("lost_answer", "lost_to_gateway", "reset_midway", "truncate", "garble", "hang", "slow")


class FaultInjector:
    """Throws the dice for each request; *faults* may be replaced or changed at any time."""

    def __init__(self, faults: Faults, seed: int) -> None:
        self.faults = faults
        self.random: Random = Random(seed)
        self._bucket: TokenBucket | None = None

    def judge(self, kind: str, now: float) -> FaultDecision:
        """Return what befalls a request of *kind* that arrives *now* (seconds since the start)."""
        faults = self.faults
        if kind not in faults.kinds:
            return _CALM
        name, status = self._fault(faults, now)
        delay = self.draw(faults.latency)
        return FaultDecision(name, status, delay) if name or delay else _CALM

    def draw(self, span: float | tuple[float, float]) -> float:
        """Return *span*, or a number out of it if it is a range."""
        return self.random.uniform(*span) if isinstance(span, tuple) else span

    def hits(self, chance: float) -> bool:
        """Return True with the probability *chance*."""
        return chance > 0 and self.random.random() < chance

    def _fault(self, faults: Faults, now: float) -> tuple[str | None, int]:
        for outage in faults.outages:
            if outage.start <= now and (outage.end is None or now < outage.end):
                return ("outage", 503) if outage.mode == "503" else (outage.mode, 0)
        if faults.refuse_with is not None:
            return "refusal", faults.refuse_with
        name = self._throw(faults) if self._passes(now) else "throttle"
        if name == "server_error":
            return name, self.random.choice(faults.server_errors)
        return name, 429 if name == "throttle" else 0

    def _passes(self, now: float) -> bool:
        rate = self.faults.rate_limit
        if rate is None:
            self._bucket = None
            return True
        burst = rate if self.faults.burst is None else self.faults.burst
        if self._bucket is None or (self._bucket.rate, self._bucket.burst) != (rate, burst):
            self._bucket = TokenBucket(rate, burst, now)
        return self._bucket.take(now)

    def _throw(self, faults: Faults) -> str | None:
        dice = self.random.random()
        for name in ("throttle", "server_error", "reset", *_AFTER_WORK):
            dice -= getattr(faults, name)
            if dice < 0:
                return name
        return None

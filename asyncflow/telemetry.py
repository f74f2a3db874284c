"""Facts about our own work, and the hooks that hear of them.

Pure: no clock, no I/O, no asyncio. A hook is any callable that takes one `TelemetryEvent`, given to `AsyncClient` or
`JobWatcher`. It is called at once, on the event loop, between two steps of the work, so it must not block. A
hook that raises is logged and not called again. Events hold no ids, addresses, links or prompts: a job is named by its
`digest`, as in errors and logs. Times are in seconds.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import ClassVar, Protocol, TypeAlias
from weakref import WeakKeyDictionary

from msgspec import Struct

from asyncflow.errors import AsyncflowError
from asyncflow.redaction import digest, one_line

__all__ = [
    "BudgetChanged",
    "EventEmitted",
    "Hook",
    "PollAnswered",
    "RequestMade",
    "TelemetryEvent",
    "WatchEnded",
    "WatchStarted",
    "digest",
]


class RequestMade(Struct, frozen=True, gc=False, tag="request_made"):
    """One attempt at a request is over, be it with an answer, without, or because its caller gave up.

    *route* is the path with its parameters by name, "/v1/google-flow/jobs/{jobid}"; *server*, *port* and *scheme* are those of
    the base URL. *job* is the job's digest, "" where it is about none. *status* is the HTTP status, None without an answer;
    *error* the kind of the error, "cancelled" for a caller who gave up, None if all went well. *resends* counts the attempts of
    the same call before this one.
    """

    name: ClassVar[str] = "request_made"

    method: str
    route: str
    scheme: str
    server: str
    port: int
    service: str
    job: str
    status: int | None
    error: str | None
    resends: int
    seconds: float


class PollAnswered(Struct, frozen=True, gc=False, tag="poll_answered"):
    """A watch has asked about a job, and this is what came: a *status* (the service's word), or the kind of an *error*.

    *watch* is the number of the watch in this process. *late* is how long after its time the poll went out, *seconds* how long
    the answer took, *polls* how many of the job were answered so far. *service* and *kind* are "" without a record.
    """

    name: ClassVar[str] = "poll_answered"

    watch: int
    job: str
    service: str
    kind: str
    status: str | None
    error: str | None
    polls: int
    late: float
    seconds: float


class EventEmitted(Struct, frozen=True, gc=False, tag="event_emitted"):
    """A watch has handed an event to its consumer; *event* is its type, such as "changed" or "ended".

    *status*, *outcome*, *service* and *kind* are those of its record, "" without one; *error* is the kind of its problem.
    """

    name: ClassVar[str] = "event_emitted"

    watch: int
    event: str
    job: str
    service: str
    kind: str
    status: str
    outcome: str
    error: str | None


class BudgetChanged(Struct, frozen=True, gc=False, tag="budget_changed"):
    """The request budget is another than before, for the *reason* "throttled" (429), "circuit_opened" or "circuit_closed".

    *rate* and *ceiling* are in requests a second, the ceiling None if none was met; *limit* bounds the requests in flight;
    *pause* is how long nobody asks; *throttled* counts the refusals so far.
    """

    name: ClassVar[str] = "budget_changed"

    reason: str
    rate: float
    ceiling: float | None
    limit: int
    pause: float
    throttled: int


class WatchStarted(Struct, frozen=True, gc=False, tag="watch_started"):
    """The watch with this number has begun, with so many *jobs*."""

    name: ClassVar[str] = "watch_started"

    watch: int
    jobs: int


class WatchEnded(Struct, frozen=True, gc=False, tag="watch_ended"):
    """The watch with this number is over: *polls*, jobs *ended*, *abandoned* and *left* behind, and in how many *seconds*.

    *error* is the kind of the error that ended it, or the name of one that is none of ours; None if it came to its end.
    """

    name: ClassVar[str] = "watch_ended"

    watch: int
    polls: int
    ended: int
    abandoned: int
    left: int
    error: str | None
    seconds: float


TelemetryEvent: TypeAlias = RequestMade | PollAnswered | EventEmitted | BudgetChanged | WatchStarted | WatchEnded
Hook: TypeAlias = Callable[[TelemetryEvent], object]


class BudgetStats(Protocol):
    """What is read of `asyncflow.PacerStats` here."""

    @property
    def rate(self) -> float: ...
    @property
    def ceiling(self) -> float | None: ...
    @property
    def limit(self) -> int: ...
    @property
    def paused_until(self) -> float | None: ...
    @property
    def throttled(self) -> int: ...
    @property
    def circuit(self) -> str: ...


class BudgetSource(Protocol):
    """What tells how a request budget is doing: `asyncflow.Pacer` does."""

    def stats(self) -> BudgetStats: ...


class Hooks:
    """The hooks of a client and its watches. *failed* is called with one that raised, and what it raised."""

    def __init__(self, hooks: Iterable[Hook], failed: Callable[[Hook, Exception], object]) -> None:
        self._hooks = tuple(hooks)
        self._failed = failed
        self._seen: WeakKeyDictionary[BudgetSource, tuple[int, str]] = WeakKeyDictionary()

    def __bool__(self) -> bool:
        return bool(self._hooks)

    def __iter__(self) -> Iterator[Hook]:
        return iter(self._hooks)

    def check_budget(self, budget: BudgetSource, now: float) -> None:
        """Tell how *budget* has changed since this was called last, if it has."""
        stats = budget.stats()
        throttled, circuit = seen = stats.throttled, stats.circuit
        before, was = self._seen.get(budget, (0, "closed"))
        if seen == (before, was):
            return
        self._seen[budget] = seen
        reason = f"circuit_{'opened' if circuit == 'open' else 'closed'}" if circuit != was else "throttled"
        pause = 0.0 if stats.paused_until is None else max(stats.paused_until - now, 0.0)
        self.emit(BudgetChanged(reason, stats.rate, stats.ceiling, stats.limit, pause, throttled))

    def emit(self, fact: TelemetryEvent) -> None:
        """Have each hook hear *fact*; a hook that raises hears no other, and harms nobody."""
        for hook in self._hooks:
            try:
                hook(fact)
            except Exception as error:  # noqa: BLE001 - whatever it is: the work goes on
                self._hooks = tuple(other for other in self._hooks if other is not hook)
                self._failed(hook, error)


class Routed(Protocol):
    """What is read of a request here."""

    @property
    def service(self) -> str: ...
    @property
    def expects(self) -> str: ...
    @property
    def target(self) -> str: ...


_PLAIN_PATH = re.compile(r"/v1(?:/[a-z]+(?:-[a-z]+)*){1,4}/?")


def route_of(request: Routed) -> str:
    """Return the path of *request* with names in place of what is personal in it; "/v1/{path}" for one that nobody knows."""
    if request.expects in {"job", "cancelled"}:
        return f"/v1/{request.service}/jobs/{{jobid}}"
    if request.expects == "asset":
        return f"/v1/{request.service}/assets/{{mediaGenerationId}}"
    path = request.target.partition("?")[0]
    return path if _PLAIN_PATH.fullmatch(path) else "/v1/{path}"


_WORD = re.compile(r"[A-Za-z][A-Za-z_-]{0,31}|")


def word(text: str) -> str:
    """Return a status or a kind as it is, "other" for what is no plain word: labels are few, and show nothing."""
    return text if _WORD.fullmatch(text) else "other"


def kind_of(error: BaseException) -> str:
    """Return the kind of an error of ours, the name of the class of any other."""
    return error.kind if isinstance(error, AsyncflowError) else type(error).__name__


def describe(hook: Hook) -> str:
    """Return the name under which *hook* may be shown."""
    return one_line(getattr(hook, "__qualname__", type(hook).__qualname__))

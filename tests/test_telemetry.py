"""Facts show nothing, and hooks harm nobody."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import pytest
from secret_watch import leaks

from asyncflow.errors import RateLimitedError
from asyncflow.protocol import Request, asset_request, cancel_request, job_request, stats_request, submit_request
from asyncflow.telemetry import (
    BudgetChanged,
    Hook,
    Hooks,
    TelemetryEvent,
    WatchEnded,
    WatchStarted,
    describe,
    digest,
    kind_of,
    route_of,
    word,
)

EMAIL = "jo-ann+flow@example.com"
FLOW_ID = f"j1104093012448120573v-u1234-email:{EMAIL}-bot:google-flow"
MUSIC_ID = f"job:0f1e2d3c-4b5a-4678-9abc-def012345678-user:1234-{EMAIL}-bot:flowmusic"
ASSET_ID = f"user:1-email:{EMAIL.encode().hex()}-video:1"


@dataclass(eq=False)
class Budget:
    throttled: int = 0
    circuit: str = "closed"
    paused_until: float | None = None
    rate: float = 8.0
    ceiling: float | None = None
    limit: int = 100

    def stats(self) -> Budget:
        return self


class Idle:
    def __call__(self, fact: TelemetryEvent) -> None:
        """Do nothing."""


def never(hook: Hook, error: Exception) -> None:
    pytest.fail(f"{hook} raised {error!r}")


def test_each_hook_hears_each_fact() -> None:
    first: list[TelemetryEvent] = []
    second: list[TelemetryEvent] = []
    hooks = Hooks([first.append, second.append], never)
    hooks.emit(WatchStarted(1, 2))
    hooks.emit(WatchEnded(1, 5, 2, 0, 0, None, 60.0))
    assert first == second == [WatchStarted(1, 2), WatchEnded(1, 5, 2, 0, 0, None, 60.0)]
    assert [hook(WatchStarted(2, 2)) for hook in hooks] == [None, None]
    assert first[-1] == WatchStarted(2, 2)


def test_a_hook_that_raises_is_told_of_once_and_dropped() -> None:
    def spoilt(fact: TelemetryEvent) -> None:
        raise ZeroDivisionError(fact.name)

    facts: list[TelemetryEvent] = []
    failures: list[tuple[Hook, Exception]] = []
    hooks = Hooks([spoilt, facts.append], lambda hook, error: failures.append((hook, error)))
    hooks.emit(WatchStarted(1, 0))
    hooks.emit(WatchStarted(2, 0))
    assert facts == [WatchStarted(1, 0), WatchStarted(2, 0)]
    [(hook, error)] = failures
    assert hook is spoilt
    assert str(error) == "watch_started"
    assert len([*hooks]) == 1


def test_what_stops_the_program_passes_through() -> None:
    def stop(_fact: TelemetryEvent) -> None:
        raise KeyboardInterrupt

    hooks = Hooks([stop], never)
    with pytest.raises(KeyboardInterrupt):
        hooks.emit(WatchStarted(1, 0))


def test_without_hooks_there_is_nothing() -> None:
    assert not Hooks([], never)
    assert Hooks([print], never)


def test_a_budget_is_told_of_when_it_has_changed() -> None:
    facts: list[TelemetryEvent] = []
    hooks, budget = Hooks([facts.append], never), Budget()
    hooks.check_budget(budget, 0.0)
    assert facts == []
    budget.throttled, budget.paused_until, budget.rate, budget.ceiling = 1, 15.0, 4.0, 8.0
    hooks.check_budget(budget, 10.0)
    hooks.check_budget(budget, 11.0)
    assert facts == [BudgetChanged("throttled", 4.0, 8.0, 100, 5.0, 1)]
    budget.circuit = "open"
    hooks.check_budget(budget, 20.0)
    budget.circuit, budget.throttled, budget.paused_until = "closed", 2, None
    hooks.check_budget(budget, 30.0)
    hooks.check_budget(Budget(), 30.0)
    assert facts[1:] == [
        BudgetChanged("circuit_opened", 4.0, 8.0, 100, 0.0, 1),
        BudgetChanged("circuit_closed", 4.0, 8.0, 100, 0.0, 2),
    ]


@pytest.mark.parametrize(
    ("request_", "route"),
    [
        (job_request(FLOW_ID), "/v1/google-flow/jobs/{jobid}"),
        (job_request(MUSIC_ID), "/v1/flowmusic/jobs/{jobid}"),
        (cancel_request(MUSIC_ID), "/v1/flowmusic/jobs/{jobid}"),
        (asset_request(ASSET_ID), "/v1/google-flow/assets/{mediaGenerationId}"),
        (stats_request("google-flow", "executing"), "/v1/google-flow/jobs/"),
        (submit_request("google-flow/videos", {}), "/v1/google-flow/videos"),
        (submit_request(f"google-flow/{EMAIL}", {}), "/v1/{path}"),
        (submit_request(f"google-flow/{EMAIL.encode().hex()}", {}), "/v1/{path}"),
    ],
    ids=str,
)
def test_a_route_holds_nothing_personal(request_: Request, route: str) -> None:
    assert route_of(request_) == route
    assert leaks(route) == []


def test_facts_are_told_apart_as_json() -> None:
    facts: list[TelemetryEvent] = [WatchStarted(1, 2), BudgetChanged("throttled", 1.0, None, 1, 0.0, 1)]
    assert [msgspec.json.decode(msgspec.json.encode(fact), type=TelemetryEvent) for fact in facts] == facts
    assert [fact.name for fact in facts] == ["watch_started", "budget_changed"]


def test_a_digest_is_the_name_of_a_job_everywhere() -> None:
    assert digest(FLOW_ID) in str(RateLimitedError(job_id=FLOW_ID))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("completed", "completed"),
        ("MEDIA_STATUS-x", "MEDIA_STATUS-x"),
        (EMAIL, "other"),
        ("a" * 33, "other"),
        ("é", "other"),
    ],
)
def test_only_words_become_labels(text: str, shown: str) -> None:
    assert word(text) == shown


def test_errors_are_named_by_their_kind() -> None:
    assert kind_of(RateLimitedError()) == "rate_limited"
    assert kind_of(ZeroDivisionError(EMAIL)) == "ZeroDivisionError"


def test_hooks_are_named_by_their_functions() -> None:
    assert describe(print) == "print"
    assert describe(Idle()) == "Idle"

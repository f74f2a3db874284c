"""A policy of a user's own, which may say anything."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from scripted import Service, collect

from asyncflow.errors import UsageError
from asyncflow.events import Changed, Ended
from asyncflow.watcher import JobWatcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncflow.polling import Key


class Odd:
    """Says what it is told to say."""

    def __init__(self, **words: float | Exception) -> None:
        self._words = {"first": 0.0, "next": 1.0, "expected": 10.0, **words}

    def first_poll(self, _number: int) -> float:
        return self._say("first")

    def next_poll(self, _key: Key, _age: float, _polls: int) -> float:
        return self._say("next")

    def learn(self, _key: Key, _duration: float) -> None:
        pass

    def expected_duration(self, _key: Key, _age: float) -> float:
        return self._say("expected")

    def _say(self, name: str) -> float:
        if isinstance(word := self._words[name], Exception):
            raise word
        return word


async def one_by_one(*job_ids: str) -> AsyncIterator[str]:
    for job_id in job_ids:
        yield job_id


@pytest.mark.virtual_time
@pytest.mark.parametrize("name", ["first", "next"])
@pytest.mark.parametrize("word", [math.nan, math.inf, -math.inf])
async def test_a_policy_that_names_no_time_is_refused(name: str, word: float) -> None:
    service = Service([(0, "started"), (9, "completed")])
    for job_ids in (["a"], one_by_one("a")):
        with pytest.raises(UsageError, match=rf"{name}_poll gave"):
            await collect(JobWatcher(service.read, job_ids, policy=Odd(**{name: word})))


@pytest.mark.virtual_time
@pytest.mark.parametrize("name", ["first", "next", "expected"])
async def test_a_bug_in_a_policy_is_raised_as_it_is(name: str) -> None:
    service = Service([(0, "started"), (9, "completed")])
    for job_ids in (["a"], one_by_one("a")):
        with pytest.raises(KeyError, match="bug"):
            await collect(JobWatcher(service.read, job_ids, policy=Odd(**{name: KeyError("bug")})))


@pytest.mark.virtual_time
@pytest.mark.parametrize("word", [math.nan, math.inf, -math.inf, 1e12, 1e300])
async def test_an_expectation_that_is_no_date_is_none(word: float) -> None:
    watcher = JobWatcher(Service([(0, "started"), (9, "completed")]).read, ["a"], policy=Odd(expected=word))
    first, last = await collect(watcher)
    assert isinstance(first, Changed)
    assert first.expected_end_at is None or word < 0
    assert isinstance(last, Ended)

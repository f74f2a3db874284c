"""What every store owes, whatever it is kept in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from cluster_kit import again, changed, claimed, end_all, ended, ids, job_id, over, pause, some, told, until

from asyncflow import Abandoned, Changed, Ended, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cluster_kit import AnyStore

    from asyncflow import Event
    from asyncflow.cluster import Delivery, StoreWatch

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]


# -- jobs ----------------------------------------------------------------------------------------------------------------------


async def test_a_new_id_is_due_at_once(store: AnyStore) -> None:
    assert (await store.submit(ids(2))).states == {job_id(0): "new", job_id(1): "new"}
    assert {claim.job_id for claim in await claimed(store, 10)} == set(ids(2))


async def test_to_submit_twice_is_to_submit_once(store: AnyStore) -> None:
    await store.submit(ids(2))
    assert (await store.submit([*ids(3), job_id(0)])).states == {job_id(0): "watched", job_id(1): "watched", job_id(2): "new"}
    assert len(await claimed(store, 10)) == 3
    assert (await store.status()).counts["submitted"] == 3


async def test_what_has_ended_stays_ended_unless_it_is_asked_for_again(store: AnyStore) -> None:
    await store.submit(ids(1))
    await end_all(store, 1)
    assert (await store.submit(ids(1))).states == {job_id(0): "ended"}
    assert await claimed(store) == []
    assert (await store.submit(ids(1), again=True)).states == {job_id(0): "new"}
    await end_all(store, 1)
    first, second = await told(store, 2)
    assert first.event == second.event
    assert first.key != second.key


@pytest.mark.parametrize("bad", ["", "  "])
async def test_what_is_no_id_is_refused(store: AnyStore, bad: str) -> None:
    with pytest.raises(UsageError, match="not empty"):
        await store.submit([job_id(0), bad])


async def test_a_claimed_job_is_nobody_elses_for_the_length_of_the_lease(store: AnyStore) -> None:
    await store.submit(ids(1))
    [mine] = await claimed(store, lease=0.8)
    assert await claimed(store, worker="two") == []
    await pause(0.85)
    [theirs] = await claimed(store, worker="two")
    assert theirs.job_id == mine.job_id
    assert theirs.fence > mine.fence
    assert (await store.status()).counts["taken_over"] == 1


async def test_only_the_last_lease_counts(store: AnyStore) -> None:
    await store.submit(ids(1))
    [mine] = await claimed(store, lease=0.05)
    await pause(0.1)
    [theirs] = await claimed(store, worker="two")
    assert await store.report("one", [over(mine)]) == [False]
    assert await store.report("two", [again(theirs, event=changed(theirs.job_id))]) == [True]
    [delivery] = await told(store, 1)
    assert delivery.event == changed(job_id(0))
    assert (await store.status()).counts["stale"] == 1


async def test_a_lease_that_ran_out_counts_as_long_as_nobody_has_taken_the_job(store: AnyStore) -> None:
    await store.submit(ids(1))
    [mine] = await claimed(store, lease=0.05)
    await pause(0.1)
    assert await store.report("one", [over(mine)]) == [True]


async def test_a_report_counts_once(store: AnyStore) -> None:
    await store.submit(ids(1))
    [mine] = await claimed(store)
    report = again(mine, event=changed(mine.job_id))
    assert await store.report("one", [report]) == [True]
    assert await store.report("one", [report]) == [False]
    assert (await store.status()).events == 1


async def test_a_job_is_due_again_after_its_pause_with_the_state_that_was_left(store: AnyStore) -> None:
    await store.submit(ids(2))
    first, second = await claimed(store, 2)
    await store.report("one", [again(first, 0.8, state="soon ä"), again(second, 60.0, state="late")])
    assert await claimed(store, 2) == []
    await pause(0.85)
    [found] = await claimed(store, 2)
    assert (found.job_id, found.state, found.added_at) == (first.job_id, "soon ä", first.added_at)


async def test_a_claim_tells_when_to_ask_again(store: AnyStore) -> None:
    assert 0.2 < (await store.claim("one", 1, 30.0)).wait <= 0.25
    await store.submit(ids(1))
    [mine] = await claimed(store)
    await store.report("one", [again(mine, 60.0)])
    await store.nudge(ids(1))
    [mine] = await claimed(store)
    # Before that is due, and after: never long, since ids may be submitted meanwhile.
    await store.report("one", [again(mine, 0.2)])
    assert 0 <= (await store.claim("one", 5, 30.0)).wait <= 0.25


async def test_due_jobs_are_claimed_in_the_order_of_their_due_times(store: AnyStore) -> None:
    await store.submit(ids(1))
    await pause(0.01)
    await store.submit(ids(3)[1:2])
    await pause(0.01)
    await store.submit(ids(3)[2:])
    assert [claim.job_id for claim in await claimed(store, 2)] == ids(2)


async def test_discarded_jobs_are_forgotten(store: AnyStore) -> None:
    await store.submit(ids(3))
    [mine] = await claimed(store)
    assert await store.discard([mine.job_id, *ids(4)[3:]]) == 1
    assert await store.report("one", [over(mine)]) == [False]
    status = await store.status()
    assert (status.watched, status.leased) == (2, 0)


async def test_a_nudged_job_is_due_now(store: AnyStore) -> None:
    await store.submit(ids(1))
    [mine] = await claimed(store)
    await store.report("one", [again(mine, 60.0)])
    assert await store.nudge([job_id(0), job_id(7)]) == 1
    assert len(await claimed(store)) == 1


async def test_a_job_that_is_nudged_during_its_poll_is_polled_once_more(store: AnyStore) -> None:
    await store.submit(ids(1))
    [mine] = await claimed(store)
    await store.nudge(ids(1))
    assert await claimed(store) == []
    await store.report("one", [again(mine, 60.0)])
    [mine] = await claimed(store)
    await store.report("one", [again(mine, 60.0)])
    assert await claimed(store) == []


async def test_leases_can_be_broken(store: AnyStore) -> None:
    await store.submit(ids(2))
    mine = await claimed(store, 2)
    assert await store.nudge_all(break_leases=True) == 2
    assert len(await claimed(store, 2, worker="two")) == 2
    assert await store.report("one", [over(job) for job in mine]) == [False, False]
    assert (await store.status()).leased == 2


# -- the budget ----------------------------------------------------------------------------------------------------------------


async def test_all_workers_share_one_rate(store: AnyStore) -> None:
    await store.submit(ids(300))
    await store.set_rate(100.0)
    loop, count = asyncio.get_running_loop(), 0
    start = loop.time()
    # A second's worth in no time: the bucket holds a fiftieth.
    for worker in ("one", "two"):
        count += len(await claimed(store, 200, worker=worker))
    assert count <= 4 + 100 * (loop.time() - start)
    while loop.time() < start + 0.5:
        claims = await store.claim("one", 200, 30.0)
        count += len(claims.jobs)
        await pause(claims.wait)
    # How many of them a slow machine comes to take is its own affair.
    assert 10 <= count <= 4 + 100 * (loop.time() - start)
    await store.set_rate(None)
    assert len(await claimed(store, 200)) == 200


async def test_after_a_429_nobody_polls(store: AnyStore) -> None:
    await store.submit(ids(2))
    [mine] = await claimed(store)
    await store.report("one", [again(mine)], pause=0.8)
    claims = await store.claim("two", 1, 30.0)
    assert not claims.jobs
    assert 0 < claims.pause <= 0.8
    await pause(claims.pause + 0.02)
    assert len(await claimed(store, 2, worker="two")) == 2
    assert (await store.status()).counts["throttled"] == 1


async def test_a_drained_store_hands_out_nothing(store: AnyStore) -> None:
    await store.submit(ids(1))
    await store.drain()
    claims = await store.claim("one", 1, 30.0)
    assert claims.is_draining
    assert not claims.jobs
    await store.drain(draining=False)
    assert len(await claimed(store)) == 1


# -- events --------------------------------------------------------------------------------------------------------------------


async def test_every_group_sees_every_event_in_order(store: AnyStore) -> None:
    await store.submit(ids(3))
    jobs = await claimed(store, 3)
    await store.report("one", [again(job, event=changed(job.job_id)) for job in jobs])
    await end_all(store, 3)
    expected = [changed(job.job_id) for job in jobs]
    for group in ("bills", "mails"):
        async with store.events(group, "one") as events:
            found = await some(events, 6)
        assert [delivery.event for delivery in found[:3]] == expected
        assert [(delivery.key[1], delivery.key[2]) for delivery in found] == [(1, "started")] * 3 + [(2, "completed")] * 3


async def test_consumers_of_a_group_share_its_events(store: AnyStore) -> None:
    await store.submit(ids(40))
    await end_all(store, 40)
    async with store.events("group", "one", batch=5) as one, store.events("group", "two", batch=5) as two:
        found = [*await some(one, 10), *await some(two, 10)]
        assert len({delivery.key for delivery in found}) == 20


async def test_an_event_comes_to_whoever_waits_for_it(store: AnyStore) -> None:
    await store.submit(ids(1))
    async with store.events("group", "one") as events, asyncio.timeout(5), asyncio.TaskGroup() as group:
        waiting = group.create_task(anext(events))
        await pause(0.05)
        await end_all(store, 1)
        assert (await waiting).event == ended(job_id(0))


async def test_what_was_not_acknowledged_is_delivered_again_with_the_same_key(store: AnyStore) -> None:
    await store.submit(ids(3))
    await end_all(store, 3)
    async with store.events("group", "one", auto_acknowledge=False) as events:
        first = await some(events, 3)
        events.acknowledge(first[1])
    async with store.events("group", "one") as events:
        again = await some(events, 2)
    assert [delivery.key for delivery in again] == [first[0].key, first[2].key]
    assert {group.pending for group in (await store.status()).groups} == {0}


async def test_an_event_counts_as_handled_when_the_next_is_asked_for(store: AnyStore) -> None:
    await store.submit(ids(3))
    await end_all(store, 3)
    seen: list[Delivery] = []

    async def fail() -> None:
        async with store.events("group", "one") as events:
            seen.extend(await some(events, 2))
            raise ValueError("handling failed")

    with pytest.raises(ValueError, match="handling"):
        await fail()
    first, _ = await told(store, 2)
    assert first == seen[1]


async def test_events_of_a_consumer_that_is_gone_are_taken_over(store: AnyStore) -> None:
    await store.submit(ids(3))
    await end_all(store, 3)
    async with store.events("group", "one", auto_acknowledge=False) as events:
        lost = await some(events, 3)
    async with store.events("group", "two", take_over_after=0.2) as events:
        assert await some(events, 3) == lost


async def test_a_slow_consumer_keeps_what_it_was_given(store: AnyStore) -> None:
    await store.submit(ids(2))
    await end_all(store, 2)
    async with (
        store.events("group", "slow", take_over_after=1.0, auto_acknowledge=False) as slow,
        store.events("group", "quick", take_over_after=1.0) as quick,
    ):
        await some(slow, 2)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.6):
                await anext(quick)


async def test_an_ending_is_kept_with_its_record(store: AnyStore) -> None:
    await store.submit(ids(2))
    await end_all(store, 1)
    found = await store.endings(ids(3))
    assert len(found) == 1
    assert next(iter(found.values())).event in [ended(one) for one in ids(2)]


async def test_a_group_tells_what_it_has_not_handled(store: AnyStore) -> None:
    await store.submit(ids(3))
    await end_all(store, 3)
    async with store.events("group", "one", batch=1, auto_acknowledge=False) as events:
        await some(events, 1)
        [group] = (await store.status()).groups
        assert (group.name, group.consumers) == ("group", 1)
        assert group.pending >= 1


# -- watches -------------------------------------------------------------------------------------------------------------------


async def test_a_watch_of_a_store_ends_when_any_worker_has_seen_the_ends(store: AnyStore) -> None:
    async with asyncio.timeout(10), store.watch(ids(2)) as watcher, asyncio.TaskGroup() as group:
        events = group.create_task(_all(watcher))

        async def are_there() -> bool:
            return (await store.status()).watched == 2

        await until(are_there)
        jobs = await claimed(store, 2)
        await store.report("one", [again(job, event=changed(job.job_id)) for job in jobs])
        await end_all(store, 2)
        found = await events
    assert sorted(event.key for event in found) == sorted(
        [(one, status) for one in ids(2) for status in ("started", "completed")]
    )
    assert watcher.stats().ended == {"no_output": 2}


async def _all(watcher: StoreWatch) -> list[Event]:
    return [event async for event in watcher]


async def test_a_watch_of_ended_jobs_tells_their_ends_at_once(store: AnyStore) -> None:
    await store.submit(ids(2))
    await end_all(store, 2)
    async with asyncio.timeout(5), store.watch(ids(2)) as watcher:
        assert [event async for event in watcher] == [ended(one) for one in ids(2)]


async def test_a_watch_that_times_out_leaves_the_jobs_watched(store: AnyStore) -> None:
    async with asyncio.timeout(5), store.watch(ids(1), timeout=0.1) as watcher:
        [event] = [event async for event in watcher]
    assert event.key == (job_id(0), "abandoned")
    assert (await store.status()).watched == 1


async def watched(store: AnyStore, count: int) -> bool:
    return (await store.status()).watched == count


async def test_a_watch_that_times_out_hands_on_the_last_record_it_heard_of(store: AnyStore) -> None:
    async with asyncio.timeout(5), store.watch(ids(2), timeout=0.5) as watcher:
        first = asyncio.create_task(anext(watcher))
        await until(lambda: watched(store, 2))
        job, _ = await claimed(store, 2)
        await store.report("one", [again(job, event=changed(job.job_id))])
        event = await first
        assert isinstance(event, Changed)
        given_up = {event.key[0]: event.job async for event in watcher if isinstance(event, Abandoned)}
    assert given_up == {job.job_id: event.job, **{job_id: None for job_id in ids(2) if job_id != job.job_id}}


async def test_an_id_that_cannot_be_one_is_given_up_and_no_matter_of_the_others(store: AnyStore) -> None:
    await store.submit(ids(1))
    await end_all(store, 1)
    async with asyncio.timeout(5), store.watch(["user:1234-abcdef", *ids(1), "\ud800"]) as watcher:
        found = {event.key[0]: type(event) async for event in watcher}
    assert found == {"user:1234-abcdef": Abandoned, job_id(0): Ended, "\ud800": Abandoned}


async def test_a_source_that_never_waits_leaves_the_others_their_turns(store: AnyStore) -> None:
    async def source() -> AsyncIterator[str]:
        for number in range(20_000):
            turns.append(turn)
            yield job_id(number)

    turn, turns = 0, list[int]()
    async with asyncio.timeout(20), store.watch(source()) as watcher:
        first = asyncio.create_task(anext(watcher))
        while len(turns) < 20_000:
            await pause(0)
            turn += 1
        first.cancel()
    assert len(set(turns)) >= 10


# -- what workers tell each other ----------------------------------------------------------------------------------------------


async def test_lessons_are_for_the_other_workers(store: AnyStore) -> None:
    await store.submit(ids(1))
    [mine] = await claimed(store)
    report = over(mine)
    lesson = ("google-flow", "video", "", 61.5)
    await store.report("one", [type(report)(report.job_id, report.fence, None, "", report.event, lesson)])
    assert (await store.durations("", "one"))[0] == []
    found, place = await store.durations("", "two")
    assert found == [lesson]
    assert (await store.durations(place, "two"))[0] == []


async def test_a_queue_can_be_purged(store: AnyStore) -> None:
    await store.submit(ids(3))
    await end_all(store, 1)
    await store.purge()
    status = await store.status()
    assert (status.watched, status.kept, status.events) == (0, 0, 0)
    assert set((await store.submit(ids(3))).states.values()) == {"new"}


async def test_a_store_tells_who_works(store: AnyStore) -> None:
    await store.claim("one", 1, 30.0, "with words of its own")
    [worker] = (await store.status()).workers
    assert (worker.name, worker.schema, worker.words) == ("one", 1, "with words of its own")
    assert worker.silent < 5

"""A store in a journal outlives its process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cluster_kit import claimed, end_all, ended, ids, job_id, some

from asyncflow import Journal, JournalError, UsageError
from asyncflow.cluster import JournalStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.asyncio


@pytest.fixture
def reopened(tmp_path: Path) -> Callable[[], JournalStore]:
    return lambda: JournalStore(Journal(tmp_path / "run.db"))


async def test_what_has_not_ended_is_due_in_the_next_life(reopened: Callable[[], JournalStore]) -> None:
    store = reopened()
    await store.submit(ids(3))
    await end_all(store, 1)
    await store.aclose()
    store = reopened()
    assert len(await claimed(store, 10)) == 2
    await store.aclose()


async def test_endings_are_delivered_until_every_group_has_handled_them(reopened: Callable[[], JournalStore]) -> None:
    store = reopened()
    await store.submit(ids(2))
    await end_all(store, 2)
    async with store.events("bills", "one") as bills, store.events("mails", "one") as mails:
        first = await some(bills, 2)
        await some(mails, 1)
    await store.aclose()
    store = reopened()
    async with store.events("bills", "one") as bills:
        [left] = await some(bills, 1)
        assert left.key in {delivery.key for delivery in first}
    await store.aclose()
    store = reopened()
    assert (await store.status()).events == 0
    assert (await store.submit(ids(2))).states == {job_id(0): "ended", job_id(1): "ended"}
    await store.aclose()


async def test_an_ending_that_nobody_has_handled_is_recalled(reopened: Callable[[], JournalStore]) -> None:
    store = reopened()
    await store.submit(ids(1))
    await end_all(store, 1)
    await store.aclose()
    store = reopened()
    async with store.watch(ids(1)) as watcher:
        assert [event async for event in watcher] == [ended(job_id(0))]
    await store.aclose()


async def test_discarded_jobs_do_not_come_back(reopened: Callable[[], JournalStore]) -> None:
    store = reopened()
    await store.submit(ids(2))
    await store.discard(ids(1))
    await store.aclose()
    store = reopened()
    assert [claim.job_id for claim in await claimed(store, 10)] == ids(2)[1:]
    await store.purge()
    await store.aclose()
    store = reopened()
    assert await claimed(store, 10) == []
    await store.aclose()


async def test_one_journal_serves_one_store(reopened: Callable[[], JournalStore], tmp_path: Path) -> None:
    store = reopened()
    await store.submit(ids(1))
    with pytest.raises(JournalError, match="locked"):
        await reopened().submit(ids(1))
    await store.aclose()
    journal = Journal(tmp_path / "run.db")
    one, two = JournalStore(journal), JournalStore(journal)
    await one.submit(ids(1))
    with pytest.raises(UsageError, match="another watch"):
        await two.submit(ids(1))
    await one.aclose()

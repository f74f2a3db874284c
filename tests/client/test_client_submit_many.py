"""Batches: each line once, whatever happens to its answer, to the batch, or to the process."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest
from service_kit import assert_discreet, client_at, client_of, listening

from asyncflow import (
    AuthenticationError,
    Journal,
    JournalError,
    SubmitRequest,
    SubmitResult,
    TransportError,
    UsageError,
    fixed_interval,
)
from asyncflow.simulator import Answer, Faults, Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from asyncflow import AsyncClient, SubmitBatch

pytestmark = pytest.mark.asyncio

VIDEOS = "google-flow/videos"
LATER = Answer(429, {"Retry-After": "1"}, b'{"error": "busy"}')


def lines(count: int, path: str = VIDEOS) -> list[dict[str, Any]]:
    return [{"path": path, "body": {"prompt": f"kite {number}"}} for number in range(count)]


def keyed(count: int) -> list[SubmitRequest]:
    return [SubmitRequest(VIDEOS, {"prompt": f"kite {number}"}, f"k{number}") for number in range(count)]


async def take(batch: SubmitBatch, results: dict[int, SubmitResult]) -> None:
    """Put the results of *batch* into *results*, where they are if it ends with an error."""
    async with batch:
        async for result in batch:
            results[result.number] = result


async def take_one_and_drop(batch: SubmitBatch) -> None:
    async for _ in batch:
        break
    del batch
    gc.collect()


async def submitted(client: AsyncClient, given: Any, **options: Any) -> dict[int, SubmitResult]:  # noqa: ANN401 - as users pass it
    results: dict[int, SubmitResult] = {}
    await take(client.submit_many(given, **options), results)
    return results


def states(results: dict[int, SubmitResult]) -> list[str]:
    return [results[number].state for number in sorted(results)]


async def test_every_line_has_a_job_of_its_own() -> None:
    mixed = [
        *lines(5),
        *lines(3, "flowmusic/music"),
        SubmitRequest("google-flow/images", {"prompt": "kite"}, "a picture"),
        {"path": "google-flow/videos/gif", "body": {"mediaGenerationId": "user:1-email:00-video:c0"}},
    ]
    async with Simulator(speed=1000) as simulator, client_of(simulator) as client:
        results = await submitted(client, mixed, concurrency=3)
        assert states(results) == ["submitted"] * 10
        ids = {result.job_id for result in results.values()} - {None}
        assert ids == {truth.job_id for truth in simulator.truth()}
        assert results[9].key == "a picture"
        job = results[10].job
        assert (results[10].job_id, job and job.outcome) == (None, "succeeded")
        assert simulator.stats().peak_in_flight <= 3


async def test_equal_lines_are_two_lines() -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        results = await submitted(client, [*lines(1), *lines(1)])
        assert len({result.key for result in results.values()}) == 2
        assert len({result.content for result in results.values()}) == 1
        assert len(simulator.truth()) == 2


async def test_a_line_that_cannot_be_sent_is_refused_alone() -> None:
    given: list[object] = [{"prompt": "x"}, *lines(1), {"path": "nowhere", "body": {}}, *keyed(1), *keyed(1)]
    async with Simulator() as simulator, client_of(simulator) as client:
        results = await submitted(client, given)
        assert states(results) == ["refused", "submitted", "refused", "submitted", "refused"]
        assert [results[number].error.kind for number in (1, 3, 5)] == ["usage"] * 3  # type: ignore[union-attr] # is refused
        assert len(simulator.truth()) == 2


async def test_lines_may_come_as_they_are_made() -> None:
    async def feed() -> AsyncIterator[dict[str, Any]]:
        for line in lines(4):
            yield line

    async with Simulator() as simulator, client_of(simulator) as client:
        assert states(await submitted(client, feed())) == ["submitted"] * 4
        assert states(await submitted(client, iter(lines(2)))) == ["submitted"] * 2
        for wrong in ({"path": VIDEOS}, "line"):
            with pytest.raises(UsageError, match="iterable of lines"):
                client.submit_many(wrong)  # type: ignore[arg-type] # that is what is wrong
        with pytest.raises(UsageError, match="concurrency"):
            client.submit_many([], concurrency=0)


async def test_an_error_of_the_feed_comes_after_the_results() -> None:
    def feed() -> Iterator[dict[str, Any]]:
        yield from lines(3)
        raise ValueError("no more")

    async with Simulator() as simulator, client_of(simulator) as client:
        results: dict[int, SubmitResult] = {}
        with pytest.raises(ValueError, match="no more"):
            await take(client.submit_many(feed()), results)
        assert states(results) == ["submitted"] * 3


async def test_nobody_is_ahead_of_a_slow_consumer_by_more_than_the_concurrency() -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        async with client.submit_many(lines(20), concurrency=2) as batch:
            await anext(batch)
            while batch.in_flight:
                await asyncio.wait({asyncio.ensure_future(client.get_stats("flowmusic"))})
            assert len(simulator.truth()) <= 5
        assert len(simulator.truth()) <= 5


async def test_stopping_lets_what_is_under_way_have_its_answer() -> None:
    async with Simulator(faults=Faults(kinds=("submit",), latency=0.2)) as simulator, client_of(simulator) as client:
        async with client.submit_many(lines(20), concurrency=4) as batch:
            while simulator.stats().in_flight < 4:
                await asyncio.wait({asyncio.ensure_future(client.get_stats("flowmusic"))})
            batch.stop()
            results = [result async for result in batch]
        assert [result.state for result in results] == ["submitted"] * 4
        assert len(simulator.truth()) == 4


async def test_stopping_ends_a_batch_that_waits_for_its_feed() -> None:
    asked = asyncio.Event()

    async def feed() -> AsyncIterator[dict[str, Any]]:
        yield lines(1)[0]
        asked.set()
        await asyncio.Event().wait()

    async with Simulator() as simulator, client_of(simulator) as client, client.submit_many(feed()) as batch:
        assert (await anext(batch)).state == "submitted"
        await asked.wait()
        batch.stop()
        assert [result async for result in batch] == []


async def test_breaking_off_names_what_was_under_way(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run.db")
    async with Simulator(faults=Faults(kinds=("submit",), hang=1.0)) as simulator, client_of(simulator) as client:
        batch = client.submit_many(lines(10), concurrency=3, journal=journal)
        async with batch:
            while simulator.stats().in_flight < 3:
                await asyncio.wait({asyncio.ensure_future(client.get_stats("flowmusic"))})
        results = [result async for result in batch]
        assert [result.state for result in results] == ["unknown"] * 3
        assert all(result.reply_ref and result.requested_at for result in results)
        assert {line.key for line in journal.submissions()} == {result.key for result in results}
        assert repr(batch) == "<SubmitBatch 0 in flight>"


async def test_a_refused_token_ends_the_batch_after_the_results() -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        results: dict[int, SubmitResult] = {}
        stranger = client.with_options(token="user:1234-wrong")
        with pytest.raises(AuthenticationError):
            await take(stranger.submit_many(lines(50), concurrency=2), results)
        assert 1 <= len(results) <= 2
        assert set(states(results)) == {"refused"}
        assert simulator.truth() == []


async def test_credits_of_songs_are_a_matter_of_songs() -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        simulator.play("POST /v1/flowmusic/music", [Answer(402, body=b'{"error": "no credits", "code": 402}')])
        results = await submitted(client, [*lines(2, "flowmusic/music"), *lines(2)], concurrency=1)
        assert states(results) == ["refused", "refused", "submitted", "submitted"]


async def test_a_service_that_is_not_there_ends_the_batch() -> None:
    async with listening() as server:
        url = server.url
    async with client_at(url) as client:
        with pytest.raises(TransportError):
            await submitted(client, lines(50), concurrency=2)


async def test_a_lost_answer_is_looked_for() -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        simulator.faults = Faults(kinds=("submit",), lost_answer=0.5, reset=0.2)
        results = await submitted(client, lines(12), concurrency=4)
        made = {truth.job_id for truth in simulator.truth()}
        found = {result.job_id for result in results.values() if result.state == "submitted"}
        assert found == made
        unknown = [result for result in results.values() if result.state == "unknown"]
        assert len(unknown) == 12 - len(made)
        for result in unknown:
            assert result.error is not None
            assert result.error.kind == "outcome_unknown"
            assert_discreet(repr(result))
        assert simulator.stats().by_kind["submit"] == 12


async def test_capacity_is_waited_for_line_by_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run.db")
    async with Simulator(max_jobs=1, speed=100, faults=Faults(retry_after=1.0)) as simulator, client_of(simulator) as client:
        simulator.faults = Faults(retry_after=1.0)
        results = await submitted(client, lines(14, "flowmusic/music"), wait_for_capacity=30, journal=journal)
        assert states(results) == ["submitted"] * 14
        assert len(simulator.truth()) == 14
        assert simulator.stats().throttled >= 1
        results = await submitted(client, lines(20, "flowmusic/music"))
        assert "refused" in states(results)


async def test_a_batch_that_is_dropped_leaves_nothing_behind(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run.db")
    async with Simulator(faults=Faults(kinds=("submit",), latency=0.2)) as simulator, client_of(simulator) as client:
        with pytest.warns(ResourceWarning, match="dropped"):
            await take_one_and_drop(client.submit_many(lines(30), concurrency=2, journal=journal))
        while any(task.get_name().startswith("asyncflow") for task in asyncio.all_tasks()):
            await asyncio.wait({asyncio.ensure_future(client.get_stats("flowmusic"))})
        came = len(simulator.submits())
        results = await submitted(client, lines(30), journal=journal, resubmit_unknown=True)
        assert states(results) == ["submitted"] * 30
        assert 1 <= came <= 4
        # Those that were under way when it was dropped may have been made, and found.
        assert len(simulator.truth()) == 30


# -- with a journal ------------------------------------------------------------------------------------------------------------


async def test_a_second_batch_sends_nothing_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run.db")
    async with Simulator() as simulator, client_of(simulator) as client:
        first = await submitted(client, [*lines(4), *keyed(2)], journal=journal)
        again = await submitted(client, [*keyed(2), *lines(5)], journal=journal)
        assert len(simulator.truth()) == 7
        assert {result.job_id for result in again.values()} >= {result.job_id for result in first.values()}
        assert [again[number].is_earlier for number in sorted(again)] == [True] * 6 + [False]
        assert [line.state for line in journal.submissions()] == ["submitted"] * 7
        job_ids, _ = await journal.open(lambda _error: None)
        await journal.aclose()
        assert set(job_ids) == {truth.job_id for truth in simulator.truth()}
        entries = list(journal.entries())
        assert {entry.line for entry in entries} == {result.key for result in again.values()}
        assert {entry.path for entry in entries} == {VIDEOS}
        assert all(entry.submitted_at is not None for entry in entries)


async def test_the_same_journal_watches_what_was_submitted(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run.db")
    async with Simulator(speed=1000) as simulator, client_of(simulator, policy=fixed_interval(0.05)) as client:
        await submitted(client, [*lines(3), *lines(2, "google-flow/images")], journal=journal)
        async with client.watch(journal=journal, timeout=30) as watcher:
            assert len([event async for event in watcher if event.type == "ended"]) == 5
        again = await submitted(client, lines(3), journal=journal)
        assert states(again) == ["submitted"] * 3
        assert len(simulator.truth()) == 5


async def test_a_line_without_an_answer_is_unknown_and_not_sent_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run.db")
    async with Simulator() as simulator, client_of(simulator) as client:
        simulator.faults = Faults(kinds=("submit",), reset=1.0)
        assert states(await submitted(client, lines(2), journal=journal)) == ["unknown"] * 2
        simulator.faults = Faults()
        again = await submitted(client, lines(2), journal=journal)
        assert states(again) == ["unknown"] * 2
        assert all(result.is_earlier for result in again.values())
        assert simulator.truth() == []
        third = await submitted(client, lines(2), journal=journal, resubmit_unknown=True)
        assert states(third) == ["submitted"] * 2
        assert {result.reply_ref for result in third.values()}.isdisjoint({result.reply_ref for result in again.values()})
        assert len(simulator.truth()) == 2


async def test_a_line_without_an_answer_is_found_by_the_next_batch(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run.db")
    async with Simulator() as simulator, client_of(simulator) as client:
        # Nobody can be asked meanwhile.
        simulator.faults = Faults(kinds=("submit", "stats"), lost_answer=1.0)
        assert states(await submitted(client, lines(2), journal=journal)) == ["unknown"] * 2
        simulator.faults = Faults()
        again = await submitted(client, lines(2), journal=journal, resubmit_unknown=True)
        assert states(again) == ["submitted"] * 2
        assert {result.job_id for result in again.values()} == {truth.job_id for truth in simulator.truth()}
        assert simulator.stats().by_kind["submit"] == 2


async def test_lines_that_are_looked_for_together_ask_together(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run.db")
    async with Simulator() as simulator, client_of(simulator) as client:
        simulator.faults = Faults(kinds=("submit", "stats"), reset=1.0)
        await submitted(client, lines(8), journal=journal, concurrency=8)
        simulator.faults = Faults()
        before = simulator.stats().by_kind["stats"]
        assert states(await submitted(client, lines(8), journal=journal, concurrency=8)) == ["unknown"] * 8
        assert simulator.stats().by_kind["stats"] - before <= 4


async def test_a_refusal_that_may_pass_is_tried_again_and_another_is_not(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run.db")
    async with Simulator() as simulator, client_of(simulator) as client:
        simulator.play(f"POST /v1/{VIDEOS}", [LATER])
        first = await submitted(client, [*lines(1), {"path": VIDEOS, "body": {"count": 9}}], journal=journal)
        assert states(first) == ["refused", "refused"]
        simulator.play(f"POST /v1/{VIDEOS}", [])
        for bad_count in (9, 9, 2):
            mended = {"path": VIDEOS, "body": {"prompt": "kite", "count": bad_count}, "key": "mine"}
            results = await submitted(client, [*lines(1), mended], journal=journal)
            assert states(results) == ["submitted", "submitted" if bad_count == 2 else "refused"]
        # The line itself, then the bad one once, then the mended one.
        assert simulator.stats().by_kind["submit"] == 2 + 3


async def test_a_key_is_not_given_to_another_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run.db")
    async with Simulator() as simulator, client_of(simulator) as client:
        await submitted(client, keyed(1), journal=journal)
        results = await submitted(client, [SubmitRequest(VIDEOS, {"prompt": "another"}, "k0")], journal=journal)
        assert states(results) == ["refused"]
        assert len(simulator.truth()) == 1
        assert [line.state for line in journal.submissions()] == ["submitted"]


async def test_work_that_came_without_a_job_is_kept(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run.db")
    gif = [{"path": "google-flow/videos/gif", "body": {"mediaGenerationId": "user:1-email:00-video:c0"}}]
    async with Simulator() as simulator, client_of(simulator) as client:
        [first] = (await submitted(client, gif, journal=journal)).values()
        [again] = (await submitted(client, gif, journal=journal)).values()
        assert first.job is not None
        assert again.job is not None
        assert again.job.media[0].content == first.job.media[0].content
        assert list(journal.entries()) == []


async def test_a_journal_serves_one_at_a_time(tmp_path: Path) -> None:
    journal, more = Journal(tmp_path / "run.db"), asyncio.Event()

    async def feed() -> AsyncIterator[dict[str, Any]]:
        for line in lines(2):
            yield line
            await more.wait()

    async with Simulator() as simulator, client_of(simulator) as client:
        async with client.submit_many(feed(), journal=journal) as batch:
            await anext(batch)
            with pytest.raises(UsageError, match="another watch"):
                await submitted(client, lines(1), journal=journal)
            with pytest.raises(JournalError, match="locked"):
                await submitted(client, lines(1), journal=Journal(tmp_path / "run.db"))
            more.set()
            assert len([result async for result in batch]) == 1
        assert len(simulator.truth()) == 2


async def test_a_journal_that_fails_keeps_lines_from_going_out(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run.db", max_bytes=80_000)
    results: dict[int, SubmitResult] = {}
    async with Simulator() as simulator, client_of(simulator) as client:
        long = [{"path": VIDEOS, "body": {"prompt": "x", "replyRef": "r" * 3000 + str(number)}} for number in range(60)]
        with pytest.raises(JournalError, match="full"):
            await take(client.submit_many(long, journal=journal, concurrency=3), results)
        made = {truth.job_id for truth in simulator.truth()}
        assert {result.job_id for result in results.values()} - {None} == made
        assert 0 < len(made) < 60
        kept = {line.reply_ref for line in journal.submissions()}
        assert {truth.reply_ref for truth in simulator.truth()} <= kept


async def test_a_journal_that_is_optional_keeps_nothing_back(tmp_path: Path) -> None:
    (tmp_path / "run.db").write_bytes(b"no journal at all, and no database either")
    journal = Journal(tmp_path / "run.db", on_error="continue")
    async with Simulator() as simulator, client_of(simulator) as client:
        assert states(await submitted(client, lines(3), journal=journal)) == ["submitted"] * 3
        assert len(simulator.truth()) == 3
        assert journal.failure is not None

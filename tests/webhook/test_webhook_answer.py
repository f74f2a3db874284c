"""What a webhook answers, and whom it nudges: a function of the request, without any I/O."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from callers import JOB_ID, OTHER_ID, SECRET, Watch, callback
from hypothesis import given
from hypothesis import strategies as st

from asyncflow import UsageError, WebhookReceiver

if TYPE_CHECKING:
    from asyncflow.webhook import CallbackResponse

pytestmark = pytest.mark.slow

FIXTURES = sorted((Path(__file__).parent.parent / "fixtures").glob("20[0-7]-wh-*.json"))
GOOD = f"/asyncflow/{SECRET}"


def posted(
    receiver: WebhookReceiver, body: bytes, path: str = GOOD, query: str = "", method: str = "POST", **headers: str
) -> CallbackResponse:
    return receiver.answer(method, path, query, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def test_a_callback_about_a_watched_job_nudges() -> None:
    watch = Watch()
    assert posted(WebhookReceiver(watch.nudge, SECRET), callback()).status == 204
    assert watch.nudged == [JOB_ID]


@pytest.mark.parametrize(
    ("path", "query"),
    [
        (f"/{SECRET}", ""),
        (f"/a/b/{SECRET}", ""),
        (f"/{SECRET}/", ""),
        (SECRET, ""),
        ("/asyncflow", f"secret={SECRET}"),
        ("/", f"a=b&secret={SECRET}&c"),
        ("/", f"secret=wrong&secret={SECRET}"),
        ("/wrong", "secret=" + "".join(f"%{ord(letter):02x}" for letter in SECRET)),
    ],
)
def test_the_secret_may_end_the_path_or_stand_in_the_query(path: str, query: str) -> None:
    assert posted(WebhookReceiver(Watch().nudge, SECRET), callback(), path, query).status == 204


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/", ""),
        ("", ""),
        (f"/{SECRET[:-1]}", ""),
        (f"/{SECRET}x", ""),
        (f"/{SECRET.upper()}", ""),
        (f"/{SECRET}/more", ""),
        (f"/{SECRET}//x", ""),
        ("/\udcff", ""),
        ("/ÿ", ""),
        ("/", "secret="),
        ("/", f"token={SECRET}"),
        ("/", f"Secret={SECRET}"),
        ("/", "&".join(["a=b"] * 100 + [f"secret={SECRET}"])),
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("body", [callback(), callback(OTHER_ID), b"", b"x" * 1_000_000])
def test_without_the_secret_every_request_gets_the_same_answer(path: str, query: str, method: str, body: bytes) -> None:
    watch = Watch()
    reply = posted(WebhookReceiver(watch.nudge, SECRET), body, path, query, method, content_encoding="gzip")
    assert (reply.status, reply.text) == (403, "the secret is missing or wrong")
    assert watch.nudged == []


def test_who_knows_the_secret_is_told_that_a_job_is_not_watched() -> None:
    watch = Watch()
    assert posted(WebhookReceiver(watch.nudge, SECRET), callback(OTHER_ID)).status == 404
    assert watch.nudged == []


@pytest.mark.parametrize("path", ["/", "/anything", f"/{SECRET}"])
def test_an_open_webhook_tells_nobody_which_jobs_are_watched(path: str) -> None:
    watch = Watch()
    receiver = WebhookReceiver(watch.nudge)
    assert [posted(receiver, callback(job_id), path).status for job_id in (JOB_ID, OTHER_ID)] == [204, 204]
    assert watch.nudged == [JOB_ID]


@pytest.mark.parametrize("receiver", [WebhookReceiver(Watch().nudge, SECRET), WebhookReceiver(Watch().nudge)])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "post", "BREW"])
def test_callbacks_are_posted(receiver: WebhookReceiver, method: str) -> None:
    reply = posted(receiver, callback(), method=method)
    assert (reply.status, reply.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe\x00",
        b"null",
        b"[]",
        b"[1, 2]",
        b'"' + JOB_ID.encode() + b'"',
        b"{}",
        b'{"jobid": 7}',
        b'{"jobid": null}',
        b'{"jobid": ""}',
        b'{"jobid": "a b"}',
        json.dumps({"request": {"jobid": JOB_ID}}).encode(),
        b'{"jobid": "' + JOB_ID.encode(),
        b'{"jobid": "' + b"x" * 600 + b'"}',
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"jobid=" + JOB_ID.encode(),
    ],
)
def test_what_names_no_job_is_refused_and_nudges_nobody(body: bytes) -> None:
    watch = Watch()
    assert posted(WebhookReceiver(watch.nudge, SECRET), body).status == 400
    assert watch.nudged == []


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded", "no/sense;;", ""]
)
def test_the_content_type_does_not_matter(content_type: str) -> None:
    assert posted(WebhookReceiver(Watch().nudge, SECRET), callback(), content_type=content_type).status == 204


def test_a_body_of_a_megabyte_is_refused_by_what_it_is_and_by_what_it_says_it_is() -> None:
    watch = Watch()
    receiver = WebhookReceiver(watch.nudge, SECRET)
    assert posted(receiver, callback() + b" " * 1_000_000).status == 413
    for length in ("1000000", "524289", "9" * 5_000):
        assert posted(receiver, callback(), content_length=length).status == 413
    assert watch.nudged == []


@pytest.mark.parametrize("length", ["", "x", "-1", "524288", " 90 ", "²"])
def test_a_length_that_says_nothing_bad_is_no_matter(length: str) -> None:
    assert posted(WebhookReceiver(Watch().nudge, SECRET), callback(), content_length=length).status == 204


def test_the_largest_body_is_of_your_choosing() -> None:
    body = callback()
    assert posted(WebhookReceiver(Watch().nudge, max_bytes=len(body)), body).status == 204
    assert posted(WebhookReceiver(Watch().nudge, max_bytes=len(body) - 1), body).status == 413


@pytest.mark.parametrize(
    ("encoding", "status"), [("gzip", 415), ("br, gzip", 415), ("identity", 204), (" Identity ", 204), ("", 204)]
)
def test_compressed_bodies_are_refused_unread(encoding: str, status: int) -> None:
    assert posted(WebhookReceiver(Watch().nudge, SECRET), callback(), content_encoding=encoding).status == status


def test_callbacks_that_come_twice_late_or_in_any_order_are_all_welcome() -> None:
    watch = Watch()
    receiver = WebhookReceiver(watch.nudge, SECRET)
    for status in ("completed", "started", "completed", "created"):
        assert posted(receiver, callback(status=status)).status == 204
    assert watch.nudged == [JOB_ID] * 4
    # It has ended, by one of them or by a poll, and is watched no longer.
    watch.job_ids.clear()
    assert posted(receiver, callback()).status == 204
    assert watch.nudged == [JOB_ID] * 4
    assert posted(receiver, callback(OTHER_ID)).status == 404


def test_what_is_remembered_of_ended_jobs_is_bounded() -> None:
    watch = Watch({JOB_ID, *(str(number) for number in range(10_000))})
    receiver = WebhookReceiver(watch.nudge, SECRET)
    for job_id in (JOB_ID, *(str(number) for number in range(9_999)), JOB_ID, "9999"):
        assert posted(receiver, callback(job_id)).status == 204
    watch.job_ids.clear()
    assert [posted(receiver, callback(job_id)).status for job_id in ("0", "1", "9999", JOB_ID)] == [404, 204, 204, 204]


def test_a_nudge_that_says_nothing_is_believed_to_know_the_job() -> None:
    heard: list[str] = []
    receiver = WebhookReceiver(heard.append, SECRET)
    assert posted(receiver, callback()).status == 204
    assert heard == [JOB_ID]


@pytest.mark.parametrize("path", FIXTURES, ids=[path.stem for path in FIXTURES])
def test_a_callback_as_the_service_sends_it(path: Path) -> None:
    fixture = json.loads(path.read_text("utf-8"))
    if fixture["expect"]["kind"] == "record":
        body, job_id = json.dumps(fixture["body"]).encode(), fixture["body"]["jobid"]
        watch, expected = Watch({job_id}), (204, [job_id])
    else:
        body, watch, expected = fixture["raw_body"].encode(), Watch(), (fixture["expect"]["respond_http"], [])
    reply = posted(WebhookReceiver(watch.nudge, SECRET), body)
    assert (reply.status, watch.nudged) == expected


def test_a_forged_ending_only_nudges() -> None:
    """The record in a callback goes nowhere: nothing but the id is handed on."""
    watch = Watch()
    forged = json.dumps({"jobid": JOB_ID, "status": "completed", "response": {"media": [{"videoUrl": "http://evil.example/"}]}})
    posted(WebhookReceiver(watch.nudge, SECRET), forged.encode())
    assert watch.nudged == [JOB_ID]


TEXT = st.text(st.characters(codec=None), max_size=60)


@given(st.sampled_from(["POST", "GET", ""]) | TEXT, TEXT | st.just(GOOD), TEXT, st.dictionaries(TEXT, TEXT), st.binary())
def test_nothing_that_comes_in_raises_or_nudges(method: str, path: str, query: str, headers: dict[str, str], body: bytes) -> None:
    watch = Watch()
    reply = WebhookReceiver(watch.nudge, SECRET).answer(method, path, query, headers, body)
    assert 400 <= reply.status < 500
    assert watch.nudged == []


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.just(JOB_ID),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["jobid", "jobId", "request"]) | st.text(), inner)
    ),
    max_leaves=12,
)


@given(JSON)
def test_only_a_watched_id_in_its_place_nudges(value: object) -> None:
    watch = Watch()
    reply = posted(WebhookReceiver(watch.nudge, SECRET), json.dumps(value).encode())
    record = value[0] if isinstance(value, list) and len(value) == 1 else value
    named = [record.get("jobid"), record.get("jobId")] if isinstance(record, dict) else []
    assert reply.status in {204, 400, 404}
    assert watch.nudged == ([JOB_ID] if reply.status == 204 else [])
    assert (reply.status != 204) or JOB_ID in named


@given(st.integers(0, len(callback()) - 1), st.binary(min_size=1, max_size=3))
def test_a_damaged_callback_does_no_harm(place: int, damage: bytes) -> None:
    watch = Watch()
    body = callback()
    reply = posted(WebhookReceiver(watch.nudge, SECRET), body[:place] + damage + body[place + 1 :])
    assert reply.status in {204, 400, 404}
    assert set(watch.nudged) <= {JOB_ID}


# -- secrets and settings ------------------------------------------------------------------------------------------------------


def test_the_secret_is_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    receiver = WebhookReceiver(Watch().nudge, SECRET)
    replies = [posted(receiver, callback(), path) for path in (GOOD, "/wrong-secret")]
    shown = [repr(receiver), repr(vars(receiver)), *map(repr, replies), *(repr(vars(record)) for record in caplog.records)]
    assert caplog.records
    for text in shown[:1] + shown[2:]:
        assert SECRET not in text
        assert "wrong-secret" not in text
        assert "marta" not in text
    assert SECRET not in shown[1]


@pytest.mark.parametrize("secret", ["", " ", "a b", "a/b", "a?b", "a%20b", "ü", "a\n"])
def test_a_secret_must_fit_into_a_url(secret: str) -> None:
    with pytest.raises(UsageError, match="secret is made of") as refusal:
        WebhookReceiver(Watch().nudge, secret)
    assert not secret.strip() or secret not in str(refusal.value).replace("a secret", "")


def test_limits_that_are_none_are_refused() -> None:
    with pytest.raises(UsageError, match="positive"):
        WebhookReceiver(Watch().nudge, max_bytes=0)
    with pytest.raises(UsageError, match="positive"):
        WebhookReceiver(Watch().nudge, read_timeout=float("nan"))


def test_answers_are_counted() -> None:
    receiver = WebhookReceiver(Watch().nudge, SECRET)
    for path in (GOOD, GOOD, "/"):
        posted(receiver, callback(), path)
    assert receiver.stats() == {204: 2, 403: 1}
    assert repr(receiver) == "<WebhookReceiver with a secret>"
    assert repr(WebhookReceiver(print)) == "<WebhookReceiver open>"


# -- threads and loops ---------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_nudge_from_another_thread_arrives_on_the_loop_of_the_watch() -> None:
    arrived: asyncio.Queue[tuple[str, int]] = asyncio.Queue()
    receiver = WebhookReceiver(
        lambda job_id: arrived.put_nowait((job_id, threading.get_ident())), SECRET, loop=asyncio.get_running_loop()
    )
    reply = await asyncio.to_thread(posted, receiver, callback())
    assert reply.status == 204
    assert await arrived.get() == (JOB_ID, threading.get_ident())


@pytest.mark.asyncio
async def test_on_its_own_loop_a_nudge_is_called_at_once_and_its_answer_heard() -> None:
    watch = Watch()
    receiver = WebhookReceiver(watch.nudge, SECRET, loop=asyncio.get_running_loop())
    assert [posted(receiver, callback(job_id)).status for job_id in (JOB_ID, OTHER_ID)] == [204, 404]
    assert watch.nudged == [JOB_ID]


def test_a_loop_that_is_closed_watches_nothing() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    watch = Watch()
    assert posted(WebhookReceiver(watch.nudge, SECRET, loop=loop), callback()).status == 404
    assert posted(WebhookReceiver(watch.nudge, loop=loop), callback()).status == 204
    assert watch.nudged == []


def test_many_threads_at_once_do_no_harm() -> None:
    watch = Watch({str(number) for number in range(300)})
    receiver = WebhookReceiver(watch.nudge, SECRET)

    def call() -> None:
        for number in range(300):
            posted(receiver, callback(str(number)))

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert receiver.stats() == {204: 1200}

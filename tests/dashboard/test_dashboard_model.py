"""The dashboard's model: what each event makes of a card, of the counts, and of what is told."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from dashboard_kit import EMAIL, NOW, START, done, failed, flow_id, music_id, running, song, video

from asyncflow import Abandoned, Changed, Ended, ErrorInfo, Expiring, FlowJob, Job, Media, Unreachable
from asyncflow.dashboard.state import DashboardState, JobCard
from asyncflow.redaction import digest

if TYPE_CHECKING:
    from asyncflow import Event

TROUBLE = ErrorInfo("transport", "no answer", transient=True)
LATE = ErrorInfo("wait_timeout", "not over after 900 s; its status was started")


def only(model: DashboardState) -> JobCard:
    [number] = model.everything()
    card = model.card(number)
    assert card is not None
    return card


def model_of(*events: Event, now: float = NOW, **limits: int) -> DashboardState:
    model = DashboardState(**limits)
    for event in events:
        model.apply(event, now)
    return model


CHANGED = Changed(running(), None, START + timedelta(seconds=40))
CASES: list[tuple[list[Event], dict[str, Any]]] = [
    ([CHANGED], {"state": "running", "status": "started", "born": NOW - 60, "expected": NOW + 40, "prompt": "a kite"}),
    ([CHANGED], {"id": digest(flow_id()), "kind": "video", "service": "google-flow", "model": "veo-3.1-fast", "ended": None}),
    ([CHANGED, Ended(done())], {"state": "succeeded", "status": "completed", "ended": NOW - 5, "expected": None, "reason": ""}),
    ([Ended(failed())], {"state": "failed", "reason": "PUBLIC_ERROR_UNSAFE_GENERATION", "category": "policy"}),
    ([Ended(failed())], {"detail": "API error: 400", "prompt": "a storm", "ended": NOW}),
    ([Ended(failed(reason=None))], {"reason": "API error: 400", "detail": "API error: 400", "category": ""}),
    ([Ended(failed(reason=None, message=""))], {"reason": "no reason given", "detail": ""}),
    ([Ended(done(1, Media("video", "failed", reasons=("IP_PROHIBITED",))))], {"state": "no_output", "reason": "IP_PROHIBITED"}),
    ([Ended(done(1, Media("image", "unresolved")))], {"state": "no_output", "reason": "no reason given"}),
    ([Ended(done(1, video(), Media("video", "unresolved")))], {"state": "partial"}),
    ([CHANGED, Abandoned(flow_id(), LATE)], {"state": "abandoned", "reason": "the time was up", "prompt": "a kite"}),
    (
        [Abandoned(flow_id(), ErrorInfo("not_found", "Job not found"))],
        {"reason": "the service does not know it", "kind": "video"},
    ),
    (
        [Abandoned(flow_id(), ErrorInfo("server", reason="PUBLIC_X"), running(prompt="late"))],
        {"prompt": "late", "reason": "PUBLIC_X"},
    ),
    ([Unreachable(flow_id(), START, TROUBLE)], {"state": "silent", "moved": NOW, "status": ""}),
    ([CHANGED, Unreachable(flow_id(), START, TROUBLE), CHANGED], {"state": "running", "detail": ""}),
    ([Ended(done()), Unreachable(flow_id(), START, TROUBLE)], {"state": "succeeded"}),
    ([Ended(done()), CHANGED], {"state": "running", "ended": None}),
    ([Ended(done()), Expiring(done(), START, "links")], {"state": "succeeded", "expires": NOW}),
    ([CHANGED, Expiring(running(), START, "record")], {"expires": None}),
    ([Changed(song())], {"kind": "music", "service": "flowmusic", "born": NOW}),
    ([Abandoned(music_id(), TROUBLE)], {"kind": "music", "service": "flowmusic"}),
    ([Abandoned("anything", TROUBLE)], {"kind": "", "service": "", "id": digest("anything")}),
    # A birthday in the future, or weeks ago, is a clock that is wrong.
    ([Changed(running(created_at=START + timedelta(hours=1)))], {"born": NOW}),
    ([Changed(running(created_at=START - timedelta(days=9)))], {"born": NOW}),
    ([Ended(done(updated_at=START + timedelta(hours=1)))], {"ended": NOW}),
]


@pytest.mark.parametrize(("events", "expected"), CASES)
def test_what_events_make_of_a_card(events: list[Event], expected: dict[str, Any]) -> None:
    card = msgspec.structs.asdict(only(model_of(*events)))
    assert {name: card[name] for name in expected} == expected


def test_a_warning_about_a_job_that_is_not_shown_changes_nothing() -> None:
    model = DashboardState()
    assert not model.apply(Expiring(done(), START, "links"), NOW)
    assert model.place == 0


def test_each_change_tells_its_card() -> None:
    model = DashboardState()
    delta = model.apply(CHANGED, NOW)
    assert [card.number for card in delta.cards] == [1]
    assert not delta.gone
    assert [card.place for card in model.apply(Ended(done()), NOW).cards] == [2]


def test_files_tell_what_there_is_and_no_link() -> None:
    files = (video(duration=8.0), Media("video", "failed", reasons=("AUDIO",)), Media("image", "ok", "https://media.example/i"))
    model = model_of(Ended(done(1, *files)))
    told = msgspec.json.encode(only(model)).decode()
    assert [(file.kind, file.state, file.has_picture, file.duration, file.reason) for file in only(model).files] == [
        ("video", "ok", True, 8.0, ""),
        ("video", "failed", False, None, "AUDIO"),
        ("image", "ok", True, None, ""),
    ]
    assert "media.example" not in told
    assert "s3cret" not in told
    assert model.media(1) == files


def test_no_address_and_no_id_gets_into_a_card() -> None:
    text = f"see {flow_id(7)} of {EMAIL}, or https://media.example/x?Signature=s3cret"
    told = msgspec.json.encode(only(model_of(Ended(failed(message=text, reason=None))))).decode()
    for secret in ("jo-ann", "s3cret", "1104093012448"):
        assert secret not in told


def test_long_and_odd_words_are_cut_to_a_line() -> None:
    card = only(model_of(Changed(running(prompt="one\ntwo \x1b[31m" + "x" * 1000, model="m" * 1000))))
    assert card.prompt.startswith("one two [31mxxx")
    assert max(len(card.prompt), len(card.model)) == 240


# -- counts ------------------------------------------------------------------------------------------------------------------


def test_counts_follow_each_job_from_state_to_state() -> None:
    model = model_of(CHANGED, Changed(song()), Ended(failed(2)), Ended(failed(3)), Ended(failed(4, reason="OTHER")))
    assert model.states == {"running": 2, "failed": 3}
    assert model.kinds == {"video": 4, "music": 1}
    assert model.reasons == {"PUBLIC_ERROR_UNSAFE_GENERATION": 2, "OTHER": 1}
    model.apply(Ended(done()), NOW)
    model.apply(Ended(done(4)), NOW)
    assert model.states == {"running": 1, "failed": 2, "succeeded": 2}
    assert model.reasons == {"PUBLIC_ERROR_UNSAFE_GENERATION": 2}
    assert model.categories == {"PUBLIC_ERROR_UNSAFE_GENERATION": "policy"}


def test_a_job_that_answers_again_runs_again() -> None:
    model = model_of(CHANGED, Unreachable(flow_id(), START, TROUBLE))
    assert model.silent_ids() == [flow_id()]
    assert model.answered(flow_id())
    assert not model.answered(flow_id())
    assert not model.answered("no such job")
    assert (only(model).state, model.silent_ids(), model.states) == ("running", [], {"running": 1})


def test_a_job_that_is_not_watched_any_more_is_taken_out() -> None:
    model = model_of(CHANGED, Ended(done(2)))
    assert model.forget(flow_id()).gone == [1]
    assert not model.forget(flow_id())
    assert not model.forget(flow_id(2))
    assert (model.states, len(model), model.card(1), model.job_id(1)) == ({"succeeded": 1}, 1, None, None)


def test_reasons_are_so_many_and_no_more() -> None:
    model = model_of(*(Ended(failed(number, f"REASON {number}")) for number in range(1, 250)))
    assert len(model.reasons) == 201
    assert model.reasons["other reasons"] == 49
    assert model.reasons.total() == 249


def test_a_job_can_be_noted_without_its_record() -> None:
    model = DashboardState()
    assert model.note(flow_id(), "", NOW - 30, NOW - 30)
    assert not model.note(flow_id(), "", NOW - 30, NOW - 30)
    assert model.note(flow_id(), "started", NOW - 30, NOW - 9)
    card = only(model)
    assert (card.state, card.status, card.born, card.moved, card.kind) == ("running", "started", NOW - 30, NOW - 9, "video")


# -- what is kept ------------------------------------------------------------------------------------------------------------


def test_the_oldest_endings_go_first_and_go_on_counting() -> None:
    model = model_of(CHANGED, *(Ended(done(number)) for number in range(2, 8)), most_cards=4)
    assert model.everything() == [1, 5, 6, 7]
    assert (model.dropped, model.states) == (3, {"running": 1, "succeeded": 6})
    assert model.since(0) == ([1, 5, 6, 7], [4, 3, 2])


def test_running_jobs_stay_however_many() -> None:
    model = model_of(*(Changed(running(number)) for number in range(1, 9)), most_cards=3)
    assert len(model) == 8


def test_links_are_kept_for_the_last_jobs_only() -> None:
    model = model_of(*(Ended(done(number)) for number in range(1, 5)), most_links=2)
    assert [bool(model.media(number)) for number in range(1, 6)] == [False, False, True, True, False]
    model.shelve(1, done(1).media)
    model.shelve(99, done(1).media)
    assert [bool(model.media(number)) for number in range(1, 5)] == [True, False, False, True]


def test_inline_files_are_kept_up_to_a_size() -> None:
    def drawing(number: int) -> Job:
        return done(number, Media("image", "ok", encoded="x" * 400))

    model = model_of(*(Ended(drawing(number)) for number in range(1, 5)), most_bytes=1000)
    assert [bool(model.media(number)) for number in range(1, 5)] == [False, False, True, True]
    model.apply(Ended(done(4)), NOW)
    model.apply(Ended(drawing(5)), NOW)
    assert bool(model.media(3))


def test_a_job_with_too_many_files_shows_the_first() -> None:
    model = model_of(Ended(done(1, *(video(number) for number in range(20)))))
    assert len(only(model).files) == len(model.media(1)) == 8


def test_what_has_no_files_keeps_no_links() -> None:
    model = model_of(Ended(FlowJob(flow_id(), "completed", "video")))
    assert model.media(1) == ()


# -- what is told ------------------------------------------------------------------------------------------------------------


def test_whoever_knows_a_place_is_told_each_later_change_once() -> None:
    model = model_of(*(Changed(running(number)) for number in range(1, 4)))
    place = model.place
    for event in (Changed(running(1, "odd")), Ended(done(3)), Changed(running(1, "odder"))):
        model.apply(event, NOW)
    assert model.since(place) == ([3, 1], [])
    assert model.since(model.place) == ([], [])
    assert model.since(0) == ([2, 3, 1], [])
    assert model.everything() == [2, 3, 1]


def test_a_place_of_the_future_or_of_long_ago_is_not_known() -> None:
    model = model_of(*(Ended(done(number)) for number in range(1, 10)), most_cards=2)
    assert model.since(model.place + 1) is None
    model._forgotten = 5
    assert model.since(4) is None
    assert model.since(5) is not None


def test_the_gone_are_remembered_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncflow.dashboard.state._MOST_GONE", 3)
    model = model_of(*(Ended(done(number)) for number in range(1, 10)), most_cards=2)
    assert model.since(1) is None
    known = model.since(model.place - 4)
    assert known is not None
    assert set(known[1]) <= {4, 5, 6, 7}


def test_a_hundred_thousand_jobs_take_little() -> None:
    """A twentieth of them, counted in bytes and not in seconds."""
    import tracemalloc  # noqa: PLC0415 - it slows down whatever is measured with it

    count = 5_000
    tracemalloc.start()
    model = DashboardState()
    for number in range(count):
        model.apply(Changed(FlowJob(flow_id(number), "started", "video", record=msgspec.Raw(b"{}"))), NOW)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept / count < 1300
    assert len(model) == count

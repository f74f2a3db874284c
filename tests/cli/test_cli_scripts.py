"""`wait`, `stats` and `cancel`, run in this process: what scripts get of them."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec
import pytest
from secret_watch import leaks

from asyncflow import Event
from asyncflow.cli import main
from asyncflow.cli.commands.stats import mask
from asyncflow.redaction import digest
from asyncflow.simulator import Answer, SimulatorThread

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def fresh() -> Iterator[SimulatorThread]:
    """A simulator of this file's own, so that nobody else's jobs are counted."""
    with SimulatorThread(seed=5, speed=60) as running:
        yield running


class Done(NamedTuple):
    code: int
    out: str
    err: str


class Run(Protocol):
    def __call__(self, *arguments: str) -> Done: ...


@pytest.fixture
def run(fresh: SimulatorThread, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("USEAPI_TOKEN", fresh.token)
    monkeypatch.setenv("USEAPI_BASE_URL", fresh.url)

    def run(*arguments: str) -> Done:
        capfd.readouterr()
        code = main(arguments)
        out, err = capfd.readouterr()
        assert leaks(err) == []
        assert "--json" in arguments or leaks(out) == []
        return Done(code, out, err)

    return run


# -- wait -----------------------------------------------------------------------------------------------------------------------


def test_wait_tells_of_the_end_of_each_and_of_nothing_else(run: Run, fresh: SimulatorThread) -> None:
    ids = [*fresh.seed_jobs(2, age=600, fate="success"), *fresh.seed_jobs(duration=40, fate="success")]
    done = run("wait", *ids, "--interval", "200ms")
    lines = done.out.splitlines()
    assert (done.code, done.err, len(lines)) == (0, "", 3)
    assert {line.split()[1] for line in lines} == {digest(job_id) for job_id in ids}
    assert all("succeeded" in line for line in lines)


def test_wait_until_started_does_not_wait_for_the_end(run: Run, fresh: SimulatorThread) -> None:
    ids = [*fresh.seed_jobs(2, fate="endless"), *fresh.seed_jobs(age=600, fate="failed")]
    done = run("wait", *ids, "--until", "started", "--interval", "200ms", "--json")
    events = [msgspec.json.decode(line, type=Event) for line in done.out.splitlines()]
    assert sorted(event.type for event in events) == ["changed", "changed", "ended"]
    assert done.code == 1


def test_wait_fails_fast_with_the_code_of_the_failure(run: Run, fresh: SimulatorThread) -> None:
    [bad], endless = fresh.seed_jobs(age=600, fate="failed"), fresh.seed_jobs(3, fate="endless")
    done = run("wait", bad, *endless, "--fail-fast", "--quiet")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"asyncflow: {digest(bad)} video failed: ")
    assert "; 3 of 4 jobs still running: " in done.err
    lost = run("wait", "12345678901234567-user:1234-bot:google-flow", *endless, "--fail-fast")
    assert lost.code == 5
    assert "given up" in lost.out


def test_wait_has_limits(run: Run, fresh: SimulatorThread) -> None:
    done = run("wait", *fresh.seed_jobs(2, fate="endless"), "--timeout", "500ms", "--interval", "200ms")
    assert (done.code, done.out.count("given up: not over after")) == (3, 2)
    assert run("wait").err == "asyncflow: no job ids: name some, or a --file of them\n"


def test_wait_says_in_one_line_why_nothing_can_be_waited_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "12345678901234567-user:1234-bot:google-flow"
    monkeypatch.setenv("USEAPI_TOKEN", "user:1234-wrong")
    assert run("wait", name) == (4, "", "asyncflow: Unauthorized [HTTP 401]; is USEAPI_TOKEN right?\n")
    monkeypatch.setenv("USEAPI_BASE_URL", "http://127.0.0.1:1")
    done = run("wait", name)
    assert (done.code, done.out, done.err.count("\n")) == (5, "", 1)


# -- stats ----------------------------------------------------------------------------------------------------------------------


def test_stats_show_both_services_with_masked_accounts(run: Run, fresh: SimulatorThread) -> None:
    songs = fresh.seed_jobs(2, kind="music", fate="endless")
    videos = fresh.seed_jobs(30, fate="endless")
    done = run("stats", "--detail", "executing")
    assert done.code == 0
    assert all(word in done.out for word in ("google-flow  3 accounts", "ad***@example.com", "videos", "flowmusic", "at most"))
    assert digest(songs[0]) in done.out
    assert " more" in done.out
    assert max(map(len, done.out.splitlines())) < 80
    found = json.loads(run("stats", "--json", "--detail", "executing").out)
    assert set(found) == {"google-flow", "flowmusic", "errors"}
    assert set(videos) <= {row["job_id"] for row in found["google-flow"]["combined"]["executing"]}
    assert "google-flow" not in run("stats", "flowmusic").out
    assert "ended: " in run("stats", "google-flow", "--detail", "history").out


@pytest.mark.parametrize("path", ["/v1/flowmusic/jobs", "/v1/flowmusic/jobs/"])
def test_a_service_that_does_not_answer_is_told_and_the_other_is_shown(run: Run, fresh: SimulatorThread, path: str) -> None:
    fresh.play(path, [Answer(404, {}, b'{"error": "no account"}')])
    try:
        both, alone = run("stats", "--json"), run("stats", "flowmusic")
    finally:
        fresh.play(path, [])
    if alone.code:  # the client asks at one of the two
        assert (both.code, alone.code, alone.out) == (0, 5, "")
        assert "flowmusic: no account [HTTP 404]" in both.err
        assert json.loads(both.out)["errors"]["flowmusic"]["kind"] == "not_found"


@pytest.mark.parametrize(
    ("email", "shown"),
    [
        ("ada.lind@example.com", "ad***@example.com"),
        ("ab@example.com", "a***@example.com"),
        ("r_khan@example.com", "r***@example.com"),
        ("_x@example.com", "***@example.com"),
        ("jo***@example.com", "jo***@example.com"),
        ("@example.com", digest("@example.com")),
        ("nobody", digest("nobody")),
    ],
)
def test_an_address_is_masked_as_the_service_does_it(email: str, shown: str) -> None:
    assert mask(email) == shown
    assert leaks(mask(email)) == []


# -- cancel ---------------------------------------------------------------------------------------------------------------------


def test_cancel_gives_songs_up(run: Run, fresh: SimulatorThread) -> None:
    ids = fresh.seed_jobs(2, kind="music", fate="endless")
    assert run("cancel", ids[0]) == (0, f"{digest(ids[0])}  cancelled\n", "")
    assert run("cancel", ids[1], "--quiet") == (0, "", "")
    assert {truth.status for truth in fresh.truth() if truth.job_id in ids} == {"failed"}


def test_cancel_goes_on_after_one_that_is_not_there(run: Run, fresh: SimulatorThread) -> None:
    [song] = fresh.seed_jobs(kind="music", fate="endless")
    strange = "job:0f1e2d3c-4b5a-4678-9abc-def012345678-user:1234-ada@example.com-bot:flowmusic"
    done = run("cancel", strange, song, "--json")
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert done.code == 5
    assert [(line["job_id"], line["cancelled"]) for line in lines] == [(strange, False), (song, True)]
    assert lines[0]["error"]["kind"] == "not_found"
    assert run("cancel", strange).out.startswith(f"{digest(strange)}  No such job [HTTP 404]")


def test_cancel_refuses_a_list_with_a_video_as_a_whole(run: Run, fresh: SimulatorThread) -> None:
    [song], [video] = fresh.seed_jobs(kind="music", fate="endless"), fresh.seed_jobs(fate="endless")
    done = run("cancel", song, video)
    assert (done.code, done.out) == (2, "")
    assert done.err == f"asyncflow: only Flow Music jobs can be cancelled, not {digest(video)}; nothing was cancelled\n"
    assert next(truth.status for truth in fresh.truth() if truth.job_id == song) != "failed"


def test_cancel_ends_at_a_refused_token(run: Run, fresh: SimulatorThread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USEAPI_TOKEN", "user:1234-wrong")
    done = run("cancel", *fresh.seed_jobs(2, kind="music", fate="endless"))
    assert (done.code, done.out, done.err.count("HTTP 401")) == (4, "", 1)
    assert run("stats").code == 4
    assert os.environ["USEAPI_TOKEN"] not in done.err

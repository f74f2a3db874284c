import asyncio
import json
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from http.client import HTTPConnection
from typing import Any

import aiohttp
import pytest

import asyncflow.simulator
from asyncflow.simulator import Answer, Faults, Simulator, SimulatorThread

Call = Any  # the fixtures `call` and `read` of conftest.py


@pytest.mark.asyncio
async def test_jobs_are_seeded_over_http(simulator: Simulator, call: Call, read: Call) -> None:
    order = {"count": 10, "kind": "mix", "age": [0, 5], "duration": [4, 20], "reply_ref": "b", "prompt": "a pear"}
    status, body = await call("POST", "/_simulator/jobs", json=order)
    assert (status, len(body["job_ids"])) == (200, 10)
    kinds = [truth.kind for truth in simulator.truth()]
    assert (kinds.count("video"), kinds.count("image"), kinds.count("music")) == (5, 3, 2)
    assert (await read(body["job_ids"][0]))[1]["request"]["replyRef"] == "b-1"
    scripted = {"script": [[0, "created"], [0, "exploded"]], "kind": "image"}
    job_id = (await call("POST", "/_simulator/jobs", json=scripted))[1]["job_ids"][0]
    assert (await read(job_id))[1]["status"] == "exploded"
    assert len((await call("POST", "/_simulator/jobs"))[1]["job_ids"]) == 1


@pytest.mark.asyncio
async def test_bad_orders_are_explained(call: Call) -> None:
    for path, body in (
        ("jobs", b'{"kind": "poem"}'),
        ("jobs", b'{"fate": "glory"}'),
        ("jobs", b'{"colour": 1}'),
        ("jobs", b"{"),
        ("jobs", b"\xff"),
        ("play", b"{}"),
        ("play", b'{"target": "x", "answers": [{"base64": "?"}]}'),
    ):
        status, answer = await call("POST", f"/_simulator/{path}", data=body)
        assert (status, bool(answer["error"])) == (400, True)
    status, answer = await call("GET", "/_simulator/nothing")
    assert (status, "GET stats" in answer["controls"]) == (404, True)


@pytest.mark.asyncio
async def test_faults_are_set_over_http(simulator: Simulator, call: Call) -> None:
    assert (await call("GET", "/_simulator/faults"))[1]["reset"] == 0
    body = {"refuse_with": 500, "outages": [{"start": 1e9}], "latency": [0, 0]}
    assert (await call("PATCH", "/_simulator/faults", json=body))[0] == 200
    status, faults = await call("PATCH", "/_simulator/faults", json={"garble": 0.5})
    assert (status, faults["refuse_with"], faults["garble"]) == (200, 500, 0.5)
    assert simulator.faults.outages[0].end is None
    assert (await call("PUT", "/_simulator/faults", json=faults))[1] == faults
    assert (await call("PUT", "/_simulator/faults"))[1]["refuse_with"] is None
    assert (await call("PUT", "/_simulator/faults", json={"resett": 1}))[0] == 400


@pytest.mark.asyncio
async def test_counts_and_truth_are_told(simulator: Simulator, call: Call, read: Call) -> None:
    ended, running = simulator.seed_jobs(age=1000)[0], simulator.seed_jobs()[0]
    for _ in range(2):
        await read(ended)
    await read(running)
    stats = (await call("GET", "/_simulator/stats"))[1]
    assert (stats["requests"], stats["by_kind_and_status"], stats["jobs_ended"], stats["ends_shown"]) == (
        3,
        {"read 200": 3},
        1,
        1,
    )
    assert stats["lag_max"] == 0
    first, second = (await call("GET", "/_simulator/truth"))[1]
    assert (first["job_id"], first["reads"], first["ended"], first["expected"], first["lag"]) == (ended, 2, True, "succeeded", 0)
    assert (second["job_id"], second["reads"], second["ended"], second["lag"]) == (running, 1, False, None)
    media = (await call("GET", "/_simulator/media"))[1]
    assert [item["job_id"] for item in media] == [ended]


@pytest.mark.asyncio
async def test_answers_are_played_over_http(call: Call, read: Call) -> None:
    answers = [
        {"status": 500, "text": "no"},
        {"json": {"a": 1}, "headers": {"Content-Type": "application/json"}},
        {"base64": "aGk="},
    ]
    job_id = "j1-u1-email:a@example.com-bot:google-flow"
    assert (await call("POST", "/_simulator/play", json={"target": job_id, "answers": answers}))[1] == {"playing": 3}
    assert [await read(job_id) for _ in range(3)] == [(500, b"no"), (200, {"a": 1}), (200, b"hi")]


@pytest.mark.asyncio
async def test_a_reset_forgets_everything(simulator: Simulator, call: Call, read: Call) -> None:
    (job_id,) = simulator.seed_jobs()
    simulator.faults.refuse_with = 500
    await read(job_id)
    assert await call("POST", "/_simulator/reset") == (204, b"")
    stats = simulator.stats()
    assert (stats.requests, stats.jobs, simulator.faults) == (0, 0, Faults())
    assert stats.open_connections == 1
    assert (await read(job_id))[0] == 404


@pytest.mark.asyncio
async def test_a_simulator_runs_once_at_a_time() -> None:
    simulator = Simulator(faults=Faults(reset=0.5))
    with pytest.raises(RuntimeError, match="not running"):
        simulator.stats()
    async with simulator:
        with pytest.raises(RuntimeError, match="is running"):
            await simulator.start()
        simulator.faults = Faults(reset=0.25)
        assert simulator.url == f"http://127.0.0.1:{simulator.port}"
    await simulator.aclose()
    assert simulator.faults.reset == 0.25
    simulator.faults = Faults()
    async with simulator:
        assert simulator.seed_jobs(2, fate="partial", media=3)


@pytest.mark.asyncio
async def test_a_taken_port_is_an_error_that_leaves_nothing() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        simulator = Simulator(port=taken.getsockname()[1])
        with pytest.raises(OSError, match="in use"):
            await simulator.start()


@pytest.mark.asyncio
async def test_addresses_are_ones_that_can_be_called() -> None:
    async with Simulator(host="0.0.0.0", public_url="http://media.example.com") as simulator:  # noqa: S104 - what is tested
        assert simulator.url.startswith("http://127.0.0.1:")
        async with aiohttp.ClientSession() as session, session.get(f"{simulator.url}/_simulator/stats") as answer:
            assert answer.status == 200
    if socket.has_ipv6 and _has_loopback6():
        async with Simulator(host="::1") as simulator:
            assert simulator.url.startswith("http://[::1]:")


def _has_loopback6() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True


@pytest.mark.asyncio
async def test_twenty_thousand_jobs_have_twenty_thousand_ids(simulator: Simulator) -> None:
    assert len(set(simulator.seed_jobs(20_000, kind="mix"))) == 20_000


@pytest.mark.asyncio
async def test_two_simulators_of_one_seed_draw_the_same_fates() -> None:
    fates = []
    for _ in range(2):
        async with Simulator(seed=3, faults=Faults.preset("heavy")) as simulator:
            simulator.seed_jobs(50, kind="mix")
            fates.append([truth.fate for truth in simulator.truth()])
    assert fates[0] == fates[1]
    assert len(set(fates[0])) > 2


def test_the_thread_serves_synchronous_users() -> None:
    with SimulatorThread(seed=1, speed=60, faults=Faults(failed=1.0)) as simulator:
        job_id = simulator.script_job([(0, "created"), (0, "completed")], reply_ref="r")
        simulator.seed_jobs(2, kind="image", age=100)
        connection = HTTPConnection("127.0.0.1", simulator.port)
        connection.request("GET", f"/v1/google-flow/jobs/{job_id}", headers={"Authorization": f"Bearer {simulator.token}"})
        record = json.loads(connection.getresponse().read())
        connection.close()
        assert (record["status"], record["request"]["replyRef"]) == ("completed", "r")
        assert [truth.fate for truth in simulator.truth()] == ["success", "failed", "failed"]
        assert len(simulator.media(job_id)) == 1
        assert simulator.stats().by_kind == {"read": 1}
        assert simulator.now() > 0
        assert simulator.url.endswith(str(simulator.port))
        simulator.play("/x", [Answer(299)])
        simulator.faults.reset = 0.5
        simulator.faults = Faults()
        with pytest.raises(KeyError):
            simulator.media("unknown")
        with pytest.raises(RuntimeError, match="is running"):
            simulator.start()
        simulator.reset()
        assert simulator.truth() == []
        assert simulator.faults == Faults()
    simulator.close()
    assert "asyncflow-simulator" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(RuntimeError, match="not running"):
        simulator.stats()


def test_the_thread_tells_what_kept_it_from_listening() -> None:
    with SimulatorThread() as first:
        second = SimulatorThread(port=first.port)
        with pytest.raises(OSError, match="in use"):
            second.start()


def test_names_are_loaded_when_used() -> None:
    program = (
        "import sys, asyncflow.simulator as s; assert 'aiohttp' not in sys.modules; s.Simulator; assert 'aiohttp' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
    assert all(getattr(asyncflow.simulator, name) for name in asyncflow.simulator.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = asyncflow.simulator.nothing


def test_a_plain_library_is_refused_at_the_edge() -> None:
    with SimulatorThread() as simulator, pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{simulator.url}/v1/flowmusic/jobs", timeout=5)  # noqa: S310 - loopback


@pytest.mark.asyncio
async def test_no_task_is_left_behind(simulator: Simulator, call: Call) -> None:
    await call("GET", "/_simulator/stats")
    await simulator.aclose()
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert len(asyncio.all_tasks()) == 1, names

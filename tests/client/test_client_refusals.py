"""What is refused before there is a request, whose session and loop a client uses, and what `with_options` shares."""

from __future__ import annotations

import asyncio
import pprint

import aiohttp
import pytest
from service_kit import EMAIL, FLOW_ID, MUSIC_ID, TOKEN, assert_discreet, client_at, client_of, http, listening

from asyncflow import AsyncClient, AuthenticationError, JobNotFoundError, Pacer, UsageError, fixed_interval
from asyncflow.simulator import Simulator

MISSING = http(404, b'{"error": "Job not found"}')


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("USEAPI_TOKEN", raising=False)
    monkeypatch.delenv("USEAPI_BASE_URL", raising=False)


# -- tokens --------------------------------------------------------------------------------------------------------------------


def test_a_missing_token_is_named_at_once() -> None:
    with pytest.raises(UsageError, match="USEAPI_TOKEN"):
        AsyncClient()


@pytest.mark.parametrize("token", ["", "  ", "1234-abcdef", "user", "user:1234-abc\ndef", "user:1234 abcdef", "user:1234-äbcdef"])
def test_a_token_that_cannot_be_one_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(UsageError) as refusal:
        AsyncClient(token)
    assert "abc" not in str(refusal.value)


@pytest.mark.parametrize("token", ["", "  ", "\n"])
def test_an_empty_token_is_none(token: str) -> None:
    with pytest.raises(UsageError, match=r"no token: .* USEAPI_TOKEN"):
        AsyncClient(token)


@pytest.mark.parametrize("token", [1234, b"user:1234-abcdef", ["user:1234-abcdef"]])
def test_a_token_is_a_str_or_a_function(token: object) -> None:
    with pytest.raises(UsageError, match="token"):
        AsyncClient(token)  # type: ignore[arg-type] # that is the test


@pytest.mark.parametrize("token", [TOKEN, f"Bearer {TOKEN}", f"  {TOKEN}\n"])
def test_a_token_may_be_pasted_carelessly(token: str) -> None:
    async def read() -> list[str | None]:
        async with listening(MISSING) as server, AsyncClient(token, base_url=server.url) as client:
            with pytest.raises(JobNotFoundError):
                await client.get_job(FLOW_ID)
            return server.header("Authorization")

    assert asyncio.run(read()) == [f"Bearer {TOKEN}"]


def test_the_environment_says_token_and_server(monkeypatch: pytest.MonkeyPatch) -> None:
    async def read() -> list[str | None]:
        async with listening(MISSING) as server:
            monkeypatch.setenv("USEAPI_TOKEN", TOKEN)
            monkeypatch.setenv("USEAPI_BASE_URL", server.url)
            async with AsyncClient() as client:
                with pytest.raises(JobNotFoundError):
                    await client.get_job(FLOW_ID)
            return server.header("Authorization")

    assert asyncio.run(read()) == [f"Bearer {TOKEN}"]


@pytest.mark.asyncio
async def test_a_token_function_is_asked_for_each_request() -> None:
    tokens = iter([f"{TOKEN}1", f"{TOKEN}2"])

    async def token() -> str:
        return next(tokens)

    async with listening(MISSING) as server, AsyncClient(token, base_url=server.url) as client:
        for _ in range(2):
            with pytest.raises(JobNotFoundError):
                await client.get_job(FLOW_ID)
        assert server.header("Authorization") == [f"Bearer {TOKEN}1", f"Bearer {TOKEN}2"]


@pytest.mark.asyncio
@pytest.mark.parametrize("rubbish", [None, "", "abcdef", 7, b"user:1-a", "user:1-a\r\nX: y"])
async def test_rubbish_from_a_token_function_is_refused_before_a_request(
    rubbish: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USEAPI_TOKEN", TOKEN)

    async def token() -> object:
        return rubbish

    async with (
        listening(MISSING) as server,
        AsyncClient(token, base_url=server.url) as client,  # type: ignore[arg-type] # that is the test
    ):
        with pytest.raises(UsageError, match="token"):
            await client.get_job(FLOW_ID)
        with pytest.raises(UsageError, match="token"):
            await client.wait(FLOW_ID)
        assert server.requests == []
        assert client.pacer.stats().in_flight == 0


@pytest.mark.asyncio
async def test_a_token_function_that_is_not_async_is_refused() -> None:
    async with AsyncClient(lambda: TOKEN, base_url="http://127.0.0.1:9") as client:  # type: ignore[arg-type] # the test
        with pytest.raises(UsageError, match="async"):
            await client.get_job(FLOW_ID)
        assert client.pacer.stats().in_flight == 0


@pytest.mark.asyncio
async def test_an_error_of_a_token_function_comes_out_as_it_is() -> None:
    async def token() -> str:
        raise LookupError("the vault is closed")

    async with AsyncClient(token, base_url="http://127.0.0.1:9") as client:
        with pytest.raises(LookupError, match="vault"):
            await client.get_job(FLOW_ID)
        with pytest.raises(LookupError, match="vault"):
            await client.wait_all([FLOW_ID, MUSIC_ID])
        assert client.pacer.stats().in_flight == 0


# -- ids, services, options, base URLs -----------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "job_id", ["", "   ", "nonsense", f"{FLOW_ID}2", "j1-u1-email:jo-ann@example.com-bot:runway", "%3A", "a" * 600]
)
async def test_an_id_that_cannot_be_one_is_refused_before_a_request(job_id: str) -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        for call in (client.get_job, client.wait, client.cancel):
            with pytest.raises(UsageError) as refusal:
                await call(job_id)
            assert_discreet(str(refusal.value))
        assert simulator.stats().requests == 0


@pytest.mark.asyncio
async def test_an_unknown_service_is_refused_before_a_request() -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        with pytest.raises(UsageError, match="runway"):
            await client.get_job(FLOW_ID, service="runway")
        assert simulator.stats().requests == 0


@pytest.mark.asyncio
async def test_a_single_str_for_many_ids_is_refused() -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        with pytest.raises(UsageError, match="list"):
            await client.wait_all(FLOW_ID)


@pytest.mark.parametrize(
    "base_url",
    [
        *("", "   ", "localhost", "localhost:8080", "ftp://example.com", "http://", "//example.com", "http:example.com"),
        *("http://example.com:99999", "http://example.com:port", "http://example.com?key=1", "http://example.com#top"),
        *("http://user:pw@example.com", "http://:pw@example.com", "http://exa mple.com", "http://example.com/a b", "http://a\nb"),
    ],
)
def test_a_base_url_that_cannot_be_one_is_refused_and_not_shown(base_url: str) -> None:
    with pytest.raises(UsageError, match="base URL") as refusal:
        AsyncClient(TOKEN, base_url=base_url)
    assert "pw" not in str(refusal.value)


def test_a_base_url_is_a_str() -> None:
    with pytest.raises(UsageError, match="base URL"):
        AsyncClient(TOKEN, base_url=b"http://example.com")  # type: ignore[arg-type] # that is the test


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("ending", "prefix"), [("", ""), ("/", ""), ("/v1", ""), ("/v1/", ""), ("/proxy/", "/proxy"), ("/p/v1", "/p")]
)
async def test_a_base_url_may_end_in_several_ways(ending: str, prefix: str) -> None:
    async with listening(MISSING) as server, client_at(server.url.upper().replace("HTTP", "HTTP") + ending) as client:
        with pytest.raises(JobNotFoundError):
            await client.get_job(FLOW_ID)
        assert server.request_lines == [f"GET {prefix}/v1/google-flow/jobs/{FLOW_ID} HTTP/1.1"]


@pytest.mark.parametrize(
    "options",
    [
        *({"timeout": 0}, {"timeout": -1}, {"timeout": float("nan")}, {"timeout": float("inf")}),
        *({"max_retries": -1}, {"concurrency": 0}, {"rate": 0}, {"rate": -1.0}, {"rate": float("nan")}),
        *({"timeout": None}, {"timeout": "5"}, {"max_retries": None}, {"concurrency": "many"}, {"rate": "fast"}),
    ],
)
def test_an_option_that_cannot_be_one_is_named(options: dict[str, object]) -> None:
    [name] = options
    with pytest.raises(UsageError, match=name):
        AsyncClient(TOKEN, **options)  # type: ignore[arg-type] # the values are the test


@pytest.mark.asyncio
async def test_a_timeout_of_a_call_is_a_number() -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        for call in (client.get_job, client.wait):
            with pytest.raises(UsageError, match="timeout"):
                await call(FLOW_ID, timeout=float("nan"))
            with pytest.raises(UsageError, match="timeout"):
                await call(FLOW_ID, timeout="5")  # type: ignore[arg-type] # that is the test
        with pytest.raises(UsageError, match="timeout"):
            await client.wait_all([FLOW_ID], timeout=float("nan"))
        assert simulator.stats().requests == 0


# -- whose session, whose loop -------------------------------------------------------------------------------------------------


def test_nothing_is_opened_before_the_first_request() -> None:
    client = AsyncClient(TOKEN)
    assert "open" in repr(client)
    asyncio.run(client.aclose())
    assert "closed" in repr(client)


@pytest.mark.asyncio
async def test_a_closed_client_says_so() -> None:
    async with Simulator() as simulator:
        [job_id] = simulator.seed_jobs(age=600)
        async with AsyncClient(TOKEN, base_url=simulator.url) as client:
            await client.get_job(job_id)
        await client.aclose()
        with pytest.raises(UsageError, match="closed"):
            await client.get_job(job_id)
        with pytest.raises(UsageError, match="closed"):
            await client.wait(job_id)
        with pytest.raises(UsageError, match="closed"):
            await client.wait_all([job_id])
        with pytest.raises(UsageError, match="closed"):
            await client.submit("google-flow/videos", {"prompt": "a kite"})
        with pytest.raises(UsageError, match="closed"):
            async with client:
                pass
        assert simulator.stats().requests == 1


@pytest.mark.asyncio
async def test_a_watch_through_a_closed_client_abandons_nothing() -> None:
    async with Simulator() as simulator:
        async with AsyncClient(TOKEN, base_url=simulator.url) as client:
            watcher = client.watch(simulator.seed_jobs(3))
        with pytest.raises(UsageError, match="closed"):
            await anext(watcher)


@pytest.mark.asyncio
async def test_closing_the_client_ends_a_watch_and_abandons_nothing() -> None:
    async with Simulator() as simulator:
        async with AsyncClient(TOKEN, base_url=simulator.url) as client:
            watcher = client.watch(simulator.seed_jobs(3, fate="endless"), policy=fixed_interval(0.2))
            seen = [await anext(watcher) for _ in range(3)]
        with pytest.raises(UsageError, match="closed"):
            seen += [event async for event in watcher]
        assert {type(event).__name__ for event in seen} == {"Changed"}
        assert client.pacer.stats().in_flight == 0


@pytest.mark.asyncio
async def test_closing_the_client_ends_a_request_under_way() -> None:
    async with listening() as server:
        client = AsyncClient(TOKEN, base_url=server.url)
        reading = asyncio.create_task(client.get_job(FLOW_ID))
        while not server.requests:
            await asyncio.wait({reading}, timeout=0.01)
        await client.aclose()
        with pytest.raises(UsageError, match="closed"):
            await reading
        assert client.pacer.stats().in_flight == 0


@pytest.mark.asyncio
async def test_closing_the_client_while_the_token_is_fetched_opens_nothing() -> None:
    asked, told = asyncio.Event(), asyncio.Event()

    async def token() -> str:
        asked.set()
        await told.wait()
        return TOKEN

    async with listening(MISSING) as server:
        client = AsyncClient(token, base_url=server.url)
        reading = asyncio.create_task(client.get_job(FLOW_ID))
        await asked.wait()
        await client.aclose()
        told.set()
        with pytest.raises(UsageError, match="closed"):
            await reading
        assert server.requests == []
        assert client.pacer.stats().in_flight == 0


def test_a_client_belongs_to_the_loop_of_its_first_request() -> None:
    client = AsyncClient(TOKEN, base_url="http://127.0.0.1:9")

    async def enter() -> None:
        await client.__aenter__()

    asyncio.run(enter())
    with pytest.raises(UsageError, match="event loop"):
        asyncio.run(enter())

    async def wait() -> None:
        with pytest.raises(UsageError, match="event loop"):
            await client.get_job(FLOW_ID)
        with pytest.raises(UsageError, match="event loop"):
            await client.wait_all([FLOW_ID])

    asyncio.run(wait())
    asyncio.run(client.aclose())


@pytest.mark.asyncio
async def test_a_borrowed_session_is_used_and_never_closed() -> None:
    async with Simulator() as simulator, aiohttp.ClientSession(headers={"X-Mine": "1"}) as session:
        [job_id] = simulator.seed_jobs(age=600)
        async with AsyncClient(TOKEN, base_url=simulator.url, session=session) as client:
            await client.get_job(job_id)
        assert not session.closed
        async with session.get(f"{simulator.url}/_simulator/stats") as answer:
            assert answer.status == 200


@pytest.mark.asyncio
async def test_a_borrowed_session_that_was_closed_is_named() -> None:
    async with aiohttp.ClientSession() as session:
        client = AsyncClient(TOKEN, base_url="http://127.0.0.1:9", session=session)
    with pytest.raises(UsageError, match="session"):
        await client.get_job(FLOW_ID)
    assert client.pacer.stats().in_flight == 0


@pytest.mark.asyncio
async def test_a_borrowed_session_that_raises_for_status_changes_nothing() -> None:
    async with (
        listening(MISSING) as server,
        aiohttp.ClientSession(raise_for_status=True) as session,
        AsyncClient(TOKEN, base_url=server.url, session=session) as client,
    ):
        with pytest.raises(JobNotFoundError):
            await client.get_job(FLOW_ID)


# -- with_options --------------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_with_options_shares_connection_and_budget() -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        [job_id] = simulator.seed_jobs(age=600)
        other = client.with_options(timeout=5, max_retries=0, policy=fixed_interval(1))
        await client.get_job(job_id)
        await other.get_job(job_id)
        assert other.pacer is client.pacer
        assert simulator.stats().connections == 1
        assert client.pacer.stats().starts["interactive"] == 2
        await other.aclose()
        with pytest.raises(UsageError, match="closed"):
            await client.get_job(job_id)


@pytest.mark.asyncio
async def test_with_options_can_change_the_token() -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        [job_id] = simulator.seed_jobs(age=600)
        with pytest.raises(AuthenticationError):
            await client.with_options(token="user:9-stranger").get_job(job_id)
        assert (await client.get_job(job_id)).is_terminal


@pytest.mark.parametrize("options", [{"timeout": 0}, {"max_retries": -1}, {"token": "x"}])
def test_with_options_checks_them(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        AsyncClient(TOKEN).with_options(**options)  # type: ignore[arg-type] # the values are the test


def test_two_clients_may_share_a_budget() -> None:
    pacer = Pacer(rate=5)
    assert AsyncClient(TOKEN, pacer=pacer).pacer is AsyncClient(TOKEN, pacer=pacer).pacer


def test_no_repr_shows_a_token() -> None:
    client = AsyncClient(TOKEN, base_url="http://127.0.0.1:9")
    assert_discreet(repr(client) + pprint.pformat(vars(client)) + repr(client.watch([MUSIC_ID])) + pprint.pformat(client.pacer))
    assert EMAIL not in repr(client)

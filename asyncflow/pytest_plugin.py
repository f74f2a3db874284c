"""Fixtures for tests of what is built on asyncflow; pytest finds them by itself wherever asyncflow is installed.

`asyncflow_simulator` is the service, `asyncflow_client` a client of it, and `@pytest.mark.virtual_time` lets the hours of a test
pass in no time. They are synchronous and belong to no runner: plain tests, asyncio.run, pytest-asyncio and anyio's plugin use
the same. Nothing heavy is imported before a test asks for it.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, cast

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Mapping

    from asyncflow import AsyncClient
    from asyncflow.simulator import Simulator, SimulatorThread

__all__ = ["asyncflow_client", "asyncflow_simulator"]

_MARKS = (
    "virtual_time(limit=...): run the coroutine in virtual time, where hours take milliseconds; see asyncflow.testing",
    "asyncflow_simulator(**options): what to make the fixture's simulator with; see asyncflow.simulator.Simulator",
)

_PORT = 8080
"""Any would do: the addresses of virtual time are those of one event loop."""

_INSTANT_POLLS = 0.05
"""Seconds between polls in real time, where a test does not wait for what it could see at once."""

_WITHIN = pytest.StashKey["Simulator"]()


def pytest_configure(config: pytest.Config) -> None:
    """Make the marks known."""
    for mark in _MARKS:
        config.addinivalue_line("markers", mark)


@pytest.fixture
def asyncflow_simulator(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Generator[SimulatorThread | Simulator]:
    """Be the service, for one test: jobs by `seed_jobs` and `script_job`, trouble by `faults` and `play`, what it saw by `stats`.

    USEAPI_TOKEN and USEAPI_BASE_URL lead to it. It listens on a free port of this machine, in a thread of its own; in virtual
    time within the test's event loop, from the first line of the test to the last.
    """
    test = _test_of(request)
    options = _options(test, "asyncflow_simulator")
    if _is_virtual(test):
        from asyncflow.simulator import Simulator  # noqa: PLC0415 - not before a test asks for it

        options.setdefault("port", _PORT)
        test.stash[_WITHIN] = service = Simulator(**options)
        _lead_to(service.token, f"http://127.0.0.1:{options['port']}", monkeypatch)
        yield service
    else:
        from asyncflow.simulator import SimulatorThread  # noqa: PLC0415 - not before a test asks for it

        with SimulatorThread(**options) as thread:
            _lead_to(thread.token, thread.url, monkeypatch)
            yield thread


def _lead_to(token: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USEAPI_TOKEN", token)
    monkeypatch.setenv("USEAPI_BASE_URL", url)


@pytest.fixture
def asyncflow_client(request: pytest.FixtureRequest, asyncflow_simulator: SimulatorThread | Simulator) -> AsyncClient:
    """Be a client of `asyncflow_simulator`, closed with the event loop that uses it, if not before.

    In virtual time it polls as it does elsewhere; in real time twenty times a second, so that a test need not wait.
    """
    from asyncflow import AsyncClient, fixed_interval  # noqa: PLC0415 - not before a test asks for it

    closers: list[AsyncGenerator[None]] = []

    async def token() -> str:
        if not closers:
            closers.append(_close_at_the_end(client))
            await anext(closers[0])
        return asyncflow_simulator.token

    client = AsyncClient(token, policy=None if _is_virtual(_test_of(request)) else fixed_interval(_INSTANT_POLLS))
    return client


async def _close_at_the_end(client: AsyncClient) -> AsyncGenerator[None]:
    """Wait for the end of the event loop, which closes the generators that are still open in it, and close *client*."""
    try:
        yield
    finally:
        await client.aclose()


# -- virtual time -----------------------------------------------------------------------------------------------------------


def _test_of(request: pytest.FixtureRequest) -> pytest.Item:
    return cast("pytest.Item", request.node)  # pyright: ignore[reportUnknownMemberType] - pytest leaves it open


def _options(test: pytest.Item, name: str) -> dict[str, Any]:
    mark = test.get_closest_marker(name)
    return {} if mark is None else dict(mark.kwargs)


def _is_virtual(test: pytest.Item) -> bool:
    return test.get_closest_marker("virtual_time") is not None and inspect.iscoroutinefunction(getattr(test, "obj", None))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Run a coroutine marked `virtual_time` in a loop of its own, unless its runner brings such a loop."""
    if not isinstance(item, pytest.Function) or not _is_virtual(item):
        return (yield)
    test = item.obj
    item.obj = _on_loop_of_runner(item) if _brings_loop(item) else _on_loop_of_its_own(item)
    try:
        return (yield)
    finally:
        item.obj = test


def _brings_loop(item: pytest.Function) -> bool:
    """Return whether somebody has told the test's runner which event loop to take: a hook, or a fixture of anyio's plugin."""
    backend = item.funcargs.get("anyio_backend")
    if isinstance(backend, tuple):
        return "loop_factory" in backend[1]
    factories = getattr(item.ihook, "pytest_asyncio_loop_factories", None)
    return _is_asyncio(item) and factories is not None and bool(factories.get_hookimpls())


def _is_asyncio(item: pytest.Function) -> bool:
    """Return whether pytest-asyncio runs this test: it has a class of its own for those."""
    return type(item).__module__.startswith("pytest_asyncio")


def _on_loop_of_runner(item: pytest.Function) -> Callable[..., object]:
    test = item.obj

    @functools.wraps(test)
    async def main(**arguments: object) -> None:
        import asyncio  # noqa: PLC0415 - not before a test runs

        from asyncflow.testing import VirtualTimeLoop  # noqa: PLC0415 - not before a test asks for it

        if not isinstance(asyncio.get_running_loop(), VirtualTimeLoop):
            pytest.fail("marked virtual_time, and run on a loop of real time: see docs/testing.md, async fixtures", pytrace=False)
        await _with_simulator(item, test, arguments)

    return main


def _on_loop_of_its_own(item: pytest.Function) -> Callable[..., object]:
    test, is_awaited = item.obj, _is_asyncio(item)
    options = _options(item, "virtual_time")

    @functools.wraps(test)
    def main(**arguments: object) -> object:
        from asyncflow.testing import run  # noqa: PLC0415 - not before a test asks for it

        run(_with_simulator(item, test, arguments), **options)
        # pytest-asyncio expects something that it can run on its own loop; nothing is left to be done there.
        return _nothing() if is_awaited else None

    # What is wrapped shall not be taken for the test itself, which is a coroutine function.
    vars(main).pop("__wrapped__", None)
    return main


async def _with_simulator(item: pytest.Function, test: Callable[..., Any], arguments: Mapping[str, object]) -> None:
    service = item.stash.get(_WITHIN, None)
    if service is None:
        await test(**arguments)
    else:
        async with service:
            await test(**arguments)


async def _nothing() -> None:
    pass

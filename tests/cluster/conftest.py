from __future__ import annotations

import os
from contextlib import ExitStack
from itertools import count
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from cluster_engines import ENGINES, Engine
from cluster_network import obstacle

from asyncflow.cluster import MemoryStore, RedisStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from cluster_kit import AnyStore

_numbers = count()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if os.environ.get("ASYNCFLOW_LONG") and (reason := obstacle()):
        terminalreporter.write_line(f"tests/cluster/test_network.py was left out: no network can be cut here ({reason})")


@pytest.fixture(scope="session")
def engine_named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Engine]]:
    """Servers, each started when it is first asked for and shared by all tests: each of them takes a queue of its own."""
    running: dict[str, Engine] = {}
    with ExitStack() as stack:

        def named(name: str) -> Engine:
            if name not in running:
                running[name] = stack.enter_context(Engine(ENGINES[name], tmp_path_factory.mktemp("engine")))
            return running[name]

        yield named


@pytest.fixture
def engine(engine_named: Callable[[str], Engine]) -> Engine:
    """The newest server there is."""
    return engine_named(next(iter(ENGINES)))


@pytest.fixture
def queue() -> str:
    return f"test-{next(_numbers)}"


@pytest_asyncio.fixture(params=["memory", *ENGINES])
async def store(request: pytest.FixtureRequest, engine_named: Callable[[str], Engine], queue: str) -> AsyncIterator[AnyStore]:
    """Every kind of store in turn."""
    if request.param == "memory":
        yield MemoryStore(queue)
    else:
        async with RedisStore(engine_named(request.param).url, queue) as made:
            yield made

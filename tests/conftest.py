from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest

from asyncflow import testing

if TYPE_CHECKING:
    from collections.abc import Generator


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "virtual_time(limit=...): run the coroutine in virtual time, see asyncflow.testing")


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Module | pytest.Class, name: str, obj: object) -> None:
    # Virtual time is asyncio's, so the mark need not be repeated; a mark on the class or module keeps its own options.
    if (
        inspect.iscoroutinefunction(obj)
        and collector.istestfunction(obj, name)
        and collector.get_closest_marker("asyncio") is None
    ):
        own = {mark.name for mark in getattr(obj, "pytestmark", ())}
        is_virtual = "virtual_time" in own or collector.get_closest_marker("virtual_time") is not None
        if is_virtual and "asyncio" not in own:
            pytest.mark.asyncio(obj)


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_asyncio_loop_factories(item: pytest.Item) -> Generator[None, testing.LoopFactories | None, testing.LoopFactories]:
    return testing.loop_factories(item, (yield))

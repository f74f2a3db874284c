from __future__ import annotations

import inspect
import logging
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from secret_watch import LogWatch

from asyncflow import testing

if TYPE_CHECKING:
    from collections.abc import Generator

    from asyncflow.testing.loop import LoopFactories


# How fast the machine is must not decide whether a test passes.
settings.register_profile("unhurried", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


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
def pytest_asyncio_loop_factories(item: pytest.Item) -> Generator[None, LoopFactories | None, LoopFactories]:
    return testing.loop_factories(item, (yield))


@pytest.fixture(autouse=True)
def no_secret_is_logged() -> Generator[LogWatch]:
    """Fail whichever test has anything logged, at whatever level of ours, that shows a token, an address or a signed link."""
    watch, root, ours = LogWatch(), logging.getLogger(), logging.getLogger("asyncflow")
    level = ours.level
    root.addHandler(watch)
    ours.setLevel(logging.DEBUG)
    yield watch
    ours.setLevel(level)
    root.removeHandler(watch)
    assert watch.leaks == []


def pytest_xdist_auto_num_workers() -> int:
    """Run two workers per core: most tests wait most of the time."""
    return 2 * (os.cpu_count() or 1)

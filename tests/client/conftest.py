"""What a client says and makes of the answers is the same in both lanes: these files are run in each."""

from __future__ import annotations

import pytest

LANES = ("fast", "reference")
_IN_BOTH = {"test_client_reads", "test_client_refusals", "test_client_retries", "test_client_strangers", "test_lanes"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.module is not None and metafunc.module.__name__ in _IN_BOTH:
        metafunc.fixturenames.append("lane")
        metafunc.parametrize("lane", LANES, indirect=True)


@pytest.fixture
def lane(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The lane of the clients that a test makes, by its environment."""
    monkeypatch.setenv("ASYNCFLOW_LANE", request.param)
    return str(request.param)

"""What a client says and makes of the answers is the same with both transports: these files are run in each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from service_kit import SECURITY

if TYPE_CHECKING:
    from collections.abc import Iterator

TRANSPORTS = ("fast", "session")
_IN_BOTH = {"test_client_reads", "test_client_refusals", "test_client_retries", "test_client_strangers", "test_transports"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.module is not None and metafunc.module.__name__ in _IN_BOTH:
        metafunc.fixturenames.append("transport")
        # What happens on a connection happens with TLS otherwise: another transport reads and closes.
        secured = tuple(f"{transport} TLS" for transport in TRANSPORTS) if metafunc.module.__name__ == "test_transports" else ()
        metafunc.parametrize("transport", TRANSPORTS + secured, indirect=True)


@pytest.fixture
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The transport of the clients that a test makes, by its environment, and whether servers speak TLS."""
    name, _, tls = str(request.param).partition(" ")
    monkeypatch.setenv("ASYNCFLOW_TRANSPORT", name)
    if tls:
        SECURITY.switch_on()
    yield name
    SECURITY.switch_off()

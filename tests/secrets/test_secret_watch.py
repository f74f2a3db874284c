"""The watch over secrets sees what it is there to see, in every spelling, and lets the rest pass."""

from __future__ import annotations

import logging
from urllib.parse import quote

import pytest
from secret_watch import LogWatch, leaks

ADDRESS = "jo-ann+flow@mail.example.com"


@pytest.mark.parametrize(
    "text",
    [
        ADDRESS,
        f"job {quote(ADDRESS)} gone",
        quote(quote(ADDRESS)),
        ADDRESS.encode().hex(),
        ADDRESS.encode().hex().upper(),
        "user:1234-abcdef",
        "Bearer user%3A1234-abcdef",
        "user%253A1234-x",
        "https://cdn.example/v?Expires=1&x",
        "GET /v?a=1&Signature=ab",
        "?X-Goog-Signature=0",
        "j1104093012448120573v-u1234-email:a@example.com-bot:google-flow",
    ],
)
def test_a_secret_is_seen(text: str) -> None:
    assert leaks(text) != []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ma***@example.com was refused",
        "set USEAPI_TOKEN to your API token (user:<number>-...)",
        "job 8244f1551f: not found [HTTP 404]",
        "https://cdn.example/v?…",
        "Bearer <token>, <e-mail>",
        "d41d8cd98f00b204e9800998ecf8427e",
        "1,000 @ 2 a second",
    ],
)
def test_other_texts_pass(text: str) -> None:
    assert leaks(text) == []


@pytest.mark.parametrize("values", [{"extra": {"job": ADDRESS}}, {"exc_info": (ValueError, ValueError(ADDRESS), None)}], ids=str)
def test_values_and_tracebacks_of_records_are_looked_into(values: dict[str, object]) -> None:
    watch = LogWatch()
    logger = logging.Logger("asyncflow.example")  # noqa: LOG001 - one that nobody else hears
    logger.addHandler(watch)
    logger.warning("event", **values)  # type: ignore[arg-type] # a parameter
    assert [leak.split(":")[0] for leak in watch.leaks] == ["asyncflow.example"] * len(watch.leaks) != []
    assert watch.records == 1

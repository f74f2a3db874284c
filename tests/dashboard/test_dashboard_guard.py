"""Who may ask: hosts, sites and tokens, as tables."""

from __future__ import annotations

import pytest
from dashboard_kit import TOKEN

from asyncflow.dashboard.auth import HEADERS, AccessGuard
from asyncflow.dashboard.http import WebRequest


def ask(**headers: str) -> WebRequest:
    async def read() -> bytes | None:
        return b""

    named = {"host": "127.0.0.1:8080"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return WebRequest("GET", "/", "", named, read, "/")


@pytest.mark.parametrize(
    ("host", "is_known"),
    [
        ("127.0.0.1:8080", True),
        ("127.0.0.1", True),
        ("[::1]:8080", True),
        ("[::1]", True),
        ("localhost:8080", True),
        ("LOCALHOST", True),
        ("jobs.localhost:1", True),
        ("192.168.1.20:8080", True),
        ("jobs.example.com", True),
        ("Jobs.Example.com:443", True),
        ("jobs.example.com.:443", True),
        ("evil.example.net", False),
        ("127.0.0.1.evil.example.net", False),
        ("localhost.evil.example.net:8080", False),
        ("evil.example.net:127.0.0.1", False),
        ("jobs.example.com.evil.net", False),
        ("[evil.example.net]", False),
        ("", False),
        ("a b", False),
        ("@127.0.0.1", False),
        ("2130706433", False),
        ("0x7f000001", False),
    ],
)
def test_another_host_is_refused(host: str, is_known: bool) -> None:  # noqa: FBT001 - a column of the table
    """A website whose name leads to this machine cannot read the page: the browser names that website."""
    guard = AccessGuard(TOKEN, ["Jobs.example.com"])
    assert (guard.stranger(ask(host=host)) is None) is is_known


@pytest.mark.parametrize(
    ("headers", "is_same"),
    [
        ({}, True),
        ({"origin": "http://127.0.0.1:8080"}, True),
        ({"origin": "HTTP://127.0.0.1:8080"}, True),
        ({"host": "jobs.example.com", "origin": "https://jobs.example.com"}, True),
        ({"host": "jobs.example.com", "origin": "https://jobs.example.com:443"}, True),
        ({"host": "jobs.example.com:443", "origin": "https://jobs.example.com"}, True),
        ({"origin": "http://127.0.0.1:8081"}, False),
        ({"origin": "http://127.0.0.1"}, False),
        ({"origin": "http://localhost:8080"}, False),
        ({"origin": "https://evil.example.net"}, False),
        ({"origin": "null"}, False),
        ({"origin": ""}, False),
        ({"origin": "file://127.0.0.1:8080"}, False),
        ({"origin": "http://[broken"}, False),
        ({"sec_fetch_site": "same-origin"}, True),
        ({"sec_fetch_site": "none"}, True),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}, True),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"}, False),
        ({"sec_fetch_site": "same-site", "sec_fetch_mode": "cors"}, False),
    ],
)
def test_another_site_is_refused(headers: dict[str, str], is_same: bool) -> None:  # noqa: FBT001 - a column of the table
    guard = AccessGuard(TOKEN, ["jobs.example.com"])
    assert (guard.stranger(ask(**headers)) is None) is is_same


@pytest.mark.parametrize(
    ("authorization", "is_owner"),
    [
        (f"Bearer {TOKEN}", True),
        (f"bearer  {TOKEN} ", True),
        (TOKEN, False),
        ("Bearer", False),
        ("Bearer ", False),
        (f"Basic {TOKEN}", False),
        (f"Bearer {TOKEN}x", False),
        (f"Bearer {TOKEN[:-1]}", False),
        ("Bearer \udcff", False),
        ("", False),
    ],
)
def test_only_the_token_opens(authorization: str, is_owner: bool) -> None:  # noqa: FBT001 - a column of the table
    assert AccessGuard(TOKEN).is_owner(ask(authorization=authorization)) is is_owner


def test_to_act_takes_the_token_and_a_browser_on_the_page() -> None:
    guard, headers = AccessGuard(TOKEN), {"authorization": f"Bearer {TOKEN}"}
    assert guard.may_act(ask(**headers, origin="http://127.0.0.1:8080"))
    assert not guard.may_act(ask(**headers))
    assert not guard.may_act(ask(origin="http://127.0.0.1:8080"))


def test_without_a_token_all_who_come_may_see() -> None:
    assert AccessGuard(None).is_owner(ask())


def test_the_token_is_not_kept() -> None:
    assert TOKEN not in str(vars(AccessGuard(TOKEN)))


def test_the_policy_allows_nothing_from_elsewhere() -> None:
    policy = dict(rule.split(" ", 1) for rule in HEADERS["content-security-policy"].split("; "))
    assert {value for name, value in policy.items() if name != "require-trusted-types-for"} == {"'none'", "'self'"}
    assert policy["default-src"] == "'none'"
    assert "unsafe" not in HEADERS["content-security-policy"]

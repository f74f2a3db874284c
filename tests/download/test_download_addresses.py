"""Where a link may lead, whatever way its address is written."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from asyncflow import DownloadError
from asyncflow.download.address_policy import check_link, zone_of, zone_of_host

ADDRESSES = {
    "public": (
        "1.1.1.1",
        "8.8.8.8",
        "172.15.255.255",
        "172.32.0.1",
        "100.63.255.255",
        "100.128.0.1",
        "2606:4700::1111",
        "2a00:1450::1",
    ),
    "loopback": ("127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1"),
    "private": ("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fd12::1", "fc00::1", "::ffff:10.1.2.3", "fec0::1"),
    "shared": ("100.64.0.1", "100.127.255.255", "64:ff9b::6440:1"),
    "link_local": ("169.254.1.1", "fe80::1", "fe80::1%eth0", "::ffff:169.254.9.9"),
    "metadata": (
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "168.63.129.16",
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
    ),
    "reserved": (
        "0.0.0.0",  # noqa: S104 - nothing is bound
        "::",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "ff02::1",
        "2001:db8::1",
        "4000::1",
        "nonsense",
        "0x7f.1",
        "127.1",
        "2130706433",
    ),
}


@pytest.mark.parametrize(("zone", "address"), [(zone, address) for zone, addresses in ADDRESSES.items() for address in addresses])
def test_an_address_lies_in_its_zone(zone: str, address: str) -> None:
    assert zone_of(address) == zone


@given(st.one_of(st.integers(0, 2**32 - 1), st.integers(0, 2**128 - 1)))
def test_what_python_does_not_call_global_is_not_public(number: int) -> None:
    address = ip_address(number)
    if not address.is_global or address.is_multicast:
        assert zone_of(str(address)) != "public"


@given(st.integers(0, 2**32 - 1))
def test_an_address_inside_of_another_lies_where_it_would_lie_itself(number: int) -> None:
    zone = zone_of(str(ip_address(number)))
    for prefix in ("::ffff:0:0", "64:ff9b::"):
        assert zone_of(str(ip_address(int(ip_address(prefix)) + number))) == zone


@pytest.mark.parametrize(
    ("host", "zone"),
    [
        ("localhost", "loopback"),
        ("a.LOCALHOST.", "loopback"),
        ("127.0.0.1", "loopback"),
        ("127.0.0.1.", "loopback"),
        ("::1", "loopback"),
        ("10.0.0.1", "private"),
        ("2130706433", "reserved"),
        ("127.1", "reserved"),
        ("media.example.com", None),
        ("0x7f000001", None),
    ],
)
def test_a_host_tells_its_zone_or_has_to_be_looked_up(host: str, zone: str | None) -> None:
    assert zone_of_host(host) == zone


@pytest.mark.parametrize(
    ("link", "words"),
    [
        ("http://media.example.com/a", "http, and not to https"),
        ("file:///etc/passwd", "file"),
        ("ftp://media.example.com/a", "ftp"),
        ("gopher://secret.example.com/a", "something"),
        ("https:///a", "no host"),
        ("https://127.0.0.1/a", "loopback"),
        ("https://[::1]/a", "loopback"),
        ("https://[::ffff:10.0.0.1]/a", "private"),
        ("https://10.0.0.1:8443/a", "private"),
        ("https://100.64.0.1/a", "shared"),
        ("https://169.254.169.254/latest/", "metadata"),
        ("https://169.254.0.1/", "link-local"),
        ("https://localhost/a", "loopback"),
        ("/relative", "something"),
    ],
)
def test_links_elsewhere_are_refused(link: str, words: str) -> None:
    with pytest.raises(DownloadError, match=words) as refusal:
        check_link(URL(link), allows_http=False, zones={"public"})
    assert refusal.value.reason == "unsafe_link"
    assert "secret" not in str(refusal.value)


def test_links_out_into_the_world_pass() -> None:
    check_link(URL("https://media.example.com/a?Signature=x"), allows_http=False, zones={"public"})
    check_link(URL("https://8.8.8.8/a"), allows_http=False, zones={"public"})
    check_link(URL("http://127.0.0.1:8080/a"), allows_http=True, zones={"public", "loopback"})


def test_a_zone_that_is_allowed_allows_no_other() -> None:
    with pytest.raises(DownloadError):
        check_link(URL("http://10.0.0.1/a"), allows_http=True, zones={"public", "loopback"})

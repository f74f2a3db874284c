"""Where a link may lead: out into the world, and not to this machine, its network, or a cloud's inner services.

Pure: no clock, no I/O, no asyncio. The table is our own, since what Python calls private has changed between its versions.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Literal

from asyncflow.errors import DownloadError

if TYPE_CHECKING:
    from collections.abc import Collection

    from yarl import URL

__all__ = ["Zone", "check_link", "zone_of", "zone_of_host"]

Zone = Literal["public", "loopback", "private", "shared", "link_local", "metadata", "reserved"]

_METADATA = frozenset(
    map(ip_address, ("169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254"))
)
_ZONES: dict[Zone, tuple[str, ...]] = {
    "loopback": ("127.0.0.0/8", "::1/128"),
    "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10"),
    "shared": ("100.64.0.0/10",),
    "link_local": ("169.254.0.0/16", "fe80::/10"),
    "reserved": (
        *("0.0.0.0/8", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24"),
        *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "2001::/23", "2001:db8::/32", "3fff::/20"),
    ),
}
_NETWORKS: list[tuple[IPv4Network | IPv6Network, Zone]] = [
    (ip_network(network), zone) for zone, networks in _ZONES.items() for network in networks
]
_EVERYBODY = ip_network("2000::/3")
# Addresses of the older kind inside of those of the newer: mapped, translated, and tunnelled.
_MAPPED = (ip_network("::ffff:0:0/96"), ip_network("64:ff9b::/96"), ip_network("::/96"))
_TUNNEL = ip_network("2002::/16")


def zone_of(address: str) -> Zone:
    """Return the zone that the numeric *address* lies in; what is no address is "reserved"."""
    try:
        number = ip_address(address.partition("%")[0])
    except ValueError:
        return "reserved"
    if number in _METADATA:
        return "metadata"
    for network, zone in _NETWORKS:
        if number in network:
            return zone
    if isinstance(number, IPv4Address):
        return "public"
    inner = _inner(number)
    if inner is not None:
        return zone_of(str(inner))
    return "public" if number in _EVERYBODY else "reserved"


def zone_of_host(host: str) -> Zone | None:
    """Return the zone of a URL's *host* as far as it tells by itself: None for a name that has to be looked up."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return "loopback"
    if ":" in name or name.replace(".", "").isdigit():
        return zone_of(name)
    return None


def check_link(url: URL, *, allows_http: bool, zones: Collection[Zone]) -> None:
    """Refuse a link, or where a redirect points, unless it is https to somewhere in *zones*: `DownloadError` ("unsafe_link").

    A host that is a name passes; what it stands for is looked at when the connection is made.
    """
    if url.scheme != "https" and not (allows_http and url.scheme == "http"):
        word = url.scheme if url.scheme in {"http", "file", "ftp", "data"} else "something"
        raise DownloadError(f"the link leads to {word}, and not to https", reason="unsafe_link")
    host = url.raw_host
    if not host:
        raise DownloadError("the link names no host", reason="unsafe_link")
    zone = zone_of_host(host)
    if zone is not None and zone not in zones:
        raise refused_zone(zone)


def refused_zone(zone: Zone) -> DownloadError:
    """Return the error for a link into *zone*."""
    return DownloadError(f"the link leads to a {zone.replace('_', '-')} address", reason="unsafe_link")


def _inner(number: IPv6Address) -> IPv4Address | None:
    if any(number in network for network in _MAPPED):
        return IPv4Address(int(number) & 0xFFFFFFFF)
    if number in _TUNNEL:
        return IPv4Address(int(number) >> 80 & 0xFFFFFFFF)
    return None

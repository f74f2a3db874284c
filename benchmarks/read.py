"""What a read costs: python -m benchmarks.read [--json FILE] [--quick] [--in-flight 100] [--plain | --tls].

CPU of the client's process for one poll of a running job, against nginx with ready-made records on another core, as a ratio to a
bare aiohttp loop (`async with session.get(url) as response: await response.json()`) of the same round. The whole watcher is
schedule, budget, request, decoding and events, one poll in ten giving an event, with all its jobs always due. Needs nginx and
openssl (Debian: apt-get install nginx-light openssl). requests, httpx and niquests take part if they are installed: pip install
requests httpx; niquests in another environment, since it brings a urllib3 of its own that requests would use too.
"""

from __future__ import annotations

import asyncio
import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

from benchmarks._nginx import serving
from benchmarks._report import Report, Spread, parser, ratios

if TYPE_CHECKING:
    import argparse

BARE = "bare aiohttp, r.json()"
TASKS = "one asyncio task per poll, bare aiohttp"
LOOP = "requests.get, one after another"
RIVALS = ("requests", "httpx", "niquests")


async def measure(url: str, in_flight: int, options: argparse.Namespace) -> dict[str, list[float]]:
    """Return microseconds a read for each way of reading, by round."""
    from benchmarks._readers import Transports, microseconds  # noqa: PLC0415 - not before the certificate is known

    share = 0.25 if options.quick else 1.0
    results: dict[str, list[float]] = {}
    async with Transports(url, in_flight) as transports:
        readers = [reader for reader in transports.readers if options.rivals or not reader.is_rival]
        for reader in readers:
            await microseconds(reader, 0.25, in_flight)
        for _ in range(options.repeats):
            for reader in readers:
                results.setdefault(reader.name, []).append(await microseconds(reader, share, in_flight))
    return results


def report_on(report: Report, kind: str, measured: dict[int, dict[str, list[float]]]) -> None:
    counts = sorted(measured)
    columns = [f"{count} in flight: min / median / max" for count in counts]
    names = next(iter(measured.values()))
    rows: list[list[object]] = [
        [name, *(ratios(measured[count][name], measured[count][BARE]) for count in counts)] for name in names
    ]
    rows.append([f"{BARE}, microseconds", *(Spread.of(measured[count][BARE]) for count in counts)])
    report.table(f"CPU of one read, {kind}, the bare aiohttp loop = 1", ["how", *columns], rows)


def targets(report: Report, measured: dict[str, dict[int, dict[str, list[float]]]]) -> None:
    """Set the medians at 100 in flight (or the only number measured) beside what was to be reached."""
    rows: list[list[object]] = []
    for kind, by_count in measured.items():
        results = by_count.get(100) or next(iter(by_count.values()))
        for transport, limit in (("session", 0.80), ("fast", 0.30 if kind == "plain" else 0.42)):
            ratio = ratios(results[f"the whole watcher, {transport} transport"], results[BARE])
            rows.append(
                [f"the whole watcher, {transport} transport, {kind}", f"at most {limit}", ratio, verdict(ratio.median <= limit)]
            )
        for transport in ("session", "fast"):
            watcher = results[f"the whole watcher, {transport} transport"]
            for rival, least in ((LOOP, 12.0), (TASKS, 1.9)):
                if rival in results:
                    gain = ratios(results[rival], watcher)
                    words = f"{rival}, {kind}: times the CPU of the watcher, {transport} transport"
                    rows.append([words, f"at least {least}", gain, verdict(gain.median >= least)])
    report.table("To reach", ["what", "target", "min / median / max", "reached"], rows)


def verdict(is_reached: bool) -> str:  # noqa: FBT001 - the one thing it is about
    return "yes" if is_reached else "no"


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--in-flight", type=int, nargs="+", default=[32, 100, 500], help="reads at once")
    options.add_argument("--plain", action="store_true", help="without TLS only")
    options.add_argument("--tls", action="store_true", help="with TLS only")
    options.add_argument("--no-rivals", dest="rivals", action="store_false", help="our own rows and bare aiohttp only")
    chosen = options.parse_args()
    report = Report("read", packages=RIVALS)
    measured: dict[str, dict[int, dict[str, list[float]]]] = {}
    with serving() as server:
        os.environ["SSL_CERT_FILE"] = str(server.certificate)
        for kind, url, is_out in (("plain", server.http, chosen.tls), ("TLS 1.3", server.https, chosen.plain)):
            if not is_out:
                measured[kind] = {count: asyncio.run(measure(url, count, chosen)) for count in chosen.in_flight}
                report_on(report, kind, measured[kind])
    targets(report, measured)
    if absent := [name for name in RIVALS if find_spec(name) is None]:
        print(f"\nnot installed, and so not measured: {', '.join(absent)}")
    report.finish(chosen.json)


if __name__ == "__main__":
    main()

"""What a download costs: python -m benchmarks.download [--json FILE] [--quick] [--folder DIR].

One large file, and many small ones, from nginx on another core to a folder: through a `Downloader`, and through copy loops that
do nothing but copy. Time and CPU are ratios to a loop of the same round: `async for piece in
response.content.iter_chunked(1 MiB)` over aiohttp, each piece written as it comes. The loops check nothing, name nothing, do not
wait for the disk and leave half a file when they break. *--folder* is where files go (default: /dev/shm, so that the disk is not
what is measured). Needs nginx and taskset (Debian: apt-get install nginx-light util-linux).
"""

from __future__ import annotations

import asyncio
import hashlib
import resource
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp

from asyncflow import FlowJob, Media
from asyncflow.download import Downloader, MediaTransport
from benchmarks._nginx import serving_files
from benchmarks._report import Report, Spread, parser, ratios

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

PIECE = 1 << 20
LOOP = "copy loop, aiohttp, 1 MiB pieces"
RAW = "copy loop, a bare blocking socket"
OURS = "Downloader"
IN_TURN = "Downloader, one at a time"

Way = "Callable[[Sequence[str], Path], Awaitable[None]]"


async def copy_loop(urls: Sequence[str], folder: Path) -> None:
    async with aiohttp.ClientSession(read_bufsize=PIECE) as session:
        for number, url in enumerate(urls):
            async with session.get(url) as response:
                with (folder / str(number)).open("wb") as file:
                    async for piece in response.content.iter_chunked(PIECE):
                        file.write(piece)


async def raw_loop(urls: Sequence[str], folder: Path) -> None:
    """The floor: no event loop, no HTTP but a search for the end of the head."""
    place = urlsplit(urls[0])
    assert place.hostname is not None
    buffer = memoryview(bytearray(PIECE))
    with socket.create_connection((place.hostname, place.port or 80)) as connection:
        for number, url in enumerate(urls):
            connection.sendall(f"GET {urlsplit(url).path} HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode())
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(4096)
            head, _, rest = head.partition(b"\r\n\r\n")
            left = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]) - len(rest)
            with (folder / str(number)).open("wb", buffering=0) as file:
                file.write(rest)
                while left:
                    received = connection.recv_into(buffer, min(left, PIECE))
                    file.write(buffer[:received])
                    left -= received


def through_downloader(base: str, concurrency: int) -> Callable[[Sequence[str], Path], Awaitable[None]]:
    async def fetch(urls: Sequence[str], folder: Path) -> None:
        carrier = MediaTransport(base)
        try:
            async with Downloader(folder, carrier=carrier, concurrency=concurrency) as downloads:
                for number, url in enumerate(urls):
                    downloads.add(FlowJob(f"job {number}", "completed", kind="video", media=(Media("video", "ok", url),)))
                async for done in downloads:
                    assert done.files[0].state == "fetched", done.files[0].error
        finally:
            await carrier.aclose()

    return fetch


def measured(way: Callable[[Sequence[str], Path], Awaitable[None]], urls: Sequence[str], where: Path) -> tuple[float, float]:
    """Return the seconds and the CPU seconds that *way* takes."""
    folder = Path(tempfile.mkdtemp(dir=where))
    try:
        before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        asyncio.run(way(urls, folder))  # type: ignore[arg-type] # a coroutine
        after, end = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    finally:
        shutil.rmtree(folder)
    return end - start, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="where the files go")  # noqa: S108 - made anew inside
    given = options.parse_args()
    large, small, count = (64 << 20, 100_000, 40) if given.quick else (512 << 20, 100_000, 400)
    report = Report("download")
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        files = Path(name)
        # Its first bytes are those of a video; the rest does not repeat.
        content = b"\0\0\0\x18ftypisom" + hashlib.shake_256(b"download").digest(PIECE - 12)
        with (files / "large.mp4").open("wb") as file:
            for _ in range(large // PIECE):
                file.write(content)
        (files / "small.mp4").write_bytes(content[:small])
        with serving_files(files) as base:
            cases = {
                f"one file of {large >> 20} MiB": ([f"{base}/large.mp4"], (LOOP, RAW, OURS)),
                f"{count} files of {small // 1000} kB": ([f"{base}/small.mp4"] * count, (LOOP, RAW, IN_TURN, OURS)),
            }
            ways = {LOOP: copy_loop, RAW: raw_loop, OURS: through_downloader(base, 4), IN_TURN: through_downloader(base, 1)}
            for title, (urls, names) in cases.items():
                results: dict[str, list[tuple[float, float]]] = {way: [] for way in names}
                for repeat in range(given.repeats + 1):
                    for way in names:
                        taken = measured(ways[way], urls, given.folder)
                        if repeat:  # the first round warms up
                            results[way].append(taken)
                report_on(report, title, results, sum(large if "large" in url else small for url in urls))
    report.finish(given.json)


def report_on(report: Report, title: str, results: dict[str, list[tuple[float, float]]], size: int) -> None:
    base = results[LOOP]
    rows: list[list[object]] = []
    for way, taken in results.items():
        speed = ratios([1 / seconds for seconds, _ in taken], [1 / seconds for seconds, _ in base])
        cpu = ratios([cpu for _, cpu in taken], [cpu for _, cpu in base])
        rows.append([way, speed, cpu, Spread.of([size / seconds / 1e6 for seconds, _ in taken])])
    columns = ["how", "speed, the copy loop = 1: min / median / max", "CPU, the copy loop = 1", "MB a second"]
    report.table(title, columns, rows)


if __name__ == "__main__":
    sys.exit(main())

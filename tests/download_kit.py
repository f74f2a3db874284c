"""What the tests of downloads share: a client of a simulator with large enough files, and a look at what is on the disk."""

from __future__ import annotations

import hashlib
import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asyncflow import AsyncClient, MediaFile
from asyncflow.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

SIZE = 3_000_000
"""Of a file in these tests: three batches and a bit."""


@asynccontextmanager
async def host(**options: Any) -> AsyncIterator[tuple[Simulator, AsyncClient]]:  # noqa: ANN401 - those of Simulator
    """A simulator with files of `SIZE`, and a client of it."""
    options.setdefault("media_size", SIZE)
    async with Simulator(**options) as simulator, AsyncClient(simulator.token, base_url=simulator.url) as client:
        yield simulator, client


def ended(simulator: Simulator, **options: Any) -> str:  # noqa: ANN401 - those of seed_jobs
    """The id of a new job that has ended well, a video with one file unless *options* say otherwise."""
    options.setdefault("fate", "success")
    return simulator.seed_jobs(age=600, **options)[0]


def checksum(path: str | os.PathLike[str]) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def assert_whole(simulator: Simulator, job_id: str, files: Iterable[MediaFile]) -> None:
    """Every file is the one that the simulator has on its books."""
    truths = {truth.index + 1: truth for truth in simulator.media(job_id)}
    there = {file.index: file for file in files if file.path is not None}
    assert there.keys() == truths.keys()
    for index, file in there.items():
        assert file.path is not None
        assert (checksum(file.path), file.size_bytes) == (truths[index].sha256, truths[index].size)


def names(folder: Path) -> list[str]:
    """What a user sees in *folder*."""
    return sorted(name for name in os.listdir(folder) if not name.startswith(".")) if folder.exists() else []  # noqa: PTH208 - names


def parts(folder: Path) -> list[str]:
    return [name for name in names(folder) if name.endswith(".part")]

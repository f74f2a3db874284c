"""What has been fetched into a folder, and what was begun: a hidden file beside the files, one line of JSON for each fact.

Several processes may write to it: a line is one write at the end of the file, and begins with a line break in case the line
before it was cut off by a crash. It holds no job ids, which are personal data: a job goes by the first half of its id's SHA-256.
"""

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from asyncflow.download.file_names import collision_key, is_plain_name
from asyncflow.download.range_responses import NOTHING, PartialState

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MANIFEST_NAME", "FolderIndex", "Place", "job_key"]

MANIFEST_NAME = ".asyncflow-files.jsonl"

Place = tuple[str, int]
"""A job's key and the index of one of its media; 0 is the sidecar."""


class _IndexLine(Struct, frozen=True, omit_defaults=True):
    """A file that is there (*name*, *size*), or one that was begun (*validator*, *total*)."""

    job: str
    index: int
    name: str | None = None
    size: int = 0
    validator: str | None = None
    total: int | None = None


_DECODER = msgspec.json.Decoder(_IndexLine)


def job_key(job_id: str) -> str:
    """Return what stands for *job_id*: long enough that no two jobs of a lifetime share one."""
    return sha256(job_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]


class FolderIndex:
    """The lines of the folder *folder*, as far as they have been read. Not for several threads at a time."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / MANIFEST_NAME
        self._read_bytes = 0
        self._files: dict[Place, tuple[str, int]] = {}
        self._begun: dict[Place, tuple[str | None, int | None]] = {}
        self._owners: dict[str, Place] = {}

    def refresh(self) -> None:
        """Take in what was added since the last time, by whomever."""
        try:
            size = self._path.stat(follow_symlinks=False).st_size
        except FileNotFoundError:
            size = 0
        if size < self._read_bytes:
            self.__init__(self._path.parent)  # type: ignore[misc] # it was deleted, and begins anew
        if size > self._read_bytes:
            with self._path.open("rb") as file:
                file.seek(self._read_bytes)
                self._take(file.read())

    def file(self, place: Place) -> tuple[str, int] | None:
        """Return the name and the size of the file of *place*, None if none was finished."""
        return self._files.get(place)

    def begun(self, place: Place, size_bytes: int) -> PartialState:
        """Return what *size_bytes* of an unfinished file of *place* are worth."""
        validator, total = self._begun.get(place, (None, None))
        if not size_bytes or validator is None or (total is not None and size_bytes > total):
            return NOTHING
        return PartialState(size_bytes, validator, total)

    def owner(self, name: str) -> Place | None:
        """Return whose file *name* is, or one that some systems take for it."""
        return self._owners.get(collision_key(name))

    def begin(self, place: Place, validator: str | None, total: int | None) -> None:
        """Note which version of a file its first bytes are of; they are written after this."""
        self._append(_IndexLine(*place, validator=validator, total=total))

    def finish(self, place: Place, name: str, size_bytes: int) -> None:
        """Note a file that is whole and in its place."""
        self._append(_IndexLine(*place, name=name, size=size_bytes))

    def _append(self, line: _IndexLine) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        descriptor = os.open(self._path, flags, 0o600)
        try:
            os.write(descriptor, b"\n" + msgspec.json.encode(line) + b"\n")
        finally:
            os.close(descriptor)
        self._note(line)

    def _take(self, content: bytes) -> None:
        # What is behind the last line break is still being written.
        whole = content[: content.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        for text in whole.split(b"\n"):
            with suppress(msgspec.DecodeError, UnicodeDecodeError):
                self._note(_DECODER.decode(text))

    def _note(self, line: _IndexLine) -> None:
        place = (line.job, line.index)
        if line.name is None:
            self._begun[place] = (line.validator, line.total)
        elif is_plain_name(line.name):  # whoever can write to the folder can write to this file
            self._files[place] = (line.name, line.size)
            self._owners[collision_key(line.name)] = place

"""The folder that files go to: what is there, what was begun, and how a whole file gets its name.

Everything here blocks and is done by a thread. A file is written as `.part`, under a lock that other processes respect, and gets
its name when it is whole and on the disk (fsync): whoever finds the name finds the file, after a crash too. No name that is taken
is ever written to, whoever took it.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from asyncflow.download.file_names import numbered
from asyncflow.download.file_types import HEAD_BYTES
from asyncflow.download.folder_index import FolderIndex, Place
from asyncflow.download.partial_file import PartialFile, open_locked, write_all
from asyncflow.errors import DownloadError

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncflow.download.partial_file import Write
    from asyncflow.download.range_responses import PartialState

__all__ = ["FATAL", "StoredFile", "TargetFolder", "disk_error"]

FATAL = frozenset({"full", "unwritable", "not_a_folder", "disk_error"})
"""The reasons for which no other file of the folder would fare better."""

_MOST_NUMBERS = 10_000
_WORDS = {
    errno.ENOSPC: ("full", "there is no room left for it"),
    errno.EDQUOT: ("full", "its owner's share of the disk is used up"),
    errno.EFBIG: ("too_large", "the file system takes no file of this size"),
    errno.EACCES: ("unwritable", "it may not be written to"),
    errno.EPERM: ("unwritable", "it may not be written to"),
    errno.EROFS: ("unwritable", "its file system is read-only"),
    errno.ENOTDIR: ("not_a_folder", "it is no folder"),
    errno.EEXIST: ("not_a_folder", "it is no folder"),
}


class StoredFile(NamedTuple):
    """A file that is there."""

    path: str
    size_bytes: int


class TargetFolder:
    """The folder at *path*, made if it is missing. *write* writes to a descriptor."""

    def __init__(self, path: str | os.PathLike[str], *, write: Write = write_all) -> None:
        # As it is now: whoever changes the working directory later means another one.
        self.path: Path = Path(path).absolute()
        self._write = write
        self._manifest = FolderIndex(self.path)
        self._lock = Lock()

    def prepare(self) -> None:
        """Make the folder. `DownloadError` if there can be none."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with self._lock:
                self._manifest.refresh()
        except OSError as error:
            raise self.error(error) from error

    def open(self, place: Place, digest: str) -> StoredFile | PartialFile | None:
        """Return the file of *place* if it is there, else its part, locked; None if another process works on it."""
        kept = self.find(place)
        if kept is not None:
            return kept
        try:
            part = open_locked(self.path / f"{digest}-{place[1]}.part", self._write)
            if part is None:
                return None
            try:
                # Whoever held the lock may have finished the file.
                kept = self.find(place)
                if kept is None:
                    with self._lock:
                        part.held = self._manifest.begun(place, part.size())
                    return part
                part.discard()
            except BaseException:
                part.close()
                raise
        except OSError as error:
            raise self.error(error) from error
        return kept

    def unfinished(self, place: Place, digest: str) -> int:
        """Return the size of the part of *place*, -1 if there is none."""
        try:
            return (self.path / f"{digest}-{place[1]}.part").stat(follow_symlinks=False).st_size
        except OSError:
            return -1

    def find(self, place: Place) -> StoredFile | None:
        """Return the file of *place* if it is there, as large as it was written."""
        with self._lock:
            try:
                self._manifest.refresh()
            except OSError as error:
                raise self.error(error) from error
            found = self._manifest.file(place)
        if found is None:
            return None
        name, size = found
        return self._file(name, size)

    def begin(self, part: PartialFile, place: Place, held: PartialState) -> None:
        """Empty *part* for the version of the file that *held* names."""
        part.truncate()
        with self._lock:
            self._manifest.begin(place, held.validator, held.total_bytes)
        part.held = held

    def recover(self, place: Place, name: str, size_bytes: int) -> StoredFile | None:
        """Return the file called *name* if it is as large as that of *place* and nobody else's: so a lost manifest is mended."""
        with self._lock:
            if self._manifest.owner(name) not in {None, place}:
                return None
            kept = self._file(name, size_bytes)
            if kept is not None:
                self._manifest.finish(place, name, size_bytes)
            return kept

    def finish(self, part: PartialFile, place: Place, name_as: Callable[[bytes], str]) -> StoredFile:
        """Give *part* its name, which *name_as* makes of its first bytes, and close it."""
        size = part.size()
        wanted = name_as(part.head(HEAD_BYTES))
        part.sync()
        name = self._place(part, place, wanted)
        with self._lock:
            self._manifest.finish(place, name, size)
        return StoredFile(str(self.path / name), size)

    def write_sidecar(self, place: Place, digest: str, name: str, content: bytes) -> StoredFile | None:
        """Write *content* to the file *name* of *place*, or in the place of an older one; None if another process does it."""
        try:
            part = open_locked(self.path / f"{digest}-{place[1]}.part", self._write, mode=0o600)
            if part is None:
                return None
            try:
                part.truncate()
                part.write([content])
                part.sync()
                with self._lock:
                    older = self._manifest.file(place)
                if older is not None and stat.S_ISREG(_mode(self.path / older[0])):
                    name = older[0]
                    part.replace(self.path / name)
                else:
                    name = self._place(part, place, name)
            finally:
                part.close()
            with self._lock:
                self._manifest.finish(place, name, len(content))
        except OSError as error:
            raise self.error(error) from error
        return StoredFile(str(self.path / name), len(content))

    def sync(self) -> None:
        """Have the names of the files on the disk, where the system knows how."""
        if sys.platform == "win32":
            return
        with suppress(OSError):
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def error(self, error: OSError) -> DownloadError:
        """Return what *error* means for a download into this folder."""
        return disk_error(error, self.path.name)

    def _file(self, name: str, size_bytes: int) -> StoredFile | None:
        path = self.path / name
        try:
            found = path.stat(follow_symlinks=False)
        except OSError:
            return None
        return StoredFile(str(path), size_bytes) if stat.S_ISREG(found.st_mode) and found.st_size == size_bytes else None

    def _place(self, part: PartialFile, place: Place, name: str) -> str:
        """Move *part* to *name*, or to the first number behind it that is free."""
        for number in range(1, _MOST_NUMBERS):
            candidate = name if number == 1 else numbered(name, number)
            with self._lock:
                owner = self._manifest.owner(candidate)
            if owner in {None, place} and part.move(self.path / candidate):
                return candidate
        raise OSError(errno.EEXIST, "too many files of one name")


def disk_error(error: OSError, folder: str) -> DownloadError:
    """Return the error of ours for what the system says of a file in *folder*."""
    usual = ("disk_error", (error.strerror or "it failed").lower())
    reason, words = _WORDS.get(error.errno or 0, usual)
    return DownloadError(f"the folder {folder!r} takes no file: {words}", reason=reason)


def _mode(path: Path) -> int:
    try:
        return path.stat(follow_symlinks=False).st_mode
    except OSError:
        return 0

"""An unfinished file: open, locked against other processes, and never what a link in the folder leads to."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import RLock
from typing import TYPE_CHECKING, TypeVar

from asyncflow.download.range_responses import NOTHING, PartialState

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PartialFile", "Write", "open_locked", "write_all"]

T = TypeVar("T")
Write = Callable[[int, Sequence[bytes]], None]

_FLAGS = sum(getattr(os, name, 0) for name in ("O_RDWR", "O_CREAT", "O_NOFOLLOW", "O_CLOEXEC", "O_NONBLOCK", "O_BINARY"))
_TRIES = 10
_MOST_PIECES = 512
_BUSY = frozenset({errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK, errno.EDEADLK})
# What file systems say that know no second names for a file.
_NO_LINKS = frozenset({errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.EINVAL})


def write_all(descriptor: int, pieces: Sequence[bytes]) -> None:
    """Write *pieces* one behind the other, all of them."""
    views = [memoryview(piece) for piece in pieces]
    if sys.platform == "win32" and len(views) > 1:  # it knows no way to write several at once
        views = [memoryview(b"".join(pieces))]
    first = 0
    while first < len(views):
        if sys.platform == "win32":
            written = os.write(descriptor, views[first])
        else:
            written = os.writev(descriptor, views[first : first + _MOST_PIECES])
        while first < len(views) and written >= len(views[first]):
            written -= len(views[first])
            first += 1
        if written:
            views[first] = views[first][written:]


class PartialFile:
    """The file at *path*, open as *descriptor* and locked. `held` is what its bytes are worth.

    What belongs together is done by `guarded`, so that whoever lets go of the file waits for a thread that is still at it:
    coroutines may be cancelled, threads cannot be.
    """

    def __init__(self, path: Path, descriptor: int, write: Write) -> None:
        self.path: Path = path
        self.held: PartialState = NOTHING
        self._descriptor = descriptor
        self._write = write
        self._busy = RLock()

    def guarded(self, work: Callable[[], T]) -> T:
        """Do *work*, which is about this file, while nobody else does anything to it. OSError if it is closed already."""
        with self._busy:
            if self._descriptor < 0:
                raise OSError(errno.EBADF, "the unfinished file is closed")
            return work()

    def size(self) -> int:
        """Return how many bytes there are."""
        return os.fstat(self._descriptor).st_size

    def head(self, size_bytes: int) -> bytes:
        """Return the first bytes."""
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        return os.read(self._descriptor, size_bytes)

    def truncate(self) -> None:
        """Drop all bytes."""
        os.ftruncate(self._descriptor, 0)

    def write(self, pieces: Sequence[bytes]) -> None:
        """Write *pieces* behind what there is."""
        os.lseek(self._descriptor, 0, os.SEEK_END)
        self._write(self._descriptor, pieces)

    def sync(self) -> None:
        """Wait until the bytes are on the disk."""
        os.fsync(self._descriptor)

    def move(self, target: Path) -> bool:
        """Give the file its name *target* and close it; return whether that name was free."""
        if sys.platform == "win32":  # which moves no open file, and never onto another one
            self.close()
            try:
                self.path.rename(target)
            except FileExistsError:
                return False
            return True
        try:
            os.link(self.path, target, follow_symlinks=False)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return self._move_onto_nothing(target)
        self.path.unlink()
        self.close()
        return True

    def replace(self, target: Path) -> None:
        """Put the file in the place of *target* and close it."""
        if sys.platform == "win32":
            self.close()
        self.path.replace(target)
        self.close()

    def discard(self) -> None:
        """Delete the file and close it."""
        if sys.platform == "win32":
            self.close()
        with suppress(FileNotFoundError):
            self.path.unlink()
        self.close()

    def release(self) -> None:
        """Close the file as it is, for another run to go on with; an empty one is deleted."""
        with self._busy:
            if self._descriptor >= 0 and not self.size():
                self.discard()
            self.close()

    def close(self) -> None:
        """Let go of the file and its lock. Closing twice is closing once."""
        with self._busy:
            descriptor, self._descriptor = self._descriptor, -1
            if descriptor >= 0:
                os.close(descriptor)

    def _move_onto_nothing(self, target: Path) -> bool:
        """Take the name first, which only one can, and put the file there then."""
        try:
            os.close(os.open(target, _FLAGS | os.O_EXCL, 0o666))
        except FileExistsError:
            return False
        self.replace(target)
        return True


def open_locked(path: Path, write: Write = write_all, *, mode: int = 0o666) -> PartialFile | None:
    """Open the part at *path*, or make it; None if another process has it locked. OSError if the system refuses."""
    for _ in range(_TRIES):
        try:
            descriptor = os.open(path, _FLAGS, mode)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            path.unlink(missing_ok=True)  # the link, and nothing of what it leads to
            continue
        try:
            if not _lock(descriptor):
                os.close(descriptor)
                return None
            if _is_that_file(path, descriptor):
                return PartialFile(path, descriptor, write)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    raise OSError(errno.EIO, "the unfinished file is taken away again and again")


def _is_that_file(path: Path, descriptor: int) -> bool:
    """Whether the locked file is still the one at *path*: another process may have finished and moved it in between."""
    own = os.fstat(descriptor)
    if not stat.S_ISREG(own.st_mode):
        raise OSError(errno.EEXIST, "something that is no file has its name")
    try:
        there = path.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    if (there.st_ino, there.st_dev) != (own.st_ino, own.st_dev):
        return False
    if own.st_nlink > 1:
        # A second name of another file, or of one that was finished in the moment of a crash: not to be written to.
        path.unlink()
        return False
    return True


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> bool:
        # A byte far behind any file, since Windows does not let others read what is locked.
        os.lseek(descriptor, 1 << 62, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno not in _BUSY:
                raise
            return False
        return True

else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _BUSY:
                return False
            if error.errno not in {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}:
                raise  # a file system without locks is used without
        return True

"""Locks between processes of one machine that die with the process that holds them."""

import fcntl
import hashlib
import os
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from lightsweep.core.errors import ConfigError, StorageLost
from lightsweep.core.text import Wait

LOCK_SECONDS = 900.0  # seconds that a lock is waited for: longer than a sweeper that holds it waits for its database
_LOOK_AGAIN = (0.001, 0.05)  # seconds: the first and the longest pause between two tries to take a lock


class FileLock:
    """An exclusive lock on a file, held until `release` or the end of the process.

    The holder removes the file as it releases the lock. That is safe, since whoever gets the lock of a file that was
    removed meanwhile sees that the path leads to another one, or to none, and begins again.

    Args:
        stays: leave the file, which is looked for by itself.
    """

    def __init__(self, path: Path, *, stays: bool = False) -> None:
        self.path, self.stays = path, stays
        self._descriptor: int | None = None
        self._held = False

    def acquire(self, *, wait: bool = True) -> bool:
        """Take the lock; False where somebody else holds it and `wait` is false.

        Raises:
            StorageLost: somebody else holds it, and goes on holding it.
        """
        waiting, pause = Wait(), _LOOK_AGAIN[0]
        while not (taken := self._try()):
            if taken is None:
                continue
            if not wait:
                return False
            if waiting.seconds > LOCK_SECONDS:
                raise StorageLost(f"{self.path} was locked by another process for {LOCK_SECONDS / 60:.0f} minutes")
            waiting.still(f"the lock {self.path}, which another process holds, at most {LOCK_SECONDS / 60:.0f} minutes")
            time.sleep(pause)
            pause = min(2 * pause, _LOOK_AGAIN[1])
        return True

    def _try(self) -> bool | None:
        """Take the lock; False where somebody else holds it, None where its file was removed just now."""
        self.release()  # what a signal left behind, between the taking and the block: nobody could take it any more
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._held = self._is_current()
        except BlockingIOError:
            self.release()
            return False
        except BaseException:
            self.release()
            raise
        return self._held or None

    def release(self) -> None:
        held, self._held = self._held, False
        if held and not self.stays:
            with suppress(OSError):  # another user's file in a folder of many: it stays, and is as good
                if self._is_current():
                    self.path.unlink()
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _is_current(self) -> bool:
        """Does the path lead to the file that is open here?"""
        assert self._descriptor is not None
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(self._descriptor))

    def __enter__(self) -> "FileLock":
        self.acquire()
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


def shared_path(name: str) -> Path:
    """A lock file for all of this user's processes on this machine that mean the same thing by `name`.

    Raises:
        ConfigError: somebody else made its folder in the temporary folder, which everybody may write to.
    """
    folder = Path(tempfile.gettempdir()) / f"lightsweep-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ConfigError(
            f"{folder} must be a folder of yours that nobody else may enter: remove it, or set TMPDIR to another folder"
        )
    return folder / f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.lock"

"""Does the sweeper that started a trial still live? Where its lock can be seen, that says so, elsewhere a lease."""

import fcntl
import hashlib
import os
import platform
import secrets
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna

from lightsweep.core.errors import ConfigError, StorageLost
from lightsweep.core.text import Wait
from lightsweep.sweeper.optuna_private import set_system_attribute, system_attributes

LOCK_SECONDS = 900.0  # seconds that a lock is waited for: longer than a sweeper that holds it waits for its database
_LOOK_AGAIN_locks = (0.001, 0.05)  # seconds: the first and the longest pause between two tries to take a lock


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
        waiting, pause = Wait(), _LOOK_AGAIN_locks[0]
        while not (taken := self._try()):
            if taken is None:
                continue
            if not wait:
                return False
            if waiting.seconds > LOCK_SECONDS:
                raise StorageLost(f"{self.path} was locked by another process for {LOCK_SECONDS / 60:.0f} minutes")
            waiting.still(f"the lock {self.path}, which another process holds, at most {LOCK_SECONDS / 60:.0f} minutes")
            time.sleep(pause)
            pause = min(2 * pause, _LOOK_AGAIN_locks[1])
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


RENEW_EVERY = 10.0  # seconds
LOST_AFTER = 60.0  # seconds
_KEPT = 86_400.0  # seconds
AHEAD = 30.0  # seconds; machines whose clocks differ by more than this cannot share a study


class Owner:
    """This process as the owner of trials: holds a lock for as long as it lives."""

    def __init__(self) -> None:
        self.name = secrets.token_hex(8)
        self.host = platform.node()
        self._lock = FileLock(shared_path(self.name), stays=True)
        self._lock.acquire()

    def mark(self) -> dict[str, Any]:
        """What a trial of this owner carries: who, where, and when it was last known to live."""
        return {"owner": self.name, "host": self.host, "seen": time.time()}

    def is_mine(self, mark: dict[str, Any]) -> bool:
        return mark.get("owner") == self.name

    def resign(self, *, trials_left: bool) -> None:
        """Let the lock go. Where trials are left that say they run, its file stays: it shows that they do not."""
        self._lock.stays = trials_left
        self._lock.release()
        _remove_old(self._lock.path.parent)


def _remove_old(folder: Path) -> None:
    """Remove the locks that killed sweepers have left, a day after they began: what they owned is lost by its lease."""
    for path in folder.glob("*.lock"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _KEPT:
                lock = FileLock(path)
                lock.acquire(wait=False)
                lock.release()


@contextmanager
def renewing(renew: Callable[[], object]) -> Iterator[None]:
    """Call `renew` each few seconds while the block runs, whatever the main thread does.

    It is called in a thread. What it raises is not the block's: the next call may succeed, and if none does the block
    finds out by itself.
    """
    end = threading.Event()

    def work() -> None:
        while not end.wait(RENEW_EVERY):
            with suppress(Exception):
                renew()

    thread = threading.Thread(target=work, name="lightsweep-renewal", daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join(RENEW_EVERY)  # a call that waits for its database longer ends with the process


def is_alive(mark: dict[str, Any] | None, *, reached_since: float = 0.0) -> bool:
    """Whether the owner that left this mark lives, as far as can be known from here.

    Args:
        reached_since: when the storage came back after an outage: before that, nobody could give a sign.
    """
    if not mark:
        return False
    path = shared_path(mark["owner"])
    # An owner of this host whose lock is not here has another temporary folder, as cluster jobs and containers have.
    if mark["host"] != platform.node() or not path.exists():
        # A sign from the future was given by a clock that was wrong: waiting for it to pass could take years.
        now, seen = time.time(), mark["seen"]
        return seen < now + AHEAD and now - max(seen, reached_since) < LOST_AFTER
    lock = FileLock(path, stays=True)
    if not lock.acquire(wait=False):
        return True
    lock.release()  # the file stays: without it the owner's other trials would be left to their lease
    return False


_LOOK_AGAIN = 0.2  # seconds


class Lease:
    """One sweeper's way to an office.

    To read that an office is free and to write that it is taken are two steps, and a lock reaches no other machine. So
    each candidate first writes a mark of its own and then reads all the others': of any two, one sees the other at
    least. Whoever sees nobody holds it; whoever sees a holder, or a candidate with a lower name, steps back.

    Args:
        study: whose storage keeps the marks, as system attributes, which dashboards do not show.
        name: of the office.
    """

    def __init__(self, study: optuna.Study, name: str, owner: Owner) -> None:
        self._study = study
        self._name, self._prefix = name, f"lightsweep:{name}:"
        self._owner = owner
        self._held = self._marked = False
        self._turn = threading.Lock()  # a renewal that comes after the leaving would hold it for ever

    def take(self) -> bool:
        """Take it; False where another sweeper that lives has it or comes first."""
        while not self._held:
            self._write({**self._owner.mark(), "held": False})
            others = self._others()
            if any(mark["held"] or mark["owner"] < self._owner.name for mark in others):
                self._write(None)
                return False
            if others:  # they step back as soon as they see us, or are found to hold it
                time.sleep(_LOOK_AGAIN)
                continue
            self._held = True
            self.renew()
        return True

    def wait(self) -> None:
        """Take it as soon as it is free."""
        waiting = Wait()
        while not self.take():
            waiting.still(
                f"another sweeper of this study, which has its {self._name}; if it is gone, at most {LOST_AFTER:.0f} s"
            )
            time.sleep(_LOOK_AGAIN)

    def renew(self) -> None:
        """Say that its holder lives, where this is the holder. May be called from another thread."""
        with self._turn:
            if self._held:
                self._write({**self._owner.mark(), "held": True})

    def leave(self) -> None:
        with self._turn:
            if self._marked:
                self._held = False
                self._write(None)

    def _write(self, mark: dict[str, Any] | None) -> None:
        self._marked = mark is not None
        set_system_attribute(self._study, self._prefix + self._owner.name, mark)

    def _others(self) -> list[dict[str, Any]]:
        """Marks of the others that live."""
        marks = system_attributes(self._study)
        return [
            mark
            for key, mark in marks.items()
            if key.startswith(self._prefix) and mark and not self._owner.is_mine(mark) and is_alive(mark)
        ]

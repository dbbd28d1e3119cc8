"""Who holds what: locks between the processes of one machine, and leases, kept in a study, between sweepers anywhere.

A lock ends with the process that holds it. `filelock` has no lock whose file is removed safely and that shows, without
being taken, whether its holder is alive; so there is `FileLock`.
"""

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
from lightsweep.sweeper.optuna_access import set_system_attribute, system_attributes

LOCK_SECONDS = 900.0  # that a lock is waited for: longer than its holder waits for a database
_LOCK_PAUSES = (0.001, 0.05)  # seconds: the first and the longest between two tries to take a lock
RENEW_EVERY = 10.0  # seconds between two renewals of marks and leases
LOST_AFTER = 60.0  # seconds after the last renewal
AHEAD = 30.0  # seconds; machines whose clocks differ by more than this cannot share a study
_LEASE_PAUSE = 0.2  # seconds between two tries to take a lease
_LOCK_KEPT = 86_400.0  # seconds that the lock file of a killed sweeper is kept


class FileLock:
    """An exclusive lock on a file, held until `release` or the end of the process.

    Releasing it removes the file. That is safe: a process that gets the lock of a removed file sees that the path leads
    to another file, or to none, and retries.

    Args:
        stays: do not remove the file, whose existence matters.
    """

    def __init__(self, path: Path, *, stays: bool = False) -> None:
        self.path, self.stays = path, stays
        self._descriptor: int | None = None
        self._held = False

    def acquire(self, *, wait: bool = True) -> bool:
        """Take the lock; False where another process holds it and `wait` is false.

        Raises:
            StorageLost: another process has held it for `LOCK_SECONDS`.
        """
        waiting, pause = Wait(), _LOCK_PAUSES[0]
        while not (taken := self._try()):
            if taken is None:
                continue
            if not wait:
                return False
            if waiting.seconds > LOCK_SECONDS:
                raise StorageLost(f"{self.path} was locked by another process for {LOCK_SECONDS / 60:.0f} minutes")
            waiting.update(f"the lock {self.path}, held by another process, at most {LOCK_SECONDS / 60:.0f} minutes")
            time.sleep(pause)
            pause = min(2 * pause, _LOCK_PAUSES[1])
        return True

    def _try(self) -> bool | None:
        """Take the lock; False where another process holds it, None where its file was removed meanwhile."""
        self.release()  # a signal may have come between `acquire` and the block that releases
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
            with suppress(OSError):  # a file of another user: it may stay
                if self._is_current():
                    self.path.unlink()
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _is_current(self) -> bool:
        """Whether the path leads to the file that is open here."""
        assert self._descriptor is not None
        try:
            return os.path.samestat(self.path.stat(), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    def __enter__(self) -> "FileLock":
        self.acquire()
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


def shared_path(name: str) -> Path:
    """The file of the lock `name` for all of this user's processes on this machine.

    Raises:
        ConfigError: another user made its folder in the temporary folder, which everybody may write to.
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


class Owner:
    """This process as the owner of trials and leases: holds a lock as long as it is alive."""

    def __init__(self) -> None:
        self.name = secrets.token_hex(8)
        self.host = platform.node()
        self._lock = FileLock(shared_path(self.name), stays=True)
        self._lock.acquire()

    def mark(self) -> dict[str, Any]:
        """What a trial or lease of this owner holds: who, on which machine, and when it was last alive."""
        return {"owner": self.name, "host": self.host, "seen": time.time()}

    def is_mine(self, mark: dict[str, Any]) -> bool:
        return mark.get("owner") == self.name

    def resign(self, *, trials_left: bool) -> None:
        """Release the lock. Where running trials are left, its file stays: it shows that they are lost.

        Files of killed sweepers are removed after a day: by then their marks are old.
        """
        self._lock.stays = trials_left
        self._lock.release()
        for path in self._lock.path.parent.glob("*.lock"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _LOCK_KEPT:
                    lock = FileLock(path)
                    lock.acquire(wait=False)
                    lock.release()


@contextmanager
def renewing(renew: Callable[[], object]) -> Iterator[None]:
    """Call `renew` every `RENEW_EVERY` seconds in a thread while the block runs.

    Its errors are ignored: the next call may succeed, and if none does the block meets the same error.
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
        thread.join(RENEW_EVERY)  # a call that waits longer for its database ends with the process


def is_alive(mark: dict[str, Any] | None, *, reached_since: float = 0.0) -> bool:
    """Whether the owner of this mark is alive: by its lock where that is on this machine, else by the mark's age.

    Args:
        reached_since: when the storage came back after an outage: before that, no mark could be renewed.
    """
    if not mark:
        return False
    path = shared_path(mark["owner"])
    # Cluster jobs and containers may have another temporary folder, with the lock of a live owner.
    if mark["host"] != platform.node() or not path.exists():
        # A mark from the future was written by a wrong clock: it could be years until it is old.
        now, seen = time.time(), mark["seen"]
        return seen < now + AHEAD and now - max(seen, reached_since) < LOST_AFTER
    lock = FileLock(path, stays=True)
    if not lock.acquire(wait=False):
        return True
    lock.release()  # the file stays, and shows the same of the owner's other trials
    return False


class Lease:
    """A lease stored in the study; one live sweeper holds it at a time, on whatever machine.

    Reading that a lease is free and writing that it is taken are two steps, and locks do not reach other machines. So
    each candidate first writes its own mark and then reads all others: of any two candidates at least one sees the
    other. One that sees no mark holds the lease; one that sees a holder, or a candidate with a lower name, withdraws.

    Args:
        study: whose storage keeps the marks, as system attributes, which dashboards do not show.
        name: of the duty that the holder has.
    """

    def __init__(self, study: optuna.Study, name: str, owner: Owner) -> None:
        self._study = study
        self._name, self._prefix = name, f"lightsweep:{name}:"
        self._owner = owner
        self._held = self._marked = False
        self._turn = threading.Lock()  # a renewal after `leave` would hold the lease for ever

    def take(self) -> bool:
        """Take it; False where another live sweeper holds it or comes first."""
        while not self._held:
            self._write({**self._owner.mark(), "held": False})
            others = self._other_marks()
            if any(mark["held"] or mark["owner"] < self._owner.name for mark in others):
                self._write(None)
                return False
            if others:  # they withdraw when they see this mark, or turn out to hold the lease
                time.sleep(_LEASE_PAUSE)
                continue
            self._held = True
            self.renew()
        return True

    def wait(self) -> None:
        """Take it as soon as it is free."""
        waiting = Wait()
        while not self.take():
            waiting.update(
                f"another sweeper of this study, which holds the lease {self._name!r}; if it died, at most"
                f" {LOST_AFTER:.0f} s"
            )
            time.sleep(_LEASE_PAUSE)

    def renew(self) -> None:
        """Renew it if this sweeper holds it; from any thread."""
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

    def _other_marks(self) -> list[dict[str, Any]]:
        """Marks of other live sweepers."""
        return [
            mark
            for key, mark in system_attributes(self._study).items()
            if key.startswith(self._prefix) and mark and not self._owner.is_mine(mark) and is_alive(mark)
        ]

"""Does the sweeper that started a trial still live? On its own machine a lock says so, elsewhere a lease."""

import platform
import secrets
import time
from typing import Any

from lightsweep.sweep.locks import FileLock, shared_path

RENEW_EVERY = 10.0  # seconds
LOST_AFTER = 60.0  # seconds; machines whose clocks differ by more than this cannot share a study


class Owner:
    """This process as the owner of trials: holds a lock for as long as it lives."""

    def __init__(self) -> None:
        self.name = secrets.token_hex(8)
        self.host = platform.node()
        self._lock = FileLock(shared_path(self.name))
        self._lock.acquire()

    def mark(self) -> dict[str, Any]:
        """What a trial of this owner carries: who, where, and when it was last known to live."""
        return {"owner": self.name, "host": self.host, "seen": time.time()}

    def is_mine(self, mark: dict[str, Any]) -> bool:
        return mark.get("owner") == self.name

    def resign(self) -> None:
        self._lock.release()
        self._lock.path.unlink(missing_ok=True)


def is_alive(mark: dict[str, Any] | None) -> bool:
    """Whether the owner that left this mark lives, as far as can be known from here."""
    if not mark:
        return False
    if mark["host"] != platform.node():
        return time.time() - mark["seen"] < LOST_AFTER
    path = shared_path(mark["owner"])
    if not path.exists():
        return False
    lock = FileLock(path)
    if not lock.acquire(wait=False):
        return True
    lock.release()
    path.unlink(missing_ok=True)
    return False

"""What a sweep waits for, in one line, where it waits for more than a few seconds."""

import sys
import time
from collections.abc import Callable

from lightsweep.core import secrets

SAY_AFTER = 5.0  # seconds


class Wait:
    """A wait, or one after the other: each says once for what it is and how long it may last."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._said = False

    @property
    def seconds(self) -> float:
        """How long it has lasted."""
        return 0.0 if self._since is None else time.monotonic() - self._since

    def still(self, what: str | Callable[[], str]) -> None:
        """It goes on for this, which follows "waiting for" when it is time to say so."""
        if self._since is None:
            self._since = time.monotonic()
        if not self._said and self.seconds >= SAY_AFTER:
            self._said = True
            line = f"waiting for {what if isinstance(what, str) else what()}"
            print(secrets.redacted(line), file=sys.stderr, flush=True)

    def over(self) -> None:
        """What was waited for is there; a later wait is another one."""
        self._since, self._said = None, False

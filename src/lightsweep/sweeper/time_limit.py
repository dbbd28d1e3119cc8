"""The time of a trial, ``hydra.sweeper.trial_timeout``: a job that reports ends with a report, another one at once."""

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from lightsweep.core import signals
from lightsweep.core.errors import TimeOver

PATIENCE = 1.5  # times the last step: for so long a report is waited for that may end the job
_ENDING = 60.0  # seconds that a job may take to end, once its report has raised an exception
_AGAIN = 1.0  # seconds until it is cut off once more: a library may swallow an exception
_SOON = 1e-3  # seconds: 0 would turn an alarm off


def describe_time_over(seconds: float) -> str:
    """The note of a trial that took too long."""
    return f"its time is over (hydra.sweeper.trial_timeout={seconds:g})"


class TimeLimit:
    """What a job has left of its trial's time, counted from now.

    Outside the main thread, where Python handles no signals, only a report ends a job.

    Args:
        seconds: of the trial, as they were set; infinite for no limit.
        left: of them; fewer where other seeds ran before.
    """

    def __init__(self, seconds: float = math.inf, left: float = math.inf) -> None:
        self.note = describe_time_over(seconds)
        self.left = left
        self.has_ended_job = False
        self.is_closed = False  # the job's function has ended: nothing is cut off any more
        self._started = self._last = time.monotonic()
        self._wait_until = 0.0  # for a report, or for a job that is ending
        self._is_reporting = False
        self._handler: Any = None  # of the alarm, as it was before
        self._timer = (0.0, 0.0)

    @property
    def is_set(self) -> bool:
        return math.isfinite(self.left)

    def start(self) -> None:
        """From now until `stop` a job that does not end with a report is ended by `TimeOver`."""
        if self.is_set and threading.current_thread() is threading.main_thread():
            self._handler = signal.signal(signal.SIGALRM, self._ring)
            self._timer = signal.setitimer(signal.ITIMER_REAL, max(self.left, _SOON), _AGAIN)

    def stop(self) -> None:
        """Leave the process's alarm as it was."""
        if self._handler is not None:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, self._handler)
            seconds, again = self._timer
            if seconds:
                rest = max(_SOON, seconds - (time.monotonic() - self._started))
                signal.setitimer(signal.ITIMER_REAL, rest, again)

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """A report is written in the block: it is not cut off."""
        now = time.monotonic()
        self._wait_until, self._last = now + PATIENCE * (now - self._last), now
        self._is_reporting = True
        try:
            yield
        finally:
            self._is_reporting = False

    def is_over(self) -> bool:
        """Asked after a report; where it is true, the report ends the job."""
        now = time.monotonic()
        if now - self._started < self.left:
            return False
        self.has_ended_job, self._wait_until = True, now + _ENDING
        return True

    def _ring(self, signum: int, _: FrameType | None) -> None:
        if self.is_closed or self._is_reporting or signals.is_handled() or time.monotonic() < self._wait_until:
            return
        self.has_ended_job = True
        raise TimeOver(signum, self.note)

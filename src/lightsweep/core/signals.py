"""Ctrl-C and SIGTERM as an exception, so that a run ends in order, with its last checkpoint complete; and the alarm
that ends a job whose trial has used up its time (``hydra.sweeper.trial_timeout``), after a report if there is one."""

import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import Any

from lightsweep.core.errors import DataChanged, Diverged, Interrupted, JobState, StorageLost, TimeOver

PATIENCE = 1.5  # times the last step: for so long a report is waited for that may end the job
_ENDING = 60.0  # seconds that a job may take to end, once its report has raised an exception
_AGAIN = 1.0  # seconds until it is cut off once more: a library may swallow an exception
_SOON = 1e-3  # seconds: 0 would turn an alarm off
_signals = [signal.SIGINT, signal.SIGTERM]
_received: list[int] = []  # signals since the outermost block began
_depth = 0  # of blocks


@contextmanager
def as_exceptions(*, to_the_end: bool = False) -> Iterator[None]:
    """Raise `Interrupted` on SIGINT and SIGTERM, and on what `listen_to` names, inside the block; another one is
    ignored while the first is handled.

    Lightning's own handling would end the process in the middle of a step, or with exit code 0. Outside the main
    thread, where Python allows no handlers, this does nothing.

    Args:
        to_the_end: the block is the last of its process: after an `Interrupted` signals are ignored. After a signal the
            block always ends with `Interrupted`, even if a library has swallowed it or raised another error.
    """
    global _depth  # noqa: PLW0603
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(signum: int, _: FrameType | None) -> None:
        if not is_handled():
            _received.append(signum)
        raise_unless_handled(signum)

    before = {signum: signal.signal(signum, stop) for signum in _signals}
    _depth += 1
    try:
        with _ending_interrupted() if to_the_end else nullcontext():
            yield
    finally:
        ending = to_the_end and is_handled()
        for signum, handler in before.items():
            signal.signal(signum, signal.SIG_IGN if ending else handler)
        _depth -= 1
        if not _depth:
            _received.clear()


def listen_to(signum: signal.Signals) -> None:
    """Treat another signal as SIGTERM, from the next block of `as_exceptions` on."""
    if signum not in _signals:
        _signals.append(signum)


def received() -> int | None:
    """The signal that was received inside a block of `as_exceptions`, even if its exception was swallowed."""
    return _received[0] if _received else None


def state_of(error: BaseException) -> JobState:
    """The state of a run that ended with this error, which a library may have made of a signal."""
    if isinstance(error, Diverged):
        return JobState.DIVERGED
    if isinstance(error, TimeOver):
        return JobState.PRUNED
    optuna = sys.modules.get("optuna")  # an app that raises its exception has imported it
    if optuna is not None and isinstance(error, optuna.TrialPruned):
        return JobState.PRUNED
    if isinstance(error, DataChanged):
        return JobState.REFUSED
    if isinstance(error, Interrupted | KeyboardInterrupt | StorageLost) or received() is not None:
        return JobState.INTERRUPTED
    return JobState.FAILED


def raise_lost() -> None:
    """Raise the `Interrupted` of a signal again, if a library has swallowed it.

    Raises:
        Interrupted: a signal was received, and is not being handled.
    """
    if _received:
        raise_unless_handled(_received[0])


def raise_unless_handled(signum: int) -> None:
    """Raise `Interrupted`, unless one is being handled.

    Raises:
        Interrupted: otherwise.
    """
    if not is_handled():
        raise Interrupted(signum)


@contextmanager
def blocking_interrupts() -> Iterator[None]:
    """Let Ctrl-C wait until the block ends, also for processes that are started in it."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextmanager
def blocking_all() -> Iterator[None]:
    """Let every signal that `as_exceptions` knows wait until the block ends, as half a message could not be read."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, set(_signals))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextmanager
def keeping_handlers() -> Iterator[None]:
    """Put the handlers of SIGINT and SIGTERM back when the block ends, whoever replaces them in it."""
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextmanager
def restoring() -> Iterator[None]:
    """Raise `Interrupted` instead of any error that ends the block after a signal: libraries (OmegaConf) turn it into
    their own errors."""
    try:
        yield
    except (Exception, SystemExit) as error:
        if _received:
            raise Interrupted(_received[0]) from error
        raise


@contextmanager
def _ending_interrupted() -> Iterator[None]:
    """End with `Interrupted` after a signal, even one raised in a finalizer, which Python only prints."""
    unraisable = sys.unraisablehook
    sys.unraisablehook = lambda lost: None if isinstance(lost.exc_value, Interrupted) else unraisable(lost)
    try:
        with restoring():
            yield
    finally:
        sys.unraisablehook = unraisable
    raise_lost()


def is_handled() -> bool:
    """Whether an `Interrupted` is being handled: files are written meanwhile.

    Found from Python's current exception. SIG_IGN would not last, since Lightning restores the handler that it found; a
    flag would last too long, since an exception in a finalizer is dropped and the next Ctrl-C has to work.
    """
    error = sys.exception()
    while error is not None and not isinstance(error, Interrupted):
        error = error.__context__
    return error is not None


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
        if self.is_closed or self._is_reporting or is_handled() or time.monotonic() < self._wait_until:
            return
        self.has_ended_job = True
        raise TimeOver(signum, self.note)

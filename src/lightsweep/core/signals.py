"""Ctrl-C and SIGTERM as an exception, so that a run ends in order, with its last checkpoint complete."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType

from lightsweep.core.errors import DataChanged, Diverged, Interrupted, JobState, StorageLost, TimeOver

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

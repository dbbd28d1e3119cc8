"""Ctrl-C and SIGTERM as an exception, so that a run ends in order and its last checkpoint is whole."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType

from lightsweep.core.errors import Interrupted

_signals = [signal.SIGINT, signal.SIGTERM]
_received: list[int] = []  # signals since the outermost block began
_depth = 0  # of blocks


@contextmanager
def as_exceptions(*, to_the_end: bool = False) -> Iterator[None]:
    """Raise `Interrupted` on SIGINT and SIGTERM, and on what `listen_to` names, inside the block; another one is
    ignored while the first is served.

    Lightning's own handling would end the process in the middle of a step, or with exit code 0. Outside the main
    thread, where Python allows no handlers, this does nothing.

    Args:
        to_the_end: of a process: after an `Interrupted` it only ends, and signals are ignored for good. However the
            block ends after a signal, it ends with `Interrupted`: a library may have lost the first one, or have made
            another error of it.
    """
    global _depth  # noqa: PLW0603
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(signum: int, _: FrameType | None) -> None:
        if not _is_served():
            _received.append(signum)
        raise_unserved(signum)

    before = {signum: signal.signal(signum, stop) for signum in _signals}
    _depth += 1
    try:
        with _whatever_happens() if to_the_end else nullcontext():
            yield
    finally:
        ending = to_the_end and _is_served()
        for signum, handler in before.items():
            signal.signal(signum, signal.SIG_IGN if ending else handler)
        _depth -= 1
        if not _depth:
            _received.clear()


def listen_to(signum: signal.Signals) -> None:
    """Take another signal for one that asks the run to end, from the next block of `as_exceptions` on."""
    if signum not in _signals:
        _signals.append(signum)


def received() -> int | None:
    """The signal that came inside a block of `as_exceptions`, also where its exception was lost."""
    return _received[0] if _received else None


def raise_lost() -> None:
    """Raise a signal's `Interrupted` again, where something on its way up has lost it.

    Raises:
        Interrupted: a signal came, and is not served.
    """
    if _received:
        raise_unserved(_received[0])


def raise_unserved(signum: int) -> None:
    """Raise `Interrupted`, unless one is on its way up.

    Raises:
        Interrupted: always but then.
    """
    if not _is_served():
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
    """Make an `Interrupted` again of an error that ends the block after a signal came: a library, such as OmegaConf,
    has turned it into one of its own."""
    try:
        yield
    except (Exception, SystemExit) as error:
        if _received:
            raise Interrupted(_received[0]) from error
        raise


@contextmanager
def _whatever_happens() -> Iterator[None]:
    """End with `Interrupted` where a signal came. Where one is raised in a finalizer, Python only prints it."""
    unraisable = sys.unraisablehook
    sys.unraisablehook = lambda lost: None if isinstance(lost.exc_value, Interrupted) else unraisable(lost)
    try:
        with restoring():
            yield
    finally:
        sys.unraisablehook = unraisable
    raise_lost()


def _is_served() -> bool:
    """Whether an `Interrupted` is on its way up, and files are written on that way.

    Asked of Python, since SIG_IGN would not last, Lightning puts back the handler that it found, and a mark would last
    too long: an exception in a finalizer gets lost, and the next Ctrl-C has to work.
    """
    error = sys.exception()
    while error is not None and not isinstance(error, Interrupted):
        error = error.__context__
    return error is not None

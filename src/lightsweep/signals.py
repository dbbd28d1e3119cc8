"""Ctrl-C and SIGTERM as an exception, so that a run ends in order and its last checkpoint is whole."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from lightsweep.errors import Interrupted


@contextmanager
def as_exceptions(*, to_the_end: bool = False) -> Iterator[None]:
    """Raise `Interrupted` on SIGINT and SIGTERM inside the block; another one is ignored while the first is served.

    Lightning's own handling would end the process in the middle of a step, or with exit code 0. Outside the main
    thread, where Python allows no handlers, this does nothing.

    Args:
        to_the_end: of a process: after an `Interrupted` it only ends, and signals are ignored for good.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(signum: int, frame: FrameType | None) -> None:
        if not _is_served():
            raise Interrupted(signum)

    before = {signum: signal.signal(signum, stop) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        ending = to_the_end and _is_served()
        for signum, handler in before.items():
            signal.signal(signum, signal.SIG_IGN if ending else handler)


def _is_served() -> bool:
    """Whether an `Interrupted` is on its way up, and files are written on that way.

    Asked of Python, since SIG_IGN would not last, Lightning puts back the handler that it found, and a mark would last
    too long: an exception in a finalizer gets lost, and the next Ctrl-C has to work.
    """
    error = sys.exception()
    while error is not None and not isinstance(error, Interrupted):
        error = error.__context__
    return error is not None

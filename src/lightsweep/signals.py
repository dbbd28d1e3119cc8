"""Ctrl-C and SIGTERM as an exception, so that a run ends in order and its last checkpoint is whole."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from lightsweep.errors import Interrupted


@contextmanager
def as_exceptions() -> Iterator[None]:
    """Raise `Interrupted` on SIGINT and SIGTERM inside the block; a second one is ignored while the first is served.

    Lightning's own handling would end the process in the middle of a step, or with exit code 0. Outside the main
    thread, where Python allows no handlers, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(signum: int, frame: FrameType | None) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(signum)

    before = {signum: signal.signal(signum, stop) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)

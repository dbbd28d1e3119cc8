"""Ctrl-C and SIGTERM inside the block, as an exception that says which."""

import signal
import threading

import pytest

from lightsweep import signals
from lightsweep.errors import Interrupted


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_an_exception_and_handlers_come_back(signum: signal.Signals) -> None:
    before = signal.getsignal(signum)
    with pytest.raises(Interrupted) as end, signals.as_exceptions():
        signal.raise_signal(signum)
    assert end.value.signum == signum
    assert signal.getsignal(signum) is before


def test_a_second_signal_does_not_disturb_the_first() -> None:
    with signals.as_exceptions():
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)


def test_outside_the_main_thread_it_does_nothing() -> None:
    seen = []

    def work() -> None:
        with signals.as_exceptions():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]

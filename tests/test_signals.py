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


def test_while_one_is_served_others_change_nothing() -> None:
    served = []

    def stopped() -> None:
        before = signal.getsignal(signal.SIGINT)
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.signal(signal.SIGINT, before)  # as Lightning does when it is torn down
            for signum in (signal.SIGINT, signal.SIGTERM):
                signal.raise_signal(signum)
            try:
                raise OSError("of a file that cannot be written")
            except OSError:
                signal.raise_signal(signal.SIGINT)
            served.append("all")

    with pytest.raises(Interrupted) as end, signals.as_exceptions():
        stopped()
    assert (end.value.signum, served) == (signal.SIGTERM, ["all"])


def test_also_by_the_handlers_around() -> None:
    def inner() -> None:
        try:
            with signals.as_exceptions():
                signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted) as end, signals.as_exceptions():
        inner()
    assert end.value.signum == signal.SIGTERM


def test_a_process_that_ends_is_not_disturbed(monkeypatch) -> None:
    put = dict.fromkeys((signal.SIGINT, signal.SIGTERM))

    def stopped() -> None:
        monkeypatch.setattr(signal, "signal", put.__setitem__)  # a test run goes on, and wants its own back
        signal.raise_signal(signal.SIGTERM)

    before = {signum: signal.getsignal(signum) for signum in put}
    with pytest.raises(Interrupted), signals.as_exceptions(to_the_end=True):
        stopped()
    monkeypatch.undo()
    for signum, handler in before.items():
        signal.signal(signum, handler)
    assert set(put.values()) == {signal.SIG_IGN}


def test_one_that_got_lost_is_not_the_last() -> None:
    with signals.as_exceptions():
        for signum in (signal.SIGINT, signal.SIGINT):
            with pytest.raises(Interrupted):
                signal.raise_signal(signum)


def test_outside_the_main_thread_it_does_nothing() -> None:
    seen = []

    def work() -> None:
        with signals.as_exceptions():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]

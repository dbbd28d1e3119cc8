"""Ctrl-C and SIGTERM inside the block, as an exception that says which."""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable

import pytest

from lightsweep.app import entry
from lightsweep.core import signals
from lightsweep.core.errors import Interrupted


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


def loses_it() -> None:
    with contextlib.suppress(BaseException):
        signal.raise_signal(signal.SIGTERM)


def makes_another_error_of_it() -> None:
    try:
        signal.raise_signal(signal.SIGTERM)
    except BaseException:
        raise KeyError("what OmegaConf looked for") from None


def loses_it_in_a_finalizer() -> None:
    class Finalized:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    Finalized()


def loses_it_and_exits() -> None:
    loses_it()
    sys.exit(1)


@pytest.mark.parametrize("library", [loses_it, makes_another_error_of_it, loses_it_in_a_finalizer, loses_it_and_exits])
def test_a_process_ends_of_a_signal_that_a_library_loses(library: Callable[[], None], capsys) -> None:
    with pytest.raises(SystemExit) as end:
        ends(library)
    assert end.value.code == 128 + signal.SIGTERM
    assert capsys.readouterr().err == ""


def ends(library: Callable[[], None]) -> None:
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        entry.launch_command(lambda: library() or 0)
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def test_an_error_that_a_library_makes_of_it_is_interrupted_again() -> None:
    with pytest.raises(Interrupted), signals.as_exceptions(), signals.restoring():
        makes_another_error_of_it()
    with pytest.raises(KeyError), signals.as_exceptions(), signals.restoring():  # forgotten with the block
        raise KeyError("a bug")


def test_one_that_got_lost_can_be_raised_again() -> None:
    with signals.as_exceptions():
        signals.raise_lost()
        loses_it()
        assert signals.received() == signal.SIGTERM
        with pytest.raises(Interrupted):
            signals.raise_lost()
    assert signals.received() is None

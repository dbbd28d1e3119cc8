"""Ctrl-C and SIGTERM inside the block, as an exception that names the signal."""

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
def test_a_signal_raises_and_handlers_are_restored(signum: signal.Signals) -> None:
    before = signal.getsignal(signum)
    with pytest.raises(Interrupted) as end, signals.as_exceptions():
        signal.raise_signal(signum)
    assert end.value.signum == signum
    assert signal.getsignal(signum) is before


def test_further_signals_are_ignored_while_one_is_handled() -> None:
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


def test_further_signals_are_ignored_after_the_block_too() -> None:
    def inner() -> None:
        try:
            with signals.as_exceptions():
                signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted) as end, signals.as_exceptions():
        inner()
    assert end.value.signum == signal.SIGTERM


def test_signals_are_ignored_in_a_process_that_ends(monkeypatch) -> None:
    put = dict.fromkeys((signal.SIGINT, signal.SIGTERM))

    def stopped() -> None:
        monkeypatch.setattr(signal, "signal", put.__setitem__)  # the test run continues with its own handlers
        signal.raise_signal(signal.SIGTERM)

    before = {signum: signal.getsignal(signum) for signum in put}
    with pytest.raises(Interrupted), signals.as_exceptions(to_the_end=True):
        stopped()
    monkeypatch.undo()
    for signum, handler in before.items():
        signal.signal(signum, handler)
    assert set(put.values()) == {signal.SIG_IGN}


def test_a_second_signal_raises_again() -> None:
    with signals.as_exceptions():
        for signum in (signal.SIGINT, signal.SIGINT):
            with pytest.raises(Interrupted):
                signal.raise_signal(signum)


def test_outside_the_main_thread_handlers_are_unchanged() -> None:
    seen = []

    def work() -> None:
        with signals.as_exceptions():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]


def swallows_it() -> None:
    with contextlib.suppress(BaseException):
        signal.raise_signal(signal.SIGTERM)


def raises_another_error() -> None:
    try:
        signal.raise_signal(signal.SIGTERM)
    except BaseException:
        raise KeyError("what OmegaConf looked for") from None


def swallows_in_finalizer() -> None:
    class Finalized:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    Finalized()


def swallows_and_exits() -> None:
    swallows_it()
    sys.exit(1)


@pytest.mark.parametrize("library", [swallows_it, raises_another_error, swallows_in_finalizer, swallows_and_exits])
def test_a_process_ends_by_a_signal_that_a_library_swallows(library: Callable[[], None], capsys) -> None:
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


def test_an_error_that_a_library_raises_instead_becomes_interrupted_again() -> None:
    with pytest.raises(Interrupted), signals.as_exceptions(), signals.restoring():
        raises_another_error()
    with pytest.raises(KeyError), signals.as_exceptions(), signals.restoring():  # forgotten with the block
        raise KeyError("a bug")


def test_a_swallowed_signal_can_be_raised_again() -> None:
    with signals.as_exceptions():
        signals.raise_lost()
        swallows_it()
        assert signals.received() == signal.SIGTERM
        with pytest.raises(Interrupted):
            signals.raise_lost()
    assert signals.received() is None

"""What a person sees: one line that moves on a terminal, a line an epoch elsewhere."""

import io
import logging
import re

import pytest
from rich.console import Console

from lightsweep.training import callbacks


def epoch_lines(caplog) -> list[str]:
    return [message for message in caplog.messages if re.match(r"epoch +\d", message)]


def test_without_a_terminal_each_epoch_is_a_line_with_the_scores(run, caplog) -> None:
    with caplog.at_level(logging.INFO, logger="lightsweep.training.callbacks"):
        done = run("callbacks=progress")
    lines = epoch_lines(caplog)
    assert len(lines) == 2
    for line, row in zip(lines, done.rows, strict=True):
        scores = [f"{name} {float(row[name]):.4f}" for name in ("train/loss", "train/acc", "val/loss", "val/acc")]
        assert line.startswith(f"epoch {int(row['epoch']):3d}  " + "  ".join(scores))


@pytest.fixture
def terminal(monkeypatch) -> io.StringIO:
    screen = io.StringIO()
    monkeypatch.setattr(callbacks, "_REFRESH", 0.0)
    monkeypatch.setattr(callbacks, "Console", lambda **_: Console(file=screen, force_terminal=True, width=120))
    return screen


def test_on_a_terminal_it_is_one_line_with_the_scores(run, terminal: io.StringIO, caplog) -> None:
    with caplog.at_level(logging.INFO, logger="lightsweep.training.callbacks"):
        done = run("callbacks=progress")
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    assert f"val/acc {float(done.rows[-1]['val/acc']):.4f}" in shown
    assert "epoch 2/2" in shown
    assert "\n\n" not in shown
    assert not epoch_lines(caplog)


def test_the_line_is_closed_when_a_run_ends_by_an_error(run, terminal: io.StringIO, monkeypatch) -> None:
    closed = []
    monkeypatch.setattr(callbacks.ProgressLine, "_close", lambda self: closed.append(self.bar.stop()))
    with pytest.raises(Exception, match="epoch 1"):
        run("callbacks=progress", "optimizer=sgd", "optimizer.lr=1e30")
    assert closed == [None]

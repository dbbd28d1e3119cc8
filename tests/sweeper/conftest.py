"""Sweeps in further processes, of runs that take milliseconds, and tiny ones in this process."""

import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

import toy
from queued_jobs import Scheduler
from tiny import TINY
from toy_sweeps import Sweep


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return Sweep(tmp_path / "study")


@pytest.fixture
def sweeps(tmp_path: Path) -> Callable[[str], Sweep]:
    return lambda name: Sweep(tmp_path / name)


@pytest.fixture
def tiny_sweep(launch, tmp_path: Path):
    """Run ``sweep=quick``, made tiny, in this process, in tmp_path/study."""
    return lambda *overrides: launch("sweep=quick", f"hydra.sweep.dir={tmp_path}/study", *TINY, *overrides)


@pytest.fixture
def toy_sweep(launch, tmp_path: Path):
    """The same sweep of runs that only return a number (tests/toy.py), which import no torch."""
    return lambda *overrides: launch(
        "sweep=quick", f"hydra.sweep.dir={tmp_path}/study", *TINY, *overrides, main=toy.main
    )


@pytest.fixture
def study(tmp_path: Path) -> Callable[..., optuna.Study]:
    """The study in tmp_path/study, read anew."""
    return lambda name="quick": Sweep(tmp_path / "study").study(name)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let so many seconds pass, for the queue."""
    now = [time.monotonic()]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def passed(seconds: float) -> None:
        now[0] += seconds

    return passed


@pytest.fixture
def scheduler(tmp_path: Path) -> Scheduler:
    return Scheduler(tmp_path)

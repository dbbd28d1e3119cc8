"""Sweeps in further processes, of runs that take milliseconds, and tiny ones in this process."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

import toy
from lightsweep.core.files import JOURNAL
from lightsweep.sweeper.executors.job_queue import JobQueue
from lightsweep.sweeper.storage import Address, connect
from lightsweep.sweeper.trial_queue import TrialQueue
from queued_jobs import Scheduler
from tiny import TINY
from toy_sweeps import Sweep


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return Sweep(tmp_path / "study")


@pytest.fixture
def job_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DictConfig:
    """The composed config of a job that runs in tmp_path, which Hydra then gives as its own."""
    hydra: dict[str, Any] = {
        "runtime": {"output_dir": str(tmp_path), "cwd": str(tmp_path)},
        "output_subdir": ".hydra",
        "run": {"dir": "elsewhere"},
        "job": {"chdir": None},
        "overrides": {"task": ["lr=0.1"]},
    }
    node = OmegaConf.create({"hydra": hydra})
    monkeypatch.setattr(HydraConfig, "get", staticmethod(lambda: node.hydra))
    return node


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


@pytest.fixture
def open_queue(tmp_path: Path):
    """Several queues on one journal, as several sweepers would have."""
    address = Address(str(tmp_path / JOURNAL), "study")
    opened = []

    def queue(n_trials: int = 3, retries: int = 3) -> TrialQueue:
        connect.cache_clear()
        study = optuna.create_study(study_name="study", storage=connect(address.location), load_if_exists=True)
        opened.append(TrialQueue(study, address, n_trials=n_trials, retries=retries))
        return opened[-1]

    yield queue
    for each in opened:
        each.close()


@pytest.fixture
def open_job_queue(later, scheduler: Scheduler, tmp_path: Path) -> Callable[..., JobQueue]:
    """Sweepers of one folder, one after the other."""
    return lambda leave=False: JobQueue(scheduler, None, leave=leave)


@pytest.fixture
def job_queue(open_job_queue) -> JobQueue:
    return open_job_queue()

"""Sweeps in processes of their own, of runs that take milliseconds, and tiny ones in this process."""

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from lightsweep.sweep.storage import JOURNAL, connect
from tiny import TINY

TOY = Path(__file__).parent / "toy.py"


class Sweep:
    """A study of toy runs in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(
        self, *overrides: str, seconds: float = 0.01, fail: str = "", cwd: Path | None = None
    ) -> subprocess.Popen:
        command = [sys.executable, str(TOY), "sweep=quick", "hydra.sweeper.preload=[]", *overrides]
        command += [f"hydra.sweep.dir={self.folder}"] * (not any("hydra.sweep.dir=" in line for line in overrides))
        environment = {**os.environ, "TOY_SECONDS": str(seconds), "TOY_FAIL": fail, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            command, env=environment, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run(self, *overrides: str, **options) -> subprocess.CompletedProcess:
        process = self.start(*overrides, **options)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def study(self, name: str = "quick") -> optuna.Study:
        connect.cache_clear()
        return optuna.load_study(study_name=name, storage=connect(str(self.folder / JOURNAL)))

    def leaderboard(self) -> list[dict[str, str]]:
        with (self.folder / "leaderboard.csv").open() as file:
            return list(csv.DictReader(file))


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
def study(tmp_path: Path) -> Callable[..., optuna.Study]:
    """The study in tmp_path/study, read anew."""
    return lambda name="quick": Sweep(tmp_path / "study").study(name)

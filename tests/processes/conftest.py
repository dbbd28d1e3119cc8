"""How the tests of this folder run the program: always in a process of its own, in a fresh working directory."""

import csv
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from forked import SCRIPT, Ended, Forked

os.environ["OMP_NUM_THREADS"] = "1"  # before the server of forked.py imports torch

TRAINING = "[early_stopping,lr_monitor,checkpoint,progress]"  # the default callbacks that do not only show


@pytest.fixture
def start(tmp_path: Path):  # largest_file=-1: no limit
    """Start ``python src/train.py *arguments`` and go on. Its runs lie below tmp_path unless it is told where."""
    count = itertools.count()
    processes = []

    def start(*arguments: str, cwd: Path | None = None, largest_file: int = -1, **environment: str | None) -> Forked:
        here = cwd or tmp_path / "here"
        here.mkdir(exist_ok=True)
        said = tmp_path / "said" / str(next(count))
        placement = {"cwd": here, "said": said, "environment": environment, "largest_file": largest_file}
        processes.append(Forked(placed(arguments, tmp_path), **placement))
        return processes[-1]

    yield start
    for each in processes:
        if each.process.is_alive():
            each.process.kill()


@pytest.fixture
def train(start) -> Callable[..., Ended]:
    """Run ``python src/train.py *arguments`` to its end."""
    return lambda *arguments, **options: start(*arguments, **options).wait()


@pytest.fixture
def python(tmp_path: Path):
    """The same in a fresh interpreter, imports and all (ten seconds), for what depends on that."""

    def python(
        *arguments: str, timeout: float = 120.0, before: Sequence[str] = (), **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*before, sys.executable, str(SCRIPT), *placed(arguments, tmp_path)],
            cwd=tmp_path,
            env={**os.environ, **environment},
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return python


def placed(arguments, folder: Path) -> list[str]:
    """The arguments, and where the run or the grid lies: `folder`/run, `folder`/grid, jobs by their numbers. Pictures
    cost seconds a run, so they are drawn only where the arguments name them."""
    chosen = {argument.partition("=")[0].lstrip("~") for argument in arguments}
    default = {"hydra.run.dir": folder / "run", "hydra.sweep.dir": folder / "grid", "callbacks": TRAINING}
    default["hydra.sweep.subdir"] = "${hydra.job.num}"
    if "resume" in chosen:
        return list(arguments)
    if "callbacks.figures" in chosen:
        del default["callbacks"]
    return [*arguments, *(f"{key}={value}" for key, value in default.items() if key not in chosen)]


def epochs(run: Path) -> list[dict[str, str]]:
    """metrics.csv as it is written, without the columns that measure time."""
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{key: cell for key, cell in row.items() if key not in ("seconds", "images_per_second")} for row in rows]

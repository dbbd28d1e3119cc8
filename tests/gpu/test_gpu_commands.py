"""Whole commands on a GPU, in processes of their own: sweeps whose workers share it, and interruptions."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from digits_runs import Run
from lightsweep.core.files import ROOT
from lightsweep.training import summary
from toy_sweeps import Sweep

from .conftest import DEVICE, ON, TYPE

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(300)]

SMALL = (*ON, "data=digits", "data.limit=300", "logger=none", "threads=1", "model.dropout=0.1", "model.bn=true")
PLAIN = "callbacks=[checkpoint,progress]"


def start(*arguments: str, folder: Path) -> subprocess.Popen:
    key = "hydra.sweep.dir" if arguments[0].startswith("sweep=") else "hydra.run.dir"
    where = [] if arguments[0].startswith("resume=") else [f"{key}={folder}"]
    return subprocess.Popen(
        [sys.executable, str(ROOT / "src" / "train.py"), *arguments, *where],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=folder.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen, code: int = 0) -> str:
    out, err = process.communicate(timeout=240)
    assert process.returncode == code, err + out
    return out


def wait_for(path: Path, process: subprocess.Popen) -> None:
    end = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


def results(folder: Path) -> list[dict]:
    return [json.loads(file.read_text()) for file in sorted(folder.glob("trial-*/result.json"))]


def test_two_workers_share_the_device(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    size = ("trainer.max_epochs=2", "hydra.sweeper.n_trials=6", "hydra.sweeper.n_jobs=2", "hydra/sweeper/pruner=none")
    out = finish(start("sweep=quick", *SMALL, *size, folder=folder))
    assert "6 trials: 6 completed, 0 pruned, 0 failed" in out
    found = results(folder)
    assert [each["status"] for each in found] == ["completed"] * 6
    if TYPE == "cuda":
        import torch

        assert {each["device"] for each in found} == {summary.device_name(torch.device("cuda"))}
        assert all(0 < each["peak_device_memory"] < 1e9 for each in found)


def test_an_interrupted_sweep_continues(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    size = (
        PLAIN,
        "trainer.max_epochs=120",
        "hydra.sweeper.n_trials=4",
        "hydra.sweeper.n_jobs=2",
        "hydra/sweeper/pruner=none",
    )
    process = start("sweep=quick", *SMALL, *size, folder=folder)
    wait_for(folder / "trial-0001" / "checkpoints" / "last.ckpt", process)
    process.send_signal(signal.SIGINT)
    finish(process, 130)
    finish(start("sweep=quick", *SMALL, *size, folder=folder))
    states = [trial.state.name for trial in Sweep(folder).study().trials]
    assert states.count("COMPLETE") == 4
    assert {each["status"] for each in results(folder)} <= {"completed", "interrupted"}


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_resumes_to_the_same_result(tmp_path: Path, signum: int) -> None:
    full, stopped = tmp_path / "full", tmp_path / "stopped"
    keys = (*SMALL, PLAIN, "trainer.max_epochs=120")
    full_run = start(*keys, folder=full)
    process = start(*keys, folder=stopped)
    wait_for(stopped / "checkpoints" / "best.ckpt", process)
    process.send_signal(signum)
    finish(process, 128 + signum)
    assert json.loads((stopped / "result.json").read_text())["status"] == "interrupted"
    finish(start(f"resume={stopped}", folder=stopped))
    finish(full_run)
    assert Run(stopped, 0.0).measured == Run(full, 0.0).measured


def test_a_missing_device_is_one_line(tmp_path: Path) -> None:
    process = start(
        *SMALL, "trainer.devices=[77]" if DEVICE == "gpu" else "trainer.accelerator=tpu", folder=tmp_path / "r"
    )
    _, err = process.communicate(timeout=240)
    assert process.returncode == 1
    assert len(err.strip().splitlines()) == 1, err
    assert err.startswith("trainer"), err

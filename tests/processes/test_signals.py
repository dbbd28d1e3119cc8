"""Ctrl-C and SIGTERM end a run in order, whatever it is doing, and it can be resumed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from forked import SCRIPT

from .conftest import epochs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

RUN = (
    "data=digits",
    "trainer=cpu",
    "trainer.max_epochs=12",
    "logger=none",
    "model.bn=true",
    "model.dropout=0.2",
    "data.batch_size=16",
    "scheduler=plateau",
    "scheduler.patience=0",
)

STOPS_ITSELF = """
import os, signal, sys

class Finder:
    def find_spec(self, name, *_):
        begun = signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        if begun and name.startswith(os.environ["STOP_AT"]):
            sys.meta_path.remove(self)
            os.kill(os.getpid(), int(os.environ["STOP_WITH"]))

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start with it ignored
sys.meta_path.insert(0, Finder())
"""


def advice(run: Path) -> str:
    return f"interrupted: python src/train.py resume={run} continues the run\n"


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_in_training(start, train, tmp_path, signum):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert train(*RUN, f"hydra.run.dir={whole}").code == 0

    running = start(*RUN, f"hydra.run.dir={stopped}")
    running.wait_for(stopped / "checkpoints" / "best.ckpt")
    running.send(signum)
    ended = running.wait()

    assert (ended.code, ended.err) == (128 + signum, advice(stopped))
    facts = json.loads((stopped / "result.json").read_text())
    assert facts["status"] == "interrupted"
    assert 1 <= facts["epochs"] < 12
    assert train(f"resume={stopped}").code == 0
    assert epochs(stopped) == epochs(whole)
    assert json.loads((stopped / "result.json").read_text())["status"] == "completed"


@pytest.mark.parametrize("pause", [0.0, 0.001, 0.02])
def test_however_often_it_is_pressed(start, tmp_path, pause):
    """While the first is served, while the process ends, until it has ended."""
    running = start(*RUN)
    running.wait_for(tmp_path / "run" / "checkpoints" / "last.ckpt")
    while running.process.is_alive():
        running.send(signal.SIGINT)
        time.sleep(pause)
    ended = running.wait()

    assert (ended.code, ended.err) == (130, advice(tmp_path / "run"))
    assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "interrupted"


def test_stops_a_whole_grid(start, tmp_path):
    running = start("-m", *RUN, "seed=1,2,3")
    running.wait_for(tmp_path / "grid" / "1" / "checkpoints" / "last.ckpt")
    running.send(signal.SIGINT)
    ended = running.wait()

    assert (ended.code, ended.err) == (130, "")
    statuses = [json.loads((tmp_path / "grid" / job / "result.json").read_text())["status"] for job in "01"]
    assert statuses == ["completed", "interrupted"]
    assert not (tmp_path / "grid" / "2").exists()


@pytest.mark.parametrize(
    ("module", "signum"),
    [
        ("", signal.SIGINT),
        ("hydra", signal.SIGTERM),
        ("omegaconf.nodes", signal.SIGINT),
        ("torch", signal.SIGTERM),
        ("pytorch_lightning.trainer", signal.SIGINT),
    ],
)
def test_during_the_imports(tmp_path, module, signum):
    """Without a traceback, from the first import on."""
    (tmp_path / "sitecustomize.py").write_text(STOPS_ITSELF)
    process = subprocess.run(
        [sys.executable, str(SCRIPT), *RUN, f"hydra.run.dir={tmp_path / 'run'}"],
        env={**os.environ, "PYTHONPATH": str(tmp_path), "STOP_AT": module, "STOP_WITH": str(int(signum))},
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        timeout=110,
    )

    assert process.stderr in ("", advice(tmp_path / "run"))
    assert process.returncode in (128 + signum, -signum)


@pytest.mark.parametrize("after", [0.1, 0.4, 0.6, 0.8])
def test_at_any_other_moment(start, tmp_path, after):
    """Among them while Hydra composes, while the data is read and while the network is built."""
    running = start(*RUN)
    time.sleep(after)
    running.send(signal.SIGTERM)
    ended = running.wait()

    assert ended.err in ("", advice(tmp_path / "run"))
    assert ended.code in (128 + signal.SIGTERM, -signal.SIGTERM)

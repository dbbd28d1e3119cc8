"""A sweep with a population whose worker and sweeper are killed, trained for real: nothing is lost or counted twice."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from lightsweep.core.files import JOURNAL
from lightsweep.sweeper.storage import connect
from lightsweep.sweeper.trials import count_ended, is_interrupted
from lightsweep.training import checkpoints

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

_TRIALS, _KILLS, _RETRIES = 30, 4, 4
_TRAIN = str(Path(__file__).parents[2] / "src/train.py")
_TYPED = (
    *("-m", "sweep=custom", "data=digits", "trainer=cpu", "trainer.max_epochs=40", "model.hidden=[16]", "threads=1"),
    *("model.dropout=interval(0,0.5)", "optimizer.lr=tag(log,interval(1e-3,1e-1))", "hydra/sweeper/pruner=median"),
    *(f"hydra.sweeper.n_trials={_TRIALS}", "hydra.sweeper.population=8", "hydra.sweeper.sampler=random"),
    *(f"hydra.sweeper.retries={_RETRIES}", f"hydra.sweeper.max_failures={2 * _KILLS}", "logger=none"),
)


@pytest.fixture
def start(tmp_path: Path) -> Callable[[], subprocess.Popen]:
    command = [sys.executable, _TRAIN, *_TYPED, f"hydra.sweep.dir={tmp_path}/study"]
    return lambda: subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _worker_of(sweeper: subprocess.Popen) -> int | None:
    for pid in Path(f"/proc/{sweeper.pid}/task/{sweeper.pid}/children").read_text().split():
        if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return int(pid)
    return None


def _rows(folder: Path) -> int:
    """How many epochs were trained so far, in all trials."""
    return sum(len(file.read_text().splitlines()) - 1 for file in folder.glob("trial-*/metrics.csv"))


def _kill_at_a_random_moment(sweeper: subprocess.Popen, folder: Path, chance: random.Random, *, worker: bool) -> None:
    """Kill the worker, which is noted as one death of all its members, or the sweeper; some epochs after it began."""
    wanted = _rows(folder) + chance.randint(1, 60)
    while sweeper.poll() is None and _rows(folder) < wanted:
        time.sleep(0.01)
    time.sleep(chance.uniform(0.0, 0.1))
    if worker and (pid := _worker_of(sweeper)) is not None:
        os.kill(pid, signal.SIGKILL)
    else:
        sweeper.kill()
        sweeper.communicate()


def test_killed_four_times_ends_with_exactly_its_trials(start: Callable[[], subprocess.Popen], tmp_path: Path) -> None:
    folder, chance = tmp_path / "study", random.Random(11)
    sweeper = start()
    for number in range(_KILLS):
        if sweeper.poll() is not None:
            sweeper = start()
        _kill_at_a_random_moment(sweeper, folder, chance, worker=number % 2 == 0)
    if sweeper.poll() is not None:
        sweeper = start()
    out, _ = sweeper.communicate(timeout=200)
    assert sweeper.returncode == 0, out

    connect.cache_clear()
    study = optuna.load_study(study_name="custom", storage=connect(str(folder / JOURNAL)))
    trials = study.trials
    assert all(trial.state.is_finished() for trial in trials)
    assert count_ended(trials) == _TRIALS
    interrupted = [trial for trial in trials if is_interrupted(trial)]
    assert interrupted
    # A member that was killed has exactly one successor, with its values; none was told as failed.
    successors = {trial.user_attrs["retry_of"]: trial for trial in trials if "retry_of" in trial.user_attrs}
    assert sorted(successors) == [trial.number for trial in interrupted]
    for trial in interrupted:
        assert successors[trial.number].params.items() >= trial.params.items()
    assert {trial.state for trial in trials if not is_interrupted(trial)} <= {TrialState.COMPLETE, TrialState.PRUNED}

    with (folder / "leaderboard.csv").open() as file:
        board = {int(row["trial"]): row["state"] for row in csv.DictReader(file)}
    named = {True: lambda trial: "interrupted", False: lambda trial: trial.state.name.lower()}
    assert board == {trial.number: named[is_interrupted(trial)](trial) for trial in trials}
    for trial in (each for each in trials if each.state == TrialState.COMPLETE):
        of_trial = folder / f"trial-{trial.number:04d}"
        result = json.loads((of_trial / "result.json").read_text())
        assert (result["status"], result["best_value"]) == ("completed", trial.value)
        assert list(trial.intermediate_values) == list(range(1, result["epochs"] + 1))
    checkpoints.load(folder / f"trial-{study.best_trial.number:04d}/checkpoints/best.ckpt")

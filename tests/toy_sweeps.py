"""Sweeps of runs that take milliseconds, in processes of their own, and what must be true of each in the end."""

import csv
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from lightsweep.core.files import JOURNAL
from lightsweep.sweeper.storage import connect
from lightsweep.sweeper.trials import count_ended, is_interrupted, is_repeat, without_repeats

TOY = Path(__file__).parent / "toy.py"


class Sweep:
    """A study of toy runs (tests/toy.py) in a folder of its own."""

    def __init__(self, folder: Path, storage: str | None = None) -> None:
        self.folder = folder
        self.storage = storage  # None: the journal in the folder

    def start(
        self,
        *overrides: str,
        seconds: float = 0.01,
        fail: str = "",
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        python: str = sys.executable,
    ) -> subprocess.Popen:
        command = [python, str(TOY), "sweep=quick", "hydra.sweeper.preload=[]", *overrides]
        if not any("sampler" in line for line in overrides):  # two GPs may draw the same corner: a repeat
            command += ["hydra.sweeper.sampler=random"]
        command += [f"hydra.sweeper.storage={self.storage}"] * (self.storage is not None)
        command += [f"hydra.sweep.dir={self.folder}"] * (not any("hydra.sweep.dir=" in line for line in overrides))
        toy = {"TOY_SECONDS": str(seconds), "TOY_FAIL": fail, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            command,
            env={**os.environ, **toy, **(environment or {})},
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *overrides: str, **options: Any) -> subprocess.CompletedProcess:
        process = self.start(*overrides, **options)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def study(self, name: str = "quick") -> optuna.Study:
        connect.cache_clear()
        return optuna.load_study(study_name=name, storage=connect(self.storage or str(self.folder / JOURNAL)))

    def starts(self, number: int) -> int:
        """How often a trial's job was begun."""
        file = self.folder / f"trial-{number:04d}" / "starts"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def leaderboard(self) -> list[dict[str, str]]:
        with (self.folder / "leaderboard.csv").open() as file:
            return list(csv.DictReader(file))


def good_then_bad(good: int) -> str:
    """Ask for so many good points and then for the worst one, which a pruner ends, whatever the sampler draws."""
    points = [(0.3 - number / 100, 0.003) for number in range(good)] + [(0.3, 1.0)]
    named = ",".join(f"{{model.dropout: {dropout}, optimizer.lr: {lr}}}" for dropout, lr in points)
    return f"hydra.sweeper.enqueue=[{named}]"


def _wanted(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> dict[str, object]:
    """The parameters of all trials that this one is asked again for; each may have been killed while being asked."""
    wanted: dict[str, object] = {}
    while "retry_of" in trial.user_attrs:
        trial = trials[trial.user_attrs["retry_of"]]
        wanted |= trial.params
    return wanted


def check_books(sweep: Sweep, n_trials: int, retries: int = 3, starts: int = 1) -> None:
    """Leaderboard = storage = folders; each number once; each interrupted trial with one successor.

    Args:
        starts: how often a job may begin in one folder: more than once where a scheduler puts it back into its queue.
    """
    trials = sweep.study().trials
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert all(trial.state.is_finished() for trial in trials)
    assert count_ended(trials) == n_trials

    board = sweep.leaderboard()
    shown = without_repeats(trials)
    assert sorted(int(row["trial"]) for row in board) == [trial.number for trial in shown]
    states = {trial.number: "interrupted" if is_interrupted(trial) else trial.state.name.lower() for trial in shown}
    assert {int(row["trial"]): row["state"] for row in board} == states

    successors = [trial.user_attrs["retry_of"] for trial in trials if "retry_of" in trial.user_attrs]
    assert sorted(successors) == [trial.number for trial in trials if is_interrupted(trial)]
    for trial in trials:
        assert trial.user_attrs.get("retries", 0) <= retries
        wanted = _wanted(trial, trials)
        had = wanted.keys() & trial.params.keys()  # not all where it was killed itself while being asked
        assert {name: trial.params[name] for name in had} == {name: wanted[name] for name in had}
        assert had == wanted.keys() or trial.state == TrialState.FAIL

    for trial in trials:
        used = sweep.starts(trial.number)
        if is_repeat(trial):
            assert used == 0, f"trial {trial.number} repeats another, and ran"
            continue
        assert used <= starts, f"trial {trial.number} ran {used} times in one folder"
        if trial.state == TrialState.COMPLETE:
            assert used >= 1
    folders = {int(folder.name.split("-")[1]) for folder in sweep.folder.glob("trial-*")}
    assert folders <= {trial.number for trial in trials}

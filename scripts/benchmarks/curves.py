"""Recorded learning curves: of random points of our sweeps, as one small file that `benchmark.py search` learns from.

Each space is a sweep of ours without pruner and early stopping: the same command goes on where it ended, and runs
nothing where all trials are there. The validation accuracy after each epoch is what the trials reported.
"""

import csv
import json
import os
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
    json_to_distribution,
)
from scipy.stats import spearmanr

from benchmarks import common
from lightsweep.core.files import ROOT

Distribution = CategoricalDistribution | FloatDistribution | IntDistribution

FILE = Path(__file__).with_name("curves.csv")
SPACES = ("mlp", "mlp_wide")
_OVERRIDES = (
    "hydra/sweeper/sampler=random",
    "hydra.sweeper.sampler.seed=1",
    "hydra/sweeper/pruner=none",
    "data.limit=7500",
    "data.val_fraction=0.33333",
    "trainer.precision=bf16-mixed",
    "threads=1",
    "callbacks=none",
    "logger=none",
    "test=false",
)


@dataclass(frozen=True)
class Curves:
    """The recorded runs of a space.

    Args:
        distributions: of the parameters, by key.
        params: of each run, by key; the first run is the baseline's.
        values: validation accuracy after each epoch, float [runs, epochs].
    """

    distributions: Mapping[str, Distribution]
    params: list[dict[str, Any]]
    values: np.ndarray


def early_correlations(values: np.ndarray) -> dict[int, float]:
    """After a quarter, half and three quarters of the epochs: rank correlations of the value then and the best one.

    Args:
        values: after each epoch, float [runs, epochs].
    """
    epochs = [values.shape[1] * quarters // 4 for quarters in (1, 2, 3)]
    return {epoch: float(spearmanr(values[:, epoch - 1], values.max(1)).statistic) for epoch in epochs}


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="where the sweeps are, one folder a space")
    parser.add_argument("--trials", type=int, default=250, help="of each sweep")
    parser.add_argument("--jobs", type=int, default=2, help="worker processes")
    parser.add_argument("--only-read", action="store_true", help="run nothing: read the studies that are there")
    parser.add_argument("--out", type=Path, default=FILE, help="CSV file")


def run(options: Namespace) -> None:
    if not options.only_read:
        if "LIGHTSWEEP_DATA" not in os.environ:
            sys.exit("LIGHTSWEEP_DATA must name the folder of a real CIFAR-10: generated images have no real curves")
        for space in SPACES:
            chosen = (f"hydra.sweeper.n_trials={options.trials}", f"hydra.sweeper.n_jobs={options.jobs}")
            folder = f"hydra.sweep.dir={options.folder.resolve() / space}"
            command = [str(ROOT / "src" / "train.py"), "-m", f"sweep={space}", *_OVERRIDES, *chosen, folder]
            subprocess.run([sys.executable, *command], check=True)
    journals = {space: options.folder / space / "study.journal" for space in SPACES}
    recorded = {space: collect(journal) for space, journal in journals.items() if journal.exists()}
    machine = common.describe_machine()
    about = {
        "command": f"benchmark.py curves FOLDER --trials {options.trials}",
        "sweeps": f"train.py -m sweep=SPACE {' '.join(_OVERRIDES)}",
        "machine": f"{machine['device']}, {machine['cores']} cores, torch {machine['versions']['torch']}",
        "metric": "val/acc after each epoch; the first run of a space is the baseline, the others are random points",
    }
    write(options.out, recorded, about)
    for space, curves in recorded.items():
        print(f"{space}: {len(curves.params)} runs of {curves.values.shape[1]} epochs")
    print(options.out)


def collect(journal: Path) -> Curves:
    """The completed trials of a study that reported each epoch; those that reported fewer are left out."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.load_study(study_name=None, storage=JournalStorage(JournalFileBackend(str(journal))))
    complete = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.COMPLETE]
    epochs = max(len(trial.intermediate_values) for trial in complete)
    whole = [trial for trial in complete if list(trial.intermediate_values) == list(range(1, epochs + 1))]
    values = np.array([list(trial.intermediate_values.values()) for trial in whole])
    distributions: Any = whole[0].distributions
    return Curves(distributions, [trial.params for trial in whole], values)


def write(path: Path, recorded: Mapping[str, Curves], about: Mapping[str, str]) -> None:
    """A CSV file: a comment of JSON with `about` and the distributions; a row is a run, with empty cells for
    parameters that its space lacks."""
    keys = list(dict.fromkeys(key for curves in recorded.values() for key in curves.distributions))
    epochs = max(curves.values.shape[1] for curves in recorded.values())
    spaces = {
        name: {key: json.loads(distribution_to_json(each)) for key, each in curves.distributions.items()}
        for name, curves in recorded.items()
    }
    with path.open("w", newline="") as file:
        file.write(f"# {json.dumps({**about, 'spaces': spaces})}\n")
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["space", *keys, *(f"epoch {number + 1}" for number in range(epochs))])
        for name, curves in recorded.items():
            for params, values in zip(curves.params, curves.values, strict=True):
                cells = [_short(params[key]) if key in params else "" for key in keys]
                table.writerow([name, *cells, *(f"{value:.4f}" for value in values)])


def read(path: Path = FILE) -> dict[str, Curves]:
    """The spaces of a file that `write` wrote."""
    with path.open(newline="") as file:
        spaces = json.loads(file.readline().removeprefix("#"))["spaces"]
        rows = list(csv.DictReader(file))
    found = {}
    for name, described in spaces.items():
        distributions: Any = {key: json_to_distribution(json.dumps(each)) for key, each in described.items()}
        own = [row for row in rows if row["space"] == name]
        params = [{key: _value(row[key], each) for key, each in distributions.items()} for row in own]
        epochs = [key for key in own[0] if key.startswith("epoch ") and own[0][key]]
        found[name] = Curves(distributions, params, np.array([[float(row[key]) for key in epochs] for row in own]))
    return found


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _value(text: str, distribution: Distribution) -> Any:
    """The value that a cell shows, as the distribution has it."""
    if isinstance(distribution, CategoricalDistribution):
        return next(choice for choice in distribution.choices if _short(choice) == text)
    return distribution.to_external_repr(float(text))

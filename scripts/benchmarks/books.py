"""Seconds of a warm trial beyond its epochs and its scoring, with few and with many earlier trials in the study.

A sweep of a tiny network on the digits, one worker, one thread. What a trial takes is counted from the end of the trial
before, so that all is in it that the sweeper does in between. Earlier trials are copies of the study's first one with
values and parameters of their own.
"""

import random
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from benchmarks import common
from lightsweep.core.files import JOURNAL, ROOT
from lightsweep.sweeper.trials import facts_of, folder_of

_STUDY = "custom"
_COLD = 2  # trials of a worker that are not counted: its first one includes imports
_COMMAND = (
    *("sweep=custom", "data=digits", "optimizer=adamw", "model.width=32", "model.depth=1", "threads=1"),
    *("trainer.max_epochs=2", "hydra.sweeper.n_jobs=1", "hydra.sweeper.max_failures=1", "hydra/sweeper/pruner=none"),
    "optimizer.lr=tag(log,interval(1e-4,1e-2))",
    "optimizer.weight_decay=tag(log,interval(1e-4,1.0))",
    "model.dropout=interval(0.0,0.5)",
)


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--trials", type=int, default=9, help="warm trials of a sweep that are counted")
    parser.add_argument("--earlier", type=int, nargs="+", default=[0, 2000], help="earlier trials in the study")
    parser.add_argument("--rounds", type=int, default=1, help="sweeps with each of these numbers")
    parser.add_argument("--sampler", default="random", help="as in hydra.sweeper.sampler; what it takes is counted too")
    parser.add_argument("--other", type=Path, help="another checkout, measured in turns with this one")
    parser.add_argument("overrides", nargs="*", help="further ones, KEY=VALUE each")
    common.add_out(parser, "books")


def run(options: Namespace) -> None:
    roots = {"": ROOT, **({"other": options.other.resolve()} if options.other else {})}
    keys = [(name, earlier) for name in roots for earlier in options.earlier]
    measured: dict[tuple[str, int], list[dict[str, float]]] = {key: [] for key in keys}
    for number in range(options.rounds):
        for name, earlier in keys if number % 2 == 0 else reversed(keys):
            with tempfile.TemporaryDirectory(prefix="lightsweep-benchmark-") as scratch:
                found = _measure(roots[name], Path(scratch) / "sweep", options, earlier)
            measured[name, earlier] += found
            print(f"round {number + 1}  {name} {earlier}: {len(found)} trials", file=sys.stderr)
    facts = {
        "machine": common.describe_machine(),
        "sweeps": [{"checkout": name, "earlier": count, "trials": each} for (name, count), each in measured.items()],
    }
    _show(measured, options, common.describe_machine())
    common.write_facts("books", facts, options.out)


def _measure(root: Path, folder: Path, options: Namespace, earlier: int) -> list[dict[str, float]]:
    """The warm trials of a sweep."""
    started = 0
    if earlier:
        _sweep(root, folder, options, 1)
        started = 1 + earlier
        add_trials(folder / JOURNAL, earlier)
    _sweep(root, folder, options, started + _COLD + options.trials)
    return books_of(_open(folder / JOURNAL).get_trials(deepcopy=False)[started:])


def _sweep(root: Path, folder: Path, options: Namespace, total: int) -> None:
    own = (f"hydra.sweeper.n_trials={total}", f"hydra.sweep.dir={folder}", f"hydra.sweeper.sampler={options.sampler}")
    command = [sys.executable, str(root / "src" / "train.py"), *_COMMAND, *own, *options.overrides]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")


def _open(journal: Path) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.load_study(study_name=_STUDY, storage=JournalStorage(JournalFileBackend(str(journal))))


def add_trials(journal: Path, count: int) -> None:
    """Add trials to a study that has a completed one."""
    study, draw = _open(journal), random.Random(0)
    first = study.get_trials(deepcopy=False)[0]
    for number in range(1, count + 1):
        params = {name: draw.uniform(kind.low, kind.high) for name, kind in first.distributions.items()}  # type: ignore[attr-defined]
        value = draw.uniform(0.3, 0.8)
        study.add_trial(
            create_trial(
                state=TrialState.COMPLETE,
                value=value,
                params=params,
                distributions=first.distributions,
                user_attrs={**first.user_attrs, "folder": folder_of(number), "baseline": False},
                intermediate_values={1: value / 2, 2: value},
            )
        )


def books_of(trials: Sequence[FrozenTrial]) -> list[dict[str, float]]:
    """Of each warm trial, in seconds: all but its epochs and scoring, of these those inside the trial, and between it
    and the one before."""
    found = []
    for before, trial in zip(trials[_COLD - 1 :], trials[_COLD:], strict=False):
        assert before.datetime_complete
        assert trial.datetime_start
        assert trial.datetime_complete
        facts = facts_of(trial)
        work = facts["seconds"] + facts.get("score_seconds", 0.0)
        inside = (trial.datetime_complete - trial.datetime_start).total_seconds() - work
        between = (trial.datetime_start - before.datetime_complete).total_seconds()
        found.append({"all": inside + between, "inside": inside, "between": between, "work": work})
    return found


def _show(measured: Any, options: Namespace, machine: dict[str, Any]) -> None:
    rows = []
    for (name, earlier), trials in measured.items():
        cells = []
        for key in ("all", "inside", "between", "work"):
            of = common.summarize([each[key] for each in trials])
            cells.append(f"{of['median']:.3f} ({of['min']:.3f} to {of['max']:.3f})")
        rows.append((f"{name} {earlier:,} earlier trials".strip(), str(len(trials)), *cells))
    common.show_table(
        title="seconds of a warm trial besides its epochs and its scoring, median (min to max)",
        caption=f"{machine['device']}, {machine['cores']} cores, torch {machine['versions']['torch']};"
        f" sampler={options.sampler}",
        columns=("", "n", "all", "inside the trial", "between two trials", "epochs and scoring"),
        rows=rows,
    )

"""What a sweep finds, and how fast: ours, as it is by default; ours, one by one; the official sweeper over a template.

All search the same space (learning rate, weight decay, width, dropout; cosine, BatchNorm, two layers) on the same
images of CIFAR-10, each as a user would start it: a command in a new process, whose wall time counts from the first
import to the last line. The contenders take turns, round by round. Shown are trials a minute, and after how many
seconds each had a completed trial at least as good as the template's best one of the same round.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import optuna
import yaml
from optuna.trial import FrozenTrial, TrialState

from benchmarks import common
from lightsweep.sweeper.trials import facts_of

PARALLEL, SERIAL, TEMPLATE = "lightsweep", "lightsweep, n_jobs=1, no pruner", "template, official sweeper"
# Seconds from the start, and a value: of the trials that were the best when they ended.
Reached = list[tuple[float, float]]
_SCRIPTS = Path(__file__).resolve().parents[1]
_SPACE = (
    "optimizer.lr=tag(log,interval(1e-4,1e-2))",
    "optimizer.weight_decay=tag(log,interval(1e-4,1.0))",
    "model.width=choice(128,256,512)",
    "model.dropout=interval(0.0,0.5)",
)


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--repeats", type=int, default=1, help="rounds")
    parser.add_argument("--trials", type=int, default=16, help="of each sweep")
    parser.add_argument("--parallel-trials", type=int, help="of the parallel sweep (default: --trials)")
    parser.add_argument("--epochs", type=int, default=8, help="of each trial")
    parser.add_argument("--images", type=int, default=10_000, help="training images, a tenth of which validate")
    parser.add_argument("--jobs", type=int, default=2, help="workers of the parallel sweep")
    parser.add_argument("--pruner", help="of the parallel sweep, as in hydra/sweeper/pruner (default: our default)")
    parser.add_argument("--sampler", help="of our sweeps, as in hydra.sweeper.sampler (default: our default)")
    parser.add_argument("--precision", default="32-true", choices=("32-true", "bf16-mixed"), help="of our sweeps")
    parser.add_argument("--template-workers", type=int, default=0, help="of the template's DataLoader")
    common.add_out(parser, "sweep")


def run(options: Namespace) -> None:
    if "LIGHTSWEEP_DATA" not in os.environ:
        sys.exit("LIGHTSWEEP_DATA must name the folder of a real CIFAR-10: on generated images no value is the best")
    options.parallel_trials = options.parallel_trials or options.trials
    measured: dict[str, list[dict[str, Any]]] = {PARALLEL: [], SERIAL: [], TEMPLATE: []}
    with tempfile.TemporaryDirectory(prefix="lightsweep-benchmark-") as scratch:
        for number in range(options.repeats):
            for name, rounds in measured.items():
                folder = Path(scratch) / f"{len(rounds)}-{list(measured).index(name)}"
                result = _template(options, folder) if name == TEMPLATE else _ours(options, folder, name)
                rounds.append(result)
                print(f"round {number + 1}  {name}: {result['seconds']:.0f} s", file=sys.stderr)
    chosen = {name: str(value) for name, value in vars(options).items() if name != "run"}
    facts = {"machine": common.describe_machine(), "options": chosen, "sweeps": measured}
    _show(measured, options, facts["machine"])
    common.write_facts("sweep", facts, options.out)


def _ours(options: Namespace, folder: Path, name: str) -> dict[str, Any]:
    alone = ("hydra.sweeper.n_jobs=1", "hydra/sweeper/pruner=none")
    pruner = [f"hydra/sweeper/pruner={options.pruner}"] if options.pruner else []
    parallel = (f"hydra.sweeper.n_jobs={options.jobs}", *pruner)
    command = [
        str(_SCRIPTS.parent / "src" / "train.py"),
        "sweep=custom",
        "optimizer=adamw",
        "scheduler=cosine",
        "scheduler.interval=epoch",
        "model.bn=true",
        f"data.limit={options.images}",
        f"trainer.max_epochs={options.epochs}",
        f"trainer.precision={options.precision}",
        f"hydra.sweeper.n_trials={options.parallel_trials if name == PARALLEL else options.trials}",
        f"hydra.sweep.dir={folder}",
        *(parallel if name == PARALLEL else alone),
        *([f"hydra.sweeper.sampler={options.sampler}"] if options.sampler else []),
        *_SPACE,
    ]
    started = datetime.now()  # as Optuna has it, without a time zone
    result = timed(command, folder)
    trials = read_trials(folder)
    results = [json.loads(path.read_text()) for path in folder.glob("trial-*/result.json")]
    ended = [
        ((trial.datetime_complete - started).total_seconds(), trial.value)
        for trial in trials
        if trial.datetime_complete and trial.state == TrialState.COMPLETE and trial.value is not None
    ]
    seconds = [each["seconds"] for each in results]
    return {**result, "reached": improvements(ended), "fit_seconds": seconds, "overhead": _overhead(trials)}


def _template(options: Namespace, folder: Path) -> dict[str, Any]:
    command = [
        str(Path(__file__).with_name("template.py")),
        "-m",
        "hydra/sweeper=optuna",
        "hydra.sweeper.direction=maximize",
        f"hydra.sweeper.n_trials={options.trials}",
        "hydra.sweeper.n_jobs=1",
        f"hydra.sweep.dir={folder}",
        f"data_dir={Path(os.environ['LIGHTSWEEP_DATA']).resolve()}",
        f"images={options.images}",
        f"max_epochs={options.epochs}",
        f"workers={options.template_workers}",
        *_SPACE,
    ]
    started = time.time()
    result = timed(command, folder)
    ended = [(path.stat().st_mtime - started, float(path.read_text())) for path in folder.glob("*/value")]
    return {**result, "reached": improvements(ended)}


def improvements(ended: Iterable[tuple[float, float]]) -> Reached:
    """Of seconds and values in any order, those that were the best when they came."""
    better: Reached = []
    for seconds, value in sorted(ended):
        if not better or value > better[-1][1]:
            better.append((seconds, value))
    return better


def seconds_until(reached: Reached, value: float) -> float:
    """When a value was reached; infinite where it never was."""
    return next((seconds for seconds, each in reached if each >= value), math.inf)


def timed(command: list[str], folder: Path) -> dict[str, Any]:
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    best = yaml.safe_load((folder / "optimization_results.yaml").read_text())
    return {"seconds": seconds, "best_value": best["best_value"]}


def read_trials(folder: Path) -> list[FrozenTrial]:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    return optuna.load_study(study_name="custom", storage=storage).trials


def _overhead(trials: Sequence[FrozenTrial]) -> float:
    """Seconds of a warm trial besides its work: from start to end in the study, less its epochs and its scoring.

    Only of trials that did not start before the first one ended: a worker's first includes its imports.
    """
    first_end = min(trial.datetime_complete for trial in trials if trial.datetime_complete)
    durations = []
    for trial in trials:
        facts = facts_of(trial)
        if trial.duration and trial.datetime_start and trial.datetime_start >= first_end and "seconds" in facts:
            durations.append(trial.duration.total_seconds() - facts["seconds"] - facts.get("score_seconds", 0.0))
    return median(durations) if durations else float("nan")


def spread(values: list[float], form: str) -> str:
    """The median, and of several the least and the largest; infinite means never."""
    low, middle, high = (
        f"{each:{form}}".replace("inf", "never") for each in (min(values), median(values), max(values))
    )
    return f"{middle} ({low} to {high})" if len(values) > 1 else middle


def _show(measured: dict[str, list[dict[str, Any]]], options: Namespace, machine: dict[str, Any]) -> None:
    rows = []
    for name, rounds in measured.items():
        trials = options.parallel_trials if name == PARALLEL else options.trials
        rates = [trials / each["seconds"] * 60 for each in rounds]
        usual = [options.trials / each["seconds"] * 60 for each in measured[TEMPLATE]]
        ratios = [rate / other for rate, other in zip(rates, usual, strict=True)]
        overheads = [each["overhead"] for each in rounds if "overhead" in each]
        best = spread([each["best_value"] for each in rounds], ".3f")
        overhead = f"{median(overheads):.2f}" if overheads else ""
        waits = [
            seconds_until(each["reached"], other["best_value"])
            for each, other in zip(rounds, measured[TEMPLATE], strict=True)
        ]
        parts = [wait / other["seconds"] for wait, other in zip(waits, measured[TEMPLATE], strict=True)]
        until = (spread(waits, ".0f"), spread(parts, ".2f"))
        rows.append((f"{name}, {trials} trials", spread(rates, ".1f"), spread(ratios, ".2f"), best, *until, overhead))
    common.show_table(
        title=f"trials of {options.epochs} epochs on {options.images:,} images, n = {options.repeats}",
        caption=f"{machine['device']}, {machine['cores']} cores, torch {machine['versions']['torch']};"
        f" ours {options.precision}, pruner={options.pruner or 'default'}, sampler={options.sampler or 'default'}",
        columns=(
            *("", "trials a minute", "x template", "best val/acc"),
            *("s until the template's best", "of the template's whole time", "s besides fit and scoring"),
        ),
        rows=rows,
    )

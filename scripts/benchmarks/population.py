"""Trials a minute of populations, of workers beside each other, and of one trial at a time: the same sweep in turns.

Each contender is a command in a new process. Its start-up, all before its first trial begins to train, is shown apart;
what trials leave in their folders counts. Epochs are those that were trained, by pruned trials, too; model-steps are
steps of one member. The shortfall is how much worse a sweep's best value is than the best one of the same round.
"""

import csv
import json
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from benchmarks import common, sweeping
from lightsweep.core.files import ROOT

_SCALARS = (
    "optimizer.lr=tag(log,interval(1e-4,1e-2))",
    "optimizer.weight_decay=tag(log,interval(1e-4,1.0))",
    "model.dropout=interval(0.0,0.5)",
)
_DIGITS = ("data=digits", "model.hidden=[64,128]")
SPACES = {"scalars": _SCALARS, "mlp": (*_SCALARS, "model.width=choice(128,256,512,1024)")}  # mlp: that of sweep=mlp


@dataclass(frozen=True)
class Contender:
    """A way to run the sweep.

    Args:
        trials: of its sweep; of a slow one fewer will do.
    """

    name: str
    jobs: int
    members: int
    trials: int


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="where all of them train")
    parser.add_argument("--members", type=_numbers, default="1,4,16,64", help="sizes of populations; 1: by Lightning")
    parser.add_argument("--jobs", type=_numbers, default="2", help="numbers of workers without populations; 0: none")
    parser.add_argument("--population-jobs", type=_numbers, default="1", help="numbers of workers with populations")
    parser.add_argument("--space", default="scalars", choices=tuple(SPACES), help="mlp: with four widths")
    parser.add_argument("--trials", type=int, default=64, help="of each sweep")
    parser.add_argument("--lightning-trials", type=int, help="of sweeps without a population (default: --trials)")
    parser.add_argument("--epochs", type=int, default=20, help="of each trial")
    parser.add_argument("--sampler", default="{name: random, seed: 1}", help="as in hydra.sweeper.sampler")
    parser.add_argument("--pruner", default="none", help="as in hydra/sweeper/pruner")
    parser.add_argument("--repeats", type=int, default=3, help="rounds")
    parser.add_argument("overrides", nargs="*", help="of all sweeps (default: digits, two hidden layers of 64 and 128)")
    common.add_out(parser, "population")


def run(options: Namespace) -> None:
    measured: dict[str, list[dict[str, Any]]] = {}
    contenders = list(_contenders(options))
    with tempfile.TemporaryDirectory(prefix="lightsweep-benchmark-") as scratch:
        for number in range(options.repeats):
            for each in contenders if number % 2 else reversed(contenders):
                result = _measure(each, options, Path(scratch, f"{number}-{each.jobs}-{each.members}"))
                measured.setdefault(each.name, []).append(result)
                print(f"round {number + 1}  {each.name}: {result['seconds']:.1f} s", file=sys.stderr)
    measured = {each.name: measured[each.name] for each in contenders}
    _add_shortfall(measured)
    facts = {
        "machine": common.describe_machine(options.device),
        "options": {name: str(value) for name, value in vars(options).items() if name != "run"},
        "sweeps": measured,
    }
    _show(measured, options, facts["machine"])
    common.write_facts("population", facts, options.out)


def _numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


def _contenders(options: Namespace) -> Sequence[Contender]:
    """First what the others are compared with: one trial at a time."""
    fewer = options.lightning_trials or options.trials
    jobs = [each for each in options.jobs if each > 1]
    sizes = sorted(each for each in options.members if each > 1)
    return [
        *([Contender("n_jobs=1", 1, 1, fewer)] if 1 in options.members else []),
        *(Contender(f"n_jobs={each}", each, 1, fewer) for each in jobs),
        *(
            Contender(_name(jobs, each), jobs, each, options.trials)
            for jobs in options.population_jobs
            for each in sizes
        ),
    ]


def _name(jobs: int, members: int) -> str:
    return f"population={members}" if jobs == 1 else f"population={members}, n_jobs={jobs}"


def command(contender: Contender, options: Namespace, folder: Path) -> list[str]:
    """The arguments of Python."""
    return [
        str(ROOT / "src" / "train.py"),
        "sweep=custom",
        "optimizer=adamw",
        "scheduler=cosine",
        "model.bn=true",
        f"trainer={'gpu' if options.device == 'cuda' else 'cpu'}",
        f"trainer.max_epochs={options.epochs}",
        f"hydra.sweeper.n_trials={contender.trials}",
        f"hydra.sweeper.n_jobs={contender.jobs}",
        *([f"hydra.sweeper.population={contender.members}"] if contender.members > 1 else []),
        f"hydra.sweeper.sampler={options.sampler}",
        f"hydra/sweeper/pruner={options.pruner}",
        f"hydra.sweep.dir={folder}",
        *SPACES[options.space],
        *(options.overrides or _DIGITS),
    ]


def _measure(contender: Contender, options: Namespace, folder: Path) -> dict[str, Any]:
    started = time.time()
    result = sweeping.timed(command(contender, options, folder), folder)
    trials = sweeping.read_trials(folder)
    began = min(path.stat().st_mtime for path in folder.glob("trial-*/.hydra/config.yaml"))
    ended = max(each.datetime_complete.timestamp() for each in trials if each.datetime_complete)
    epochs, steps = zip(*(_count(path.parent) for path in folder.glob("trial-*/metrics.csv")), strict=True)
    states = [each.state for each in trials]
    return {
        **result,
        "trials": contender.trials,
        "start_up": began - started,
        "trials_per_minute": 60 * contender.trials / (ended - began),
        "model_steps_per_second": sum(steps) / (ended - began),
        "epochs": sum(epochs),
        **{state.name.lower(): states.count(state) for state in set(states)},
    }


def _count(trial: Path) -> tuple[int, int]:
    """The epochs that a trial was trained for, and its steps."""
    with (trial / "metrics.csv").open(newline="") as file:
        epochs = len(list(csv.DictReader(file)))
    images = sum(json.loads((trial / "data.json").read_text())["parts"]["train"]["images"].values())
    data = OmegaConf.load(trial / "config.yaml").data
    return epochs, epochs * (images // data.batch_size if data.drop_last else -(-images // data.batch_size))


def _add_shortfall(measured: Mapping[str, list[dict[str, Any]]]) -> None:
    """How much worse each best value is than the best one of its round."""
    for rounds in zip(*measured.values(), strict=True):
        best = max(each["best_value"] for each in rounds)
        for each in rounds:
            each["shortfall"] = best - each["best_value"]


def _show(measured: Mapping[str, list[dict[str, Any]]], options: Namespace, machine: dict[str, Any]) -> None:
    base, *_ = measured.values()
    rows = []
    for name, rounds in measured.items():
        ratios = [_ratio(one, other) for one, other in zip(rounds, base, strict=True)]
        columns = (
            ("trials_per_minute", ".1f"),
            ("model_steps_per_second", ",.0f"),
            ("epochs", ".0f"),
            ("best_value", ".3f"),
            ("shortfall", ".4f"),
            ("start_up", ".1f"),
        )
        cells = [sweeping.spread([each[key] for each in rounds], form) for key, form in columns]
        rows.append((name, str(rounds[0]["trials"]), cells[0], sweeping.spread(ratios, ".2f"), *cells[1:]))
    what = " ".join(options.overrides or _DIGITS)
    common.show_table(
        title=f"trials of {options.epochs} epochs, {options.space}, {what}, n = {options.repeats} rounds",
        caption=f"{machine['device']}, {machine['cores']} cores, torch {machine['versions']['torch']};"
        f" pruner={options.pruner}, sampler={options.sampler}",
        columns=(
            *("", "trials", "trials a minute", f"x {next(iter(measured))}", "model-steps a second"),
            *("epochs", "best", "shortfall", "s of start-up"),
        ),
        rows=rows,
    )


def _ratio(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    return one["trials_per_minute"] / other["trials_per_minute"]

"""What a search finds: regret against epochs spent, in simulated sweeps over learning curves that were recorded.

A study's regret is the best expected value of the space less that of the point that the study would choose: its best
completed trial. Every contender has the same workers, the same budget of epochs, and the baseline as its first trial.
Each study that was simulated is kept in a folder, and is not simulated again: where samplers, pruners or curves have
changed, take another folder.
"""

import json
import multiprocessing
import os
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from benchmarks import common, curves
from benchmarks.searchers import COMPARED, CONTENDERS, OTHERS, OURS
from lightsweep.core.files import ROOT, write_atomic

_EVERY = 10  # epochs, between two looks at the regret
_MARKS = (300, 600)  # epochs spent, that the table shows
_WORKERS = 2
_OTHER_WORKERS = (1, 4, 8)  # with our default

Key = tuple[str, str, int]  # space, contender, workers


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--studies", type=int, default=30, help="of each contender, with seeds 0, 1, …")
    parser.add_argument("--budget", type=int, default=600, help="epochs of a study")
    parser.add_argument("--only", nargs="+", choices=(*CONTENDERS, "workers"), help="these instead of all")
    parser.add_argument("--spaces", nargs="+", help="recorded ones (default: all)")
    parser.add_argument("--curves", type=Path, default=curves.FILE, help="what benchmark.py curves wrote")
    parser.add_argument("--processes", type=int, default=1, help="studies that are simulated at a time")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "outputs" / "benchmarks" / "search", help="of simulated studies"
    )
    parser.add_argument("--figure", type=Path, help="PNG file of regret against epochs (default: FOLDER/search.png)")
    common.add_out(parser, "search")


def run(options: Namespace) -> None:
    options.spaces = options.spaces or list(curves.read(options.curves))
    keys = list(_keys(options))
    found = _simulate(options, keys)
    spaces = {space: _describe(options.curves, space) for space in options.spaces}
    facts = {
        "machine": common.describe_machine(),
        "options": {name: str(value) for name, value in vars(options).items() if name != "run"},
        "surrogates": spaces,
        "every": _EVERY,
        "studies": [
            {"space": space, "contender": name, "workers": workers, **found[space, name, workers]}
            for space, name, workers in keys
        ],
    }
    for space, about in spaces.items():
        _show(space, about, {key: found[key] for key in keys if key[0] == space}, options)
    figure = options.figure or options.folder / "search.png"
    draw(figure, {key: found[key]["regrets"] for key in keys if key[1] in COMPARED and key[2] == _WORKERS})
    print(figure)
    common.write_facts("search", facts, options.out)


def summarize(regrets: Sequence[Sequence[float]], spent: int) -> tuple[float, float]:
    """The mean regret after so many epochs, and its standard error, over studies.

    Args:
        regrets: of each study, after each ten epochs.
    """
    values = [each[spent // _EVERY - 1] for each in regrets]
    return fmean(values), stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")


def draw(path: Path, regrets: Mapping[Key, Sequence[Sequence[float]]]) -> None:
    """Mean regret against epochs, with a band of a standard error; a panel a space."""
    from matplotlib.figure import Figure

    spaces = list(dict.fromkeys(space for space, _, _ in regrets))
    figure = Figure(figsize=(4.6 * len(spaces), 3.6), layout="constrained")
    for axes, space in zip(figure.subplots(1, len(spaces), squeeze=False)[0], spaces, strict=True):
        for (own, name, _), studies in regrets.items():
            if own != space:
                continue
            epochs = [_EVERY * (index + 1) for index in range(len(studies[0]))]
            means, errors = zip(*(summarize(studies, spent) for spent in epochs), strict=True)
            (line,) = axes.plot(epochs, means, label=name)
            low, high = ([mean + sign * error for mean, error in zip(means, errors, strict=True)] for sign in (-1, 1))
            axes.fill_between(epochs, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
        axes.set(title=space, xlabel="epochs spent", yscale="log")
    figure.axes[0].set_ylabel("regret, validation accuracy")
    figure.axes[0].legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def _keys(options: Namespace) -> Iterator[Key]:
    chosen = options.only or (*COMPARED, *OTHERS, "workers")
    for space in options.spaces:
        yield from ((space, name, _WORKERS) for name in chosen if name != "workers")
        if "workers" in chosen:
            yield from ((space, OURS, workers) for workers in _OTHER_WORKERS)


def _simulate(options: Namespace, keys: Sequence[Key]) -> dict[Key, dict[str, Any]]:
    """The studies of each contender: their regrets and their trials by state."""
    files = {(key, seed): _file(options, key, seed) for seed in range(options.studies) for key in keys}
    missing = [each for each, file in files.items() if not file.exists()]
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")  # threads that wait for each other cost most
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, context, initializer=be_nice) as pool:
        tasks = [
            pool.submit(_study, options.curves, *key, seed, options.budget, files[key, seed]) for key, seed in missing
        ]
        for number, task in enumerate(as_completed(tasks), 1):
            print(f"{number} of {len(tasks)}  {task.result()}", file=sys.stderr)
    read = {each: json.loads(file.read_text()) for each, file in files.items()}
    names = ("regrets", "trials", "seconds")
    return {key: {name: [read[key, seed][name] for seed in range(options.studies)] for name in names} for key in keys}


def _file(options: Namespace, key: Key, seed: int) -> Path:
    space, name, workers = key
    folder = f"{space}-{name}-{workers}-{options.budget}".replace(" ", "_").replace(",", "")
    return Path(options.folder, folder, f"{seed}.json")


def _study(path: Path, space: str, name: str, workers: int, seed: int, budget: int, file: Path) -> str:
    """Simulate a study and keep it; returns what to print."""
    from benchmarks.simulation import Simulation

    started = time.perf_counter()
    done = Simulation(surrogate(path, space), CONTENDERS[name], seed, workers).run(budget, _EVERY)
    seconds = time.perf_counter() - started
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, json.dumps({"regrets": done.regrets, "trials": done.trials, "seconds": seconds}) + "\n")
    return f"{space}  {name}, {workers} workers, study {seed}: {done.regrets[-1]:.4f}  {seconds:.0f} s"


@cache
def surrogate(path: Path, space: str) -> Any:
    from benchmarks.surrogate import Surrogate

    return Surrogate(curves.read(path)[space])


def be_nice() -> None:
    import optuna

    os.nice(10)
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def _describe(path: Path, space: str) -> dict[str, Any]:
    found = surrogate(path, space)
    return {
        "runs": len(found.inputs),
        "best": found.best,
        "baseline": found.true_value(found.curves.params[0]),
        "rank_correlations": found.rank_correlations(),
        "early": curves.early_correlations(found.curves.values),
    }


def _show(space: str, about: dict[str, Any], found: Mapping[Key, dict[str, Any]], options: Namespace) -> None:
    marks = [mark for mark in _MARKS if mark <= options.budget] or [options.budget]
    rows = []
    for (_, name, workers), studies in found.items():
        cells = [f"{mean:.4f} ± {error:.4f}" for mean, error in (summarize(studies["regrets"], mark) for mark in marks)]
        trials = fmean(sum(each.values()) for each in studies["trials"])
        complete = fmean(each.get("COMPLETE", 0) for each in studies["trials"])
        rows.append((name, str(workers), *cells, f"{trials:.0f}", f"{complete:.0f}"))
    ranks = about["rank_correlations"]
    common.show_table(
        title=f"{space}: regret in validation accuracy, mean ± standard error, n = {options.studies} studies",
        caption=f"surrogate of {about['runs']} runs: best {about['best']:.4f}, baseline {about['baseline']:.4f};"
        f" held-out rank correlation {ranks['best']:.2f} (best epoch), {ranks['last']:.2f} (last epoch);"
        f" of the recorded runs' accuracy after {', '.join(map(str, about['early']))} epochs with the best one:"
        f" {', '.join(f'{each:.2f}' for each in about['early'].values())}",
        columns=("", "workers", *(f"after {mark} epochs" for mark in marks), "trials", "complete"),
        rows=rows,
    )

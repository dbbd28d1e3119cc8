"""What the places of a population cost a search: epochs, time and regret of simulated sweeps, by how members start.

The sweeps are those of `benchmark.py search`, with a number of trials in place of a budget. Together: all places start
at once; staggered: in an epoch only as many start as fill the places within a trial's epochs. Time is in epochs of the
population, whose members share it.
"""

import multiprocessing
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from math import ceil, inf
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from benchmarks import common, curves, searching
from benchmarks.searchers import CONTENDERS, EPOCHS

Key = tuple[str, str, int, bool]  # space, contender, places, staggered


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--studies", type=int, default=10, help="of each line, with seeds 0, 1, …")
    parser.add_argument("--trials", type=int, default=100, help="of a study")
    parser.add_argument("--places", type=int, nargs="+", default=[1, 8, 20, 64])
    parser.add_argument("--only", nargs="+", choices=tuple(CONTENDERS), default=["Optuna's TPE and median"])
    parser.add_argument("--spaces", nargs="+", help="recorded ones (default: all)")
    parser.add_argument("--curves", type=Path, default=curves.FILE, help="what benchmark.py curves wrote")
    parser.add_argument("--processes", type=int, default=1, help="studies that are simulated at a time")
    common.add_out(parser, "places")


def run(options: Namespace) -> None:
    keys = list(_keys(options))
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, context, initializer=searching.be_nice) as pool:
        one = partial(study, options.curves, options.trials)
        tasks = {key: [pool.submit(one, *key, seed) for seed in range(options.studies)] for key in keys}
        found: dict[Key, list[dict[str, Any]]] = {}
        for key, studies in tasks.items():
            found[key] = [each.result() for each in studies]
            print(*key, file=sys.stderr)
    _show(found, options)
    facts = {
        "machine": common.describe_machine(),
        "options": {name: str(value) for name, value in vars(options).items() if name != "run"},
        "studies": [
            {"space": space, "contender": name, "places": places, "staggered": staggered, "found": each}
            for (space, name, places, staggered), each in found.items()
        ],
    }
    common.write_facts("places", facts, options.out)


def study(path: Path, trials: int, space: str, name: str, places: int, staggered: bool, seed: int) -> dict[str, Any]:
    """Simulate a study."""
    from benchmarks.simulation import Simulation

    starts = ceil(places / EPOCHS) if staggered else None
    simulation = Simulation(searching.surrogate(path, space), CONTENDERS[name], seed, places, starts=starts)
    done = simulation.run(inf, every=1, trials=trials)
    return {
        "epochs": done.spent,
        "time": done.duration,
        "pruned": done.trials.get("PRUNED", 0),
        "regret": done.regrets[-1],
    }


def _keys(options: Namespace) -> Iterator[Key]:
    for space in options.spaces or curves.read(options.curves):
        for name in options.only:
            for places in options.places:
                yield space, name, places, False
                if places > 1:
                    yield space, name, places, True


def _show(found: Mapping[Key, list[dict[str, Any]]], options: Namespace) -> None:
    rows = []
    for (space, name, places, staggered), studies in found.items():
        forms = {"epochs": ".0f", "time": ".0f", "pruned": ".0f", "regret": ".4f"}
        cells = [_mean([each[key] for each in studies], form) for key, form in forms.items()]
        rows.append((f"{space}, {name}", str(places), "staggered" if staggered else "together", *cells))
    common.show_table(
        title=f"{options.trials} trials of {EPOCHS} epochs, mean ± standard error, n = {options.studies} studies",
        caption="simulated sweeps over recorded learning curves",
        columns=("", "places", "start", "epochs", "time, in epochs", "pruned", "regret"),
        rows=rows,
    )


def _mean(values: list[float], form: str) -> str:
    error = stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{fmean(values):{form}} ± {error:{form}}"

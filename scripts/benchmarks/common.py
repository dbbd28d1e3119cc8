"""Composing a config, measuring in turns, and showing what came out: a table, and a JSON file."""

import json
import os
import platform
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from lightsweep.core.files import ROOT, write_atomic

Measured = dict[str, list[float]]


def compose(overrides: Iterable[str], *, return_hydra_config: bool = False) -> Any:
    """The config of `src/train.py` with these overrides, as a DictConfig; also its ``hydra`` node."""
    import hydra

    from lightsweep.app import arguments

    arguments.register_resolvers()
    with hydra.initialize_config_dir(str(ROOT / "conf")):
        return hydra.compose("train", list(overrides), return_hydra_config=return_hydra_config)


def add_out(parser: ArgumentParser, what: str) -> None:
    parser.add_argument("--out", type=Path, help=f"JSON file (default: outputs/benchmarks/{what}-TIME.json)")


def measure_in_turns(contenders: Mapping[str, Callable[[], float]], repeats: int) -> Measured:
    """What each contender returns, `repeats` times, in rounds; the first round warms up and does not count."""
    measured: Measured = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(repeats + 1):
        for name in names if number % 2 else reversed(names):  # so that none always comes after the same one
            value = contenders[name]()
            if number:
                measured[name].append(value)
            print(f"round {number} of {repeats}  {name}: {value:.2f} s", file=sys.stderr)
    return measured


def describe_machine(device: str = "cpu") -> dict[str, Any]:
    import torch

    from lightsweep.runs import results
    from lightsweep.training import summary

    return {
        "device": summary.device_name(torch.device(device)),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "load": os.getloadavg()[0],
        "versions": results.versions(),
    }


def summarize(values: Sequence[float]) -> dict[str, float]:
    return {"median": median(values), "min": min(values), "max": max(values)}


def show_table(title: str, caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; the first column is aligned to the left."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    width = None if sys.stdout.isatty() else 140  # a file is read wherever
    Console(width=width).print(table, highlight=False)


def write_facts(what: str, facts: dict[str, Any], out: Path | None) -> None:
    """Write a JSON file and print its path."""
    out = out or ROOT / "outputs" / "benchmarks" / f"{what}-{time.strftime('%Y-%m-%d_%H-%M-%S')}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, json.dumps({"command": sys.argv, **facts}, indent=1) + "\n")
    print(out)

"""Measuring in turns, and telling what came out: a table, and a JSON file."""

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from lightsweep.core.files import write_atomic
from lightsweep.runs import results
from lightsweep.runs.run_folder import ROOT
from lightsweep.training import footprint

Measured = dict[str, list[float]]


def in_turns(contenders: Mapping[str, Callable[[], float]], repeats: int) -> Measured:
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


def machine(device: str) -> dict[str, Any]:
    return {
        "device": footprint.device_name(torch.device(device)),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "load": os.getloadavg()[0],
        "versions": results.versions(),
    }


def publish(what: str, rates: Measured, base: str, facts: dict[str, Any], out: Path | None) -> None:
    """Print rates (the more the better) beside those of the contender `base`, and write all of it to a file."""
    summary = {name: _summary(values, rates[base]) for name, values in rates.items()}
    repeats = len(rates[base])
    Console().print(_table(summary, base, facts, repeats), highlight=False)
    out = out or ROOT / "outputs" / "benchmarks" / f"{what}-{time.strftime('%Y-%m-%d_%H-%M-%S')}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    content = {"command": sys.argv, **facts, "n": repeats, "summary": summary, "images_per_second": rates}
    write_atomic(out, json.dumps(content, indent=1) + "\n")
    print(out)


def _summary(rates: list[float], base: list[float]) -> dict[str, float]:
    """Medians and ranges; ratios are taken round by round, so that a slow minute of the machine is in both."""
    ratios = [rate / other for rate, other in zip(rates, base, strict=True)]
    return {
        "median": median(rates),
        "min": min(rates),
        "max": max(rates),
        "ratio": median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
    }


def _table(summary: dict[str, dict[str, float]], base: str, facts: dict[str, Any], repeats: int) -> Table:
    place = facts["machine"]
    table = Table(
        title=f"images per second in training, {facts['precision']}, median of n = {repeats} rounds of"
        f" {facts['epochs']} epochs of {facts['images']:,} images ({facts['data']})",
        caption=f"{place['device']}, {place['cores']} cores, torch {place['versions']['torch']}",
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("")
    for column in ("median", "min to max", f"x {base}", "min to max"):
        table.add_column(column, justify="right")
    for name, row in summary.items():
        spread = f"{row['min']:,.0f} to {row['max']:,.0f}"
        ratios = f"{row['ratio_min']:.2f} to {row['ratio_max']:.2f}"
        table.add_row(name, f"{row['median']:,.0f}", spread, f"{row['ratio']:.2f}", ratios)
    return table

"""Reports: seconds and peak memory of a process of src/report.py over many runs.

The runs are generated in a scratch folder, which is removed: results with a complete config each, 24 in a sweep. They
have just been written, so they are read from memory, not from a disk.
"""

import json
import random
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from benchmarks import common
from lightsweep.core.files import ROOT

_IN_A_SWEEP = 24
_EMPTY_FILES = ("config.yaml", "metrics.csv", "train.log", "confusion_val.csv", "hparams.yaml")  # not read
_FOLDERS = ("checkpoints", ".hydra", "figures")
# A small process starts the command: on Linux the peak of a process includes the memory of its parent.
_STOPWATCH = """
import json, resource, subprocess, sys, time
started = time.perf_counter()
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
wall, used = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"wall": wall, "cpu": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss * 1024}))
"""


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=10_000, help="folders that are generated")
    parser.add_argument("--rounds", type=int, default=5, help="reports that are measured, after one that is not")
    common.add_out(parser, "report")


def run(options: Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="lightsweep-benchmark-") as scratch:
        size = write(Path(scratch), options.runs)
        command = [sys.executable, str(ROOT / "src" / "report.py"), scratch]
        _, *rounds = [_measured(command) for _ in range(options.rounds + 1)]
    facts = {
        "runs": options.runs,
        "mean_result_bytes": size // options.runs,
        "machine": common.describe_machine(),
        "rounds": rounds,
        "n": len(rounds),
        "summary": {name: common.summarize([each[name] for each in rounds]) for name in ("wall", "cpu", "peak")},
    }
    _show(facts)
    common.write_facts("report", facts, options.out)


def write(root: Path, runs: int) -> int:
    """Write the folders of so many runs; returns the bytes of their results."""
    from omegaconf import OmegaConf

    config: Any = OmegaConf.to_container(common.compose([f"run_dir={root}"]), resolve=True)
    draw = random.Random(0)
    written = 0
    for number in range(runs):
        sweep, trial = divmod(number, _IN_A_SWEEP)
        folder = root / f"sweep-{sweep:04}" / f"trial-{trial:04}"
        for name in _FOLDERS:
            (folder / name).mkdir(parents=True)
        for name in _EMPTY_FILES:
            (folder / name).touch()
        written += (folder / "result.json").write_text(json.dumps(_result(config, number, draw), indent=1))
    return written


def _result(config: dict[str, Any], number: int, draw: random.Random) -> dict[str, Any]:
    lr, dropout, width = 10 ** draw.uniform(-4, -2), draw.uniform(0, 0.5), draw.choice([128, 256, 512])
    acc = draw.uniform(0.3, 0.6)
    status = draw.choices(["completed", "pruned", "failed"], [60, 38, 2])[0]
    model, optimizer = config["model"] | {"width": width, "dropout": dropout}, config["optimizer"] | {"lr": lr}
    scores = {f"{part}/{name}": acc for part in ("train", "val") for name in ("loss", "acc", "f1", "balanced_acc")}
    return {
        "status": status,
        "kind": "trial",
        "seed": number,
        "overrides": [f"optimizer.lr={lr}", f"model.dropout={dropout}", f"model.width={width}"],
        "versions": {"torch": "2.15.0", "lightsweep": "0.1.0", "optuna": "5.0.0"},
        "params": 1000 * width,
        **(scores if status == "completed" else {}),
        "monitor": "val/acc",
        "best_value": acc,
        "best_epoch": 7,
        "epochs": 8,
        "seconds": draw.uniform(10, 60),
        "config": config | {"model": model, "optimizer": optimizer, "seed": number},
    }


def _measured(command: list[str]) -> dict[str, float]:
    """Wall and CPU seconds and the most bytes of memory of a command."""
    done = subprocess.run([sys.executable, "-c", _STOPWATCH, *command], check=True, capture_output=True, text=True)
    measured = json.loads(done.stdout)
    print(f"{measured['wall']:.2f} s", file=sys.stderr)
    return measured


def _show(facts: dict[str, Any]) -> None:
    machine = facts["machine"]
    rows = []
    for name, label, unit, digits in (
        ("wall", "wall seconds", 1, 2),
        ("cpu", "CPU seconds", 1, 2),
        ("peak", "peak memory, MB", 1e6, 0),
    ):
        low, middle, high = (f"{facts['summary'][name][key] / unit:,.{digits}f}" for key in ("min", "median", "max"))
        rows.append((label, middle, f"{low} to {high}"))
    common.show_table(
        title=f"python src/report.py over {facts['runs']:,} runs, {facts['mean_result_bytes'] / 1000:.1f} kB each,"
        f" median of n = {facts['n']}",
        caption=f"{machine['device']}, {machine['cores']} cores, load {machine['load']:.1f}",
        columns=("", "median", "min to max"),
        rows=rows,
    )

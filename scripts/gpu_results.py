"""The results of scripts/gpu_check.sh, as results.json and a short table: gpu_results.py LOGS FOLDER."""

import csv
import json
import sys
import xml.etree.ElementTree as ElementTree
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

_EPOCHS = 500  # of experiment=best_mlp_gpu


def main() -> None:
    if sys.argv[1] == "--failed":
        found = json.loads((Path(sys.argv[2]) / "results.json").read_text())
        sys.exit(bool(found["failed"]))
    logs, folder = Path(sys.argv[1]), Path(sys.argv[2])
    found = gather(logs)
    (folder / "results.json").write_text(json.dumps(found, indent=1) + "\n")
    (folder / "results.txt").write_text("\n".join(lines(found)) + "\n")


def gather(logs: Path) -> dict[str, Any]:
    """The exit code, the seconds and the figures of each step, and which failed."""
    steps = {
        name: {"code": int(code), "seconds": round(float(end) - float(start), 1)}
        for name, code, start, end in rows(logs)
    }
    failed = [name for name, step in steps.items() if step["code"] and name != "facts"]
    found: dict[str, Any] = {"failed": failed, "steps": steps}
    for name, read in READERS.items():
        with suppress(OSError, ElementTree.ParseError, ValueError, KeyError):  # the step has not run or was cut off
            if figures := read(logs, name):
                found[name] = figures
    return found


def rows(logs: Path) -> list[list[str]]:
    return [line.split("\t") for line in (logs / "steps.tsv").read_text().splitlines()]


def tests(logs: Path, name: str) -> dict[str, Any]:
    """How many passed, and the messages of the others."""
    cases = list(ElementTree.parse(logs / f"{name}.xml").iter("testcase"))
    failed = {
        f"{case.get('classname')}::{case.get('name')}": (bad[0].get("message") or "")[:500]
        for case in cases
        if (bad := [child for child in case if child.tag in ("failure", "error", "skipped")])
    }
    return {"passed": len(cases) - len(failed), "failed": failed}


def bench(logs: Path, name: str) -> dict[str, Any]:
    """Images a second of each contender, the median of its rounds."""
    content = json.loads((logs / f"{name}.json").read_text())
    figures = {
        each: {"images_per_second": round(row["median"]), "x plain": round(row["ratio"], 2)}
        for each, row in content["summary"].items()
    }
    return {"precision": content["precision"], "device": content["machine"]["device"], **figures}


def sweeps(logs: Path, _: str) -> dict[str, Any]:
    """Trials a minute of each sweep, its start and end included, and how long its trials trained."""
    ends = {name: float(end) - float(start) for name, _, start, end in rows(logs)}
    found = {}
    for folder in sorted(logs.glob("sweep-*/")):
        results = [json.loads(file.read_text()) for file in folder.glob("trial-*/result.json")]
        done = [each for each in results if each["status"] == "completed"]
        if done and folder.name in ends:
            found[folder.name] = {
                "completed": len(done),
                "seconds": round(ends[folder.name], 1),
                "trials_per_minute": round(60 * len(done) / ends[folder.name], 1),
                "fit_seconds": round(median(each["seconds"] for each in done), 2),
                "best": max(each["best_value"] for each in done),
                "device": done[0]["device"],
                "peak_device_memory": max(each.get("peak_device_memory", 0) for each in done),
            }
    return found


def population(logs: Path, name: str) -> dict[str, Any]:
    """Trials a minute, model-steps a second and start-up of each contender."""
    sweeps = json.loads((logs / f"{name}.json").read_text())["sweeps"]
    keys = ("trials", "trials_per_minute", "model_steps_per_second", "start_up", "epochs", "best_value")
    return {each: {key: round(rounds[0][key], 3) for key in keys} for each, rounds in sweeps.items()}


def best(logs: Path, name: str) -> dict[str, Any]:
    """How fast its epochs were, its scores, and how long all epochs would take."""
    with (logs / name / "metrics.csv").open(newline="") as file:
        epochs = list(csv.DictReader(file))
    seconds = median(float(row["seconds"]) for row in epochs)
    result = {}
    with suppress(OSError):
        result = json.loads((logs / name / "result.json").read_text())
    return {
        "epochs": len(epochs),
        "epoch_seconds": round(seconds, 3),
        "images_per_second": round(median(float(row["images_per_second"]) for row in epochs)),
        "best val/acc": max(float(row["val/acc"]) for row in epochs if row["val/acc"]),
        **{key: result.get(key) for key in ("status", "test/acc", "device", "peak_device_memory", "params")},
        "minutes_for_all": round(_EPOCHS * seconds / 60, 1),
    }


def lines(found: dict[str, Any]) -> list[str]:
    """The same as text."""
    text = [f"{name:12} code {step['code']}  {step['seconds']:6.1f} s" for name, step in found["steps"].items()]
    for name in READERS:
        if name in found:
            text += ["", f"{name}:", *(f"  {key}: {value}" for key, value in found[name].items() if value != {})]
    return [*text, "", f"failed: {', '.join(found['failed']) or 'nothing'}"]


READERS = {"tests": tests, "bench": bench, "sweep": sweeps, "population": population, "best": best}

if __name__ == "__main__":
    main()

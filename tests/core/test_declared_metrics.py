"""A metric is declared once: files, monitors, tables, loggers and the sweep follow."""

import csv
import itertools
import json
import shutil
from pathlib import Path

import pytest

from forked import Forked
from lightsweep.core.metrics import (
    BY_EPOCH_NAMES,
    FINAL_NAMES,
    METRICS,
    PARTS,
    Metric,
    find_metric,
    format_difference,
    mode_of,
)

ROOT = Path(__file__).resolve().parents[2]

# What somebody would write to add a metric: its declaration, and its computation beside that of the others.
DECLARATION = """
METRICS = (*METRICS, Metric(
    name="errors", title="share of errors", mode="min", is_share=True, is_main=False, by_epoch=("train", "val"),
    at_end=True, compared=("val", "test"),
))
"""
COMPUTATION = '"errors": 1 - int(confusion.trace()) / count,'


def insert(file: Path, text: str, *, before: str) -> None:
    source = file.read_text()
    assert source.count(before) == 1
    file.write_text(source.replace(before, f"{text}{before}"))


@pytest.fixture
def run(tmp_path: Path):
    """Run a script of a copy of the program that has a further metric."""
    for folder in ("src", "conf"):
        shutil.copytree(ROOT / folder, tmp_path / "program" / folder, ignore=shutil.ignore_patterns("__pycache__"))
    src = tmp_path / "program" / "src"
    insert(src / "lightsweep" / "core" / "metrics.py", DECLARATION, before="\nFINAL = ")
    insert(src / "lightsweep" / "training" / "classifier.py", COMPUTATION, before='"acc": ')

    count = itertools.count()

    def ran(script: str, *arguments: str) -> str:
        said = tmp_path / "said" / str(next(count))
        where = {"OMP_NUM_THREADS": "1", "LIGHTSWEEP_OUTPUTS": str(tmp_path), "PYTHONPATH": str(src)}
        ended = Forked(list(arguments), script=src / script, cwd=tmp_path, said=said, environment=where).wait(200)
        assert ended.code == 0, ended.out + ended.err
        return ended.out

    return ran


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_further_metric_is_monitored_kept_shown_and_searched_for(run, tmp_path: Path) -> None:
    typed = ("data=digits", "data.limit=300", "trainer=cpu", "trainer.max_epochs=2", "threads=1", "model.width=8")
    printed = run("train.py", *typed, f"hydra.run.dir={tmp_path / 'a'}", "monitor.metric=val/errors", "logger=csv")
    assert "share of errors" in printed

    folder = tmp_path / "a"
    epochs = rows(folder / "metrics.csv")
    assert [float(row["val/errors"]) for row in epochs] == [1 - float(row["val/acc"]) for row in epochs]
    result = json.loads((folder / "result.json").read_text())
    assert result["best_value"] == min(float(row["val/errors"]) for row in epochs)
    assert all(result[f"{part}/errors"] == 1 - result[f"{part}/acc"] for part in PARTS)
    logged = rows(next(folder.rglob("csv/**/metrics.csv")))
    assert any(row.get("hp/val_errors") for row in logged)

    table = run("report.py", str(folder))
    assert "val/errors" in table

    sweep = ("sweep=quick", "hydra.sweeper.n_trials=2", "hydra.sweeper.study_name=b", "monitor.metric=val/errors")
    run("train.py", "-m", *typed[:-1], "model.width=choice(4,8)", *sweep)
    board = rows(tmp_path / "sweeps" / "b" / "leaderboard.csv")
    assert [float(row["value"]) for row in board] == sorted(float(row["val/errors"]) for row in board)
    assert all("points_to_baseline" in row for row in board)


def test_names_are_those_of_the_declared_metrics() -> None:
    assert {name.partition("/")[2] for name in (*BY_EPOCH_NAMES, *FINAL_NAMES)} == {metric.name for metric in METRICS}
    assert set(BY_EPOCH_NAMES) == {f"{part}/{metric.name}" for metric in METRICS for part in metric.by_epoch}
    assert len(set(FINAL_NAMES)) == len(FINAL_NAMES) == len(PARTS) * sum(metric.at_end for metric in METRICS)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_its_mode_and_its_unit_are_the_declared_ones(metric: Metric) -> None:
    assert find_metric(f"val/{metric.name}") is find_metric(metric.name) is metric
    assert mode_of(f"test/{metric.name}") == metric.mode
    assert ("points" in format_difference(f"val/{metric.name}", 0.5)) is metric.is_share


def test_a_metric_of_somebody_elses_is_better_when_larger() -> None:
    assert find_metric("val/strange") is None
    assert mode_of("val/strange") == "max"

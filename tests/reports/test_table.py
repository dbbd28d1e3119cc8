"""Which runs and columns a table has, and in which order."""

import json
from pathlib import Path

import pytest

from lightsweep.core.errors import ConfigError
from lightsweep.reports import finding, table
from lightsweep.reports.runs import Run


def runs_of(tmp_path: Path) -> list[Run]:
    return finding.fold_seeds(finding.find_runs([tmp_path / "runs"]).runs)


def names(runs) -> list[str]:
    return [run.name for run in runs]


def test_completed_runs_come_first_by_validation_then_the_others_by_status(make_run, tmp_path: Path) -> None:
    make_run("low", 0.5, facts={"test/acc": 0.99})
    make_run("high", 0.8, facts={"test/acc": 0.1})
    for status in ("failed", "interrupted", "pruned", "diverged"):
        make_run(status, 0.95, status=status)
    (found,) = table.build_tables(runs_of(tmp_path))
    assert names(found.runs) == ["high", "low", "pruned", "interrupted", "diverged", "failed"]
    assert found.ranks == {"high": 1, "low": 2}
    assert found.best is not None
    assert found.best.name == "high"


def test_a_lower_loss_ranks_higher(make_run, tmp_path: Path) -> None:
    for name, acc in (("a", 0.5), ("b", 0.9)):  # the loss is 1 - acc
        make_run(name, acc, facts={"monitor": "val/loss"}, monitor={"metric": "val/loss", "mode": "min"})
    (found,) = table.build_tables(runs_of(tmp_path))
    assert (names(found.runs), found.monitor, found.maximises) == (["b", "a"], "val/loss", False)


@pytest.mark.parametrize("monitor", ["test/acc", "train/loss", "", 3])
def test_only_validation_metrics_rank_runs(make_run, tmp_path: Path, monitor) -> None:
    make_run("a", 0.5, facts={"monitor": monitor, "test/acc": 0.9}, monitor={"metric": monitor, "mode": "max"})
    (found,) = table.build_tables(runs_of(tmp_path))
    assert (found.monitor, found.maximises) == ("val/acc", True)


def test_seeds_and_folders_are_no_differences(make_run, tmp_path: Path) -> None:
    make_run("a", seed=1, data_dir="/here", logger={"tb": {"save_dir": "/a"}}, optimizer__lr=0.1)
    make_run("b", seed=2, data_dir="/there", optimizer__lr=0.2)
    (found,) = table.build_tables(runs_of(tmp_path))
    assert found.differing == ("optimizer.lr",)


@pytest.mark.parametrize(
    "shown", [{"report": True}, {"callbacks": {"histograms": {"_target_": "x.Histograms", "every": 1}}}]
)
def test_settings_of_the_display_are_no_differences(make_run, tmp_path: Path, shown: dict) -> None:
    shared = {"report": False, "callbacks": {"histograms": {"_target_": "x.Histograms", "every": 5}}}
    make_run("a", **shared)
    make_run("b", **(shared | shown))
    (found,) = table.build_tables(runs_of(tmp_path))
    assert found.differing == ()


def test_another_class_is_one_difference_without_its_arguments(make_run, tmp_path: Path) -> None:
    make_run("a")
    make_run("b", optimizer={"_target_": "torch.optim.SGD", "lr": 0.001, "momentum": 0.9})
    (found,) = table.build_tables(runs_of(tmp_path))
    assert found.differing == ("optimizer",)
    assert [run.row["optimizer"] for run in found.runs] == ["Adam", "SGD"]


def test_each_data_set_and_metric_has_its_own_table(make_run, tmp_path: Path) -> None:
    make_run("a")
    make_run("b", data={"_target_": "lightsweep.data.datasets.CIFAR10DataModule"})
    make_run("c", facts={"monitor": "val/loss"}, monitor={"metric": "val/loss", "mode": "min"})
    make_run("d", None, status="failed", facts={"config": None, "monitor": None})
    found = table.build_tables(runs_of(tmp_path))
    assert {(each.data, each.monitor) for each in found} >= {
        ("Digits", "val/acc"),
        ("CIFAR10", "val/acc"),
        ("Digits", "val/loss"),
    }


def test_each_image_folder_is_its_own_data_set(make_run, tmp_path: Path) -> None:
    data = {"_target_": "lightsweep.data.image_folder.ImageFolderDataModule"}
    for name, root in (("a", "/photos"), ("b", "/photos"), ("c", "/drawings")):
        make_run(name, data=data | {"root": root})
    typed = {"overrides": ["data=image_folder"]}
    (make_run("d") / "result.json").write_text(json.dumps({"status": "failed", "error": "no", **typed}))
    found = table.build_tables(runs_of(tmp_path))
    assert {each.data: names(each.runs) for each in found} == {
        "ImageFolder in /photos": ["a", "b", "d"],
        "ImageFolder in /drawings": ["c"],
    }


def test_a_monitor_of_the_scheduler_is_a_difference_if_it_is_not_the_roots(make_run, tmp_path: Path) -> None:
    make_run("a", scheduler={"monitor": "val/acc", "mode": "max"})
    make_run("b", scheduler={"monitor": "val/loss", "mode": "min"})
    (found,) = table.build_tables(runs_of(tmp_path))
    assert found.differing == ("scheduler.monitor", "scheduler.mode")


def test_a_run_that_failed_early_is_in_the_table_of_the_others(make_run, tmp_path: Path) -> None:
    make_run("a", facts={"monitor": "val/loss"}, monitor={"metric": "val/loss", "mode": "min"})
    (make_run("b") / "result.json").write_text('{"status": "failed", "error": "no"}')
    (found,) = table.build_tables(runs_of(tmp_path))
    assert names(found.runs) == ["a", "b"]


def test_seeds_of_a_trial_are_folded_into_it(make_run, tmp_path: Path) -> None:
    facts = {"status": "completed", "kind": "trial", "seeds": [1, 2], "values": [0.6, 0.8], "val/acc": 0.7}
    make_run("trial-0000", 0.7, facts=facts | {"config": None})
    for seed, acc in ((1, 0.6), (2, 0.8)):
        make_run(f"trial-0000/seed-{seed}", acc, facts={"kind": "seed"}, seed=seed)
    make_run("trial-0001/seed-1", 0.6, facts={"kind": "seed"})  # the trial is under way
    under_way, trial = sorted(runs_of(tmp_path), key=lambda run: run.status, reverse=True)
    assert (trial.name, trial.row["n"], trial.row["optimizer"]) == ("trial-0000", 2, "Adam")
    assert trial.row["val/acc sd"] == pytest.approx(0.1414, abs=1e-4)
    assert (under_way.name, under_way.status) == ("trial-0001", "unfinished")


def test_group_by_pools_seeds(make_run, tmp_path: Path) -> None:
    for lr, seed, acc in ((0.1, 1, 0.6), (0.1, 2, 0.8), (0.2, 1, 0.5)):
        make_run(f"{lr}-{seed}", acc, seed=seed, optimizer__lr=lr)
    make_run("bad", None, status="failed", seed=3, optimizer__lr=0.1)
    (found,) = table.build_tables(runs_of(tmp_path), group_by=[])
    first, second = found.runs
    assert (first.row["n"], first.row["failed"], second.row["n"]) == (2, 1, 1)
    assert (first.row["val/acc"], first.row["val/acc sd"]) == (pytest.approx(0.7), pytest.approx(0.1414, abs=1e-4))
    assert "val/acc sd" not in second.row
    (found,) = table.build_tables(runs_of(tmp_path), group_by=["model.width"])
    assert [run.row["n"] for run in found.runs] == [3]
    (found,) = table.build_tables(runs_of(tmp_path), group_by=["run"])
    assert (len(found.runs), found.columns.count("run")) == (4, 1)


def test_sort_runs_orders_by_any_column_but_test_scores(make_run, tmp_path: Path) -> None:
    for name, acc, seconds in (("a", 0.5, 3.0), ("b", 0.9, 9.0), ("c", 0.7, None)):
        make_run(name, acc, facts={"seconds": seconds})
    (found,) = table.build_tables(runs_of(tmp_path))
    assert names(table.sort_runs(found, "seconds", reverse=False)) == ["a", "b", "c"]
    assert names(table.sort_runs(found, "seconds", reverse=True)) == ["b", "a", "c"]
    assert names(table.sort_runs(found, "val/acc", reverse=False)) == ["b", "c", "a"]
    assert names(table.sort_runs(found, "run", reverse=True)) == ["c", "b", "a"]
    with pytest.raises(ConfigError, match="--sort must not be a test score, got test/acc"):
        table.sort_runs(found, "test/acc", reverse=False)

"""Runs are found below any folder; one that cannot be read is skipped."""

import json
from pathlib import Path

import pytest

import report
from lightsweep.core.errors import ConfigError
from lightsweep.nets.networks import hidden_widths
from lightsweep.reports import finding
from lightsweep.reports.runs import hidden_layers


def test_reads_a_real_run(finished) -> None:
    (run,) = finding.find_runs([finished.folder]).runs
    assert run.value == finished.result["val/acc"]
    assert run.row["gap"] == finished.result["train/acc"] - finished.result["val/acc"]
    assert (run.row["data"], run.row["optimizer"], run.row["hidden"]) == ("Digits", "Adam", "16")
    assert "model.bn" in run.settings
    assert "val/acc" not in run.settings


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "Expecting property name"),
        ("", "Expecting value"),
        ("[1]", "no JSON object with a status"),
        ('{"status": 3}', "no JSON object with a status"),
        ("[" * 100_000, "recursion"),
        ("\udcff", "decode"),
    ],
    ids=["cut off", "empty", "list", "no status", "deep", "no text"],
)
def test_a_broken_file_is_named_and_skipped(make_run, tmp_path: Path, content: str, reason: str) -> None:
    make_run("good")
    (make_run("bad") / "result.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    found = finding.find_runs([tmp_path])
    assert [run.name for run in found.runs] == ["runs/good"]
    assert list(found.broken) == ["runs/bad/result.json"]
    assert reason in found.broken["runs/bad/result.json"]


def test_values_of_wrong_types_break_nothing(make_run, tmp_path: Path) -> None:
    facts = {"val/acc": "high", "monitor": 3, "overrides": 7, "versions": "?", "params": [1], "seconds": None}
    make_run("odd", facts=facts, model=[1, 2], optimizer=None)
    (run,) = finding.find_runs([tmp_path]).runs
    assert (run.value, run.row["hidden"]) == (None, None)


def test_huge_numbers_break_nothing(make_run, tmp_path: Path) -> None:
    make_run("a", model__taper=1e300, model__width=8, model__depth=9)
    make_run("b", facts={"val/acc": 10**400, "params": 10**400, "seconds": "long", "kind": [1]})
    make_run("c")
    report.main([str(tmp_path), "--html", str(tmp_path / "page.html"), "--csv", str(tmp_path / "runs.csv")])
    assert finding.find_runs([tmp_path]).broken == {}
    assert "runs/b" in (tmp_path / "page.html").read_text()


def test_no_run_is_looked_for_in_checkpoints_and_figures(make_run, tmp_path: Path) -> None:
    make_run("a")
    make_run("a/checkpoints/x")
    make_run("a/figures")
    make_run("confirm/best-seed-101.earlier-1")
    assert [run.name for run in finding.find_runs([tmp_path]).runs] == ["runs/a"]


def test_folders_of_loggers_and_learning_rate_tests_are_not_unfinished_runs(make_run, tmp_path: Path) -> None:
    (make_run("a") / "csv").mkdir()
    (tmp_path / "runs/a/csv/metrics.csv").touch()
    make_run("csv")  # as somebody may call a run
    (tmp_path / "runs/rate").mkdir()
    for name in ("config.yaml", "lr_find.csv"):
        (tmp_path / "runs/rate" / name).touch()
    found = finding.find_runs([tmp_path])
    assert [run.name for run in found.runs] == ["runs/a", "runs/csv"]
    assert found.unfinished == []


def test_a_run_without_a_result_is_listed_as_unfinished(make_run, tmp_path: Path) -> None:
    folder = make_run("killed")
    (folder / "result.json").unlink()
    assert finding.find_runs([tmp_path]).unfinished == ["runs/killed"]


def test_a_run_without_a_config_has_the_settings_that_were_typed(make_run, tmp_path: Path) -> None:
    folder = make_run("refused")
    (folder / "result.json").write_text(json.dumps({"status": "failed", "kind": "trial", "error": "no"}))
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "overrides.yaml").write_text("- model.dropout=1.5\n- +model.bn=true\n- optimizer=adam\n")
    (run,) = finding.find_runs([tmp_path]).runs
    assert (run.row["model.dropout"], run.row["model.bn"], run.row["optimizer"]) == (1.5, True, "adam")


@pytest.mark.parametrize("content", ["a: &x [1]\nb: *x\n", "!!python/object/apply:os.system ['true']", "- ["])
def test_yaml_with_tags_or_aliases_is_not_read(make_run, tmp_path: Path, content: str) -> None:
    folder = make_run("refused")
    (folder / "result.json").write_text('{"status": "failed"}')
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "overrides.yaml").write_text(content)
    (run,) = finding.find_runs([tmp_path]).runs
    assert run.overrides == ()


def test_a_missing_folder_and_a_folder_without_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere: there is no such folder"):
        finding.find_runs([tmp_path / "nowhere"])
    with pytest.raises(ConfigError, match="no run found there"):
        finding.find_runs([tmp_path])


@pytest.mark.parametrize(("width", "depth", "taper"), [(512, 3, 0.5), (100, 4, 0.33), (7, 1, 1.0), (10, 3, 1.7)])
def test_hidden_layers_are_those_of_the_network(width: int, depth: int, taper: float) -> None:
    row = {"model.hidden": None, "model.width": width, "model.depth": depth, "model.taper": taper}
    assert hidden_layers(row) == "-".join(map(str, hidden_widths(width, depth, taper)))


def test_hidden_layers_as_a_list() -> None:
    assert hidden_layers({"model.hidden": "[512, 256]", "model.width": 9}) == "512-256"
    assert hidden_layers({"model.channels": 3}) is None

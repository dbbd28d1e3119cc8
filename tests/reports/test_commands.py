"""report.py and compare.py as they are typed."""

import csv
import json
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest

import compare
import report
from lightsweep.core.errors import ConfigError

SRC = Path(report.__file__).parent


@pytest.fixture
def runs(make_run, tmp_path: Path) -> Path:
    for seed in (1, 2, 3):
        make_run(f"adam-{seed}", 0.7 + seed / 100, seed=seed, facts={"test/acc": 0.6 + seed / 100})
        make_run(f"sgd-{seed}", 0.5 + seed / 100, seed=seed, optimizer__lr=0.1, facts={"test/acc": 0.4 + seed / 100})
    return tmp_path / "runs"


def test_prints_a_leaderboard(runs: Path, capsys) -> None:
    report.main([str(runs), "--top", "2"])
    lines = capsys.readouterr().out.splitlines()
    head = "rank run lr hidden params train/acc val/acc test/acc gap best_epoch seconds status"
    assert " ".join(lines[0].split()) == head
    assert lines[1].split()[:3] == ["1", "adam-3", "0.001"]
    assert lines[3:] == [
        "ranked by val/acc (higher is better), never by test scores",
        "4 more rows are not shown (--top shows more): 4 completed",
    ]


def test_narrow_terminals_get_the_columns_that_fit(runs: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    report.main([str(runs)])
    out = capsys.readouterr().out
    assert "val/acc" in out.splitlines()[0]
    assert "status" in out.splitlines()[0]
    assert "columns that do not fit: best_epoch, hidden" in out


def test_filter_sort_and_group(runs: Path, capsys) -> None:
    report.main([str(runs), "--filter", "lr=0.1 and val/acc>0.51", "--sort", "val/acc", "--reverse", "--csv"])
    rows = list(csv.DictReader(StringIO(capsys.readouterr().out)))
    assert [row["run"] for row in rows] == ["sgd-2", "sgd-3"]
    report.main([str(runs), "--group-by", "--json"])
    (table,) = json.loads(capsys.readouterr().out)["tables"]
    assert [(row["optimizer.lr"], row["n"]) for row in table["rows"]] == [(0.001, 3), (0.1, 3)]
    assert table["differing"] == ["optimizer.lr"]


def test_csv_before_a_folder_writes_to_standard_output(runs: Path, capsys) -> None:
    report.main(["--csv", str(runs)])
    assert len(capsys.readouterr().out.splitlines()) == 7


def test_writes_files(runs: Path, tmp_path: Path, capsys) -> None:
    report.main(
        [
            str(runs),
            "--csv",
            str(tmp_path / "t.csv"),
            "--markdown",
            str(tmp_path / "t.md"),
            "--json",
            str(tmp_path / "t.json"),
        ]
    )
    assert "ranked by" in capsys.readouterr().out
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 7
    assert "| 1 | adam-3 | 0.001 |" in (tmp_path / "t.md").read_text()
    assert json.loads((tmp_path / "t.json").read_text())["skipped"] == {}


def test_names_are_never_read_as_markup_or_escape_sequences(make_run, tmp_path: Path, capsys) -> None:
    make_run("[bold]x[/bold]", facts={"error": "\x1b[31mred\x07 <b>|\nline"}, status="failed")
    make_run("=cmd|' /C calc'!A0")
    make_run("\x1b]0;title\x07", optimizer__lr="[link=http://x]y[/link]")
    report.main([str(tmp_path)])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "[bold]x[/bold]" in out
    assert "[link=http://x]y[/link]" in out
    assert "\\x1b[31mred\\x07 <b>| line" in out
    report.main([str(tmp_path / "runs"), "--csv"])
    assert "'=cmd|" in capsys.readouterr().out
    report.main([str(tmp_path / "runs"), "--markdown"])
    assert "\\[bold\\]x\\[/bold\\]" in capsys.readouterr().out


def test_monitor_and_data_set_are_never_read_as_markup_or_escape_sequences(make_run, tmp_path: Path, capsys) -> None:
    odd = {"monitor": "val/\x1b[31m<b>", "val/\x1b[31m<b>": 0.5}
    make_run("a", facts=odd)
    make_run("b", facts=odd)
    make_run("c", data={"_target_": "x.\x1b]0;taken\x07DataModule"})
    runs = str(tmp_path / "runs")
    report.main([runs])
    out = capsys.readouterr().out
    assert "ranked by val/\\x1b[31m<b> (" in out
    assert "\\x1b]0;taken\\x07" in out
    for main, arguments in (
        (report.main, [runs, "--csv"]),
        (report.main, [runs, "--markdown"]),
        (compare.main, [f"{runs}/a", f"{runs}/b"]),
    ):
        main(arguments)
        out += capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "ranked by val/\\\\x1b\\[31m\\<b\\>" in out  # Markdown
    assert "scores" in out


def test_different_data_sets_broken_files_and_missing_results_are_named(runs: Path, make_run, capsys) -> None:
    make_run("cifar", data={"_target_": "lightsweep.data.datasets.CIFAR10DataModule"})
    (make_run("broken") / "result.json").write_text("{")
    (make_run("killed") / "result.json").unlink()
    report.main([str(runs)])
    out = capsys.readouterr().out
    assert "scores of different data sets or metrics cannot be compared: a table for each" in out
    assert "CIFAR10, val/acc: 1 row" in out
    assert "skipped broken/result.json: Expecting property name" in out
    assert "without a result.json, so still running or killed: killed" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sort", "test/acc"], "--sort must not be a test score"),
        (["--sort", "speed"], "--sort: there is no column speed"),
        (["--group-by", "optimiser"], "did you mean optimizer?"),
        (["--html", "/nowhere/x.html"], "--html must be a file in a folder that is there"),
    ],
)
def test_a_mistake_is_one_line(runs: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        report.main([str(runs), *arguments])
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_compares_settings_over_seeds(runs: Path, capsys) -> None:
    compare.main([str(runs)])
    out = capsys.readouterr().out
    assert "A  " in out
    assert "(n = 3)" in out
    assert [line.split() for line in out.splitlines() if line.startswith("lr")] == [["lr", "0.001", "0.1"]]
    assert "val/acc, A less B: difference +0.2000" in out
    assert "test/acc, A less B: difference +0.2000" in out
    assert "Welch p < 0.0001, n = 3, 3" in out
    assert "A beats B: it takes 20.0 % fewer of the <script>alert(1)</script> images for cat" in out
    assert "for cat (A 9 of 30, B 15 of 30)" in out


def test_compares_runs_that_differ_by_their_seed_alone(runs: Path, capsys) -> None:
    compare.main([str(runs / "adam-1"), str(runs / "adam-2")])
    out = capsys.readouterr().out
    assert "the runs differ by their seed alone" in out
    assert "a Welch t-test needs two seeds a group at least" in out


def test_group_by_prefers_a_config_group_to_a_folder(runs: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    report.main(["runs", "--group-by", "data", "--json"])
    (table,) = json.loads(capsys.readouterr().out)["tables"]
    assert [(row["data"], row["n"]) for row in table["rows"]] == [("Digits", 6)]
    for folder in ("runs", "./runs", str(runs)):
        report.main(["--group-by", folder, "--json"])
        (table,) = json.loads(capsys.readouterr().out)["tables"]
        assert [row["n"] for row in table["rows"]] == [3, 3]


def test_no_cell_of_a_csv_file_is_read_as_a_formula(make_run, tmp_path: Path, capsys) -> None:
    for name, harm in (("a", "=1+1"), ("b", " =1+1"), ("c", "\n@SUM(1)")):
        make_run(name, model__activation=harm)
    report.main([str(tmp_path), "--csv"])
    cells = [row["model.activation"] for row in csv.DictReader(StringIO(capsys.readouterr().out))]
    assert sorted(cells) == ["'=1+1", "'=1+1", "'@SUM(1)"]


def test_equal_numbers_of_different_types_are_one_setting(make_run, tmp_path: Path, capsys) -> None:
    for seed, width in ((1, 8), (2, 8.0), (3, 16)):
        make_run(f"run-{seed}", 0.7 + seed / 100, seed=seed, model__width=width)
    compare.main([str(tmp_path)])
    out = capsys.readouterr().out
    assert "run-1 and 1 more" in out


def test_compares_no_scores_of_two_image_folders(make_run, tmp_path: Path, capsys) -> None:
    data = {"_target_": "lightsweep.data.image_folder.ImageFolderDataModule"}
    for name in ("photos", "drawings"):
        for seed in (1, 2):
            make_run(f"{name}-{seed}", seed=seed, data=data | {"root": f"/{name}"})
    compare.main([str(tmp_path)])
    assert "the runs are of different data sets: their scores cannot be compared" in capsys.readouterr().out


def test_compares_no_scores_of_different_data_sets(runs: Path, make_run, capsys) -> None:
    other = make_run("cifar", data={"_target_": "lightsweep.data.datasets.CIFAR10DataModule"})
    compare.main([str(runs / "adam-1"), str(other)])
    out = capsys.readouterr().out
    assert "the runs are of different data sets: their scores cannot be compared" in out
    assert "difference" not in out


def test_other_runs_are_compared_with_the_first_that_was_typed(make_run, capsys) -> None:
    seeded = [
        make_run(f"confirm/best-seed-{n}", seed=seed, facts={"kind": "confirmation"}) for n, seed in ((1, 1), (2, 1))
    ]
    compare.main([*map(str, seeded), str(make_run("single", optimizer__lr=0.1))])
    out = capsys.readouterr().out
    assert out.startswith(f"A  {seeded[0]} and 1 more (n = 2)\nB  ")
    assert "A has runs of the same seed (1): do not trust its spread and n" in out


def test_a_comparison_needs_two_runs(runs: Path) -> None:
    with pytest.raises(ConfigError, match="compare.py needs at least two runs, got 1"):
        compare.main([str(runs / "adam-1")])


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_starts_without_heavy_imports_and_ends_quietly_on_a_closed_pipe(runs: Path) -> None:
    def imported(script: str, *arguments: str) -> set[str]:
        command = [sys.executable, "-X", "importtime", str(SRC / script), *arguments]
        ended = subprocess.run(command, check=True, capture_output=True, text=True)
        return {line.rpartition("|")[2].strip().partition(".")[0] for line in ended.stderr.splitlines()}

    heavy = {"torch", "numpy", "optuna", "plotly", "scipy", "pytorch_lightning", "sklearn"}
    assert not imported("report.py", "--help") & {*heavy, "rich"}
    assert not imported("compare.py", "--help") & {*heavy, "rich"}
    assert not imported("report.py", str(runs)) & heavy
    assert not imported("compare.py", str(runs)) & {"torch", "optuna", "plotly"}

    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [sys.executable, str(SRC / "report.py"), str(runs)], check=False, stdout=writing, stderr=subprocess.PIPE
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, b"")

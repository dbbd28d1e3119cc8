"""One meaning of a run's or a sweep's name, in every command that takes one."""

import os
from pathlib import Path

import pytest

import compare
import evaluate
import report
from lightsweep.core import files
from lightsweep.core.errors import ConfigError
from lightsweep.runs import run_folder
from saved_runs import write_run


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs, two sweeps and a grid; the working directory is elsewhere."""
    folder = tmp_path / "outputs"
    monkeypatch.setattr(run_folder, "OUTPUTS", folder)
    for age, name in enumerate(
        ["runs/new", "runs/old", "sweeps/small/trial-0000", "sweeps/wide/trial-0000", "grids/g/0"]
    ):
        run = write_run(folder / name, 0.5 + age / 100, seed=age)
        (run / "config.yaml").write_text("score_with: best\n")
        for each in (run / "config.yaml", run.parent):
            os.utime(each, (1000 - age, 1000 - age))
    (folder / "sweeps" / "small" / files.JOURNAL).touch()
    os.utime(folder / "sweeps" / "small", (2000, 2000))
    (folder / "runs" / "new" / "checkpoints").mkdir()
    (folder / "runs" / "new" / "checkpoints" / "best.ckpt").touch()
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return folder


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("old", "runs/old"),
        ("latest", "runs/new"),
        ("wide", "sweeps/wide"),
        ("wide/trial-0000", "sweeps/wide/trial-0000"),
        ("g", "grids/g"),
        ("sweeps/small", "sweeps/small"),
        ("runs", "runs"),
    ],
)
def test_a_name_is_looked_up_below_the_outputs(outputs: Path, name: str, folder: str) -> None:
    assert run_folder.find_folder(name) == outputs / folder


def test_an_existing_path_comes_before_a_name(outputs: Path) -> None:
    Path("wide").mkdir()
    assert run_folder.find_folder("wide") == Path("wide")
    assert run_folder.find_folder(str(outputs / "runs" / "old")) == outputs / "runs" / "old"


def test_a_checkpoint_means_its_run_where_a_folder_is_wanted(outputs: Path) -> None:
    file = outputs / "runs" / "new" / "checkpoints" / "best.ckpt"
    assert run_folder.find_folder(str(file)) == outputs / "runs" / "new"
    assert run_folder.find_path(str(file)) == file


@pytest.mark.parametrize("name", ["nothing", "../here", "a/b/c", "", "x" * 500, "\x1b[31m"])
def test_an_unknown_name_is_refused_with_the_known_ones(outputs: Path, name: str) -> None:
    if name == "":
        assert run_folder.find_path(name) == Path()  # as every path
        return
    if name == "../here":
        assert run_folder.find_path(name).exists()
        return
    with pytest.raises(ConfigError, match="no run, sweep or grid of this name .*sweeps: wide, small"):
        run_folder.find_path(name)


def test_reports_take_names(outputs: Path, call, capsys) -> None:
    done = call(lambda: report.main(["wide", "--html", "page.html", "--csv", "rows.csv"]))
    assert done.code == 0, done.err
    assert "trial-0000" in done.out
    assert [line for line in done.err.splitlines() if line.startswith("written")] == [
        "written to page.html",
        "written to rows.csv",
    ]
    done = call(lambda: report.main(["latest", "--csv"]))
    assert "written" not in done.err
    done = call(lambda: report.main(["nix"]))
    assert (done.code, done.err.partition(":")[0]) == (1, "nix")


def test_compare_takes_names(outputs: Path, call) -> None:
    done = call(lambda: compare.main(["latest", "old", "wide", "--html", "page.html"]))
    assert done.code == 0, done.err
    assert "written to page.html" in done.err
    assert Path("page.html").is_file()


def test_evaluate_takes_names_and_refuses_before_the_imports(outputs: Path, call, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "lightsweep.training.checkpoints", None)  # an import would fail
    done = call(evaluate.main, "nix")
    assert (done.code, done.out) == (1, "")
    assert "nix: there is no such file or folder" in done.err


def test_resume_takes_the_name_of_a_run(outputs: Path) -> None:
    assert run_folder.find_resumable("old") == outputs / "runs" / "old"
    with pytest.raises(ConfigError, match="resume must be a run's folder"):
        run_folder.find_resumable("wide")

"""Reports of a study with several objectives: the scatter, a view for each objective, tables and commands."""

import json
import warnings
from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from lightsweep.app import cli
from lightsweep.reports import table
from lightsweep.reports.finding import find_runs, fold_seeds, mark_baselines
from lightsweep.reports.front_figures import draw_front, draw_objectives, views_of
from lightsweep.reports.page.drawing import Drawing
from lightsweep.reports.study import Study, copy_study
from lightsweep.reports.study_figures import StudyFigures
from saved_runs import write_run

VALUES = [(0.5, 100.0), (0.9, 9000.0), (0.6, 500.0), (0.55, 800.0), (0.2, 10.0)]  # all but the fourth on the front
FRONT = {0, 1, 2, 4}


def trials() -> list[FrozenTrial]:
    """The baseline first; the last one was pruned."""
    space = {"optimizer.<b>lr</b>": FloatDistribution(0.0, 1.0)}
    made = [
        create_trial(values=values, params=dict.fromkeys(space, number / 10), distributions=space)
        for number, values in enumerate(VALUES)
    ]
    made[0].user_attrs["baseline"] = True
    reports = {1: 0.1, 2: 0.3}
    pruned = create_trial(
        state=TrialState.PRUNED, params=dict.fromkeys(space, 1.0), distributions=space, intermediate_values=reports
    )
    return [*made, pruned]


def filled(study: optuna.Study) -> optuna.Study:
    with warnings.catch_warnings(action="ignore"):
        study.set_metric_names(["val/acc", "par<b>ams</b>"])
    study.add_trials(trials())
    return study


@pytest.fixture
def study() -> Study:
    made = filled(optuna.create_study(study_name="toy", directions=["maximize", "minimize"]))
    return copy_study(made, {"prune_on": "val/acc"}, None)


def test_the_scatter_has_each_completed_trial_and_the_steps_of_the_front(study: Study) -> None:
    figure = draw_front(study, below=1, left=0)
    assert figure is not None
    marks = {trace["name"]: trace for trace in figure["data"] if trace["mode"] == "markers"}
    assert sorted(zip(marks["Pareto front"]["y"], marks["Pareto front"]["x"], strict=True)) == sorted(
        VALUES[number] for number in FRONT
    )
    assert (marks["dominated"]["x"], marks["dominated"]["y"]) == ([800.0], [0.55])
    assert (marks["baseline"]["x"], marks["baseline"]["y"]) == ([100.0], [0.5])
    (line,) = [trace for trace in figure["data"] if trace["mode"] == "lines"]
    assert (line["x"], line["y"], line["line"]["shape"]) == ([10, 100, 500, 9000], [0.2, 0.5, 0.6, 0.9], "hv")
    assert figure["layout"]["xaxis"]["type"] == "log"
    assert "type" not in figure["layout"]["yaxis"]
    text = marks["dominated"]["text"][0]
    assert text.startswith("trial 3<br>val/acc 0.5500<br>par&lt;b&gt;ams&lt;/b&gt; 800<br>")
    assert "<b>" not in text + figure["layout"]["xaxis"]["title"]["text"]
    across = draw_front(study, below=0, left=1)
    assert across is not None
    assert [trace["line"]["shape"] for trace in across["data"] if trace["mode"] == "lines"] == ["vh"]


def test_one_that_violates_a_constraint_is_no_point_of_the_front() -> None:
    made = optuna.create_study(directions=["maximize", "minimize"])
    violating = create_trial(values=[0.99, 1.0])
    violating.set_constraint("size", 0.5)
    made.add_trials([violating, create_trial(values=[0.5, 100.0])])
    figure = draw_front(copy_study(made, {}, None), below=1, left=0)
    assert figure is not None
    assert {trace["name"]: trace["y"] for trace in figure["data"] if trace["mode"] == "markers"} == {
        "infeasible": [0.99],
        "Pareto front": [0.5],
    }


def test_a_view_has_one_objective_and_pruned_trials_where_they_reported_it(study: Study) -> None:
    views = list(views_of(study).values())
    assert [view.objectives.directions for view in views] == [("maximize",), ("minimize",)]
    for index, view in enumerate(views):
        assert [trial.value for trial in view.complete] == [values[index] for values in VALUES]
    states = [view.study.trials[-1].state for view in views]
    assert states == [TrialState.PRUNED, TrialState.WAITING]
    assert views[0].study.trials[-1].intermediate_values == {1: 0.1, 2: 0.3}


def test_three_objectives_have_a_scatter_for_each_pair() -> None:
    made = optuna.create_study(directions=["maximize", "minimize", "minimize"])
    made.add_trials([create_trial(values=[0.5, 1.0, 3.0]), create_trial(values=[0.4, 2.0, 1.0])])
    drawing = Drawing()
    study = copy_study(made, {}, None)
    draw_objectives(drawing, study, {name: StudyFigures(view, name) for name, view in views_of(study).items()})
    assert drawing.problems == []
    labels = [figure["label"] for figure in drawing.sections[0]["figures"]]
    assert labels == ["value over value_2", "value over value_3", "value_2 over value_3"]
    assert [figure["label"] for figure in drawing.sections[1]["figures"]] == [
        "History of value",
        "History of value_2",
        "History of value_3",
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sweep's folder with such a study, and the config of trial 2, which is on the front."""
    folder = tmp_path / "toy"
    folder.mkdir()
    storage = JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    made = filled(optuna.create_study(storage=storage, study_name="toy", directions=["maximize", "minimize"]))
    made.set_user_attr("sweep", {"metric": "val/acc", "program": "python app.py", "n_trials": 6})
    (folder / "best-2.yaml").write_text("# trial 2 of the sweep toy: val/acc 0.6000\n")
    return folder


def test_the_report_of_a_study_has_the_front(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = folder / "page.html"
    assert cli.run(["report", str(folder), "--html", str(page)]) == 0
    shown = capsys.readouterr().out
    assert shown.splitlines()[0].split()[:2] == ["pareto", "run"]
    assert [line.split()[0] for line in shown.splitlines()[1:6]] == ["1", "1", "1", "1", "2"]
    assert "ranked by Pareto rank, then val/acc (higher is better)" in shown
    assert "The Pareto front has 4 of 5 completed trials: 1, 2, 0 and 4." in shown
    assert f"run trial-0002: python app.py --config-dir {folder.resolve()} --config-name best-2" in shown
    assert "run trial-0001: python app.py 'optimizer" not in shown  # a key that no shell should see
    assert "run the best one" not in shown
    text = page.read_text()
    for title in ("Pareto front", "Optimisation history", "Verdict"):
        assert f">{title}</h2>" in text
    assert "ams</b>" not in text
    assert cli.run(["report", str(folder), "--json"]) == 0
    (content,) = json.loads(capsys.readouterr().out)["tables"]
    assert [row["pareto"] for row in content["rows"]] == [1, 1, 1, 1, 2, None]


def test_the_status_of_a_study_has_the_front_in_place_of_the_best(folder: Path, capsys) -> None:
    assert cli.run(["status", str(folder), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert (status["best"], status["objectives"]) == (None, {"val/acc": "maximize", "par<b>ams</b>": "minimize"})
    assert {point["trial"] for point in status["front"]} == FRONT
    assert status["front"][0]["values"] == {"val/acc": 0.9, "par<b>ams</b>": 9000.0}
    assert cli.run(["status", str(folder)]) == 0
    assert capsys.readouterr().out.count("on the front val/acc ") == 4


def test_runs_of_a_sweep_are_ranked_as_its_leaderboard_has_them(tmp_path: Path) -> None:
    for number, acc in enumerate((0.9, 0.8, 0.7)):
        write_run(tmp_path / f"s/trial-{number:04d}", acc, facts={"kind": "trial"})
    board = "pareto,trial,state,val/acc,params,note,folder\n1,2,complete,0.7,1,,trial-0002\n"
    (tmp_path / "s/leaderboard.csv").write_text(
        f"{board}2,0,complete,0.9,3,,trial-0000\n2,1,complete,0.8,3,,trial-0001\n"
    )
    (found,) = table.build_tables(mark_baselines(fold_seeds(find_runs([tmp_path / "s"]).runs)))
    assert [run.folder.name for run in found.runs] == ["trial-0002", "trial-0000", "trial-0001"]
    assert list(found.ranks.values()) == [1, 2, 2]
    assert (found.best, [run.folder.name for run in found.front]) == (None, ["trial-0002"])

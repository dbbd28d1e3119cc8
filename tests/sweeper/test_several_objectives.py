"""Sweeps with several objectives, from what a job returns to the files of the study."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from omegaconf import DictConfig, OmegaConf
from optuna.pruners import HyperbandPruner, MedianPruner, PatientPruner, SuccessiveHalvingPruner
from optuna.trial import TrialState

import lightsweep
from lightsweep.core.errors import JobState
from lightsweep.sweeper.executors.reporting import StorageReports
from lightsweep.sweeper.job import Job
from lightsweep.sweeper.job_running import JobFunction, JobResult
from lightsweep.sweeper.optuna_access import trial_id
from lightsweep.sweeper.storage import Address, connect
from toy_sweeps import Sweep, check_books

BOTH = "hydra.sweeper.objectives={val/acc: maximize, params: minimize}"


@pytest.fixture
def run(job_node: DictConfig) -> Callable[..., JobResult]:
    """Run an app's function as a trial's job in tmp_path."""

    def job(returned: Any, *objectives: str, returns: str = "value", **recorded: Any) -> JobResult:
        def function(cfg: Any) -> Any:
            lightsweep.current_trial().record(recorded)
            return returned

        return JobFunction(function, Job("trial", (), "x", 0, objectives=objectives, returns=returns))(job_node)

    return job


@pytest.mark.parametrize(
    ("returned", "objectives", "recorded", "values", "facts"),
    [
        ((0.5, 3), ("value", "value_2"), {}, (0.5, 3.0), {}),
        ((0.5, 3, 7), ("value", "value_2"), {}, (0.5, 3.0), {"value_3": 7.0}),
        ((0.5, 3), ("loss", "size"), {}, (0.5, 3.0), {}),
        ({"size": 3, "loss": 0.5, "x": 1}, ("loss", "size"), {}, (0.5, 3.0), {"loss": 0.5, "size": 3.0, "x": 1.0}),
        (0.5, ("loss", "size"), {"size": 3}, (0.5, 3.0), {"size": 3}),
        (0.5, ("size", "loss"), {"size": 3}, (3.0, 0.5), {"size": 3}),
        ({"loss": 0.5}, ("loss", "size"), {"size": 3}, (0.5, 3.0), {"size": 3, "loss": 0.5}),
        (None, ("loss", "size"), {"size": 3, "loss": 1}, (1.0, 3.0), {"size": 3, "loss": 1}),
    ],
)
def test_objectives_are_returned_or_recorded(
    run, tmp_path: Path, returned, objectives, recorded, values, facts
) -> None:
    result = run(returned, *objectives, **recorded)
    assert (result.state, result.values) == (JobState.COMPLETED, values)
    assert result.facts == {**facts, "status": "completed"}
    content = json.loads((tmp_path / "job_result.json").read_text())
    assert {name: content[name] for name in objectives} == dict(zip(objectives, values, strict=True))


def test_what_an_app_returns_has_its_own_name(run) -> None:
    """Our training runs return the monitored metric to the digit, and record it as well."""
    recorded = {"val/acc": 0.25, "params": 10}
    assert run(0.2512, "params", "val/acc", returns="val/acc", **recorded).values == (10.0, 0.2512)
    assert run(0.2512, "params", returns="val/acc", **recorded).values == (10.0,)
    assert run(0.2512, "val/acc", returns="val/acc", **recorded).values == (0.2512,)


@pytest.mark.parametrize(
    ("returned", "recorded", "why"),
    [
        (0.5, {}, "must return or record size, which the sweep optimises; it has loss: hydra.sweeper.objectives says"),
        ({"acc": 0.5}, {"n": 1}, "must return or record loss and size, which the sweep optimises; it has n, acc: "),
        ((0.5, 3), {"size": 3}, "returns numbers without names, and records size: return a dict of names to numbers"),
        (None, {"size": 3}, "must return or record loss"),
        (("a", 3), {}, "must return a number"),
        (None, {"size": 3, "loss": None}, "must return or record loss"),
    ],
)
def test_an_objective_that_was_never_measured_is_one_line(run, returned, recorded, why: str) -> None:
    result = run(returned, "loss", "size", **recorded)
    assert (result.state, result.of_all) == (JobState.FAILED, True)
    assert why in str(result.error)
    assert "\n" not in str(result.error)


def test_each_objective_must_be_finite(run) -> None:
    result = run((0.5, float("inf")), "loss", "size")
    assert (result.state, result.error, result.of_all) == (JobState.FAILED, "size became inf", False)


def test_the_files_of_a_sweep(toy_sweep, tmp_path: Path, study, capsys) -> None:
    done = toy_sweep(BOTH, "model.width=choice(8,16,32)", "hydra.sweeper.n_trials=8")
    assert done.code == 0, done.err
    found, folder = study(), tmp_path / "study"
    assert [each.name for each in found.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert found.metric_names == ["val/acc", "params"]
    front = {trial.number: trial for trial in found.best_trials}
    board = Sweep(folder).leaderboard()
    assert list(board[0])[:5] == ["pareto", "trial", "state", "val/acc", "params"]
    assert {int(row["trial"]) for row in board if row["pareto"] == "1"} == set(front)
    assert [int(row["pareto"]) for row in board] == sorted(int(row["pareto"]) for row in board)
    assert {int(row["trial"]): [float(row[name]) for name in ("val/acc", "params")] for row in board} == {
        trial.number: trial.values for trial in found.trials
    }
    results = OmegaConf.to_container(OmegaConf.load(folder / "optimization_results.yaml"))
    assert isinstance(results, dict)
    assert results["name"] == "optuna"
    assert sorted(results["solutions"], key=str) == sorted(
        ({"params": trial.params, "values": trial.values} for trial in front.values()), key=str
    )
    assert {file.name for file in folder.glob("best*")} == {f"best-{number}.yaml" for number in front}
    for number, trial in front.items():
        config: Any = OmegaConf.to_container(OmegaConf.load(folder / f"best-{number}.yaml"))
        width = config.get("model", {}).get("width", 256)
        assert width == trial.params["model.width"]
    printed = done.out
    assert "val/acc is maximized, params is minimized" in printed
    assert "several objectives: no trial is pruned; hydra.sweeper.prune_on=NAME prunes by one of them" in printed
    assert f"The Pareto front has {len(front)} of 8 completed trials" in printed
    for number in front:
        command = f"run trial {number}: python src/train.py --config-dir {folder} --config-name best-{number}"
        assert command in printed
        assert command in (folder / "leaderboard.md").read_text()
    check_books(Sweep(folder), 8)


def test_a_study_of_several_objectives_goes_on_and_keeps_them(toy_sweep, study) -> None:
    assert toy_sweep(BOTH, "hydra.sweeper.n_trials=2").code == 0
    assert toy_sweep(BOTH, "hydra.sweeper.n_trials=4").code == 0
    assert len(study().trials) == 4
    refused = toy_sweep("hydra.sweeper.n_trials=5")
    assert (refused.code, len(refused.err.splitlines())) == (1, 1)
    assert "was started with (val/acc is maximized, params is minimized)" in refused.err


def test_one_objective_by_name_is_the_metric(toy_sweep, tmp_path: Path, study) -> None:
    assert toy_sweep("hydra.sweeper.objectives={params: minimize}", "hydra.sweeper.n_trials=3").code == 0
    found = study()
    assert {trial.value for trial in found.trials} <= {800.0, 1600.0}
    assert found.direction.name == "MINIMIZE"
    assert (tmp_path / "study/best.yaml").is_file()
    assert Sweep(tmp_path / "study").leaderboard()[0]["rank"] == "1"


def test_seeds_count_with_the_mean_of_each_objective(toy_sweep, tmp_path: Path, study) -> None:
    seeds = ("hydra.sweeper.seeds=[1,4]", "hydra.sweeper.prune_on=val/acc")
    assert toy_sweep(BOTH, *seeds, "hydra.sweeper.n_trials=2").code == 0
    for trial in study().trials:
        folder = tmp_path / "study" / f"trial-{trial.number:04d}"
        runs = [json.loads((folder / f"seed-{seed}/result.json").read_text()) for seed in (1, 4)]
        means = [sum(run[name] for run in runs) / 2 for name in ("val/acc", "params")]
        assert trial.values == pytest.approx(means)
        assert json.loads((folder / "result.json").read_text())["params"] == means[1]
        assert list(trial.intermediate_values) == [1]  # reported although Optuna's own report refuses to


def test_points_of_the_front_are_confirmed(toy_sweep, tmp_path: Path, study) -> None:
    points = [(0.3, 0.003, 16), (0.29, 0.003, 8), (0.0, 0.1, 16)]  # the front has the first, and not the last
    enqueued = [f"{{model.dropout: {x}, optimizer.lr: {lr}, model.width: {width}}}" for x, lr, width in points]
    typed = (BOTH, "hydra.sweeper.n_trials=6", f"hydra.sweeper.enqueue=[{','.join(enqueued)}]")
    assert toy_sweep(*typed).code == 0
    front, named = sorted(trial.number for trial in study().best_trials), 3
    assert 1 in front
    assert named not in front
    done = toy_sweep(*typed, "hydra.sweeper.confirm=2", f"hydra.sweeper.confirm_points=[{named}]")
    assert done.code == 0, done.err
    folder = tmp_path / "study"
    assert {run.name for run in (folder / "confirm").iterdir()} == {
        f"{name}-seed-{seed}" for name in (f"best-{named}", "baseline") for seed in (101, 102)
    }
    written = json.loads((folder / "confirmation.json").read_text())
    assert written["points"] == [named]
    assert written["verdict"]["outcome"] == "confirmed"
    assert f"Trial {named} against the baseline, 2 fresh seeds: val/acc " in done.out
    done = toy_sweep(*typed, "hydra.sweeper.confirm=2")
    confirmed = json.loads((folder / "confirmation.json").read_text())["points"]
    assert sorted(confirmed) == [each for each in front if each != 0]
    refused = toy_sweep(*typed, "hydra.sweeper.confirm=2", "hydra.sweeper.confirm_points=[77]")
    assert refused.code == 1
    assert refused.err.splitlines()[-1] == "hydra.sweeper.confirm_points must be completed trials, got 77"


def test_cmaes_is_refused(toy_sweep, tmp_path: Path) -> None:
    done = toy_sweep(BOTH, "hydra.sweeper.sampler=cmaes")
    assert done.code == 1
    assert re.search(r"^hydra.sweeper.sampler: CMA-ES knows one objective, got val/acc and params; tpe,", done.err)
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsgaii", "nsgaiii", "random"])
def test_samplers_that_know_several_objectives(toy_sweep, study, sampler: str) -> None:
    named = f"hydra.sweeper.sampler={sampler}"
    done = toy_sweep(BOTH, named, "hydra.sweeper.n_trials=3", "model.width=choice(8,16,32)")
    assert done.code == 0, done.err
    assert all(trial.state == TrialState.COMPLETE for trial in study().trials)


@pytest.mark.parametrize(
    "pruner",
    [
        MedianPruner(n_startup_trials=2, n_warmup_steps=0),
        PatientPruner(MedianPruner(n_startup_trials=2, n_warmup_steps=0), patience=0),
        SuccessiveHalvingPruner(reduction_factor=2),
        HyperbandPruner(max_resource=4, reduction_factor=2),
    ],
    ids=lambda pruner: type(pruner).__name__,
)
@pytest.mark.parametrize(("index", "worst"), [(0, 0.0), (1, 99.0)])
def test_a_pruner_sees_one_of_several_objectives(tmp_path: Path, pruner, index: int, worst: float) -> None:
    """A trial that is the worst in what is reported is pruned, whatever the direction; Optuna's own report raises."""
    address = Address(str(tmp_path / "study.journal"), "study")
    study = optuna.create_study(
        study_name="study", storage=connect(address.url), directions=["maximize", "minimize"], pruner=pruner
    )
    for number in range(6):
        trial = study.ask()
        reports = StorageReports(address, trial_id(trial), pruner, index)
        better = 1.0 + number / 10 if index == 0 else 9.0 - number / 10
        for step in range(1, 5):
            reports.report(step, better)
        study.tell(trial, [better, better])
    last = study.ask()
    reports = StorageReports(address, trial_id(last), pruner, index)
    answers = [reports.report(step, (worst + step / 10) * (1 if index else -1)) for step in range(1, 5)]
    assert any(answers)
    study.tell(last, state=TrialState.PRUNED)
    closed = study.trials[-1]
    assert (closed.state, closed.values) == (TrialState.PRUNED, None)
    assert len(closed.intermediate_values) == 4


def test_trials_are_pruned_by_the_objective_that_is_named(toy_sweep, sweep, monkeypatch, study) -> None:
    monkeypatch.setenv("TOY_EPOCHS", "3")
    pruner = ("hydra.sweeper.pruner.n_startup_trials=1", "hydra.sweeper.pruner.n_warmup_steps=0")
    random = ("hydra/sweeper/sampler=random", "hydra.sweeper.sampler.seed=1")
    done = toy_sweep(BOTH, "hydra.sweeper.prune_on=val/acc", *pruner, *random, "hydra.sweeper.n_trials=8")
    assert done.code == 0, done.err
    assert "no trial is pruned" not in done.out
    pruned = [trial for trial in study().trials if trial.state == TrialState.PRUNED]
    best = max(trial.values[0] for trial in study().trials if trial.state == TrialState.COMPLETE)
    assert pruned
    assert all(trial.intermediate_values[1] < best and trial.values is None for trial in pruned)
    rows = {int(row["trial"]): row for row in sweep.leaderboard()}
    for trial in pruned:
        row = rows[trial.number]
        assert (row["pareto"], row["val/acc"], row["params"]) == ("", str(trial.intermediate_values[1]), "")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_workers_a_kill_and_a_resume(sweep) -> None:
    typed = (BOTH, "hydra.sweeper.prune_on=val/acc", "hydra.sweeper.n_jobs=2", "hydra.sweeper.n_trials=14")
    process = sweep.start(*typed, seconds=0.3, environment={"TOY_EPOCHS": "3"})
    journal = sweep.folder / "study.journal"
    _wait_until(lambda: journal.is_file() and sum(t.state.is_finished() for t in sweep.study().trials) >= 4, process)
    process.kill()
    process.wait(30)
    done = sweep.run(*typed, seconds=0.05, environment={"TOY_EPOCHS": "3"})
    assert done.returncode == 0, done.stderr
    check_books(sweep, 14)
    front = {trial.number for trial in sweep.study().best_trials}
    assert {int(row["trial"]) for row in sweep.leaderboard() if row["pareto"] == "1"} == front
    assert {file.name for file in sweep.folder.glob("best-*.yaml")} == {f"best-{number}.yaml" for number in front}


def _wait_until(condition: Callable[[], bool], process: Any) -> None:
    import time

    deadline = time.monotonic() + 120
    while True:
        try:
            if condition():
                return
        except KeyError:  # the study is not in its storage yet
            pass
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)

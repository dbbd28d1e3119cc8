"""What an app says to its trial while it runs, and what becomes of its job."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from omegaconf import DictConfig

import lightsweep
from lightsweep.core.errors import Interrupted, JobState
from lightsweep.sweeper.job import RESERVED, Job, TrialContext
from lightsweep.sweeper.job_running import JobFunction, JobResult
from queued_jobs import Study


@pytest.fixture
def run(job_node: DictConfig) -> Callable[..., JobResult]:
    """Run an app's function as a trial's job in tmp_path; its study prunes in the third step."""

    def job(function: Callable[[Any], Any], metric: str = "value", study: Any = None) -> JobResult:
        reports = study or Study(pruned_from=3)
        started = Job("trial", ("lr=0.1",), "trial-0000", 0, reports, objectives=(metric,))
        return JobFunction(function, started)(job_node)

    return job


def content(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "job_result.json").read_text())


def context(study: Study | None = None) -> TrialContext:
    return TrialContext(Job("trial", (), "trial-0000", 0, study))


@pytest.mark.parametrize("value", [1, 0.5, np.float32(0.5), torch.tensor(0.5), torch.tensor([0.5])], ids=repr)
def test_a_number_of_any_library_is_reported(value: Any) -> None:
    study = Study()
    context(study).report(value, np.int64(2))
    assert study.values == [(2, float(value))]
    assert type(study.values[0][0]) is int


@pytest.mark.parametrize("value", [None, "0.5", True, [0.5], torch.ones(2), {}], ids=repr)
def test_what_is_no_number_is_not_reported(value: Any) -> None:
    with pytest.raises(ValueError, match=r"trial.report: value must be a number, got"):
        context(Study()).report(value, 1)


@pytest.mark.parametrize("step", [-1, 1.5, "1", None, True], ids=repr)
def test_a_step_is_a_count(step: Any) -> None:
    with pytest.raises(ValueError, match=rf"trial.report: step must be an integer >= 0, got {step!r}"):
        context(Study()).report(0.5, step)


def test_numbers_are_recorded_and_the_last_one_stays() -> None:
    trial = context()
    trial.record({"loss": torch.tensor(0.5), "epochs": 3, "none": None})
    trial.record({"loss": 0.25})
    assert trial.facts == {"loss": 0.25, "epochs": 3, "none": None}
    assert type(trial.facts["epochs"]) is int


@pytest.mark.parametrize("value", ["good", [1], True, torch.ones(2)], ids=repr)
def test_only_numbers_are_recorded(value: Any) -> None:
    with pytest.raises(ValueError, match=r"trial.record: loss must be a number or None, got"):
        context().record({"loss": value})


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_a_reserved_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"trial.record: {name} must be called otherwise"):
        context().record({name: 1})


def test_outside_a_sweep_nothing_is_taken_or_refused() -> None:
    trial = lightsweep.current_trial()
    trial.report("nonsense", -1)
    trial.record({"folder": "nonsense"})
    assert trial.facts == {}
    assert trial.number is None


def train(epochs: int = 5) -> float:
    for epoch in range(1, epochs + 1):
        lightsweep.current_trial().report(0.5, epoch)
        lightsweep.current_trial().record({"epochs": epoch})
    return 0.5


def swallows(cfg: Any) -> float:
    try:
        return train()
    except optuna.TrialPruned:
        return 0.0


def makes_another_of_it(cfg: Any) -> float:
    try:
        return train()
    except optuna.TrialPruned:
        raise KeyError("test/acc") from None


def raises_by_itself(cfg: Any) -> float:
    lightsweep.current_trial().record({"epochs": 2})
    raise optuna.TrialPruned


@pytest.mark.parametrize("function", [lambda cfg: train(), swallows, makes_another_of_it, raises_by_itself])
def test_a_pruned_trial_is_pruned_whatever_the_app_makes_of_it(run, tmp_path: Path, function) -> None:
    assert run(function) == JobResult(JobState.PRUNED, facts={"epochs": 2, "status": "pruned"})
    assert content(tmp_path)["status"] == "pruned"


def test_a_pruner_without_an_opinion(run) -> None:
    assert run(lambda cfg: train(2)).state == JobState.COMPLETED


@pytest.mark.parametrize(
    ("returned", "metric", "value", "recorded"),
    [
        (2, "value", 2.0, {}),
        (np.float64(0.25), "value", 0.25, {}),
        (torch.tensor([0.25]), "value", 0.25, {}),
        ((0.5, 3, 4.0), "value", 0.5, {"value_2": 3.0, "value_3": 4.0}),
        ({"acc": 0.5, "loss": 1.0}, "loss", 1.0, {"acc": 0.5, "loss": 1.0}),
        ({"acc": 0.5, "loss": 1.0}, "value", 0.5, {"acc": 0.5, "loss": 1.0}),
        ({"acc": 0.5, "value": 1.0}, "value", 1.0, {"acc": 0.5}),
        ({"acc": 0.5}, "loss", 0.5, {"acc": 0.5}),
    ],
)
def test_what_a_function_may_return(run, tmp_path: Path, returned, metric: str, value: float, recorded) -> None:
    result = run(lambda cfg: returned, metric)
    assert result == JobResult(JobState.COMPLETED, value, facts={**recorded, "status": "completed"})
    found = content(tmp_path)
    assert found.pop("seconds") >= 0.0
    assert found == {"status": "completed", "kind": "trial", **recorded, metric: value, "overrides": ["lr=0.1"]}


@pytest.mark.parametrize(
    ("returned", "metric", "why"),
    [
        (None, "value", "returns nothing"),
        ("0.5", "value", "must return a number.*got '0.5'"),
        ([], "value", "must return a number.*got \\[\\]"),
        ({}, "value", "returns a dict without value"),
        ({"a": 1, "b": 2}, "c", "hydra.sweeper.metric must be one of its names, a, b"),
        ({"a": "good"}, "a", "must return a number.*got 'good'"),
        (float("nan"), "value", "value became nan"),
    ],
)
def test_what_a_function_must_not_return(run, tmp_path: Path, returned, metric: str, why: str) -> None:
    result = run(lambda cfg: returned, metric)
    assert (result.state, result.value) == (JobState.FAILED, None)
    assert re.search(why, str(result.error))
    assert content(tmp_path)["error"] == result.error


def test_a_job_keeps_the_result_that_it_wrote_itself(run, tmp_path: Path) -> None:
    file = tmp_path / "job_result.json"

    def writes(cfg: Any) -> float:
        file.write_text("mine")
        return 1.0

    run(writes)
    assert file.read_text() == "mine"


def test_an_interrupted_job_leaves_no_result(run, tmp_path: Path) -> None:
    def stopped(cfg: Any) -> float:
        raise Interrupted(15)

    assert run(stopped).state == JobState.INTERRUPTED
    assert not (tmp_path / "job_result.json").exists()

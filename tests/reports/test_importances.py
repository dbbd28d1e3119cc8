"""Importances are compared with what random parameters get; what a surrogate predicts is shown if it predicts."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from lightsweep.reports import importances, landscape, mattered
from lightsweep.reports.importances import Importance
from lightsweep.reports.page.drawing import Drawing
from lightsweep.reports.study import Study
from lightsweep.reports.study_figures import StudyFigures

SPACE: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-4, 1.0, log=True),
    "width": IntDistribution(1, 64),
    "act": CategoricalDistribution(["relu", "gelu", "tanh"]),
}


def trials(count: int, seed: int, effect: float = 0.0, pruned: float = 0.0) -> list[FrozenTrial]:
    """Random points; the value is noise of size 1 and `effect` times the logarithm of lr, scaled to size 1.

    Args:
        pruned: share of the trials that ended after the first of two reports, which is the value with noise.
    """
    random, found = np.random.default_rng(seed), []
    for _ in range(count):
        place = random.uniform()
        params = {"lr": 10.0 ** (4 * place - 4), "width": int(random.integers(1, 65))}
        params["act"] = str(random.choice(["relu", "gelu", "tanh"]))
        value = random.normal() + effect * (place - 0.5) * 12**0.5
        reports = {1: value - 1 + 0.3 * random.normal(), 2: value}
        shared: dict[str, Any] = {"params": params, "distributions": SPACE}
        if len(found) > 4 and random.uniform() < pruned:
            shared |= {"state": TrialState.PRUNED, "value": reports[1], "intermediate_values": {1: reports[1]}}
        else:
            shared |= {"value": value, "intermediate_values": reports}
        found.append(create_trial(**shared))
    return found


def measured(made: list[FrozenTrial], **options: int) -> dict[str, Importance]:
    found = importances.measure(importances.value_trials(made), maximises=True, **options)
    return {each.name: each for each in found}


def figures_of(made: list[FrozenTrial], direction: str = "maximize") -> StudyFigures:
    study = optuna.create_study(direction=direction)
    study.add_trials(made)
    return StudyFigures(Study(study), "val/acc")


@pytest.mark.parametrize("pruned", [0.0, 0.5])
def test_without_an_effect_few_parameters_exceed_the_random_ones(pruned: float) -> None:
    """Of 24 at the 5 % level 1.2 are expected; more than 4 have a probability of 0.6 %."""
    found = [measured(trials(24, seed, pruned=pruned), resamples=20, dummies=39) for seed in range(8)]
    assert sum(each.matters for names in found for each in names.values()) <= 4


def test_a_real_effect_exceeds_the_random_parameters() -> None:
    found = [measured(trials(50, seed, effect=2.0), resamples=20, dummies=39)["lr"] for seed in range(5)]
    assert sum(each.matters for each in found) >= 4
    assert all(0 <= each.low <= each.share <= each.high <= 1 for each in found)


def test_the_same_trials_give_the_same_importances() -> None:
    made = trials(24, 0, effect=1.0)
    assert measured(made, resamples=5, dummies=5) == measured(made, resamples=5, dummies=5)


def test_pruned_trials_count_with_their_estimated_final_value() -> None:
    made = trials(24, 0, pruned=0.5)
    valued = importances.value_trials(made)
    by_state = {is_estimated: [each for each in valued if each.is_estimated == is_estimated] for is_estimated in (0, 1)}
    assert all(each.value == each.trial.value for each in by_state[0])
    assert np.mean([each.value - each.trial.value for each in by_state[1]]) > 0.3  # reports are 1 below the values
    assert f"{len(by_state[1])} were pruned and count with an estimate" in mattered.describe_trials(valued)


def test_conditional_constant_and_infinite_ones_take_no_other_down() -> None:
    made = []
    for index, trial in enumerate(trials(30, 1, effect=3.0)):
        params: Mapping[str, Any] = trial.params | {"fixed": 1.0} | ({"momentum": index / 30} if index % 3 else {})
        kinds = SPACE | {"fixed": FloatDistribution(0.0, 2.0), "momentum": FloatDistribution(0.0, 1.0)}
        value = float("-inf") if index == 7 else trial.value
        used = {name: kinds[name] for name in params}
        made.append(create_trial(value=value, params=dict(params), distributions=used))
    assert len(importances.value_trials(made)) == 29
    found = measured(made, resamples=20, dummies=19)
    assert set(found) == {"lr", "width", "act", "momentum"}
    assert found["lr"].matters


def test_equal_values_and_equal_points_have_no_importances() -> None:
    equal = [create_trial(value=1.0, params=each.params, distributions=SPACE) for each in trials(20, 0)]
    assert measured(equal) == {}
    one = trials(1, 0)[0]
    assert measured([create_trial(value=v, params=one.params, distributions=SPACE) for v in range(20)]) == {}


def test_words_say_what_is_more_than_noise() -> None:
    found = [Importance("lr", 0.61, 0.42, 0.78, 0.3), Importance("a&lt;b", 0.05, 0.01, 0.2, 0.9)]
    assert mattered.describe_importances(found) == [
        "lr mattered most: 0.61 (0.42 to 0.78), more than noise; a random parameter would get up to 0.30.",
        "No more than a random parameter would get (in brackets): a<b 0.05 (0.90). Not distinguishable from noise.",
    ]


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """On pages; two hundred take a second."""
    monkeypatch.setattr("lightsweep.reports.importances.measure", partial(importances.measure, resamples=10, dummies=9))


def shown(made: list[FrozenTrial], direction: str = "maximize") -> Drawing:
    drawing, figures = Drawing(), figures_of(made, direction)
    mattered.draw_importances(drawing, {"val/acc": figures})
    landscape.draw_landscape(drawing, figures)
    assert drawing.problems == []
    return drawing


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_around_the_best_trial_the_parameter_with_the_effect_changes_the_prediction(direction: str) -> None:
    drawing = shown(trials(30, 0, effect=4.0 if direction == "maximize" else -4.0), direction)
    sections = {section["id"]: section for section in drawing.shown}
    assert list(sections) == ["importances", "local", "landscape"]
    assert "rank correlation 0." in sections["local"]["lines"][0]
    first = sections["local"]["lines"][1]
    assert first.startswith("lr changed to ")
    assert "more than noise" in first
    assert ("predicted val/acc -" in first) == (direction == "maximize")
    mean, deviation = (drawing.data[each["id"]] for each in sections["landscape"]["figures"])
    assert [mean["data"][0]["zmin"] < 0, deviation["data"][0]["zmin"]] == [True, 0.0]
    points = [len(trace["x"]) for trace in mean["data"][1:]]
    assert points == [30, 1]  # every trial, and the best


def test_a_surrogate_that_predicts_nothing_is_not_drawn() -> None:
    sections = {section["id"]: section for section in shown(trials(30, 3)).shown}
    assert list(sections) == ["importances", "local"]
    assert "no better than their mean" in sections["local"]["lines"][0]
    assert sections["local"]["figures"] == []


def test_without_scikit_learn_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightsweep.reports.study_figures.find_spec", lambda name: None)
    sections = {section["id"]: section for section in shown(trials(24, 0, effect=4.0)).shown}
    assert list(sections) == ["importances", "local"]
    assert sections["local"]["lines"] == [mattered._EXTRA]
    assert "pip install 'lightsweep[report]'" in mattered._EXTRA


@pytest.mark.parametrize(
    ("effect", "noise", "told"), [(0.01, 0.05, {"lr": True, "width": False}), (1.2, 0.7, {"lr": True})]
)
def test_a_parameter_does_not_matter_only_where_its_effect_is_surely_small(
    effect: float, noise: float, told: dict
) -> None:
    """One that few trials with much noise cannot tell from noise may yet matter."""
    random, made = np.random.default_rng(5), []
    for trial in trials(24, 2):
        place = np.log10(trial.params["lr"]) / 4 + 1
        value = 3 * place + effect * trial.params["width"] / 64 + noise * random.normal()
        made.append(create_trial(params=trial.params, distributions=SPACE, value=float(value)))
    mattering = figures_of(made).mattering
    assert {name: matters for name, matters in mattering.items() if name != "act"} == told

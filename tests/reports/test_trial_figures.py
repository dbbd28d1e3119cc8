"""Every trial of a study is in its figures, with a mark for its status."""

from collections.abc import Callable

import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from lightsweep.reports import overview
from lightsweep.reports.page.drawing import Drawing
from lightsweep.reports.study import Study
from lightsweep.reports.study_figures import StudyFigures
from lightsweep.sweeper.trials import value_of

SPACE = {"lr": FloatDistribution(1e-5, 1.0, log=True), "width": IntDistribution(1, 100)}


def made(completed: int, pruned: int = 0, failed: int = 0, direction: str = "maximize") -> StudyFigures:
    """Trials in turn; the n-th has the value n / 100, and a pruned one reported twice that before."""
    study = optuna.create_study(direction=direction)
    states = [TrialState.COMPLETE] * completed + [TrialState.PRUNED] * pruned + [TrialState.FAIL] * failed
    for number, state in enumerate(states):
        value = number / 100
        reports = {1: 2 * value, 2: value} if state != TrialState.COMPLETE else {}
        study.add_trial(
            create_trial(
                state=state,
                value=value if state != TrialState.FAIL else None,
                params={"lr": 1e-4 * (1 + number), "width": 1 + number % 7},
                distributions=SPACE,
                intermediate_values=reports,
            )
        )
    return StudyFigures(Study(study), "val/acc")


def traces(figure: dict | None) -> dict[str, dict]:
    assert figure is not None
    return {trace.get("name", ""): trace for trace in figure["data"]}


@pytest.mark.parametrize(("direction", "best"), [("maximize", [0, 0.01, 0.02, 0.02]), ("minimize", [0, 0, 0, 0])])
def test_the_best_so_far_is_a_step_up_to_the_last_trial(direction: str, best: list[float]) -> None:
    shown = traces(made(3, pruned=2, failed=1, direction=direction).history())
    assert shown["best so far"]["line"]["shape"] == "hv"
    assert (shown["best so far"]["x"], shown["best so far"]["y"]) == ([0, 1, 2, 5], best)


def test_pruned_trials_have_their_own_mark_and_the_value_of_the_study() -> None:
    figures = made(4, pruned=2, failed=1)
    for figure in (figures.history(), figures.slices()):
        shown = traces(figure)
        assert shown["pruned"]["y"] == [0.04, 0.05]
        assert shown["pruned"]["marker"]["symbol"] != shown["completed"]["marker"]["symbol"]
        assert "after step 2" in shown["pruned"]["text"][0]
    lines = [trace for trace in figures.parallel()["data"] if trace.get("name") == "pruned"]
    assert [line["line"]["dash"] for line in lines] == ["dot"]
    assert list(dict.fromkeys(lines[0]["runs"])) == ["trial-0004", "trial-0005"]
    assert lines[0]["y"].count(None) == 2  # a gap behind each
    failed = traces(figures.history())["failed"]
    assert failed["y"][0] < 0  # at the bottom, whatever it had reported


def test_axes_of_slices_and_parallel_coordinates_span_what_was_searched() -> None:
    figures = made(5)
    layout = figures.slices()["layout"]
    ranges = {layout[axis]["title"]["text"]: layout[axis]["range"] for axis in ("xaxis", "xaxis2")}
    assert ranges["lr"][0] < -5 < 0 < ranges["lr"][1]
    assert ranges["width"][0] < 1 < 100 < ranges["width"][1]
    for trace in figures.parallel()["data"][:-1]:
        assert all(
            0 <= height < 0.6 for height in heights_of_parameters(trace)
        )  # lr is below 1e-3 and the width below 8


def heights_of_parameters(trace: dict) -> list[float]:
    """Of the lines of a trace, without those on the first axis, the value's."""
    return [y for x, y in zip(trace["x"], trace["y"], strict=True) if x]


def test_the_best_trial_is_a_star() -> None:
    stars = [trace for trace in made(9).slices()["data"] if trace["name"] == "best"]
    assert [star["marker"]["symbol"] for star in stars] == ["star", "star"]
    assert [(*star["x"], *star["y"]) for star in stars] == [(pytest.approx(9e-4), 0.08), (2, 0.08)]


@pytest.mark.parametrize(
    ("completed", "pruned", "enough"), [(19, 0, False), (20, 0, True), (5, 14, False), (5, 15, True)]
)
def test_importances_need_twenty_completed_or_pruned_trials(completed: int, pruned: int, enough: bool) -> None:
    figures = made(completed, pruned, failed=3)
    assert bool(figures.measured) == enough
    assert (figures.too_few == "") == enough
    if not enough:
        assert "19 have a value" in str(figures.too_few)


def test_pruned_trials_take_part_in_importances() -> None:
    """Here nothing but a pruned trial has another width."""
    study = optuna.create_study(direction="maximize")
    for number in range(24):
        good = number % 2 == 0
        trial = create_trial(
            state=TrialState.COMPLETE if good else TrialState.PRUNED,
            value=0.9 if good else 0.1,
            params={"lr": 10.0 ** -(number % 5), "width": 90 if good else 10},
            distributions=SPACE,
            intermediate_values={1: 0.9 if good else 0.1},
        )
        study.add_trial(trial)
    found = StudyFigures(Study(study), "val/acc").importances
    assert found["width"] > 0.5 > found["lr"]


def test_the_page_says_if_there_are_too_few_trials() -> None:
    drawn, study = Drawing(), made(6, pruned=2)
    overview._draw_mattered(drawn, [], None, {"val/acc": study})
    overview._draw_study(drawn, study)
    texts = {section["id"]: section["text"] for section in drawn.shown}
    assert texts["importances"].startswith("Too few trials to tell which parameter mattered: 8 have a value")
    assert not {"local", "landscape"} & texts.keys()


@pytest.mark.parametrize(
    ("trial", "value"),
    [
        (lambda: create_trial(value=0.5, intermediate_values={1: 0.9}), 0.5),
        (lambda: create_trial(state=TrialState.PRUNED, value=0.4, intermediate_values={1: 0.9, 2: 0.4}), 0.4),
        (lambda: create_trial(state=TrialState.PRUNED, intermediate_values={2: 0.4, 1: 0.9}), 0.4),
        (lambda: create_trial(state=TrialState.RUNNING, intermediate_values={1: 0.9, 3: 0.3}), 0.3),
        (lambda: create_trial(state=TrialState.PRUNED, intermediate_values={1: 0.9, 2: float("nan")}), None),
        (lambda: create_trial(state=TrialState.FAIL, intermediate_values={1: 0.9}), None),
        (lambda: create_trial(state=TrialState.WAITING), None),
    ],
)
def test_the_value_of_a_trial_depends_on_its_state(
    trial: Callable[[], optuna.trial.FrozenTrial], value: float | None
) -> None:
    assert value_of(trial()) == value

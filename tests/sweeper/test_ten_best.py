"""The table at a sweep's end: differences to the baseline, which stands in it wherever it is."""

from io import StringIO

from optuna.trial import FrozenTrial, TrialState, create_trial
from rich.console import Console

from lightsweep.sweeper import view
from lightsweep.sweeper.objectives import Direction, Objectives
from lightsweep.sweeper.space import Space
from lightsweep.sweeper.view import Progress


def trials(*values: float, baseline: int) -> list[FrozenTrial]:
    made = [create_trial(state=TrialState.COMPLETE, value=value) for value in values]
    for number, trial in enumerate(made):
        trial.number = number
    made[baseline].user_attrs["baseline"] = True
    return made


def shown(found: list[FrozenTrial], metric: str, direction: Direction) -> list[list[str]]:
    progress = Progress(found, {}, 0, Objectives((metric,), (direction,)), Space((), ()), 0)
    console = Console(width=200, file=StringIO())
    console.print(view.ten_best(progress))
    return [line.split() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_a_baseline_behind_the_ten_best_stands_below_them() -> None:
    lines = shown(trials(0.5, *(0.6 + number / 100 for number in range(12)), baseline=0), "val/acc", "maximize")
    assert [line[0] for line in lines[1:]] == [*map(str, range(1, 11)), "13"]
    assert lines[1] == ["1", "12", "0.7100", "+21.00"]
    assert lines[-1] == ["13", "0", "0.5000", "(baseline)"]


def test_a_loss_differs_in_its_own_unit() -> None:
    lines = shown(trials(0.5, 0.25, 0.75, baseline=0), "val/loss", "minimize")
    assert lines[1:] == [
        ["1", "1", "0.2500", "-0.2500"],
        ["2", "0", "0.5000", "(baseline)"],
        ["3", "2", "0.7500", "+0.2500"],
    ]

"""Choices that are numbers, seen in their order."""

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from lightsweep.sweeper import auto
from lightsweep.sweeper.auto import AutoSampler, choices, order_of, positions, study_of_positions, with_positions
from lightsweep.sweeper.grammar import parse
from lightsweep.sweeper.study_view import ViewSampler

WIDTH, LR = CategoricalDistribution((256, 64, 128)), FloatDistribution(0.0, 1.0)
SPACE = {"width": WIDTH, "lr": LR}


@pytest.mark.parametrize(
    ("values", "order"),
    [
        ((256, 64, 128), [64, 128, 256]),
        ((0.5, 1, 0.25), [0.25, 0.5, 1]),
        ((1, 2), None),
        ((True, 2, 3), None),
        (("64", "128", "256"), None),
        ((None, 1, 2), None),
    ],
)
def test_three_numbers_have_an_order(values: tuple, order: list | None) -> None:
    assert order_of(CategoricalDistribution(values)) == order
    assert order_of(LR) is None


def test_a_choice_becomes_its_position_and_comes_back() -> None:
    point = {"width": 256, "lr": 0.5}
    assert positions(point, SPACE) == {"width": 2, "lr": 0.5}
    assert choices({"width": 2, "lr": 0.5}, SPACE) == point
    assert [choices({"width": index}, SPACE)["width"] for index in range(3)] == [64, 128, 256]
    assert with_positions(SPACE) == {"width": IntDistribution(0, 2), "lr": LR}


def test_a_study_keeps_values_states_and_constraints() -> None:
    study = optuna.create_study(directions=["minimize", "maximize"])
    named = {"params": {"width": 64, "lr": 0.1}, "distributions": SPACE}
    study.add_trial(create_trial(values=[1.0, 2.0], constraints={"params": 0.5}, **named))
    study.add_trial(create_trial(state=TrialState.RUNNING, **named))
    ended, running = study_of_positions(study).trials
    assert (ended.params, ended.values, ended.constraints) == ({"width": 0, "lr": 0.1}, [1.0, 2.0], {"params": 0.5})
    assert (running.params, running.state) == ({"width": 0, "lr": 0.1}, TrialState.RUNNING)


def test_auto_finds_the_width_that_lies_between_those_that_are_known() -> None:
    """Widths 1 to 16 but for the best one, 9, have been tried."""
    space = parse({"width": "choice(" + ",".join(map(str, range(1, 17))) + ")"}, {}, [])
    (parameter,) = space.parameters
    study = optuna.create_study(direction="maximize", sampler=ViewSampler(space, AutoSampler(seed=1)))
    for width in (1, 3, 5, 7, 11, 13, 15):
        named = {"params": {"width": width}, "distributions": {"width": parameter.distribution}}
        study.add_trial(create_trial(value=-((width - 9) ** 2) / 10, **named))
    trial = study.ask()
    space.suggest(trial)
    assert trial.params["width"] in (8, 9, 10)


def test_it_is_the_gp_that_sees_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    drawn = auto.GPSampler.sample_relative

    def watched(self, study: optuna.Study, trial, search_space):
        seen.append((search_space["width"], {each.params["width"] for each in study.trials if each.params}))
        return drawn(self, study, trial, search_space)

    monkeypatch.setattr(auto.GPSampler, "sample_relative", watched)
    space = parse({"width": "choice(64,128,256)", "lr": "interval(0,1)"}, {}, [])
    study = optuna.create_study(sampler=ViewSampler(space, AutoSampler(seed=1)))
    for _ in range(8):
        trial = study.ask()
        space.suggest(trial)
        study.tell(trial, trial.params["lr"])
    assert [each for each, _ in seen] == [IntDistribution(0, 2)] * 2
    assert all(positions <= {0, 1, 2} for _, positions in seen)
    assert {trial.params["width"] for trial in study.trials} <= {64, 128, 256}

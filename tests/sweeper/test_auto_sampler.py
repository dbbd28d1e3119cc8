"""``sampler=auto``: which sampler draws, when torch is imported, and what is said."""

import itertools
import subprocess
import sys
from typing import Any

import optuna
import pytest
from optuna.samplers import GPSampler, TPESampler

from lightsweep.sweeper import auto
from lightsweep.sweeper.auto import AutoSampler
from lightsweep.sweeper.grammar import parse
from lightsweep.sweeper.study_view import ViewSampler

X = {"x": "interval(0,1)", "y": "interval(0,1)"}


def drawn_by(sampler: AutoSampler, trials: int) -> list[type]:
    """Which sampler drew each trial."""
    space, drew, choose = parse(X, {}, []), list[type](), sampler._choose

    def watched(study: optuna.Study) -> Any:
        drew.append(type(chosen := choose(study)))
        return chosen

    sampler._choose = watched  # type: ignore[method-assign]
    study = optuna.create_study(sampler=ViewSampler(space, sampler))
    each = []
    for _ in range(trials):
        drew.clear()
        trial = study.ask()
        space.suggest(trial)
        (kind,) = set(drew)  # one sampler draws all of a trial
        each.append(kind)
        study.tell(trial, trial.params["x"])
    return each


def test_a_gp_draws_up_to_a_number_of_trials_then_tpe_which_is_said_once() -> None:
    said: list[str] = []
    sampler = AutoSampler(seed=1, most_trials=12)
    sampler.say = said.append
    assert drawn_by(sampler, 16) == [GPSampler] * 12 + [TPESampler] * 4
    assert said == ["sampler=auto draws with TPE: beyond 12 trials a suggestion of its GP takes too long"]


@pytest.mark.parametrize("missing", ["torch", "scipy"])
def test_without_its_packages_tpe_draws_which_is_said_once(missing: str, monkeypatch) -> None:
    found, said = auto.find_spec, list[str]()
    monkeypatch.setattr(auto, "find_spec", lambda name: None if name == missing else found(name))
    sampler = AutoSampler()
    sampler.say = said.append
    assert drawn_by(sampler, 3) == [TPESampler] * 3
    assert said == [f"sampler=auto draws with TPE: its GP needs {missing}: pip install 'lightsweep[gp]'"]


def test_of_many_objectives_tpe_draws_which_is_said_once() -> None:
    for count, kind, words in ((3, GPSampler, 0), (4, TPESampler, 1)):
        said: list[str] = []
        sampler = AutoSampler()
        sampler.say = said.append
        study = optuna.create_study(directions=["minimize"] * count)
        assert {type(sampler._choose(study)) for _ in range(2)} == {kind}
        assert len(said) == words


@pytest.mark.filterwarnings("ignore")
def test_with_conditions_tpe_draws_without_a_word() -> None:
    said: list[str] = []
    sampler = AutoSampler(conditional=True)
    sampler.say = said.append
    assert drawn_by(sampler, 3) == [TPESampler] * 3
    assert said == []


PROGRAM = """
import sys, optuna
from lightsweep.sweeper import session  # all that a sweep imports
from lightsweep.sweeper.auto import AutoSampler
from lightsweep.sweeper.grammar import parse
from lightsweep.sweeper.study_view import ViewSampler
space = parse({"x": "interval(0,1)"}, {}, [])
study = optuna.create_study(sampler=ViewSampler(space, AutoSampler(seed=1)))
for number in range(8):
    print(number, "torch" in sys.modules)
    trial = study.ask()
    space.suggest(trial)
    study.tell(trial, trial.params["x"])
print("end", "torch" in sys.modules)
"""


def test_torch_is_imported_as_the_gp_learns_for_the_first_time() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [*(f"{number} {number > 6}" for number in range(8)), "end True"]


def test_first_points_are_far_apart_also_from_those_that_run() -> None:
    space = parse({"x": "interval(0,1)"}, {}, [])
    spread = []
    for seed in range(20):
        study = optuna.create_study(sampler=ViewSampler(space, AutoSampler(seed=seed)))
        study.enqueue_trial({"x": 0.0})
        for _ in range(3):
            space.suggest(study.ask())
        first, *others = (trial.params["x"] for trial in study.trials)
        assert first == 0.0
        spread.append(min(abs(one - other) for one, other in itertools.combinations([first, *others], 2)))
    assert sum(spread) / len(spread) > 0.35  # of random points 0.17


def test_a_sweep_draws_with_it_by_default_and_passes_on_what_it_says(toy_sweep, monkeypatch) -> None:
    monkeypatch.setattr(auto, "find_spec", lambda name: None)
    done = toy_sweep("hydra.sweeper.n_trials=3")
    assert done.code == 0, done.err
    assert done.out.count("sampler=auto draws with TPE: its GP needs torch and scipy") == 1
    seeded = toy_sweep("hydra.sweeper.n_trials=4", "hydra.sweeper.sampler={name: auto, seed: -1}")
    assert seeded.code == 1
    assert "hydra.sweeper.sampler: " in seeded.err
    assert len(seeded.err.splitlines()) == 1

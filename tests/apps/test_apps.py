"""Three apps of strangers, which import nothing of lightsweep but one callback or one function, swept from outside."""

import csv
from pathlib import Path

import pytest
from optuna.trial import TrialState

from apps.environments import CANDIDATE, HERE, HYDRAS, OLDEST, PYTHONS, Environment
from apps.running import SWEEP, App, ended_trials, trials
from lightsweep.sweeper.trials import without_repeats

pytestmark = pytest.mark.timeout(1200)  # of a busy machine, which may have to fetch torch first
SOURCES = str(Path(__file__).parents[2] / "src")
CASES = {
    "function": ("app.py", ["lr=tag(log,interval(1e-4,1e-1))", "width=choice(64,128,256)"], "multirun/default"),
    "loop": (
        "train.py",
        [
            "lr=tag(log,interval(1e-4,1e-1))",
            "width=choice(2,8,32)",
            "hydra.sweeper.metric=val/acc",
            "hydra.sweeper.direction=maximize",
        ],
        "multirun/default",
    ),
    "lightning": ("src/train.py", ["hparams_search=rings"], "logs/train/multiruns/rings"),
}
NEEDS = {"function": (), "loop": ("torch>=2.11,<3",), "lightning": ("lightning>=2.6,<3",)}

PRUNER = "{_target_: optuna.pruners.MedianPruner, n_startup_trials: 3, n_warmup_steps: 1}"
# Three trials that learn, then two that do not: these are pruned, whatever the sampler draws afterwards.
ENQUEUED = {
    "loop": [
        f"{{lr: {lr}, width: {width}}}" for lr, width in [(0.01, 32), (0.02, 32), (0.03, 32), (1e-4, 2), (2e-4, 2)]
    ],
    "lightning": [
        f"{{model.optimizer.lr: {lr}, model.width: {width}, data.batch_size: {size}}}"
        for lr, width, size in [(0.03, 64, 32), (0.04, 64, 32), (0.05, 64, 32), (1e-5, 4, 128), (2e-5, 4, 128)]
    ],
}


def typed(name: str, n_trials: int) -> list[str]:
    mode = ["-m"] if name == "lightning" else list(SWEEP)
    enqueued = ",".join(ENQUEUED.get(name, []))
    settings = ["n_jobs=2", f"n_trials={n_trials}", f"pruner={PRUNER}", f"enqueue=[{enqueued}]"]
    return [*mode, *CASES[name][1], *(f"hydra.sweeper.{setting}" for setting in settings)]


def each(*names: str) -> pytest.MarkDecorator:
    """Apps with the interpreter of these tests (slow), and with the wheel in environments of their own (compat)."""
    cases = [pytest.param((name, None), marks=pytest.mark.slow, id=name) for name in names]
    for name in names:
        for python in PYTHONS if name == "function" else [HERE]:
            for line, hydra in HYDRAS.items():
                bounds = hydra in (OLDEST, CANDIDATE)
                if name != "function" and not bounds:
                    continue
                marks = [
                    pytest.mark.compat,
                    *([pytest.mark.quick] if name == "function" and python == HERE and bounds else []),
                ]
                environment = Environment(python, (hydra, *NEEDS[name]))
                cases.append(pytest.param((name, environment), marks=marks, id=f"{name}-python{python}-{line}"))
    return pytest.mark.parametrize("app", cases, indirect=True)


@pytest.fixture
def app(request: pytest.FixtureRequest, tmp_path: Path) -> App:
    name, environment = request.param
    options = {"path": SOURCES} if environment is None else {"python": environment.interpreter()}
    return App.copy(name, CASES[name][0], tmp_path, **options)


@each("function", "loop", "lightning")
def test_a_sweep_is_pruned_killed_and_resumed_by_the_same_command(app: App) -> None:
    """Its best configuration is run afterwards, which reports nothing to the study."""
    name = app.folder.name
    study = app.folder / CASES[name][2]
    n_trials = 8 if name == "function" else 14
    slow = ["seconds=1"] if name == "function" else []  # else a busy machine kills it when all is done
    app.run_until(*typed(name, n_trials), *slow, ended=4, study=study)
    said = app.run(*typed(name, n_trials), *slow)
    found = trials(study)
    own = without_repeats(found)  # a sampler may suggest a point again, which is not run
    states = [trial.state for trial in own]
    assert states.count(TrialState.COMPLETE) + states.count(TrialState.PRUNED) == n_trials, said
    assert (TrialState.PRUNED in states) == (name != "function"), said  # a function reports nothing on its way
    assert all(trial.user_attrs.get("interrupted") for trial in own if trial.state == TrialState.FAIL), said
    assert found[0].user_attrs.get("baseline")
    rows = list(csv.DictReader((study / "leaderboard.csv").read_text().splitlines()))
    assert len(rows) == len(own)
    command = next(line for line in said.splitlines() if "--config-name best" in line).partition(": ")[2]
    assert command.startswith(f"python {app.script}")
    app.run(*command.split()[2:])
    assert len(trials(study)) == len(found)


@each("function")
def test_a_failing_choice_costs_its_own_trials_only(app: App) -> None:
    enqueued = "hydra.sweeper.enqueue=[{kind:broken,lr:0.01}]"
    settings = ["hydra.sweeper.n_trials=6", "hydra.sweeper.max_failures=50", enqueued]
    said = app.run(*SWEEP, "kind=smooth,broken", "lr=interval(0.001,0.1)", *settings)
    failed = [trial for trial in ended_trials(app.folder / "multirun/default") if trial.state == TrialState.FAIL]
    assert failed
    assert all("this kind does not work" in trial.user_attrs["error"] for trial in failed)
    assert "this kind does not work" in said
    assert (app.folder / "multirun/default/best.yaml").is_file()


@pytest.mark.slow
def test_a_finished_sweep_is_reported_from_its_study(tmp_path: Path) -> None:
    app = App.copy("function", "app.py", tmp_path, path=SOURCES)
    app.run(*SWEEP, "lr=interval(0.001,0.1)", "hydra.sweeper.n_trials=4")
    look = App(app.folder, "-m", path=SOURCES)
    assert "default is finished: 4 of 4 trials have ended" in look.run("lightsweep", "status", "multirun/default")
    said = look.run("lightsweep", "report", "multirun/default")
    assert "python app.py --config-dir" in said
    look.run("lightsweep", "status", "multirun", code=1)

"""A sweep of an app of a stranger that has a batch function: tests/apps/batch."""

import csv
import re
from pathlib import Path

import pytest
from optuna.trial import TrialState

from apps.running import SWEEP, App, trials
from toy_sweeps import Sweep

SOURCES = str(Path(__file__).parents[2] / "src")
SPACE = ("lr=interval(0,1)", "kind=choice(member,alone,broken)")
EACH_KIND = "enqueue=[{kind:alone,lr:0.5},{kind:broken,lr:0.5}]"  # the baseline is a member
SETTINGS = (
    "batch_function=app.train_batch",
    "metric=loss",
    "sampler=random",
    "pruner=none",
    "max_failures=9",
    EACH_KIND,
)
TYPED = (*SWEEP, *(f"hydra.sweeper.{setting}" for setting in SETTINGS))


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> App:
    """The app, after a sweep with a population of four."""
    app = App.copy("batch", "app.py", tmp_path_factory.mktemp("batch"), path=SOURCES)
    app.environment |= {"PYTHONWARNINGS": "ignore"}  # Hydra 1.4 has no use for version_base
    said = app.run(*TYPED, *SPACE, "hydra.sweeper.n_trials=12", "hydra.sweeper.population=4")
    (app.folder / "said.txt").write_text(said)
    return app


@pytest.fixture
def study(app: App) -> Path:
    return app.folder / "multirun/default"


def test_each_trial_ends_as_a_job_of_its_own_would(study: Path) -> None:
    assert len(trials(study)) == 12
    assert {trial.params["kind"] for trial in trials(study)} == {"member", "alone", "broken"}
    for trial in trials(study):
        if trial.params["kind"] == "broken":
            assert (trial.state, trial.user_attrs["error"]) == (
                TrialState.FAIL,
                "RuntimeError: this kind does not work",
            )
        else:
            assert trial.value == pytest.approx(abs(trial.params["lr"] - 0.3) + 0.064 + 1 / 3)
            assert trial.user_attrs["facts"]["status"] == "completed"


def test_members_share_a_process(study: Path) -> None:
    started = [(study / f"trial-{number:04d}/starts").read_text().split() for number in range(12)]
    kinds, processes = {each[0] for each in started}, {each[1] for each in started}
    assert kinds == {"member", "alone"}
    assert len(processes) == 1
    assert all(len(each) == 2 for each in started)


def test_a_folder_has_what_a_job_of_its_own_leaves(study: Path) -> None:
    for trial in trials(study):
        folder = study / f"trial-{trial.number:04d}"
        assert sorted(file.name for file in folder.iterdir()) == [
            *(".hydra", "app.log", "job_result.json", "repeat.yaml", "starts")
        ]
        assert sorted(file.name for file in (folder / ".hydra").iterdir()) == [
            *("config.yaml", "hydra.yaml", "overrides.yaml")
        ]


def test_the_leaderboard_has_all(study: Path) -> None:
    with (study / "leaderboard.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sorted(int(row["trial"]) for row in rows) == list(range(12))


def test_a_line_is_said_once(app: App) -> None:
    assert _said(app).count("what is alone runs by itself") == 1


def test_the_sweep_says_how_fast_it_was(app: App, study: Path) -> None:
    line = re.search(r"^.* trials and .* images a second, 4 trials at once in a worker$", _said(app), re.MULTILINE)
    assert line is not None
    assert line.group() in (study / "leaderboard.md").read_text()
    kept = Sweep(study).study("default").user_attrs["speed"]
    assert set(kept) == {"trials_per_second", "images_per_second", "population"}


def _said(app: App) -> str:
    return (app.folder / "said.txt").read_text()


def test_every_epoch_is_reported(study: Path) -> None:
    complete = [trial for trial in trials(study) if trial.state == TrialState.COMPLETE]
    assert complete
    assert all(sorted(trial.intermediate_values) == [1, 2, 3] for trial in complete)

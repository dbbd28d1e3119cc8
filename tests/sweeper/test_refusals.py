"""A sweep that is refused leaves what was there, and nothing else: no folder, no file, no word in a study."""

import sqlite3
from pathlib import Path

import optuna
import pytest

import toy
from lightsweep.app.sweeping import Training
from lightsweep.sweeper.application import Application
from lightsweep.sweeper.storage import connect
from tiny import TINY

FAULTS = [
    "hydra.sweeper.n_trial=3",  # keys
    "hydra.sweeper.sampler.sead=1",
    "hydra.sweeper.pruner.n_warmup_step=1",
    "model.widht=3",
    "+hydra.sweeper.params.model=3",
    "hydra.sweeper.n_trials=1.5",  # values
    "hydra.sweeper.n_jobs=many",
    "hydra.sweeper.timeout=-1",
    "hydra.sweeper.retries=-1",
    "hydra.sweeper.max_failures=0",
    "hydra.sweeper.confirm=null",
    "hydra.sweeper.direction=down",
    "hydra.sweeper.study_name=''",
    "hydra.sweeper.storage=5",
    "hydra.sweeper.preload=5",
    "hydra.sweeper.preload=[1]",
    "hydra.sweeper.preload=[no_such_module.at_all]",
    "hydra.sweeper.preload=['']",
    "hydra.sweeper.sampler=5",
    "hydra.sweeper.pruner=null",
    "hydra.sweeper.custom_search_space=''",
    "hydra.sweeper.custom_search_space=os.remove",
    "hydra.sweeper.allow_changed_space=1",
    "hydra.sweeper.seeds=[]",  # seeds
    "hydra.sweeper.seeds=[1,-2]",
    "hydra.sweeper.seeds=5",
    "hydra.sweeper.seeds=[1,1]",
    "model.width=interval(8,4)",  # spaces
    "model.width=choice()",
    "model.depth=range(3,1)",
    "optimizer.lr=tag(log,interval(0,1))",
    "model.hidden=choice([8],[4])",
    "model=choice(mlp,nothing)",
    "trainer.max_epochs=0",  # what is fixed
    "monitor.metric=val/nothing",
    "monitor.mode=most",
    "seed=-1",
    "optimizer=nothing",
    "hydra.sweeper.enqueue=[{model.width:9}]",  # points
    "hydra.sweeper.enqueue=[{model.nothing:9}]",
    "hydra.sweeper.enqueue=[{optimizer.lr:0}]",
    "hydra/sweeper/sampler=nothing",  # samplers
    "hydra/sweeper/sampler=grid",
    "hydra.sweeper.sampler.seed=-1",
    "hydra.sweeper.sampler.seed=4294967296",
    "hydra/sweeper/sampler=qmc hydra.sweeper.sampler.qmc_type=nothing",
    "hydra/sweeper/sampler=random hydra.sweeper.sampler.seed=x",
    "hydra/sweeper/pruner=nothing",  # pruners
    "hydra/sweeper/pruner=wilcoxon",
    "hydra/sweeper/pruner=percentile hydra.sweeper.pruner.percentile=200",
    "hydra/sweeper/pruner=hyperband hydra.sweeper.pruner.reduction_factor=0",
    "hydra.sweeper.pruner.n_startup_trials=-3",
    "hydra.sweeper.storage=sqlite:////nowhere/at/all.db",  # storages
    "hydra.sweeper.storage=postgresql://localhost:1/nothing",
    "hydra.sweeper.storage=nothing://host/db",
    "hydra.sweeper.storage={tmp}/mine.txt/study.journal",
    "hydra.sweeper.storage={tmp}/mine.txt",
    "hydra.sweeper.storage=sqlite:///{tmp}/mine.txt",
    "hydra.sweep.dir={tmp}/mine.txt/study",
    "hydra.sweep.dir=/proc/study",
]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which something lies."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text("not yours\nnor a study's")
    return tmp_path


@pytest.fixture
def sweep(launch, place: Path):
    """Run ``sweep=quick`` of runs that train nothing, in place/study."""
    return lambda *typed: launch("sweep=quick", f"hydra.sweep.dir={place}/study", *TINY, *typed, main=toy.main)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_refused_sweep_leaves_nothing(launch, place: Path, fault: str) -> None:
    before = contents(place)
    typed = fault.replace("{tmp}", str(place)).split()
    where = [f"hydra.sweep.dir={place}/sweeps/study"] * ("hydra.sweep.dir" not in fault)
    done = launch("sweep=quick", *where, *TINY, *typed, main=toy.main)
    assert done.code == 1, done.out
    assert len(done.err.strip().splitlines()) == 1, done.err
    assert contents(place) == before


FAILING = """
def raises(config, trial):
    raise KeyError("no such thing")

def suggests_what_is_searched(config, trial):
    trial.suggest_categorical("+model.width", [1])
    trial.suggest_float("model.nothing", 0, 1)

def takes_no_arguments():
    pass
"""


@pytest.mark.parametrize("function", ["raises", "suggests_what_is_searched", "takes_no_arguments", "nothing"])
def test_a_function_of_ones_own_that_fails_is_refused(sweep, place: Path, monkeypatch, function: str) -> None:
    (place / "failing_space.py").write_text(FAILING)
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.setattr(Training, "find_function", Application.find_function)  # which trusts anything
    before = contents(place)
    target = f"hydra.sweeper.custom_search_space=failing_space.{function}"
    done = sweep(target)
    assert done.code == 1
    assert len(done.err.strip().splitlines()) == 1, done.err
    assert {name for name in contents(place) if "__pycache__" not in name} == set(before)


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("journal", "trainer.max_epochs=1"),  # found in the study
        ("sqlite", "trainer.max_epochs=1"),
        ("journal", "hydra.sweeper.enqueue=[{model.width:9}]"),  # found before it is opened
        ("sqlite", "hydra.sweeper.direction=minimize"),
    ],
)
def test_a_study_that_was_there_stays_as_it_was(sweep, place: Path, kind: str, fault: str) -> None:
    storage = [f"hydra.sweeper.storage=sqlite:///{place}/study.db"] * (kind == "sqlite")
    assert sweep(*storage, "hydra.sweeper.n_trials=1").code == 0
    before = contents(place)
    done = sweep(*storage, "hydra.sweeper.n_trials=2", fault)
    assert done.code == 1
    assert len(done.err.strip().splitlines()) == 1, done.err
    assert contents(place) == before


def test_a_database_that_was_there_gets_no_study(sweep, place: Path) -> None:
    url = f"sqlite:///{place}/study.db"
    optuna.create_study(study_name="other", storage=url)
    connect.cache_clear()
    trials = place / "study" / "trial-0000"
    trials.mkdir(parents=True)
    done = sweep(f"hydra.sweeper.storage={url}")
    assert done.code == 1
    assert "holds trials that the study 'quick' does not know" in done.err
    with sqlite3.connect(place / "study.db") as connection:
        assert connection.execute("select study_name from studies").fetchall() == [("other",)]
    assert trials.exists()


@pytest.mark.parametrize("storage", [(), ("hydra.sweeper.storage=sqlite:///{tmp}/study.db",)])
def test_trials_without_their_study_bring_no_file(sweep, place: Path, storage: tuple[str, ...]) -> None:
    (place / "study" / "trial-0004").mkdir(parents=True)
    before = contents(place)
    given = [line.format(tmp=place) for line in storage]
    done = sweep(*given)
    assert done.code == 1
    assert contents(place) == before


def test_a_study_of_several_objectives_is_named(sweep, place: Path) -> None:
    url = f"sqlite:///{place}/study.db"
    optuna.create_study(study_name="quick", storage=url, directions=["minimize", "maximize"])
    connect.cache_clear()
    before = contents(place)
    done = sweep(f"hydra.sweeper.storage={url}")
    assert done.code == 1
    rule = "must be minimize, maximize, as when the study 'quick' was started"
    assert done.err == f"hydra.sweeper.direction {rule}, got 'maximize'\n"
    assert contents(place) == before

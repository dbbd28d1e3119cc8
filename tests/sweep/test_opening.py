"""A study is opened: what is wrong is said before the first trial, and what is asked for is asked once."""

import time
from pathlib import Path
from threading import Thread

import optuna
import pytest
from optuna.trial import TrialState

from lightsweep.sweep import opening
from lightsweep.sweep.storage import JOURNAL, connect


@pytest.fixture
def sweep(tiny_sweep):
    return tiny_sweep


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (("hydra/sweeper/pruner=hyperband", "hydra.sweeper.pruner.reduction_factor=0"), "hydra.sweeper.pruner: Hyper"),
        (("hydra.sweeper.storage={file}/x.journal",), "hydra.sweeper.storage: {file}/x.journal cannot be written ("),
        (("hydra.sweep.dir={file}/study",), "hydra.sweep.dir: {file}/study cannot be written ("),
    ],
)
def test_what_is_wrong_names_its_key_before_the_first_trial(sweep, tmp_path: Path, overrides, line: str) -> None:
    file = tmp_path / "file"
    file.touch()
    done = sweep(*(override.format(file=file) for override in overrides))
    assert done.code == 1
    assert done.err.startswith(line.format(file=file))
    assert len(done.err.strip().splitlines()) == 1
    assert not list((tmp_path / "study").glob("trial-*"))


def test_points_are_enqueued_once_also_for_a_study_that_is_gone_on_with(sweep, study) -> None:
    assert sweep("hydra.sweeper.n_trials=1").code == 0
    points = "hydra.sweeper.enqueue=[{model.width:8,model.dropout:0},{model.width:16}]"
    for _ in range(2):
        assert sweep("hydra.sweeper.n_trials=3", points).code == 0
    wanted = [trial.system_attrs["fixed_params"] for trial in study().trials[1:]]
    assert wanted == [{"model.width": 8, "model.dropout": 0.0}, {"model.width": 16}]
    assert {trial.state for trial in study().trials} == {TrialState.COMPLETE}
    assert [trial.user_attrs.get("baseline", False) for trial in study().trials] == [True, False, False]


def test_the_baseline_comes_once_also_where_the_space_has_changed(sweep, study) -> None:
    assert sweep("hydra.sweeper.n_trials=1").code == 0
    changed = ("hydra.sweeper.allow_changed_space=true", "model.width=choice(4,8)")
    assert sweep("hydra.sweeper.n_trials=2", *changed).code == 0
    assert [trial.user_attrs.get("baseline", False) for trial in study().trials] == [True, False]


def test_a_study_is_begun_by_one_sweeper_at_a_time(tmp_path: Path) -> None:
    """Also where no lock reaches all of them."""
    inside: list[int] = []
    most: list[int] = []

    def begin(number: int) -> None:
        with opening._alone(studies[number]):
            inside.append(number)
            time.sleep(0.3)
            most.append(len(inside))
            inside.remove(number)

    studies = []
    for _ in range(3):
        connect.cache_clear()
        storage = connect(str(tmp_path / JOURNAL))
        studies.append(optuna.create_study(study_name="quick", storage=storage, load_if_exists=True))
    threads = [Thread(target=begin, args=(number,), daemon=True) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert most == [1, 1, 1]


@pytest.mark.parametrize(("sampler", "shifted"), [("random", [5, 8]), ("grid", [5, 5])])
def test_a_seeded_sampler_draws_no_point_twice_and_a_grid_keeps_its_order(
    sweep, monkeypatch: pytest.MonkeyPatch, sampler: str, shifted: list[int]
) -> None:
    seeds = []
    built = opening.build

    def watched(node, *arguments):
        seeds.append(node.seed)
        return built(node, *arguments)

    monkeypatch.setattr(opening, "build", watched)
    where = (f"hydra/sweeper/sampler={sampler}", "hydra.sweeper.sampler.seed=5")
    space = ("~optimizer.lr", "~optimizer.weight_decay", "model.dropout=choice(0.0,0.2)") if sampler == "grid" else ()
    for n_trials in (2, 3):
        done = sweep(*where, *space, f"hydra.sweeper.n_trials={n_trials}")
        assert done.code == 0, done.err
    assert seeds[1::2] == shifted  # each opening checks one before


def test_a_sweep_leaves_no_locks_and_sweeps_what_a_killed_one_left(sweep, tmp_path: Path) -> None:
    assert sweep("hydra.sweeper.n_trials=1").code == 0
    folder = tmp_path / "study"
    assert not [path for path in folder.rglob("*") if path.suffix in (".claims", ".flock", ".lock")]
    left = [folder / ".best.yaml.abc.lightsweep-part", folder / "trial-0000/checkpoints/.last.ckpt.abc.lightsweep-part"]
    for path in left:
        path.touch()
    assert sweep("hydra.sweeper.n_trials=1").code == 0
    assert [path for path in left if path.exists()] == []

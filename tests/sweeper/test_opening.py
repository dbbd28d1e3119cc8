"""A study is opened: what is wrong is said before the first trial, and what is asked for is asked once."""

import time
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import optuna
import pytest
import torch
from optuna.trial import TrialState

import toy
from lightsweep.app.sweeping import Training
from lightsweep.core.errors import ConfigError
from lightsweep.core.files import JOURNAL
from lightsweep.sweeper import opening
from lightsweep.sweeper.leases import LOST_AFTER
from lightsweep.sweeper.storage import Address, connect
from tiny import TINY


@pytest.fixture
def sweep(toy_sweep):
    return toy_sweep


@pytest.mark.parametrize("choices", ["null,[8]", "[8],null"])
def test_under_a_condition_its_own_key_is_not_drawn(launch, tmp_path: Path, choices: str) -> None:
    """Else a width would be tried beside a list of widths, which replaces it."""
    (tmp_path / "own" / "sweep").mkdir(parents=True)
    text = f"""# @package _global_
defaults: [_study, override /data: digits, _self_]
hydra:
  sweeper:
    n_trials: 1
    params: {{model.hidden: '{choices}'}}
    when: {{model.hidden=null: {{model.width: 'choice(4,8)'}}}}
"""
    (tmp_path / "own" / "sweep" / "mine.yaml").write_text(text)
    tiny = [line for line in TINY if not line.startswith("model.width")]
    where = ("--config-dir", f"{tmp_path}/own", "sweep=mine", f"hydra.sweep.dir={tmp_path}/study")
    done = launch(*where, *tiny, main=toy.main)
    assert done.code == 0, done.err


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


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            ["hydra.sweeper.enqueue=5"],
            "hydra.sweeper.enqueue must be a list of points, [{optimizer.lr: 0.01}, …], got 5",
        ),
        (["hydra.sweeper.enqueue=[{model.depth:2}]"], "hydra.sweeper.enqueue must name searched keys, got model.depth"),
        (
            ["hydra.sweeper.enqueue=[{model.dropout:9}]"],
            "hydra.sweeper.enqueue must lie inside the space: model.dropout",
        ),
        (["hydra.sweeper.when=5"], "hydra.sweeper.when must be a mapping of conditions to params, got 5"),
        (["+hydra.sweeper.when={a:5}"], "hydra.sweeper.when must have conditions KEY=CHOICE, got 'a'"),
        (["hydra.sweeper.params=5"], "hydra.sweeper.params must be a mapping of keys to values, got 5"),
        (["hydra.sweeper.sampler=5"], "hydra.sweeper.sampler must be one of auto, tpe"),
        (["hydra.sweeper.pruner=null"], "hydra.sweeper.pruner must be one of auto"),
        (["model.dropout=interval(nan,1)"], "model.dropout=interval(nan,1): its bounds must be finite numbers"),
        (["hydra.sweeper.storage=/dev/null"], "hydra.sweeper.storage must be the file of a study, or a new one, got "),
        (["hydra.sweeper.storage=/dev/zero"], "hydra.sweeper.storage must be the file of a study, or a new one, got "),
        (["hydra.sweeper.storage=sqlite:////dev/zero"], "hydra.sweeper.storage must be the file of a study, or a new"),
        (["hydra.sweeper.direction=minimize"], "hydra.sweeper.direction must be maximize for val/acc, got 'minimize'"),
        (
            ["hydra.sweeper.direction=maximize", "monitor.metric=val/loss", "monitor.mode=min"],
            "hydra.sweeper.direction must be minimize for val/loss, got 'maximize'",
        ),
        (["monitor.metric=choice(val/acc,val/f1)"], "monitor.metric must not be searched: the values of trials would "),
        (["monitor.mode=choice(max,min)"], "monitor.mode must not be searched: the values of trials would mean "),
        (["lr_find=choice(true,false)"], "lr_find must not be searched: the values of trials would mean different "),
        (["data.limit=range(100,200)"], "data.limit must not be searched: trials would be validated on different im"),
        (["data=choice(digits,fake)"], "data must not be searched: trials would be validated on different images"),
        (
            ["monitor.metric=val/objective", "monitor.mode=min", "loss.label_smoothing=interval(0,0.1)"],
            "loss.label_smoothing must not be searched with monitor.metric=val/objective, which it is a part of",
        ),
    ],
)
def test_what_cannot_be_searched_so_is_refused_before_the_study_is_begun(sweep, tmp_path, overrides, line) -> None:
    done = sweep(*overrides)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(line)
    assert len(done.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_more_workers_than_there_is_memory_for_are_refused(sweep, tmp_path: Path, memory_left) -> None:
    memory_left(1e9)
    done = sweep("hydra.sweeper.n_jobs=8", "hydra.sweeper.n_trials=3")  # of which three would be started
    assert done.code == 1
    assert done.err.startswith(
        "hydra.sweeper.n_jobs must be at most 2 here, got 3: a process takes 500.0 MB before it "
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("sampler", "setting"),
    [
        ("tpe", "n_ei_candidates=0"),
        ("tpe", "n_ei_candidates=-1"),
        ("tpe", "prior_weight=-1"),
        ("tpe", "constraints_func=5"),
        ("qmc", "independent_sampler=5"),
        ("gp", "constraints_func=x"),
        ("nsgaii", "constraints_func=x"),
        ("nsgaiii", "dividing_parameter=0"),
        ("cmaes", "popsize=0"),
    ],
)
def test_a_sampler_that_cannot_draw_is_refused_before_the_study_is_begun(sweep, tmp_path, sampler, setting) -> None:
    if sampler == "cmaes":
        pytest.importorskip("cmaes")
    done = sweep(f"hydra/sweeper/sampler={sampler}", f"hydra.sweeper.sampler.{setting}")
    assert done.code == 1
    assert done.err.startswith("hydra.sweeper.sampler: ")
    assert "cannot draw a trial as it is set (" in done.err
    assert len(done.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


SEVEN = ("data=fake", "data.classes=7", "data.shape=[3,5,5]", "model.width=choice(16,32)")


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            ["init_from={weights}", *SEVEN],
            "init_from: no weight in {weights} has the name and the shape of one of a net",
        ),
        (
            ["init_from={weights}", *SEVEN, "data.batch_size=choice(16,32)"],
            "init_from: no weight in {weights} has the ",
        ),
        (["init_from={text}"], "init_from: {text} is no checkpoint ("),
        (["init_from=choice({text},{weights}.none)"], "init_from: {text} is no checkpoint ("),
    ],
)
def test_weights_that_no_trial_can_use_are_refused_before_the_study_is_begun(
    sweep, tmp_path: Path, overrides: list[str], line: str
) -> None:
    files = {"weights": tmp_path / "weights.ckpt", "text": tmp_path / "text.ckpt"}
    torch.save({"head.weight": torch.ones(10, 8), "head.bias": torch.ones(10)}, files["weights"])
    files["text"].write_text("a diary")
    done = sweep(*(override.format(**files) for override in overrides))
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(line.format(**files))
    assert len(done.err.splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == sorted(files.values())


@pytest.mark.parametrize("init_from", ["{weights}", "choice({text},{weights})", "choice('null',{text})"])
def test_weights_that_one_trial_can_use_are_left_to_the_trials(sweep, tmp_path: Path, init_from: str) -> None:
    files = {"weights": tmp_path / "weights.ckpt", "text": tmp_path / "text.ckpt"}
    torch.save({"head.bias": torch.ones(10)}, files["weights"])
    files["text"].write_text("a diary")
    sweep(f"init_from={init_from.format(**files)}", "hydra.sweeper.n_trials=1")
    assert (tmp_path / "study" / "trial-0000").exists()


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
        with opening._opening_lease(studies[number]):
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
    built = Training.build

    def watched(self, node, key):
        if key == "hydra.sweeper.sampler":
            seeds.append(node.seed)
        return built(self, node, key)

    monkeypatch.setattr(Training, "build", watched)
    where = (f"hydra/sweeper/sampler={sampler}", "hydra.sweeper.sampler.seed=5")
    space = ("~optimizer.lr", "~optimizer.weight_decay", "model.dropout=choice(0.0,0.2)") if sampler == "grid" else ()
    for n_trials in (2, 3):
        done = sweep(*where, *space, f"hydra.sweeper.n_trials={n_trials}")
        assert done.code == 0, done.err
    assert seeds[1::2] == shifted  # each opening rehearses one before


def test_a_sweep_leaves_no_locks_and_sweeps_what_a_killed_one_left(sweep, tmp_path: Path) -> None:
    assert sweep("hydra.sweeper.n_trials=1").code == 0
    folder = tmp_path / "study"
    assert not [path for path in folder.rglob("*") if path.suffix in (".claims", ".flock", ".lock")]
    left = [folder / ".best.yaml.abc.lightsweep-part", folder / "trial-0000/checkpoints/.last.ckpt.abc.lightsweep-part"]
    left[1].parent.mkdir()
    for path in left:
        path.touch()
    assert sweep("hydra.sweeper.n_trials=1").code == 0
    assert [path for path in left if path.exists()] == []


@pytest.fixture
def used(tmp_path: Path):
    """A study with a mark of a sweeper of another machine, and the plan of one that would use it."""

    def marked(seconds_ago: float, where: str = "trial", storage: str = "", **mark: object) -> tuple:
        connect.cache_clear()
        address = Address(storage or str(tmp_path / JOURNAL), "quick")
        study = optuna.create_study(study_name="quick", storage=connect(address.location))
        sign = {"owner": "abc", "host": "elsewhere", "seen": time.time() - seconds_ago, **mark}
        if where == "trial":
            study.ask().set_user_attr("lightsweep", sign)
        else:
            study._storage.set_study_system_attr(study._study_id, where, {**sign, "held": True})
        key = "hydra.sweeper.storage" if storage else "hydra.sweep.dir"
        return SimpleNamespace(address=address, storage_key=key), study

    return marked


@pytest.mark.parametrize("where", ["trial", "lightsweep:opening:abc", "lightsweep:confirmation:abc"])
@pytest.mark.parametrize(
    ("storage", "key"), [("", "hydra.sweep.dir"), ("sqlite:///{tmp}/s.db", "hydra.sweeper.storage")]
)
def test_a_file_is_not_used_by_two_machines(used, tmp_path: Path, where: str, storage: str, key: str) -> None:
    plan, study = used(5.0, where, storage.format(tmp=tmp_path))
    with pytest.raises(ConfigError) as refusal:
        opening._check_hosts(plan, study)
    assert str(refusal.value).startswith(f"{key}: the study 'quick' is used by a sweep on elsewhere; several machines ")


@pytest.mark.parametrize("where", ["trial", "lightsweep:opening:abc"])
def test_but_by_one_after_the_other(used, where: str) -> None:
    opening._check_hosts(*used(LOST_AFTER + 1, where))


def test_a_server_is_used_by_several_machines(used) -> None:
    plan, study = used(5.0)
    plan.address = Address("postgresql://host/db", "quick")
    opening._check_hosts(plan, study)


def test_a_trial_that_has_ended_keeps_nobody_out(used) -> None:
    plan, study = used(5.0)
    study.tell(0, 0.5)
    opening._check_hosts(plan, study)


def test_what_other_programs_keep_in_a_study_keeps_nobody_out(used) -> None:
    plan, study = used(LOST_AFTER + 1)
    for name, value in (("nsga2:cache", {"a": 1}), ("lightsweep:openings", 3), ("lightsweep:opening:x", None)):
        study._storage.set_study_system_attr(study._study_id, name, value)
    opening._check_hosts(plan, study)


def test_a_study_knows_its_metrics_name_also_one_that_was_begun_without(sweep, study, tmp_path: Path) -> None:
    assert sweep("hydra.sweeper.n_trials=1", "monitor.metric=val/loss", "monitor.mode=min").code == 0
    assert study().metric_names == ["val/loss"]
    study()._storage.set_study_system_attr(study()._study_id, "study:metric_names", None)
    assert sweep("hydra.sweeper.n_trials=2", "monitor.metric=val/loss", "monitor.mode=min").code == 0
    assert study().metric_names == ["val/loss"]

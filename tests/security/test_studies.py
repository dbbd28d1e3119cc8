"""A study from somebody else: what its trials hold runs no code, whoever reads it."""

import pickle
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

import report
import toy
import train
from lightsweep.sweeper import optuna_access
from lightsweep.sweeper.storage import connect
from tiny import TINY

SMALL = [override for override in TINY if not override.startswith("model.width")]

CMAES = ("hydra/sweeper/sampler=cmaes", "++hydra.sweeper.sampler.warn_independent_sampling=false")
FORMS = {
    "cma": (),
    "sepcma": ("++hydra.sweeper.sampler.use_separable_cma=true",),
    "cmawm": ("++hydra.sweeper.sampler.with_margin=true",),
}
SPACE = {
    "model.dropout": FloatDistribution(0.0, 0.5),
    "optimizer.lr": FloatDistribution(1e-4, 1e-1, log=True),
    "optimizer.weight_decay": FloatDistribution(1e-5, 1e-1, log=True),
}


def plant(
    place: str, attributes: dict[str, Any], *, name: str = "quick", state: TrialState = TrialState.COMPLETE
) -> None:
    """A study with four trials of sweep=quick's space, each with these system attributes."""
    connect.cache_clear()
    study = optuna.create_study(study_name=name, storage=connect(place), direction="maximize")
    for number in range(4):
        params = {"model.dropout": 0.1 * number, "optimizer.lr": 1e-3 * (number + 1), "optimizer.weight_decay": 1e-3}
        study.add_trial(
            create_trial(
                state=state,
                params=params,
                distributions=SPACE,
                value=0.5,
                system_attrs=attributes,
                user_attrs={"folder": "x"},
            )
        )
    connect.cache_clear()


@pytest.fixture
def sweep(scene, launch):
    """Run sweep=quick, made tiny and without training unless `main` trains, in the run's folder of the scene."""

    def swept(*overrides: str, main=toy.main) -> Any:
        connect.cache_clear()
        typed = {override.partition("=")[0] for override in overrides}
        quiet = ["callbacks=none"] if "callbacks" not in typed else []
        where = ("~model.width", *SMALL, *quiet, f"hydra.sweep.dir={scene.run}")
        return launch("sweep=quick", *where, *overrides, main=main)

    return swept


@pytest.mark.parametrize(
    ("form", "kind"), [("cma", "journal"), ("cma", "sqlite"), ("sepcma", "journal"), ("cmawm", "sqlite")]
)
def test_a_pickle_in_a_study_is_not_run(scene, sweep, kind: str, form: str) -> None:
    place = str(scene.run / "study.journal") if kind == "journal" else f"sqlite:///{scene.run}/x.db"
    harm = pickle.dumps(scene.bomb()).hex()
    plant(place, {f"{form}:optimizer:0": harm})
    storage = () if kind == "journal" else (f"hydra.sweeper.storage={place}",)
    done = sweep(*CMAES, *FORMS[form], "hydra.sweeper.n_trials=6", *storage)
    assert done.code == 1
    assert done.err.strip().splitlines()[-1].startswith("hydra.sweeper.sampler: CMA-ES cannot continue this study")
    assert len(done.err.strip().splitlines()) == 1
    scene.assert_untouched()


@pytest.mark.parametrize("form", FORMS)
def test_a_study_of_our_own_goes_on(scene, sweep, form: str) -> None:
    few = "hydra.sweeper.sampler.popsize=2"
    assert sweep(*CMAES, *FORMS[form], "hydra.sweeper.n_trials=4", few).code == 0
    connect.cache_clear()
    trials = optuna.load_study(study_name="quick", storage=connect(str(scene.run / "study.journal"))).trials
    assert any(key.startswith(f"{form}:optimizer") for trial in trials for key in trial.system_attrs)
    assert sweep(*CMAES, *FORMS[form], "hydra.sweeper.n_trials=6", few).code == 0


ATTACKS = [
    b"cos\nsystem\n(S'touch {marker}'\ntR.",
    b"cposix\nsystem\n(S'touch {marker}'\ntR.",
    b"cnumpy\nload\n(S'{pickle}'\nNI01\ntR.",
    b"ccmaes._cma\nos\n.",
    b'cbuiltins\neval\n(S\'open("{marker}", "w")\'\ntR.',
    b"\x80\x04\x8c\x08builtins\x8c\x04exec\x93\x8c\x01x\x85R.",
    b"garbage",
    b"",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_only_optimizers_and_arrays_come_out(scene, attack: bytes) -> None:
    for name in ("marker", "pickle"):
        attack = attack.replace(b"{%s}" % name.encode(), str(getattr(scene, name)).encode())
    with pytest.raises(Exception, match="no optimizer of cmaes"):
        optuna_access._loads(attack)
    scene.assert_untouched()


PARAMETERS = {
    "a key of Hydra": {"hydra.job_logging.handlers.file.filename": "{victim}"},
    "an object": {"model": "{_target_:os.system,command:x}"},
    "a method": {"+callbacks.evil._target_": "pytorch_lightning.callbacks.ModelCheckpoint._link_checkpoint"},
    "a path": {"callbacks.checkpoint.dirpath": "{home}"},
    "no override": {"a b=": "}{"},
    "a package in the search path": {"x:hydra.searchpath": "[pkg://antigravity]"},
    "a folder that was typed as another": {"hydra.sweep.dir": "{home}"},
    "a mapping of one": {"hydra.sweep": "{dir:{home}}"},
    "a checkpoint's folder": {"callbacks.checkpoint": "{dirpath:{home}}"},
}


@pytest.mark.parametrize("params", PARAMETERS.values(), ids=PARAMETERS)
def test_the_best_trials_parameters_are_only_values(scene, sweep, params: dict[str, str]) -> None:
    """What a study calls its best trial becomes best.yaml and the runs of a confirmation."""
    connect.cache_clear()
    study = optuna.create_study(
        study_name="quick", storage=connect(str(scene.run / "study.journal")), direction="maximize"
    )
    choices = {name: scene.filled(value) for name, value in params.items()}
    distributions = {name: optuna.distributions.CategoricalDistribution([value]) for name, value in choices.items()}
    study.add_trial(create_trial(state=TrialState.COMPLETE, params=choices, distributions=distributions, value=9.0))
    connect.cache_clear()
    done = sweep("hydra.sweeper.n_trials=1", "hydra.sweeper.confirm=1", "callbacks=checkpoint", main=train.main)
    assert "Traceback" not in done.err
    refused = any("hydra" in name for name in params)
    assert (scene.run / "leaderboard.csv").exists() != refused, done.err
    scene.assert_untouched()


MARKS = [
    {"owner": 5, "host": 5, "seen": "x"},
    {"owner": "../../home/x", "host": "", "seen": None},
    {"owner": None},
    "x",
    [],
    7,
]


@pytest.mark.parametrize("mark", MARKS, ids=str)
def test_a_hostile_mark_of_an_owner_is_no_trace(scene, sweep, mark: Any) -> None:
    place = str(scene.run / "study.journal")
    connect.cache_clear()
    study = optuna.create_study(study_name="quick", storage=connect(place), direction="maximize")
    trial = study.ask()
    trial.set_user_attr("lightsweep", mark)
    connect.cache_clear()
    done = sweep("hydra.sweeper.n_trials=1")
    assert "Traceback" not in done.err
    assert len(done.err.strip().splitlines()) <= 1
    scene.assert_untouched()


@pytest.mark.parametrize("line", ["x", "{}", "[]", "5", '{"op_code": 99}', '{"op_code": 0}', "{" * 2000])
def test_a_damaged_journal_is_one_line(scene, sweep, call, line: str) -> None:
    (scene.run / "study.journal").write_text(line + "\n")
    done = sweep("hydra.sweeper.n_trials=1")
    assert done.code == 1
    assert len(done.err.strip().splitlines()) == 1, done.err
    (scene.run / "trial-0000").mkdir(exist_ok=True)
    (scene.run / "trial-0000" / "result.json").write_text('{"status": "completed", "kind": "trial", "val/acc": 0.5}')
    page = call(report.main, scene.run, "--html", Path(scene.run) / "page.html")
    assert "Traceback" not in page.err


ATTRIBUTES: dict[str, Any] = {
    "space": "x",
    "config": [1],
    "beside": 5,
    "enqueued": "x",
    "data": ["x"],
    "lightsweep:openings": "x",
    "lightsweep:opening:00": {"owner": "a"},
    "lightsweep:confirmation:00": "x",
    "lightsweep:burial:00": {"owner": "00", "host": [], "seen": 1.0, "held": True},
}
OF_TRIALS: dict[str, Any] = {
    "fixed_params": [1],
    "retries": "x",
    "retry_of": [],
    "std": "x",
    "note": ["x"],
    "error": {"a": 1},
    "folder": 5,
    "baseline": "x",
}


@pytest.mark.parametrize("name", [*ATTRIBUTES, *OF_TRIALS])
def test_attributes_of_other_kinds_are_one_line(scene, sweep, name: str) -> None:
    connect.cache_clear()
    study = optuna.create_study(
        study_name="quick", storage=connect(str(scene.run / "study.journal")), direction="maximize"
    )
    if name.startswith("lightsweep:"):
        study._storage.set_study_system_attr(study._study_id, name, ATTRIBUTES[name])
    elif name in ATTRIBUTES:
        study.set_user_attr(name, ATTRIBUTES[name])
    else:
        system = {name: OF_TRIALS[name]} if name == "fixed_params" else {}
        study.add_trial(
            create_trial(
                state=TrialState.WAITING, system_attrs=system, user_attrs={} if system else {name: OF_TRIALS[name]}
            )
        )
    connect.cache_clear()
    done = sweep("hydra.sweeper.n_trials=1")
    assert done.code == 1
    assert f"has an attribute {name} that this program did not write" in done.err
    assert len(done.err.strip().splitlines()) == 1


@pytest.mark.timeout(60)
def test_nobody_who_lives_in_the_future_is_waited_for(scene, sweep) -> None:
    connect.cache_clear()
    study = optuna.create_study(
        study_name="quick", storage=connect(str(scene.run / "study.journal")), direction="maximize"
    )
    mark = {"owner": "00", "host": "elsewhere", "seen": 9e18, "held": True}
    study._storage.set_study_system_attr(study._study_id, "lightsweep:opening:00", mark)
    connect.cache_clear()
    assert sweep("hydra.sweeper.n_trials=1").code == 0


@pytest.mark.parametrize("name", ["train.log", ".hydra", "checkpoints", ""])
def test_a_trial_begins_in_a_folder_of_its_own(scene, sweep, name: str) -> None:
    """A study that waits for a trial, and a folder for that trial that leads elsewhere."""
    connect.cache_clear()
    study = optuna.create_study(
        study_name="quick", storage=connect(str(scene.run / "study.journal")), direction="maximize"
    )
    study.add_trial(create_trial(state=TrialState.WAITING, system_attrs={"fixed_params": {"model.dropout": 0.1}}))
    connect.cache_clear()
    link = scene.run / "trial-0000" / name if name else scene.run / "trial-0000"
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(scene.victim if name == "train.log" else scene.victim.parent)
    done = sweep("hydra.sweeper.n_trials=1", "callbacks=checkpoint", main=train.main)
    assert done.code == 1
    assert "symbolic link that leads out of" in done.err
    scene.assert_untouched()


def test_a_sweep_leaves_planted_folders_of_trials_aside(scene, sweep) -> None:
    connect.cache_clear()
    study = optuna.create_study(
        study_name="quick", storage=connect(str(scene.run / "study.journal")), direction="maximize"
    )
    study.add_trial(create_trial(state=TrialState.WAITING, system_attrs={"fixed_params": {"model.dropout": 0.1}}))
    connect.cache_clear()
    (scene.run / "trial-0000" / "checkpoints").mkdir(parents=True)
    (scene.run / "trial-0000" / "checkpoints" / "last.ckpt").write_text("not mine")
    assert sweep("hydra.sweeper.n_trials=1").code == 0
    assert (scene.run / "trial-0000.earlier-1" / "checkpoints" / "last.ckpt").read_text() == "not mine"


CONFIRMATIONS = [
    '{"seeds":[1],"best_trial":0,"best":{"n":1,"failed":0,"val/acc":{"mean":"x","std":null}}}',
    '{"seeds":[1],"best_trial":"![x](http://e/x)\\n# h","best":{"n":1,"failed":0}}',
    '{"seeds":["<script>"],"best_trial":0,"best":{"n":1,"failed":0}}',
    '{"seeds":[1],"best_trial":0,"best":{"n":"<script>","failed":0}}',
    '{"seeds":[1],"best_trial":0,"best":5}',
    "[]",
]


@pytest.mark.parametrize("text", CONFIRMATIONS, ids=range(len(CONFIRMATIONS)))
def test_a_confirmation_of_somebody_else_is_numbers_or_nothing(scene, sweep, text: str) -> None:
    (scene.run / "confirmation.json").write_text(text)
    assert sweep("hydra.sweeper.n_trials=1").code == 0
    board = (scene.run / "leaderboard.md").read_text()
    assert not any(mark in board for mark in ("http:", "<script>", "# h"))

"""What a config file from somebody else may not set of a sweeper and a launcher, tried on train.py's command line."""

import sys
from typing import Any

import pytest

GLOBAL = "# @package _global_\n"
SWEEPER: dict[str, tuple[dict[str, Any], str]] = {
    "storage": ({"storage": "sqlite:///{marker}"}, "hydra.sweeper.storage must be typed"),
    "storage by detour": ({"storage": "${data_dir}", "study_name": "x"}, "hydra.sweeper.storage must be typed"),
    "warm_start": ({"warm_start": ["postgresql://host/x"]}, "hydra.sweeper.warm_start must be typed"),
    "warm_start by detour": ({"warm_start": "${oc.select:a,b}"}, "hydra.sweeper.warm_start must be typed"),
    "preload": ({"preload": ["antigravity"]}, "hydra.sweeper.preload must be typed"),
    "custom_search_space": ({"custom_search_space": "os.system"}, "that LIGHTSWEEP_TRUST names, got 'os.system'"),
    "preload by a value that changes": (
        {"preload": ["${oc.select:hydra.job.num,antigravity}"]},
        "hydra.sweeper.preload must be typed",
    ),
    "the whole by a value that changes": ({"params": "${oc.select:a,b}"}, "hydra.sweeper.params must be a mapping"),
    "params of Hydra": ({"params": {"hydra.job_logging.handlers.file.filename": "{victim}"}}, "hydra.sweeper.params"),
    "params that add": ({"params": {"+hydra.job.env_set.PATH": "/x"}}, "hydra.sweeper.params"),
    "params that choose": ({"params": {"hydra/job_logging": "evil"}}, "hydra.sweeper.params"),
    "when": ({"when": {"seed=1": {"hydra.output_subdir": "{home}"}}}, "hydra.sweeper.when"),
    "params behind a blank": ({"params": {" hydra.output_subdir": "{home}"}}, "hydra.sweeper.params"),
    "params into a node of Hydra": ({"params": {"callbacks@ hydra.callbacks": "ema"}}, "hydra.sweeper.params"),
    "params into it from the top": ({"params": {"callbacks@_global_.hydra.x": "ema"}}, "hydra.sweeper.params"),
    "trial_overrides of Hydra": ({"trial_overrides": ["hydra.output_subdir={home}"]}, "hydra.sweeper.trial_overrides"),
    "that add": ({"trial_overrides": ["seed=1", "++hydra.job.env_set.PATH=/x"]}, "hydra.sweeper.trial_overrides"),
    "that add behind a blank": (
        {"trial_overrides": ["+ hydra.searchpath=[pkg://antigravity]"]},
        "trial_overrides must",
    ),
    "that delete": ({"confirm_overrides": ["~hydra.callbacks"]}, "hydra.sweeper.confirm_overrides must"),
    "that put a group into Hydra": (
        {"confirm_overrides": ["+callbacks@hydra.callbacks=ema"]},
        "confirm_overrides must",
    ),
    "that are a value that changes": ({"trial_overrides": "${oc.select:a,b}"}, "hydra.sweeper.trial_overrides must"),
    "that hold one": ({"trial_overrides": ["${oc.select:hydra.job.num,seed}=1"]}, "hydra.sweeper.trial_overrides must"),
    "that are no texts": ({"trial_overrides": [{"hydra.output_subdir": "x"}]}, "hydra.sweeper.trial_overrides must"),
    "that call": (
        {"trial_overrides": ["++model.a={_target_:os.system,command:x}"]},
        "model.a must not have a _target_",
    ),
    "that call in a list": ({"trial_overrides": ["++model.a=[{_target_:os.system}]"]}, "must not have a _target_"),
    "ends of an ablation of Hydra": (
        {"ablate": 2, "ablation": {"from": ["hydra.output_subdir={home}"], "to": []}},
        "hydra.sweeper.ablation.from must be typed",
    ),
    "ends that change": (
        {"ablate": 2, "ablation": {"from": [], "to": ["seed=${oc.select:hydra.job.num,x}"]}},
        "hydra.sweeper.ablation.to must be typed",
    ),
    "an end that changes": ({"ablation": {"to": "${oc.select:a,b}"}}, "hydra.sweeper.ablation.to must be typed"),
    "an ablation that changes": ({"ablation": "${oc.select:a,b}"}, "hydra.sweeper.ablation must be a mapping"),
    "that nobody reads": ({"trial_overrides": ["tset=false"]}, "tset: no config has this key; did you mean test?"),
    "that confirm and call": (
        {"confirm_overrides": ["++model.a={_target_:os.system}"], "confirm": 2},
        "model.a must not have a _target_",
    ),
    "that several": ({"trial_overrides": ["seed=1,2"]}, "hydra.sweeper.trial_overrides must be a list of overrides"),
    "that are broken": ({"trial_overrides": ["seed=[1"]}, "hydra.sweeper.trial_overrides must be a list of overrides"),
    "that break a line": ({"trial_overrides": ["seed=1\nhydra.x=1"]}, "hydra.sweeper.trial_overrides must"),
    "seed_key of Hydra": ({"seed_key": "hydra.output_subdir", "seeds": [1, 2]}, "hydra.sweeper.seed_key must"),
    "seed_key that is an override": ({"seed_key": "data_dir={home}/", "seeds": [1]}, "hydra.sweeper.seed_key must be"),
    "seed_key that changes": (
        {"seed_key": "${oc.select:hydra.job.num,x}", "seeds": [1]},
        "hydra.sweeper.seed_key must",
    ),
    "validate": ({"validate": "os.system"}, "hydra.sweeper.validate must be a function that LIGHTSWEEP_TRUST names"),
    "batch_function": (
        {"batch_function": "os.system", "population": 4},
        "hydra.sweeper.batch_function must be a function that LIGHTSWEEP_TRUST names",
    ),
    "batch_function that is a node": ({"batch_function": {"_target_": "os.system"}}, "batch_function must not have"),
    "batch_function that changes": (
        {"batch_function": "${oc.select:a,os.system}"},
        "batch_function must be a function",
    ),
    "foresee": ({"foresee": {"params": "os.system"}}, "hydra.sweeper.foresee.params must be a function"),
    "foresee that is a node": ({"foresee": {"_target_": "os.system"}}, "hydra.sweeper.foresee must not have"),
    "foresee that changes": ({"foresee": "${oc.select:a,os.system}"}, "hydra.sweeper.foresee must be a mapping"),
    "validate that is a node": ({"validate": {"_target_": "os.system"}}, "hydra.sweeper.validate must not have"),
    "validate that changes": ({"validate": "${oc.select:a,os.system}"}, "hydra.sweeper.validate must be a function"),
    "metric that is two lines": ({"metric": "acc\nmodel: {_target_: os.system}"}, "hydra.sweeper.metric must be"),
    "confirm_metric that is a link": (
        {"confirm_metric": "a\x1b]8;;http://x\x07b"},
        "hydra.sweeper.confirm_metric must",
    ),
    "changeable_keys": ({"changeable_keys": "hydra"}, "hydra.sweeper.changeable_keys must be a list of keys"),
    "not_in_best": ({"not_in_best": [{"a": 1}]}, "hydra.sweeper.not_in_best must be a list of keys"),
    "max_steps": ({"max_steps": "__import__('os')"}, "hydra.sweeper.max_steps must be"),
    "sampler by name": ({"sampler": "os.system"}, "hydra.sweeper.sampler must be one of"),
    "pruner by name": ({"pruner": "optuna.storages.RDBStorage"}, "hydra.sweeper.pruner must be one of"),
    "_recursive_": ({"_recursive_": True}, "hydra.sweeper._recursive_ must be left out"),
    "_recursive_ that looks false": ({"_recursive_": 0}, "hydra.sweeper._recursive_ must be left out"),
    "_partial_": ({"_partial_": True}, "hydra.sweeper._partial_ must be left out"),
    "_args_": ({"_args_": ["x"]}, "hydra.sweeper._args_ must be left out"),
    "params that call": ({"params": {"model.width": "choice(4,8)", "+model.a._target_": "os.system"}}, "_target_"),
    "pruner": ({"pruner": {"_target_": "optuna.storages.RDBStorage", "url": "x"}}, "hydra.sweeper.pruner._target_"),
    "sweeper": ({"_target_": "os.system", "command": "touch {marker}"}, "hydra.sweeper._target_"),
    "study's name": ({"study_name": "../../../home"}, "hydra.sweeper.study_name must be a name"),
}


@pytest.mark.parametrize(("node", "says"), SWEEPER.values(), ids=SWEEPER)
def test_a_sweep_file_cannot_set_it(scene, attack, node: dict[str, Any], says: str) -> None:
    content = {"defaults": ["quick", "_self_"], "hydra": {"sweeper": node}}
    scene.write("sweep/evil.yaml", content, GLOBAL)
    attack("sweep=evil", says=says, without=("hydra.sweep.dir",) if "study_name" in says else ())
    assert "antigravity" not in sys.modules


def test_a_folders_own_defaults_of_the_sweeper_are_not_read(scene, launch) -> None:
    """Further folders come after the package's in the search path."""
    evil = {"_target_": "os.system", "command": "touch {marker}", "preload": ["antigravity"]}
    scene.write("hydra/sweeper/_lightsweep_settings.yaml", evil)
    scene.write("hydra/sweeper/lightsweep.yaml", evil)
    done = launch("sweep=quick", "--config-dir", str(scene.folder / "conf"), "--cfg", "hydra")
    assert done.code == 0, done.err
    assert "_target_: hydra_plugins.lightsweep_sweeper.LightsweepSweeper" in done.out
    assert "os.system" not in done.out
    assert "antigravity" not in done.out


SAMPLER: dict[str, tuple[dict[str, Any], str]] = {
    "another object": ({"_target_": "os.system", "command": "touch {marker}"}, "hydra.sweeper.sampler._target_"),
    "below one": (
        {"_target_": "optuna.samplers.TPESampler", "seed": {"_target_": "os.system"}},
        "hydra.sweeper.sampler.seed must not have",
    ),
    "in place of one": (
        {"_target_": "optuna.samplers.PartialFixedSampler", "base_sampler": {"_target_": "optuna.load_study"}},
        "hydra.sweeper.sampler.base_sampler._target_",
    ),
}


@pytest.mark.parametrize(("node", "says"), SAMPLER.values(), ids=SAMPLER)
@pytest.mark.parametrize("sweeper", ["lightsweep", "optuna"])
def test_a_sampler_is_one_of_optunas(scene, attack, sweeper: str, node: dict[str, Any], says: str) -> None:
    scene.write("hydra/sweeper/sampler/evil.yaml", node)
    attack("-m", f"hydra/sweeper={sweeper}", "hydra/sweeper/sampler=evil", "seed=choice(1,2)", says=says)


def test_the_official_sweeper_restores_no_pickles(scene, attack) -> None:
    scene.write("experiment/fine.yaml", {"seed": 1}, GLOBAL)
    typed = ("hydra/sweeper=optuna", "hydra/sweeper/sampler=cmaes", "seed=range(1,3)")
    attack("-m", *typed, f"hydra.sweeper.storage=sqlite:///{scene.victim}", says="which hydra/sweeper=optuna would run")


def test_the_official_sweeper_restores_no_pickles_by_a_detour(scene, attack) -> None:
    inner = {"_target_": "optuna.samplers.CmaEsSampler"}
    node = {"_target_": "optuna.samplers.PartialFixedSampler", "fixed_params": {}, "base_sampler": inner}
    scene.write("hydra/sweeper/sampler/evil.yaml", node)
    typed = ("hydra/sweeper=optuna", "hydra/sweeper/sampler=evil", "seed=range(1,3)")
    attack("-m", *typed, f"hydra.sweeper.storage=sqlite:///{scene.victim}", says="which hydra/sweeper=optuna would run")


LAUNCHER: dict[str, Any] = {
    "_target_": "os.system",
    "setup": ["touch {marker}"],
    "python": "/bin/sh",
    "srun_args": ["--x"],
    "additional_parameters": {"wrap": "touch {marker}"},
    "comment": "a\ntouch {marker}",
    "partition": "a'; touch {marker}",
    "timeout_min": "1; touch {marker}",
    "ray": {"init": {"address": "127.0.0.1:9"}},
    "submitit_folder": "{home}/%j",
    "env_setup": {"pip": "x"},
    "name": "${oc.select:hydra.job.num,touch}",
}


@pytest.mark.parametrize("key", LAUNCHER)
def test_a_launcher_runs_no_command_of_a_file(scene, attack, key: str) -> None:
    slurm = {"_target_": "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"}
    scene.write("hydra/launcher/evil.yaml", slurm | {key: LAUNCHER[key]})
    attack("-m", "hydra/launcher=evil", "seed=1,2", says=f"hydra.launcher.{key} must")

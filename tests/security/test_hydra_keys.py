"""What a config file from somebody else may not set of Hydra, tried on train.py's command line."""

import shutil
import sys
from typing import Any

import pytest

from lightsweep.config import hydra_keys

GLOBAL = "# @package _global_\n"


def file_handler(**keys: Any) -> dict[str, Any]:
    return {"handlers": {"evil": {"class": "logging.FileHandler", **keys}}, "root": {"handlers": ["evil"]}}


HYDRA: dict[str, tuple[dict[str, Any], str]] = {
    "a log file elsewhere": ({"job_logging": file_handler(filename="{victim}", mode="a")}, "handlers.evil.filename"),
    "one beside the run": (
        {"job_logging": file_handler(filename="${hydra.runtime.output_dir}/../../home/notes.txt")},
        "handlers.evil.filename",
    ),
    "by the job's name": ({"job": {"name": "../../home/notes"}}, "hydra.job.name must be a name"),
    "Hydra's own log": ({"hydra_logging": file_handler(filename="{victim}")}, "hydra.hydra_logging.handlers.evil"),
    "an attribute set later": (
        {
            "job_logging": file_handler(
                filename="${hydra.runtime.output_dir}/x.log", **{".": {"baseFilename": "{victim}"}}
            )
        },
        "handlers.evil.. must be left out",
    ),
    "a socket": (
        {
            "job_logging": {
                "handlers": {"evil": {"class": "logging.handlers.SocketHandler", "host": "127.0.0.1", "port": 9}}
            }
        },
        "handlers.evil.class",
    ),
    "mail": (
        {"hydra_logging": {"handlers": {"evil": {"class": "logging.handlers.SMTPHandler", "mailhost": "127.0.0.1"}}}},
        "handlers.evil.class",
    ),
    "another stream": (
        {"job_logging": {"handlers": {"evil": {"class": "logging.StreamHandler", "stream": "ext://os.environ"}}}},
        "handlers.evil.stream",
    ),
    "a shell as handler": (
        {"job_logging": {"handlers": {"evil": {"class": "subprocess.Popen", "args": "touch {marker}", "shell": True}}}},
        "handlers.evil.class",
    ),
    "a factory": (
        {"job_logging": {"handlers": {"evil": {"()": "os.system", "command": "touch {marker}"}}}},
        "handlers.evil.class",
    ),
    "a formatter": (
        {"job_logging": {"formatters": {"evil": {"()": "os.system", "command": "touch {marker}"}}}},
        "formatters.evil.() must be left out",
    ),
    "a filter": (
        {"hydra_logging": {"filters": {"evil": {"()": "os.system", "command": "touch {marker}"}}}},
        "filters.evil.() must be left out",
    ),
    "a filter that opens a file": (
        {"job_logging": {"filters": {"evil": {"()": "logging.FileHandler", "filename": "{victim}", "mode": "w"}}}},
        "filters.evil.() must be left out",
    ),
    "a formatter that opens a file": (
        {"job_logging": {"formatters": {"evil": {"()": "logging.FileHandler", "filename": "{victim}", "mode": "w"}}}},
        "formatters.evil.() must be left out",
    ),
    "a formatter's class": (
        {
            "job_logging": {
                "formatters": {"evil": {"class": "logging.FileHandler", "format": "{victim}", "datefmt": "w"}}
            }
        },
        "formatters.evil.class must be left out",
    ),
    "a reference to an object": (
        {"job_logging": {"loggers": {"evil": {"level": "ext://antigravity.x"}}}},
        "must not refer to an object",
    ),
    "another part of logging": ({"job_logging": {"evil": {}}}, "hydra.job_logging.evil must be left out"),
    "a value that changes": (
        {"job_logging": file_handler(filename="${oc.select:hydra.job.num,{victim}}", mode="a")},
        "handlers.evil.filename must be typed, or hold interpolations",
    ),
    "records by a value that changes": (
        {"output_subdir": "${oc.select:hydra.job.num,../../home}"},
        "hydra.output_subdir must be typed, or hold interpolations",
    ),
    "a formatter that reaches attributes": (
        {"job_logging": {"formatters": {"plain": {"format": "{exc_info[2].tb_frame.f_globals}", "style": "{"}}}},
        "formatters.plain.style must be left out",
    ),
    "a job's number": (
        {"job": {"id": "../../../home"}, "output_subdir": "${hydra.job.id}"},
        "hydra.job.id must be left out",
    ),
    "the folder that Hydra makes": (
        {"runtime": {"output_dir": "{home}"}, "hydra_logging": file_handler(filename="${hydra.runtime.output_dir}/x")},
        "hydra.runtime.output_dir must be left out",
    ),
    "what was chosen": (
        {"runtime": {"choices": {"hydra.searchpath": "[pkg://antigravity]"}}},
        "hydra.runtime.choices must be left out",
    ),
    "what was typed": (
        {"overrides": {"hydra": ["hydra.searchpath=[pkg://antigravity]"]}},
        "hydra.overrides.hydra must be left out",
    ),
    "what stands between overrides": (
        {"job": {"config": {"override_dirname": {"kv_sep": "/../../"}}}},
        "override_dirname.kv_sep must be one of",
    ),
    "a time that is none": (
        {"output_subdir": "${now:..}/${now:..}/home"},
        "hydra.output_subdir must be typed, or hold interpolations",
    ),
    "a variable that is not set": ({"job": {"env_copy": ["NO_SUCH_VARIABLE"]}}, "cannot be composed (KeyError"),
    "a NUL": ({"output_subdir": "a\0b"}, "hydra.output_subdir must not hold a NUL"),
    "a logger that is none": ({"job_logging": {"root": "x"}}, "cannot be used: Unable to configure root logger"),
    "a number for a name": ({"verbose": 5}, "hydra.verbose cannot be used"),
    "a list of no names": ({"verbose": [5]}, "hydra.verbose cannot be used"),
    "a node from elsewhere": ({"job_logging": "${hydra.hydra_logging}"}, "hydra.job_logging must be a mapping"),
    "a part from elsewhere": (
        {"job_logging": {"handlers": "${hydra.hydra_logging.handlers}"}},
        "hydra.job_logging.handlers must be a mapping",
    ),
    "a callback": (
        {"callbacks": {"evil": {"_target_": "os.system", "command": "touch {marker}"}}},
        "hydra.callbacks.evil",
    ),
    "the environment": ({"job": {"env_set": {"LD_PRELOAD": "{victim}"}}}, "hydra.job.env_set"),
    "a copy of the environment": ({"job": {"env_copy": ["HOME"]}}, "env_copy must be empty"),
    "the folder of records": ({"output_subdir": "../../home"}, "hydra.output_subdir"),
    "the folder of records, absolute": ({"output_subdir": "{home}/x"}, "hydra.output_subdir"),
}


@pytest.mark.parametrize(("node", "says"), HYDRA.values(), ids=HYDRA)
def test_a_file_of_a_group_cannot_set_it(scene, attack, node: dict[str, Any], says: str) -> None:
    scene.write("experiment/evil.yaml", {"hydra": node}, GLOBAL)
    attack("experiment=evil", says=says)


def test_nor_in_a_job_of_a_grid(scene, attack) -> None:
    scene.write("experiment/fine.yaml", {"seed": 1}, GLOBAL)
    scene.write("experiment/evil.yaml", {"hydra": HYDRA["a log file elsewhere"][0]}, GLOBAL)
    attack("-m", "experiment=evil,evil", says="handlers.evil.filename")


@pytest.mark.parametrize("key", ["run.dir", "sweep.dir"])
@pytest.mark.parametrize("place", ["{home}/x", "../elsewhere", "~/x", "/tmp/x", "outputs/../x", "ftp://127.0.0.1:9/x"])
def test_a_run_lies_in_outputs_unless_it_is_typed(scene, attack, key: str, place: str) -> None:
    part, name = key.split(".")
    scene.write("experiment/evil.yaml", {"hydra": {part: {name: place}}}, GLOBAL)
    attack("experiment=evil", says=f"hydra.{key} must lie in", without=(f"hydra.{key}",))


@pytest.mark.parametrize("place", ["{home}/x", "../../x", "a/../../x", "${hydra.job.num}/../../x"])
def test_a_job_lies_in_its_grid(scene, attack, place: str) -> None:
    scene.write("experiment/evil.yaml", {"hydra": {"sweep": {"subdir": place}}}, GLOBAL)
    attack("-m", "experiment=evil", "seed=1,2", says="hydra.sweep.subdir must lie in the folder above it")


SWEEPER: dict[str, tuple[dict[str, Any], str]] = {
    "storage": ({"storage": "sqlite:///{marker}"}, "hydra.sweeper.storage must be typed"),
    "storage on a server": ({"storage": "postgresql://127.0.0.1:9/x"}, "hydra.sweeper.storage must be typed"),
    "storage by detour": ({"storage": "${data_dir}", "study_name": "x"}, "hydra.sweeper.storage must be typed"),
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
    "that choose": ({"trial_overrides": ["+hydra/job_logging=evil"]}, "hydra.sweeper.trial_overrides must"),
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
    "foresee": (
        {"foresee": {"params": "os.system"}},
        "hydra.sweeper.foresee.params must be a function",
    ),
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
    "sampler by name": ({"sampler": "os.system"}, "str is not a subclass of TPESamplerConfig"),
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


def test_a_sweepers_params_cannot_choose_a_file_that_does(scene, attack) -> None:
    scene.write("experiment/evil.yaml", {"hydra": HYDRA["a log file elsewhere"][0]}, GLOBAL)
    content = {"defaults": ["quick", "_self_"], "hydra": {"sweeper": {"params": {"experiment": "evil"}}}}
    scene.write("sweep/evil.yaml", content, GLOBAL)
    attack("sweep=evil", says="handlers.evil.filename")


@pytest.mark.parametrize("mode", [[], ["-m"]])
def test_a_key_with_a_dot_is_no_slot(scene, attack, mode: list[str]) -> None:
    """A node hidden behind such a key, and fetched from there as the sweeper."""
    official = {
        "_target_": "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper",
        "sampler": {"_target_": "optuna.samplers.CmaEsSampler"},
        "storage": "sqlite:///{marker}",
        "params": {"seed": "range(1,3)"},
    }
    hidden = {"hydra.sweeper": official, "hydra": {"sweeper": "${oc.select:'[hydra.sweeper]'}", "mode": "MULTIRUN"}}
    scene.write("mine.yaml", {"defaults": ["train", "_self_"], **hidden})
    attack("--config-name", "mine", *mode, says="hydra.sweeper")
    scene.write(
        "mine.yaml",
        {
            "defaults": ["train", "_self_"],
            "hydra.callbacks.x": {"_target_": "lightsweep.runs.saved_config.ConfigFirst"},
        },
    )
    attack("--config-name", "mine", *mode, says="hydra.callbacks.x must not have a _target_")


def test_the_official_sweeper_restores_no_pickles_by_a_detour(scene, attack) -> None:
    inner = {"_target_": "optuna.samplers.CmaEsSampler"}
    node = {"_target_": "optuna.samplers.PartialFixedSampler", "fixed_params": {}, "base_sampler": inner}
    scene.write("hydra/sweeper/sampler/evil.yaml", node)
    typed = ("hydra/sweeper=optuna", "hydra/sweeper/sampler=evil", "seed=range(1,3)")
    attack("-m", *typed, f"hydra.sweeper.storage=sqlite:///{scene.victim}", says="which hydra/sweeper=optuna would run")


def test_a_run_of_a_file_begins_in_a_new_folder(scene, attack) -> None:
    mine = hydra_keys.OUTPUTS / "test-of-security"
    scene.write(
        "experiment/evil.yaml", {"hydra": {"run": {"dir": "${lightsweep.root:outputs}/test-of-security"}}}, GLOBAL
    )
    mine.mkdir(parents=True)
    try:
        (mine / "study.journal").write_text("mine")
        attack("experiment=evil", says="hydra.run.dir must be a new or an empty folder", without=("hydra.run.dir",))
        assert (mine / "study.journal").read_text() == "mine"
    finally:
        shutil.rmtree(mine)


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


@pytest.mark.parametrize(
    "entry",
    [
        "pkg://antigravity",
        "pkg://this.conf",
        "pkg://hydra_plugins.lightsweep_sweeper.conf",
        "http://127.0.0.1:9",
        "structured://x",
        "${data}",
    ],
)
def test_a_primary_config_imports_no_package(scene, attack, entry: str) -> None:
    scene.write("mine.yaml", {"defaults": ["train", "_self_"], "hydra": {"searchpath": [entry]}})
    attack("--config-name", "mine", says="hydra.searchpath must hold")
    assert "antigravity" not in sys.modules


def test_an_alias_of_a_file_is_not_typed(scene, attack) -> None:
    aliases = {"lr": "hydra.job_logging.handlers.file.filename"}
    scene.write("mine.yaml", {"defaults": ["train", "_self_"], "hydra": {"aliases": aliases}})
    attack("--config-name", "mine", f"lr={scene.victim}", says="handlers.file.filename must lie in the run's folder")


@pytest.mark.parametrize("option", ["--experimental-rerun", "--experimental-r", "--exp"])
def test_a_folder_cannot_say_what_is_typed(scene, attack, option: str) -> None:
    attack(f"{option}={scene.run}", says="--experimental-rerun is not supported")


@pytest.mark.parametrize(
    "text", ["!!python/object/apply:os.system ['touch {marker}']", "a: !!python/name:os.system", "a: [", "\x00"]
)
def test_a_file_that_is_no_plain_yaml_is_one_line(scene, attack, text: str) -> None:
    scene.write("experiment/evil.yaml", text.replace("{marker}", str(scene.marker)))
    attack("experiment=evil", says="evil")


TYPED = {
    "++model={_target_:os.system,command:x}": "model._target_ must be in the allowlist",
    "model._target_=torch.load": "model._target_ must be in the allowlist",
    "optimizer._target_=torch.utils.collect_env.run": "optimizer._target_ must be in the allowlist",
    "model.width={_target_:os.system,command:x}": "model.width must not have a _target_",
    "+logger.evil={_target_:subprocess.getoutput,cmd:x}": "logger.evil._target_ must be in the allowlist",
    "+hydra.job.env_set.PATH=/evil": "hydra.job.env_set",
    "+hydra.callbacks.evil={_target_:os.system,command:x}": "hydra.callbacks.evil._target_",
    "hydra.launcher._target_=os.system": "hydra.launcher._target_",
}


@pytest.mark.parametrize(("argument", "says"), TYPED.items(), ids=TYPED)
def test_what_is_typed_calls_nothing_else_either(scene, attack, argument: str, says: str) -> None:
    scene.write("experiment/fine.yaml", {"seed": 1}, GLOBAL)
    attack(argument, says=says)

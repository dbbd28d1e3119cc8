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

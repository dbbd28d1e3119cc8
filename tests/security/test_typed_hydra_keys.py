"""Which keys of Hydra may be typed, and which harmless ones a config file may set."""

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from lightsweep.config import allowlist, hydra_keys, loader, permissions
from lightsweep.core.errors import ConfigError


def check(typed_keys: list[str], **hydra: Any) -> None:
    """Check a composed config in which a file has set these keys of ``hydra``."""
    config = OmegaConf.create(
        {
            "hydra": {
                "job": {"env_set": {}, "name": "train"},
                "run": {"dir": "outputs/x"},
                "sweep": {"dir": "outputs/y", "subdir": "0"},
                "runtime": {},
                "launcher": {"_target_": allowlist.NODES["hydra.launcher"].names[0]},
                "sweeper": {},
                "output_subdir": ".hydra",
                **hydra,
            }
        }
    )
    raw: Any = OmegaConf.to_container(config)
    typed = permissions.read_typed(typed_keys).holding_in(raw)
    hydra_keys.check_hydra_keys(raw, typed)
    loader.check_logging(raw["hydra"], typed)


PERSONS_OWN = {
    "hydra.run.dir=/x/y": {"run": {"dir": "/x/y"}},
    "hydra.sweep={dir:/x,subdir:/y}": {"sweep": {"dir": "/x", "subdir": "/y"}},
    "hydra.output_subdir=/x": {"output_subdir": "/x"},
    "hydra.job_logging.handlers.file.filename=/x.log": {
        "job_logging": {"handlers": {"file": {"class": "logging.FileHandler", "filename": "/x.log"}}}
    },
    "hydra.launcher.setup=[x]": {"launcher": {"setup": ["x"]}},
    "hydra.sweeper.storage=sqlite:////x": {"sweeper": {"storage": "sqlite:////x"}},
    "hydra.sweeper.preload=[x]": {"sweeper": {"preload": ["x"]}},
}


@pytest.mark.parametrize(("argument", "node"), PERSONS_OWN.items(), ids=PERSONS_OWN)
def test_all_of_it_may_be_typed(argument: str, node: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        check([], **node)
    check([argument], **node)


def test_harmless_settings_of_a_cluster_pass() -> None:
    check(
        [],
        launcher={
            "_target_": "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher",
            "submitit_folder": "${hydra.sweep.dir}/.submitit/%j",
            "timeout_min": 60,
            "name": "${hydra.job.name}",
            "partition": "gpu,debug",
            "constraint": "a100&ib",
            "gres": "gpu:a100:2",
            "mem_per_cpu": "4GB",
            "setup": None,
            "additional_parameters": {},
        },
    )


NESTED = {"additional_parameters": {"no_requeue": True, "nice": 5}}
NESTED_TYPED = ("+hydra.launcher.additional_parameters.no_requeue=true", "+hydra.launcher.additional_parameters.nice=5")


def test_keys_inside_a_launchers_key_may_be_typed() -> None:
    check([*NESTED_TYPED], launcher=NESTED)
    check(["hydra.launcher.additional_parameters={no_requeue:true,nice:5}"], launcher=NESTED)
    check(["+hydra.launcher.ray.remote.num_cpus=0.5"], launcher={"ray": {"init": {}, "remote": {"num_cpus": 0.5}}})


@pytest.mark.parametrize(
    "argument",
    [
        *NESTED_TYPED,  # the other one is the file's
        "+hydra.launcher.additional_parameters.wrap=x",
        "+hydra.launcher.additional_parameters={no_requeue:false,nice:6}",
        "hydra/launcher=submitit_slurm",
    ],
)
def test_what_a_file_adds_beside_them_is_refused(argument: str) -> None:
    with pytest.raises(ConfigError, match="hydra.launcher.additional_parameters must be typed on the command line"):
        check([argument], launcher=NESTED)


JOBLIB = {
    "n_jobs": 4,
    "backend": "loky",
    "prefer": "processes",
    "require": None,
    "verbose": 0,
    "timeout": 60.5,
    "pre_dispatch": "2*n_jobs",
    "batch_size": "auto",
    "temp_folder": None,
    "max_nbytes": "1M",
    "mmap_mode": "r",
}


def test_amounts_of_joblib_pass() -> None:
    check([], launcher=JOBLIB)
    for value in ("n_jobs", "all", "2 * n_jobs"):
        check([], launcher={**JOBLIB, "pre_dispatch": value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("pre_dispatch", "__import__('os').system('x')"),
        ("pre_dispatch", "2*n_jobs+x"),
        ("pre_dispatch", "${oc.env:HOME}"),
        ("temp_folder", "/tmp/x"),
        ("temp_folder", "x"),
        ("n_jobs", "4"),
        ("n_jobs", [4]),
        ("timeout", "1; x"),
        ("verbose", {"a": 1}),
        ("backend", "a b"),
        ("backend", ["loky"]),
        ("max_nbytes", "1M\nx"),
        ("further", 5),
    ],
)
def test_what_joblib_would_compute_or_write_elsewhere_is_typed(key: str, value: Any) -> None:
    launcher = {**JOBLIB, key: value}
    with pytest.raises(ConfigError, match=f"hydra.launcher.{key} must be"):
        check([], launcher=launcher)


def test_it_may_be_typed() -> None:
    typed_keys = ["hydra.launcher.temp_folder=/tmp/x", "hydra.launcher.pre_dispatch=3*n_jobs"]
    check(typed_keys, launcher={**JOBLIB, "temp_folder": "/tmp/x", "pre_dispatch": "3*n_jobs"})


def test_a_typed_choice_of_a_group_says_nothing_of_what_is_in_it() -> None:
    node = {"job_logging": {"handlers": {"file": {"class": "logging.FileHandler", "filename": "/x.log"}}}}
    for argument in ("hydra/job_logging=evil", "hydra.verbose=true", "+hydra.job_logging.x=1", "~hydra.job_logging"):
        with pytest.raises(ConfigError, match="filename"):
            check([argument], **node)


def test_best_yaml_finds_its_folders_again(tmp_path: Path) -> None:
    hydra_keys.check_search_path([f"file://{tmp_path}", str(tmp_path)], permissions.Typed())
    hydra_keys.check_search_path(["pkg://mine.conf"], permissions.read_typed(["hydra.searchpath=[pkg://mine.conf]"]))


def test_a_trusted_package_may_hold_configs(trust) -> None:
    trust("mine.*")
    hydra_keys.check_search_path(["pkg://mine.conf", "pkg://mine/conf"], permissions.Typed())
    with pytest.raises(ConfigError):
        hydra_keys.check_search_path(["pkg://yours.conf"], permissions.Typed())

"""The one place where a run's config is checked, before anything is built from it."""

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from importlib.util import find_spec
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lightsweep.app import jobs
from lightsweep.app.jobs import Run
from lightsweep.config import allowlist, build, permissions
from lightsweep.core import checks, memory
from lightsweep.core.errors import ConfigError, SweepRefused
from lightsweep.data import folders
from lightsweep.runs import run_folder, saved_config
from lightsweep.runs.results import Monitor, check_monitor
from lightsweep.sweeper.job import current_trial

_NOT_SAVED = {"overrides", "run_dir", *saved_config.ONCE}  # in result.json


@dataclass(frozen=True)
class RunConfig:
    """A checked config as plain values: the keys of conf/train.yaml that a run uses, each node a dict.

    Args:
        saved: the whole config as result.json has it.
    """

    name: str | None
    seed: int
    monitor: Monitor
    data: dict[str, Any]
    model: dict[str, Any]
    optimizer: dict[str, Any]
    scheduler: dict[str, Any]
    loss: dict[str, Any]
    callbacks: dict[str, Any]
    logger: dict[str, Any]
    trainer: dict[str, Any]
    lr_find_range: dict[str, Any]
    lr_find: bool
    score_with: str
    test: bool
    report: bool
    compile: bool
    decay_all: bool
    allow_changed_data: bool
    init_from: str | None
    threads: int | str | None
    saved: dict[str, Any]


def plain_config(cfg: DictConfig) -> RunConfig:
    """A config as plain values, unchecked."""
    plain = _resolve(cfg)
    values: dict[str, Any] = {field.name: plain[field.name] for field in fields(RunConfig) if field.name != "saved"}
    values["monitor"] = Monitor(**values["monitor"])
    own = _resolve(saved_config.own_config(cfg)) if saved_config.has_relative_paths(cfg) else plain
    return RunConfig(**values, saved={key: value for key, value in own.items() if key not in _NOT_SAVED})


def _resolve(cfg: DictConfig) -> dict[str, Any]:
    """The config as plain values, without Hydra's own. All at once: each access to an interpolation parses it anew."""
    values = {str(key): cfg[key] for key in cfg if key != "hydra"}
    return {
        key: OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        for key, value in values.items()
    }


_NODES = (
    *("monitor", "loss", "data", "model", "optimizer", "scheduler", "callbacks", "logger", "trainer", "lr_find_range"),
)
_OBJECTS = ("data", "model", "optimizer", "scheduler", "loss")  # which check their arguments
_SEEDS = "[0, inf)"
# Of the nodes without a _target_, whose class would check its own arguments.
_KEYS = {
    "monitor": ("metric", "mode"),
    "loss": ("label_smoothing", "l2", "l2_head"),
    "lr_find_range": ("low", "high", "steps"),
}
_IMAGE_FOLDER = "lightsweep.data.image_folder.ImageFolderDataModule"
# More than any one machine has cores; a process starts so many in a second. 100,000 crash it.
_MOST_THREADS = 1024
# What a run gives to the Trainer itself, or does without it, and so what would be ignored, or break the run.
_NOT_THE_TRAINERS = {
    "logger": "logger=NAME chooses the loggers",
    "callbacks": "callbacks=NAME chooses the callbacks",
    "plugins": "a run has its own plugin, which writes checkpoints atomically",
    "default_root_dir": "hydra.run.dir is the folder of a run",
    "use_distributed_sampler": "the loader deals the images out to the processes",
    "enable_checkpointing": "callbacks=checkpoint keeps the best weights, and the last ones are always kept",
    "barebones": "callbacks=none logger=none is the least that a run can have",
    "model_registry": "checkpoints are kept in the folder of the run",
    "limit_test_batches": "all images of a part are scored; test=false leaves the test part out",
    "limit_predict_batches": "src/predict.py predicts",
    "overfit_batches": "data.limit=N trains on the first N images; the batches of an epoch are drawn anew each time",
    "fast_dev_run": "trainer=debug is for a quick look",  # it would score weights that were never saved
}
# Each step is a row of lr_find.csv: fewer are not enough for a curve, more add nothing.
_RANGE_STEPS = "[20, 100000]"
# One of these tells a process which of several machines it is on: Slurm, torchrun, LSF, MPI, or a person.
_CLUSTER = ("SLURM_NTASKS", "TORCHELASTIC_RUN_ID", "LSB_JOBID", "OMPI_COMM_WORLD_SIZE", "GROUP_RANK", "NODE_RANK")


def validate(cfg: DictConfig, opened: Run) -> RunConfig:
    """Check a run's config, and make plain values of it.

    Raises:
        ConfigError: names the key.
        SweepRefused: it is wrong for all jobs of a sweep by another sweeper.
    """
    rule = "be false in a grid or a sweep, since it tests one setting"
    checks.require(opened.kind == "run" or not cfg.lr_find, "lr_find", rule, cfg.lr_find)
    checks.integer("seed", cfg.seed, _SEEDS)
    form = _form_of(cfg, opened.overrides) if jobs.is_in_worker() else None
    if form not in _checked:
        check_config(cfg, opened.overrides)
    if form is not None:
        _checked.add(form)
    if current_trial().job:
        jobs.check_one_process(cfg.trainer)
    elif jobs.belongs_to_other_sweeper():
        try:
            jobs.check_one_process(cfg.trainer)
        except ConfigError as error:
            raise SweepRefused(str(error)) from error
    return plain_config(cfg)


# The forms of a sweep's configs that this worker has checked. Of a further config of such a form only numbers differ
# which the objects that get them check themselves.
_checked: set[str] = set()


def _form_of(cfg: DictConfig, overrides: Sequence[str]) -> str:
    """A config without its seed and the numbers of the parts that are built from it, and the keys of its overrides."""
    written: Any = OmegaConf.to_container(cfg, resolve=False)
    parts = {name: _without_numbers(written.get(name)) for name in _OBJECTS}
    keys = [line.partition("=")[0] for line in overrides]
    return json.dumps([written | parts | {"seed": None}, keys], default=str)


def _without_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _without_numbers(item) for key, item in value.items()}
    return type(value).__name__ if type(value) in (int, float) else value


def check_config(cfg: DictConfig, overrides: list[str]) -> None:
    """Check the keys at the root and those of the trainer; each object checks its own arguments.

    Args:
        overrides: what was typed, ``key=value`` each.

    Raises:
        ConfigError: names the key.
    """
    written = OmegaConf.to_container(cfg, resolve=False)
    permissions.check_targets(written)
    _check_own_code(permissions.find_targets(written))
    for key in _NODES:
        if not isinstance(cfg.get(key), DictConfig):
            raise ConfigError(f"{key} must be a mapping, got {cfg.get(key)!r}")
    for key, names in _KEYS.items():
        for name in cfg[key]:
            checks.require(name in names, f"{key}.{name}", f"be one of {', '.join(names)}", cfg[key][name])
    is_text = isinstance(cfg.name, str | int | float) and not isinstance(cfg.name, bool)
    checks.require(cfg.name is None or is_text, "name", "be a text, or null", cfg.name)
    checks.integer("seed", cfg.seed, _SEEDS)
    checks.choice("score_with", cfg.score_with, ("best", "last"))
    for key in ("test", "report", "compile", "lr_find", "allow_changed_data"):
        checks.flag(key, cfg[key])
    if cfg.init_from is not None:
        run_folder.find_initial_weights(cfg.init_from)
    if cfg.threads not in ("auto", None):
        is_count = type(cfg.threads) is int and 1 <= cfg.threads <= _MOST_THREADS
        checks.require(is_count, "threads", f"be auto, null or an integer in [1, {_MOST_THREADS}]", cfg.threads)
    if cfg.lr_find:
        _check_range(cfg.lr_find_range)
    checks.require(isinstance(cfg.data_dir, str) and cfg.data_dir != "", "data_dir", "be a path", cfg.data_dir)
    if cfg.data.get(permissions.TARGET) == _IMAGE_FOLDER:
        folders.require_folder(cfg.data.root)
    _check_monitors(cfg)
    _check_callbacks(cfg.callbacks)
    _check_trainer(cfg.trainer)
    check_shape(cfg.model, overrides)
    build.check_arguments(cfg)


def _check_own_code(names: Iterable[str]) -> None:
    """See that the user's modules can be found, before the imports that take seconds."""
    for name in names:
        package = name.partition(".")[0]
        if allowlist.is_trusted(name) and package not in sys.modules and find_spec(package) is None:
            raise ConfigError(f"{name}: there is no module {package!r}; PYTHONPATH=. finds the modules of this folder")


def _check_range(node: DictConfig) -> None:
    checks.number("lr_find_range.low", node.low, "(0, inf)")
    checks.number("lr_find_range.high", node.high, "(0, inf)")
    checks.require(node.high > node.low, "lr_find_range.high", f"be above low, {node.low}", node.high)
    checks.integer("lr_find_range.steps", node.steps, _RANGE_STEPS)


def _check_monitors(cfg: DictConfig) -> None:
    check_monitor("monitor", cfg.monitor.metric, cfg.monitor.mode)
    for group in ("callbacks", "logger"):
        for name, node in cfg[group].items():
            if not isinstance(node, DictConfig):
                key = f"{group}.{name}"
                raise ConfigError(f"{key} must be a mapping ('~{key}' removes it), got {node!r}")
    watching = {f"callbacks.{name}": node for name, node in cfg.callbacks.items()} | {"scheduler": cfg.scheduler}
    for key, node in watching.items():
        if "monitor" in node and "mode" in node:
            check_monitor(key, node.monitor, node.mode)


def _check_callbacks(nodes: DictConfig) -> None:
    for name, node in nodes.items():
        if "patience" in node:
            checks.integer(f"callbacks.{name}.patience", node.patience, "[1, inf)")
        if "min_delta" in node:
            checks.number(f"callbacks.{name}.min_delta", node.min_delta, "[0, inf)")


def _check_trainer(node: DictConfig) -> None:
    for name, instead in _NOT_THE_TRAINERS.items():
        if name in node:
            raise ConfigError(f"trainer.{name} must be left out, got {node[name]!r}: {instead}")
    _check_length(node)
    checks.integer("trainer.accumulate_grad_batches", node.accumulate_grad_batches, "[1, 1000000]")
    known = node.deterministic in (True, False, "warn")
    checks.require(known, "trainer.deterministic", "be true, false or warn", node.deterministic)
    if node.gradient_clip_val is not None:
        checks.number("trainer.gradient_clip_val", node.gradient_clip_val, "[0, inf)")
    for name in ("limit_train_batches", "limit_val_batches", "val_check_interval"):
        if isinstance(limit := node.get(name), float):
            checks.number(f"trainer.{name}", limit, "(0, 1]")
        elif limit is not None:
            checks.integer(f"trainer.{name}", limit, "[1, inf)")
    checks.integer("trainer.check_val_every_n_epoch", node.check_val_every_n_epoch, "[1, inf)")
    sanity = node.get("num_sanity_val_steps", 0)
    checks.require(sanity == 0, "trainer.num_sanity_val_steps", "be 0: the first epoch ends with a validation", sanity)
    nodes = node.get("num_nodes", 1)
    checks.integer("trainer.num_nodes", nodes, "[1, inf)")
    # Several machines find each other by what a cluster tells them. Without it the first would wait forever.
    in_cluster = any(name in os.environ for name in _CLUSTER)
    rule = "be 1 outside a cluster (Slurm, torchrun, or NODE_RANK and MASTER_ADDR in the environment)"
    checks.require(nodes == 1 or in_cluster, "trainer.num_nodes", rule, nodes)
    if isinstance(node.devices, int):
        memory.check_processes("trainer.devices", node.devices)


def _check_length(node: DictConfig) -> None:
    """A run must train an epoch, a step or some time, or there is nothing to score."""
    for unit in ("epochs", "steps"):
        least, most = node.get(f"min_{unit}"), node.get(f"max_{unit}", -1)  # the most ends the run in any case
        if most != -1:
            checks.integer(f"trainer.max_{unit}", most, "[1, inf)")
        if least is not None:
            checks.integer(f"trainer.min_{unit}", least, "[0, inf)")
            checks.require(
                most == -1 or least <= most, f"trainer.min_{unit}", f"be at most trainer.max_{unit}={most}", least
            )
    if node.get("max_time") is not None:
        rule = "be a time above 0, DD:HH:MM:SS or {hours: 1}"
        checks.require(_duration(node.max_time) > timedelta(0), "trainer.max_time", rule, node.max_time)


def _duration(value: Any) -> timedelta:
    """A time as the Trainer takes it; 0 where it is none."""
    try:
        if isinstance(value, DictConfig):
            return timedelta(**{str(unit): number for unit, number in value.items()})
        if isinstance(value, str) and re.fullmatch(r"\d+:\d\d:\d\d:\d\d", value):
            days, hours, minutes, seconds = map(int, value.split(":"))
            return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    except (TypeError, ValueError, OverflowError):  # no such unit, no number, too large
        pass
    return timedelta(0)


def check_shape(model: DictConfig, overrides: Sequence[str]) -> None:
    """Refuse keys of the network that exclude each other; torch is imported only where that may be."""
    if model.get("hidden") is not None and any(line.lstrip("+~").startswith("model") for line in overrides):
        from lightsweep.nets.networks import check_hidden

        check_hidden(overrides)

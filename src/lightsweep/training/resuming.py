"""A run that is resumed with other settings, and a run that starts from the weights of another one.

Lightning would restore the old settings from the checkpoint without a warning. Here the new ones are put into what it
restores, or refused where the run cannot be continued with them.
"""

import logging
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor, nn

from lightsweep.core.errors import ConfigError
from lightsweep.core.files import is_inside
from lightsweep.core.text import printable
from lightsweep.runs import run_folder
from lightsweep.runs.run_folder import find_initial_weights

PLATEAU = "plateau"
_PATHS = ("best_model_path", "last_model_path", "kth_best_model_path")  # of a ModelCheckpoint
_GATHERS = ("momentum", "centered", "amsgrad")  # SGD's momentum alone begins whenever it is switched on
_PLATEAU_PROGRESS = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch", "_last_lr")


def adapt_checkpoint(
    checkpoint: dict[str, Any],
    *,
    weights: dict[str, Tensor],
    optimizer: dict[str, Any],
    groups: int,
    plateau: bool,
    trainer: pl.Trainer,
) -> None:
    """Change a Lightning checkpoint in place, before Lightning restores from it.

    Args:
        checkpoint: with its part ``lightsweep``.
        weights: of the network as the config has it now, by name.
        optimizer: its name and arguments as the config has them now.
        groups: how many groups of parameters it has now.
        plateau: does the schedule wait for a plateau now?
        trainer: whose early-stopping callbacks keep their patience as the config has it now.

    Raises:
        ConfigError: the network, the kind of optimizer or the kind of schedule is another, or the optimizer would need
            what it has not gathered.
    """
    _check_epochs(checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"], trainer.max_epochs)
    _check_weights(checkpoint["state_dict"], weights)
    before = checkpoint["lightsweep"]["optimizer"]
    if before["name"] != optimizer["name"]:
        raise ConfigError(f"optimizer: a resumed run keeps its optimizer, {before['name']}, got {optimizer['name']}")
    if len(checkpoint["optimizer_states"][0]["param_groups"]) != groups:
        raise ConfigError("decay_all: a resumed run decays the weights that it decayed before, it cannot change this")
    for name in _GATHERS:
        if optimizer["name"] != "SGD" and optimizer.get(name) and not before.get(name):
            raise ConfigError(
                f"optimizer.{name}: a resumed run cannot begin with it, since {before['name']} gathers what it needs"
                f" from the first step on, got {optimizer[name]}"
            )
    if plateau != (PLATEAU in checkpoint):
        raise ConfigError("scheduler: a resumed run can change to another schedule, but not to or from plateau")
    for name, value in optimizer.items():
        if value != before.get(name):
            _change(checkpoint, name, value, before.get(name))
    _forget_elsewhere(checkpoint["callbacks"], trainer)
    for callback in trainer.early_stopping_callbacks:
        if state := checkpoint["callbacks"].get(callback.state_key):
            state["patience"] = callback.patience


def _forget_elsewhere(states: dict[Any, Any], trainer: pl.Trainer) -> None:
    """Let callbacks remember no files outside the run's folder and those that were typed: Lightning would delete them
    as older checkpoints. Also in the form that Lightning gives to states of its earlier versions."""
    savers = [each for each in trainer.checkpoint_callbacks if isinstance(each, ModelCheckpoint)]
    folders = [Path(trainer.default_root_dir), *(Path(each.dirpath) for each in savers if each.dirpath)]
    for key, state in list(states.items()):
        if not isinstance(key, str):  # a class, as before Lightning 1.5, or whatever else it made of it
            del states[key]
        elif isinstance(state, dict) and any(name in state for name in (*_PATHS, "best_k_models")):
            _clean(state, folders)


def _clean(state: dict[str, Any], folders: list[Path]) -> None:
    for name in _PATHS:
        if not _is_in(state.get(name), folders):
            state[name] = ""
    kept = state.get("best_k_models") or {}
    state["best_k_models"] = {path: score for path, score in kept.items() if _is_in(path, folders)}


def _is_in(path: Any, folders: list[Path]) -> bool:
    if not isinstance(path, str) or path == "" or "://" in path or "::" in path:
        return False
    return any(is_inside(Path(path), folder) for folder in folders)


def plateau_progress(state: dict[str, Any]) -> dict[str, Any]:
    """The progress of a plateau schedule, without its settings."""
    return {name: state[name] for name in _PLATEAU_PROGRESS}


def _check_epochs(counts: dict[str, Any], most: int | None) -> None:
    for name, count in counts.items():
        if type(count) is not int or not 0 <= count < 2**31:
            raise ConfigError(f"last.ckpt: its number of epochs ({name}) is {count!r}")
    trained = counts["processed"]
    if most is not None and -1 < most < trained:
        raise ConfigError(
            f"trainer.max_epochs must be at least {trained}, the epochs that this run has trained already, got {most}"
        )


def _check_weights(saved: dict[str, Tensor], weights: dict[str, Tensor]) -> None:
    for name in saved.keys() | weights.keys():
        was, now = (list(state[name].shape) if name in state else None for state in (saved, weights))
        if was != now:
            raise ConfigError(f"model: a resumed run keeps its network; {name} was {was}, would be {now}")


def _change(checkpoint: dict[str, Any], name: str, value: Any, before: Any) -> None:
    groups = checkpoint["optimizer_states"][0]["param_groups"]
    if name == "lr":
        _scale_rate(checkpoint, groups, value / before)
    elif name == "weight_decay":
        groups[0][name] = value  # the other group, if there is one, is spared from decay
    else:
        for group in groups:
            group[name] = value


def _scale_rate(checkpoint: dict[str, Any], groups: list[dict[str, Any]], factor: float) -> None:
    """Change the rate that schedules start from; what they made of it so far stays."""
    for group in groups:
        group["lr"] *= factor
        if "initial_lr" in group:
            group["initial_lr"] *= factor
    for schedule in checkpoint["lr_schedulers"]:
        schedule["base_lrs"] = [rate * factor for rate in schedule["base_lrs"]]
        schedule["_last_lr"] = [rate * factor for rate in schedule["_last_lr"]]


log = logging.getLogger(__name__)

_PREFIXES = ("net.", "_orig_mod.")  # of a LightningModule, of a network that was compiled


def load_initial_weights(source: Any, net: nn.Module) -> None:
    """Copy what fits into a network, and say what was left out.

    Args:
        source: a run's folder, or a file: a checkpoint, or a plain state_dict.

    Raises:
        ConfigError: the file is missing or damaged, or nothing of it fits.
    """
    path, saved = find_initial_weights(source), read_weights(source)
    taken = fitting_weights(saved, net)
    if not taken:
        raise ConfigError(f"init_from: no weight in {path} has the name and the shape of one of this network")
    net.load_state_dict(taken, strict=False)
    if not run_folder.is_follower():
        log.info("%s", printable(_report(path, saved, net.state_dict(), taken)))


def fitting_weights(saved: dict[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """What of the saved tensors a network can take; nothing where no weight is among it."""
    own = net.state_dict()
    taken = {name: tensor for name, tensor in saved.items() if name in own and tensor.shape == own[name].shape}
    return taken if any(name in taken for name, _ in net.named_parameters()) else {}


def read_weights(source: Any) -> dict[str, Tensor]:
    """The tensors of a run's best checkpoint, or of a file.

    Raises:
        ConfigError: the file is missing or damaged.
    """
    path = find_initial_weights(source)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        weights = content.get("state_dict", content)
        return {_bare(name): weight for name, weight in weights.items() if isinstance(weight, Tensor)}
    except Exception as error:  # torch raises whatever a damaged file provokes
        raise ConfigError(f"init_from: {path} is no checkpoint ({' '.join(str(error).split())[:200]})") from error


def _bare(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _report(path: Path, saved: dict[str, Tensor], own: dict[str, Tensor], fitting: dict[str, Tensor]) -> str:
    left_out = [f"{name} {list(saved[name].shape)}" for name in saved if name not in fitting]
    fresh = [f"{name} {list(own[name].shape)}" for name in own if name not in fitting]
    report = f"init_from: {len(fitting)} of {len(own)} tensors from {path}"
    report += f"; left out: {', '.join(left_out)}" if left_out else ""
    return report + (f"; stays fresh: {', '.join(fresh)}" if fresh else "")

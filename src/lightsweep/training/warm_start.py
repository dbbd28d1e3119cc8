"""Weights to start from: those of an earlier run, wherever names and shapes are the same."""

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightsweep.core.errors import ConfigError
from lightsweep.core.text import printable
from lightsweep.runs import run_folder
from lightsweep.runs.checkpoint_files import to_start_from

log = logging.getLogger(__name__)

_PREFIXES = ("net.", "_orig_mod.")  # of a LightningModule, of a network that was compiled


def start_from(source: Any, net: nn.Module) -> None:
    """Copy what fits into a network, and say what was left out.

    Args:
        source: a run's folder, or a file: a checkpoint, or a plain state_dict.

    Raises:
        ConfigError: the file is missing or damaged, or nothing of it fits.
    """
    path, saved = to_start_from(source), read(source)
    taken = fitting(saved, net)
    if not taken:
        raise ConfigError(f"init_from: no weight in {path} has the name and the shape of one of this network")
    net.load_state_dict(taken, strict=False)
    if not run_folder.is_follower():
        log.info("%s", printable(_report(path, saved, net.state_dict(), taken)))


def fitting(saved: dict[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """What of the saved tensors a network can take; nothing where no weight is among it."""
    own = net.state_dict()
    taken = {name: tensor for name, tensor in saved.items() if name in own and tensor.shape == own[name].shape}
    return taken if any(name in taken for name, _ in net.named_parameters()) else {}


def read(source: Any) -> dict[str, Tensor]:
    """The tensors of a run's best checkpoint, or of a file.

    Raises:
        ConfigError: the file is missing or damaged.
    """
    path = to_start_from(source)
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

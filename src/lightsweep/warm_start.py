"""Weights to start from: those of an earlier run, wherever names and shapes are the same."""

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightsweep import run_folder
from lightsweep.checkpoint_files import to_start_from
from lightsweep.errors import ConfigError
from lightsweep.names import printable

log = logging.getLogger(__name__)

_PREFIXES = ("net.", "_orig_mod.")  # of a LightningModule, of a network that was compiled


def start_from(source: Any, net: nn.Module) -> None:
    """Copy what fits into a network, and say what was left out.

    Args:
        source: a run's folder, or a file: a checkpoint, or a plain state_dict.

    Raises:
        ConfigError: the file is missing or damaged, or nothing of it fits.
    """
    path = to_start_from(source)
    saved, own = _read(path), net.state_dict()
    fitting = {name: weight for name, weight in saved.items() if name in own and weight.shape == own[name].shape}
    if not any(name in fitting for name, _ in net.named_parameters()):
        raise ConfigError(f"init_from: no weight in {path} has the name and the shape of one of this network")
    net.load_state_dict(fitting, strict=False)
    if not run_folder.is_follower():
        log.info("%s", printable(_report(path, saved, own, fitting)))


def _read(path: Path) -> dict[str, Tensor]:
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

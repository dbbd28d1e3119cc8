"""What a logger of any kind is given: the settings of a run and its final scores. Others are in `loggers`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

from lightsweep.core.metrics import PARTS, compared_names


class Column(NamedTuple):
    """A column of a table of runs: are texts in it or numbers, and is it shown before the others?"""

    text: bool
    first: bool


# The final metrics by which runs are compared: hp/val_acc of val/acc.
COMPARED = {f"hp/{name.replace('/', '_')}": name for part in PARTS for name in compared_names(part)}


def compared_scores(scores: Mapping[str, float]) -> dict[str, float]:
    """Those of a run's final metrics that are in `COMPARED`, by their names there."""
    return {name: scores[metric] for name, metric in COMPARED.items() if metric in scores}


class Tracker:
    """A logger of settings and numbers, such as a CSV file, which takes no pictures.

    Args:
        logger: one of Lightning's.
    """

    def __init__(self, logger: Any) -> None:
        self.logger: Any = logger

    def start(self, params: Mapping[str, Any], columns: Mapping[str, Column]) -> None:
        self.logger.log_hyperparams(dict(params))

    def scores(self, scores: Mapping[str, float]) -> None:
        self.logger.log_metrics(compared_scores(scores), step=1)

    def figure(self, name: str, path: Path, epoch: int) -> None:
        """A PNG file."""

    def text(self, name: str, path: Path, epoch: int) -> None:
        """A text file."""

    def histogram(self, name: str, values: Tensor, epoch: int) -> None:
        """The values of a tensor."""

    def graph(self, net: nn.Module, images: Tensor) -> None:
        """The network as it works on images ``float [B, C, H, W]``."""

    def close(self, status: str) -> None:
        """The run has ended: completed, interrupted, pruned, diverged or failed."""
        self.logger.finalize("success" if status == "completed" else "failed")


def finite_values(values: Tensor) -> np.ndarray:
    """The values of a tensor that are numbers, as ``float32 [n]``."""
    flat = values.detach().float().flatten()
    return flat[flat.isfinite()].cpu().numpy()


def outcome(status: str) -> str:
    """How trackers that know three ends only see it: success, stopped (by a person or a pruner) or failure."""
    return {"completed": "success", "interrupted": "stopped", "pruned": "stopped"}.get(status, "failure")


_KEYS = ("seed", "data.batch_size", "data.normalize", "trainer.max_epochs", "trainer.precision")
_GROUPS = ("model", "optimizer", "scheduler", "loss", "data.augment")
_NAMED = ("data", "model", "optimizer", "scheduler")
_TYPED = ("data.", "model.", "optimizer.", "scheduler.", "loss.", "callbacks.", "trainer.", "monitor.", "decay_all")

# TensorBoard takes the columns of its table from one run for all: they are the same for every run, whatever its
# optimizer or network, and what was typed or searched comes on top.
_NUMBERS = (
    *("optimizer.lr", "optimizer.weight_decay", "optimizer.momentum", "scheduler.warmup"),
    *("model.width", "model.depth", "model.taper", "model.bn", "model.dropout"),
    *("data.batch_size", "data.augment.flip", "data.augment.crop", "data.augment.cutout", "data.augment.noise"),
    *("loss.label_smoothing", "loss.l2", "trainer.max_epochs", "seed"),
)
_ALWAYS_FIRST = ("model", "data")
_FIRST = ("optimizer.lr", "model.width", "model.dropout", "optimizer", "seed")  # as long as fewer than five are typed
_TEXTS = ("data", "model", "optimizer", "scheduler", "model.hidden", "model.activation", "model.init", "data.normalize")


def flat_settings(config: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """The keys that matter, as numbers, booleans and short texts.

    Args:
        overrides: what was typed or searched, ``key=value`` each: it matters to whoever typed it.
    """
    params = {group: _name(config[group]) for group in _NAMED}
    typed = (key for key in _typed(overrides) if key not in _NAMED)
    params |= {key: _select(config, key) for key in (*_KEYS, *typed)}
    chosen = {group: node for group in _GROUPS if (node := _select(config, group)) is not None}
    for group, contents in chosen.items():  # a data module of the user's own has no data.augment
        params |= {f"{group}.{key}": value for key, value in contents.items() if not str(key).startswith("_")}
    return {key: _scalar(value) for key, value in params.items() if value is not None}


def table_columns(params: dict[str, Any], overrides: Sequence[str]) -> dict[str, Column]:
    """The columns of a table of runs by key; what was typed or searched comes first, with model and data."""
    typed = [key for key in _typed(overrides) if key in params]
    kinds = dict.fromkeys(_TEXTS, True) | dict.fromkeys(_NUMBERS, False)
    kinds |= {key: isinstance(params[key], str) for key in typed}
    first = {*typed, *_ALWAYS_FIRST}
    others = [key for key in _FIRST if key not in first]
    first |= set(others[: max(0, 5 - len(first))])  # as many as the tab opens with
    return {key: Column(text, key in first) for key, text in kinds.items()}


def _typed(overrides: Sequence[str]) -> list[str]:
    keys = (override.partition("=")[0].lstrip("+") for override in overrides if "=" in override)
    return [key for key in keys if key in _NAMED or key.startswith(_TYPED)]


def _select(config: Mapping[str, Any], key: str) -> Any:
    """The value of ``model.dropout``; None where there is none."""
    node: Any = config
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def _name(node: Mapping[str, Any]) -> str:
    return str(node["_target_"]).rpartition(".")[2]


def _scalar(value: Any) -> Any:
    return value if isinstance(value, int | float | str) else str(value)

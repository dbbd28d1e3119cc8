"""What a run varies, for the loggers: the keys that matter, flat, as plain values."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

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


def flat(cfg: DictConfig, overrides: Sequence[str]) -> dict[str, Any]:
    """The keys that matter, as numbers, booleans and short texts.

    Args:
        overrides: what was typed or searched, ``key=value`` each: it matters to whoever typed it.
    """
    params = {group: _name(cfg[group]) for group in _NAMED}
    typed = (key for key in _typed(overrides) if key not in _NAMED)
    params |= {key: OmegaConf.select(cfg, key) for key in (*_KEYS, *typed)}
    chosen = {group: node for group in _GROUPS if (node := OmegaConf.select(cfg, group)) is not None}
    for group, contents in chosen.items():  # a data module of the user's own has no data.augment
        plain: Any = OmegaConf.to_container(contents, resolve=True)
        params |= {f"{group}.{key}": value for key, value in plain.items() if not str(key).startswith("_")}
    return {key: _scalar(value) for key, value in params.items() if value is not None}


class Column(NamedTuple):
    """A column of a table of runs: are texts in it or numbers, and is it shown before the others?"""

    text: bool
    first: bool


def columns(params: dict[str, Any], overrides: Sequence[str]) -> dict[str, Column]:
    """The columns of a table of runs by key; what was typed or searched comes first, beside model and data."""
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


def _name(node: DictConfig) -> str:
    return str(node._target_).rpartition(".")[2]


def _scalar(value: Any) -> Any:
    return value if isinstance(value, int | float | str) else str(value)

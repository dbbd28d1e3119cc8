"""What a run varies, for the loggers: the keys that matter, flat, as plain values."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

_KEYS = ("seed", "data.batch_size", "data.normalize", "trainer.max_epochs", "trainer.precision")
_GROUPS = ("model", "optimizer", "scheduler", "loss", "data.augment")


def flat(cfg: DictConfig) -> dict[str, Any]:
    """The keys that matter, as numbers, booleans and short texts."""
    params = {"optimizer": _name(cfg.optimizer), "scheduler": _name(cfg.scheduler)}
    params |= {key: OmegaConf.select(cfg, key) for key in _KEYS}
    for group in _GROUPS:
        node: Any = OmegaConf.to_container(OmegaConf.select(cfg, group), resolve=True)
        params |= {f"{group}.{key}": value for key, value in node.items() if not str(key).startswith("_")}
    return {key: _scalar(value) for key, value in params.items() if value is not None}


def _name(node: DictConfig) -> str:
    return str(node._target_).rpartition(".")[2]


def _scalar(value: Any) -> Any:
    return value if isinstance(value, int | float | str) else str(value)

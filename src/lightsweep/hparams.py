"""What a run varies, for the loggers: TensorBoard's HParams tab, one row a run, with the real metrics."""

from collections.abc import Collection, Iterable
from typing import Any

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import Logger, TensorBoardLogger

_METRICS = ("hp/train_acc", "hp/val_acc", "hp/val_loss", "hp/test_acc")
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


def log_start(loggers: Iterable[Logger], cfg: DictConfig, parts: Collection[str]) -> None:
    """Log what the run varies, with placeholders for the metrics of the parts that will be scored."""
    metrics = [name for name in _METRICS if name.removeprefix("hp/").partition("_")[0] in parts]
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(flat(cfg), dict.fromkeys(metrics, 0.0))
        else:
            logger.log_hyperparams(flat(cfg))


def log_end(loggers: Iterable[Logger], facts: dict[str, Any]) -> None:
    """Replace the metrics' placeholders by what was scored: ``val/acc`` as ``hp/val_acc``."""
    scored = {name: facts.get(name.removeprefix("hp/").replace("_", "/", 1)) for name in _METRICS}
    for logger in loggers:
        logger.log_metrics({name: value for name, value in scored.items() if value is not None}, step=1)
        logger.finalize("success")


def _name(node: DictConfig) -> str:
    return str(node._target_).rpartition(".")[2]


def _scalar(value: Any) -> Any:
    return value if isinstance(value, int | float | str) else str(value)

"""Lightning's Trainer from the config, with what every run has whatever its config says."""

from pathlib import Path

import pytorch_lightning as pl
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback, LearningRateMonitor

from lightsweep.build import build
from lightsweep.checkpoints import AtomicCheckpointIO, LastCheckpoint
from lightsweep.metrics import MetricsFile
from lightsweep.recorder import Recorder


def make(cfg: DictConfig, folder: Path, metrics: MetricsFile) -> pl.Trainer:
    """The Trainer of a run whose records lie in `folder`."""
    loggers = [build(node, f"logger.{name}") for name, node in cfg.logger.items()]
    chosen = [build(node, f"callbacks.{name}") for name, node in cfg.callbacks.items()]
    if not loggers:
        chosen = [callback for callback in chosen if not isinstance(callback, LearningRateMonitor)]
    always: list[Callback] = [Recorder(metrics, seed=cfg.seed), LastCheckpoint(folder / "checkpoints")]
    return build(
        cfg.trainer,
        "trainer",
        logger=loggers,
        callbacks=always + chosen,
        plugins=[AtomicCheckpointIO()],
        default_root_dir=str(folder),
        use_distributed_sampler=False,  # the loader shares the data out itself
    )

"""Lightning's Trainer from the config, with what every run has whatever its config says."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import pytorch_lightning as pl
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback, LearningRateMonitor, ModelCheckpoint
from pytorch_lightning.loggers import Logger
from pytorch_lightning.profilers import AdvancedProfiler, PyTorchProfiler, SimpleProfiler
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import nn

from lightsweep import checks, endings, memory
from lightsweep.build import build, explain
from lightsweep.checkpoints import AtomicCheckpointIO, LastCheckpoint
from lightsweep.data.module import ImageDataModule
from lightsweep.errors import ConfigError, Diverged, Pruned, RunFailed
from lightsweep.metrics import MetricsFile
from lightsweep.names import printable
from lightsweep.recorder import Recorder

log = logging.getLogger(__name__)
_Part = TypeVar("_Part")
_PROFILERS = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}
_PROFILE = "profile"  # a profiler's file is fit-profile.txt


def make(
    cfg: DictConfig, folder: Path, metrics: MetricsFile, further: Sequence[Callback] = (), *, in_trial: bool = False
) -> pl.Trainer:
    """The Trainer of a run whose records lie in `folder`, with further callbacks that no config names.

    Args:
        in_trial: leave out the callbacks that say `in_trials: false`.
    """
    loggers = _built(cfg.logger, "logger", Logger, folder)  # type: ignore[type-abstract]
    chosen = _built(cfg.callbacks, "callbacks", Callback, folder)
    if in_trial:
        chosen = [callback for callback in chosen if getattr(callback, "in_trials", True)]
    if not loggers:
        chosen = [callback for callback in chosen if not isinstance(callback, LearningRateMonitor)]
    first = Recorder(metrics, seed=cfg.seed)
    last = LastCheckpoint(folder / "checkpoints")  # saves what the others know, the best score among it
    profiler = _PROFILERS.get(str(cfg.trainer.get("profiler")))  # by itself it would report to Lightning's information
    profile = {"profiler": profiler(dirpath=str(folder), filename=_PROFILE)} if profiler else {}
    return build(
        cfg.trainer,
        "trainer",
        folder=folder,
        logger=loggers,
        callbacks=[first, *chosen, *further, last],
        plugins=[AtomicCheckpointIO(_checkpoint_folders(folder, chosen))],
        default_root_dir=str(folder),
        use_distributed_sampler=False,  # the loader shares the data out itself
        **profile,
    )


def _checkpoint_folders(folder: Path, callbacks: Sequence[Callback]) -> list[Path]:
    """Where a run keeps checkpoints: in its own folder, or where a person typed."""
    typed = [callback.dirpath for callback in callbacks if isinstance(callback, ModelCheckpoint)]
    return [folder, *(Path(str(each)) for each in typed if each is not None)]


def _built(nodes: DictConfig, group: str, kind: type[_Part], folder: Path) -> list[_Part]:
    """What the nodes of a group name. One that names nothing sets keys of a choice that another choice replaced, as
    ``experiment=reference/a4 callbacks=none`` leaves the patience that A4 asks for."""
    parts = []
    for name, node in nodes.items():
        if "_target_" not in node:
            log.info("%s.%s is not among the chosen: left out", group, printable(str(name)))
            continue
        part = build(node, f"{group}.{name}", folder=folder)
        rule = f"be a {kind.__name__.lower()} of Lightning's"
        checks.require(isinstance(part, kind), f"{group}.{name}", rule, type(part).__name__)
        parts.append(part)
    return parts


def fit(trainer: pl.Trainer, classifier: pl.LightningModule, data: ImageDataModule, last: Path) -> None:
    """Train, from the checkpoint `last` on if it is there.

    Raises:
        ConfigError: the Trainer's arguments do not go with the data, which Lightning sees only now.
    """
    data.check_shares(trainer.world_size)
    whole_epochs = isinstance(trainer.limit_train_batches, float) and trainer.limit_train_batches == 1.0
    if whole_epochs and any(isinstance(each, nn.BatchNorm1d) for each in classifier.modules()):
        data.check_batches_of_one(trainer.world_size)
    try:
        trainer.fit(classifier, datamodule=data, ckpt_path=last if last.exists() else None, weights_only=True)
        _say_how_it_ended(trainer)
    except MisconfigurationException as error:
        raise explain(error, "trainer") from error
    except (ConfigError, Diverged, Pruned, RunFailed, OSError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, ValueError) and "val_check_interval" in str(error):  # seen only when batches are counted
            batches, interval = trainer.fit_loop.max_batches, trainer.val_check_interval
            rule = f"be at most {batches}, the batches of an epoch"
            raise ConfigError(f"trainer.val_check_interval must {rule}, got {interval}") from error
        # Nothing was trained: what is there could not be restored, where there is memory for it.
        if last.exists() and not _has_begun(trainer) and not memory.is_exhausted(error):
            raise ConfigError(f"{last} cannot be gone on with ({explain(error, type(error).__name__)})") from error
        raise


def _has_begun(trainer: pl.Trainer) -> bool:
    return (recorder := _recorder(trainer)) is not None and recorder.epochs_before is not None


def _say_how_it_ended(trainer: pl.Trainer) -> None:
    if isinstance(getattr(trainer, "profiler", None), tuple(_PROFILERS.values())):
        for profile in sorted(Path(trainer.default_root_dir).glob(f"fit-{_PROFILE}*.txt")):
            log.info("profile: %s", profile)
    recorder = _recorder(trainer)
    if recorder is None or not trainer.is_global_zero:
        return
    before = trainer.current_epoch if recorder.epochs_before is None else recorder.epochs_before
    if line := endings.told(trainer, recorder.metrics, before=before):
        log.info("%s", line)


def _recorder(trainer: pl.Trainer) -> Recorder | None:
    """A learning-rate range test has none."""
    return next((each for each in trainer.callbacks if isinstance(each, Recorder)), None)  # type: ignore[attr-defined]

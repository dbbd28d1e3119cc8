"""lightsweep as a user has it: the configs' own callbacks, loggers, checkpoints and fused AdamW."""

import tempfile
from pathlib import Path

import hydra
from omegaconf import DictConfig

import train
from benchmarks.clock import EpochClock
from benchmarks.setting import BATCH_SIZE, DROPOUT, HIDDEN, LEARNING_RATE, VAL_FRACTION, Setting
from lightsweep.config.build import build
from lightsweep.core.seeds import seed_everything
from lightsweep.data.module import ImageDataModule
from lightsweep.runs.metrics import MetricsFile
from lightsweep.runs.run_folder import ROOT
from lightsweep.training import tracking, trainer


def read(setting: Setting) -> ImageDataModule:
    """The data set, read and split."""
    data = build(_config(setting, setting.scratch).data, "data")
    data.setup()
    return data


def images_in_an_epoch(data: ImageDataModule) -> int:
    return len(data.indices["train"]) // BATCH_SIZE * BATCH_SIZE


def an_epoch(setting: Setting, data: ImageDataModule) -> float:
    """Seconds of an epoch, the mean over a fresh run's."""
    folder = Path(tempfile.mkdtemp(dir=setting.scratch))
    cfg = _config(setting, folder)
    seed_everything(cfg.seed)
    fitting = trainer.make(cfg, folder, MetricsFile(folder / "metrics.csv"))
    clock = EpochClock(setting.device)
    fitting.callbacks.insert(0, clock)  # type: ignore[attr-defined]  # Lightning sets it without declaring it
    tracking.Trackers(fitting.loggers).start(tracking.flat_settings(cfg, []), {})
    fitting.fit(train.build_classifier(cfg, data), datamodule=data)
    return clock.seconds / setting.epochs


def _config(setting: Setting, folder: Path) -> DictConfig:
    overrides = {
        "run_dir": folder,
        "data_dir": setting.data_dir,
        "data.limit": setting.limit,
        "data.val_fraction": VAL_FRACTION,
        "data.batch_size": BATCH_SIZE,
        "model.hidden": list(HIDDEN),
        "model.bn": True,
        "model.dropout": DROPOUT,
        "optimizer": "adamw",
        "optimizer.lr": LEARNING_RATE,
        "trainer": "gpu" if setting.device == "cuda" else "cpu",
        "trainer.precision": setting.precision,
        "trainer.max_epochs": setting.epochs,
    }
    with hydra.initialize_config_dir(str(ROOT / "conf")):
        return hydra.compose("train", [f"{key}={value}" for key, value in overrides.items()])

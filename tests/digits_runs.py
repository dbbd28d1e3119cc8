"""Configs composed as train.py composes them, and runs in this process on the bundled digits."""

import csv
import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

import train
from lightsweep.app import jobs
from lightsweep.config import permissions
from lightsweep.runs import run_folder, saved_config

CONF = Path(__file__).resolve().parents[1] / "conf"
SMALL = ("data=digits", "trainer=cpu", "trainer.max_epochs=2", "model.width=16", "model.depth=1", "logger=none")
TIMES = ("seconds", "images_per_second")
EVERYTHING = (
    "model.bn=true",
    "model.dropout=0.3",
    "data.augment.flip=true",
    "data.augment.crop=1",
    "data.augment.cutout=2",
    "data.augment.noise=0.1",
)


@dataclass(frozen=True)
class Run:
    """A run's folder, what `train` returned, and the records as a reader from outside finds them."""

    folder: Path
    value: float

    @property
    def result(self) -> dict[str, Any]:
        return json.loads((self.folder / "result.json").read_text())

    @property
    def rows(self) -> list[dict[str, str]]:
        with (self.folder / "metrics.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    @property
    def measured(self) -> list[dict[str, str]]:
        """The rows without what a clock measured, as text: equal only where every bit is."""
        return [{name: cell for name, cell in row.items() if name not in TIMES} for row in self.rows]

    def checkpoint(self, name: str) -> dict[str, Any]:
        return torch.load(self.folder / "checkpoints" / name, weights_only=True)


def opened(cfg: DictConfig, folder: Path, kind: str, overrides: Sequence[str]) -> jobs.Run:
    """A run as `jobs.open_run` gives it to train.py."""
    return jobs.Run(folder, kind, list(overrides), [], partial(saved_config.write_changes, cfg, folder))


@cache
def with_groups(choices: tuple[str, ...]) -> DictConfig:
    with hydra.initialize_config_dir(str(CONF)):
        return hydra.compose("train", [*SMALL, *choices])


def composed(folder: Path, *overrides: str) -> DictConfig:
    """As Hydra composes it; composed once for each choice of groups, and the other overrides put on top of a copy."""
    dotted = [override for override in overrides if "." in override.partition("=")[0]]
    cfg = deepcopy(with_groups(tuple(override for override in overrides if override not in dotted)))
    ConfigLoaderImpl._apply_overrides_to_config(OverridesParser.create().parse_overrides(dotted), cfg)
    cfg.run_dir = str(folder)
    return cfg


def trained(
    folder: Path,
    *overrides: str,
    kind: str = "run",
    shown: bool = False,
    edit: Callable[[DictConfig], None] = lambda cfg: None,
) -> Run:
    """Train in this process; without the callbacks that show a run, which cost seconds, unless they are `shown`.

    `edit` changes the composed config."""
    folder.mkdir(parents=True, exist_ok=True)
    cfg = composed(folder, "data.limit=300", *overrides)
    edit(cfg)
    permissions.declare_typed(permissions.read_typed(overrides))  # after composing, which may declare too
    OmegaConf.set_struct(cfg.callbacks, False)
    for name in () if shown else ("figures", "histograms", "graph"):
        cfg.callbacks.pop(name, None)
    OmegaConf.save(cfg, folder / run_folder.CONFIG)  # as the callback `ConfigFirst` does
    return Run(folder, train.run(cfg, opened(cfg, folder, kind, overrides)))


class Stopped(Exception):
    """As good as a kill: nothing of the epoch is kept."""


def stop_in_epoch(epoch: int) -> type:
    from lightsweep.training.callbacks import Recorder

    class StopsEarly(Recorder):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, index) -> None:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, index)
            if trainer.current_epoch + 1 == epoch and index == 2:
                raise Stopped

    return StopsEarly


def same(one: dict, other: dict) -> bool:
    keys = ["train/loss", "train/acc", "val/loss", "val/acc", "test/loss", "test/acc", "best_epoch", "epochs"]
    return [one[key] for key in keys] == [other[key] for key in keys]

"""What tests share: configs composed as train.py composes them, runs in this process on the bundled digits, and tiny
CIFAR-10 files in the official format."""

import csv
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import hydra
import pytest
import torch
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

import train
from cifar10_files import write_cifar10
from lightsweep import cli, command, run_folder

torch.set_num_threads(1)

CONF = Path(__file__).resolve().parents[1] / "conf"
SMALL = ("data=digits", "trainer=cpu", "trainer.max_epochs=2", "model.width=16", "model.depth=1", "logger=none")
TIMES = ("seconds", "images_per_second")


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


def trained(folder: Path, *overrides: str, kind: str = "run", shown: bool = False) -> Run:
    """Train in this process; without the callbacks that show a run, which cost seconds, unless they are `shown`."""
    folder.mkdir(parents=True, exist_ok=True)
    cfg = composed(folder, "data.limit=300", *overrides)
    OmegaConf.set_struct(cfg.callbacks, False)
    for name in () if shown else ("figures", "histograms", "graph"):
        cfg.callbacks.pop(name, None)
    OmegaConf.save(cfg, folder / run_folder.CONFIG)  # as the callback `ConfigFirst` does
    return Run(folder, train.train(cfg, folder, kind=kind, overrides=list(overrides)))


@pytest.fixture
def compose(tmp_path: Path) -> Callable[..., DictConfig]:
    """conf/train.yaml with small overrides and the given ones on top."""
    return lambda *overrides: composed(tmp_path / "run", *overrides)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Run]:
    """Train in this process, in the folder `name`; again in the same folder goes on from its last.ckpt."""
    return lambda *overrides, name="run": trained(tmp_path / name, *overrides)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A whole run of three epochs with BatchNorm, our own loggers and all that is shown of it. Tests only read it."""
    folder = tmp_path_factory.mktemp("finished")
    return trained(
        folder, "trainer.max_epochs=3", "logger=[tensorboard,csv]", "model.bn=true", "model.dropout=0.1", shown=True
    )


@dataclass(frozen=True)
class Launched:
    code: int
    out: str
    err: str


@pytest.fixture
def launch(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Iterator[Callable[..., Launched]]:
    """Run train.py's command line in this process; gives its exit code and what it printed."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def launched(*arguments: str) -> Launched:
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
        monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
        monkeypatch.setenv("HYDRA_MAIN_MODULE", "__main__")  # conf/ lies beside src/, as for a script
        code = 0
        try:
            cli.launch(train.main)
        except SystemExit as end:
            code = end.code
        return Launched(code, *capsys.readouterr())

    yield launched
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable[..., Launched]:
    """Run the `main` of evaluate, predict or export with these arguments in this process."""

    def called(main: Callable[[], int], *arguments: object) -> Launched:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", [f"{main.__module__}.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            command.launch(main)
        return Launched(end.value.code, *capsys.readouterr())

    return called


@pytest.fixture
def cifar10(tmp_path: Path) -> Path:
    """A data_dir that holds a tiny CIFAR-10."""
    write_cifar10(tmp_path / "data")
    return tmp_path / "data"

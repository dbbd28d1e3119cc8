"""Every named experiment can be built, has the parameters of its report, and Keras's settings where it needs them."""

from copy import deepcopy
from functools import cache
from math import cos, pi
from pathlib import Path

import hydra
import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from lightsweep.app import steps, validation
from lightsweep.app.validation import plain_config
from lightsweep.config.build import build
from lightsweep.training.classifier import Classifier
from lightsweep.training.summary import count_parameters

CONF = Path(__file__).resolve().parents[2] / "conf"
EXPERIMENTS = sorted(
    str(file.relative_to(CONF / "experiment").with_suffix("")) for file in CONF.glob("experiment/**/[!_]*.yaml")
)
KERAS = [name for name in EXPERIMENTS if name.startswith("reference/") and not name.startswith("reference/e_")]

# Keras's count_params(). Those of D2 and D4 are what layers of their widths have; the report prints others.
COUNTS = {
    99_722: ["b0", "b1", "c0", "d1", "d5", "d6", "d8", "d9", "d10"],  # 2 x 32
    427_658: ["d3"],
    820_874: ["a1"],
    1_710_346: ["a2", "a2_cosine", "a2_step"],
    3_805_450: ["a3", "a3_cosine", "a3_step"],
    1_975_050: ["a4", "a4_cosine", "a4_step"],
    1_738_890: [name.partition("/")[2] for name in KERAS if "/c" in name and name[11] in "123456"],
    830_282: [f"d{number}" for number in range(11, 26)],
    209_802: ["d2"],
    828_490: ["d4"],
}
COUNT_OF = {name: count for count, names in COUNTS.items() for name in names}


@cache
def composed(name: str) -> DictConfig:
    with hydra.initialize_config_dir(str(CONF)):
        gpu = ["trainer.accelerator=auto"] if name.endswith("_gpu") else []  # nothing is built without one
        return hydra.compose("train", [f"experiment={name}", "run_dir=/nowhere", "data_dir=/nowhere", *gpu])


@cache
def built(name: str) -> Classifier:
    """What it trains, without memory for its weights."""
    cifar10 = build(composed("reference/d1").data, "data").preview()
    with torch.device("meta"):
        return steps.build_classifier(plain_config(composed(name)), cifar10)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_can_be_built(name: str, tmp_path: Path) -> None:
    cfg = deepcopy(composed(name))
    if "root" in cfg.data:  # which must be there
        cfg.data.root = str(tmp_path)
    validation.check_config(cfg, [])
    build(cfg.data, "data")
    for key, node in cfg.callbacks.items():
        build(node, f"callbacks.{key}")
    build(cfg.trainer, "trainer", logger=False)
    count = count_parameters(built(name).net)["params_keras"]
    assert count == COUNT_OF.get(Path(name).name, count)
    if name in KERAS:
        check_keras_settings(cfg)


def check_keras_settings(cfg: DictConfig) -> None:
    """One function with the test above: composing an experiment takes a third of a second."""
    assert (cfg.data.split, cfg.data.val_fraction, cfg.data.drop_last) == ("first", 0.1, False)
    assert (cfg.model.bn_momentum, cfg.model.bn_eps, cfg.model.head_init) == (0.01, 1e-3, "glorot_uniform")
    assert cfg.optimizer.get("eps", 1e-7) == 1e-7
    assert cfg.decay_all
    assert not cfg.loss.l2_head
    if cfg.scheduler._target_.endswith("plateau"):  # Keras's val_loss has the L2 term
        assert (cfg.scheduler.monitor, cfg.scheduler.mode) == ("val/objective", "min")
        assert (cfg.scheduler.threshold_mode, cfg.scheduler.threshold) == ("abs", 1e-4)


def test_every_count_of_the_reports_is_checked() -> None:
    assert set(COUNT_OF) <= {Path(name).name for name in EXPERIMENTS}


ROWS = {
    "a1": {
        "scheduler.patience": 2,
        "callbacks.early_stopping.patience": 5,
        "score_with": "best",
        "monitor.metric": "val/acc",
    },
    "a2": {"optimizer.lr": 5e-4, "data.batch_size": 128, "model.dropout": 0.3, "model.init": "he_normal"},
    "a3": {"loss.l2": 1e-4, "optimizer.nesterov": True, "optimizer.momentum": 0.9, "optimizer.lr": 1e-2},
    "a4": {"optimizer.weight_decay": 1e-4, "optimizer.eps": 1e-7, "model.activation": "gelu", "data.batch_size": 64},
    "b0": {"score_with": "last", "data.batch_size": 32, "trainer.max_epochs": 5},
    "c4_sgd": {"optimizer.nesterov": False, "optimizer.momentum": 0.9, "model.init": "he_normal"},
    "c4_rmsprop": {"optimizer.rho": 0.9, "score_with": "last", "trainer.max_epochs": 30},
    "c5": {"monitor.metric": "val/objective", "score_with": "best", "callbacks.early_stopping.patience": 5},
    "c8": {
        "model.bn_position": "after",
        "data.normalize": "feature",
        "data.augment.noise": 0.01,
        "data.augment.noise_redraw": False,
        "model.dropout": 0.3,
        "optimizer.rho": 0.9,
        "loss.l2": 1e-4,
    },
    "d15": {"optimizer.nesterov": False},
    "d16": {"optimizer.nesterov": True},
    "d22": {"score_with": "best", "monitor.metric": "val/objective", "trainer.max_epochs": 50},
    "d23": {"scheduler.min_lr": 1e-6, "scheduler.patience": 2, "score_with": "last"},
    "d25": {"score_with": "last", "scheduler.patience": 3, "callbacks.early_stopping.patience": 10},
}


@pytest.mark.parametrize("row", ROWS)
def test_an_experiment_has_the_values_of_its_report(row: str) -> None:
    cfg = composed(f"reference/{row}")
    assert {key: OmegaConf.select(cfg, key, throw_on_missing=True) for key in ROWS[row]} == ROWS[row]


def test_the_cosine_of_d24_is_keras_cosine_decay() -> None:
    cfg = composed("reference/d24")
    steps, floor = 704, 1e-6
    optimizer = torch.optim.Adam([torch.zeros(1)], lr=cfg.optimizer.lr)
    schedule = build(cfg.scheduler, "scheduler")(optimizer, cfg.trainer.max_epochs, steps)
    assert schedule["interval"] == "step"
    total = steps * cfg.trainer.max_epochs
    for step in (0, 1, steps, total // 2, total - 1):
        keras = floor + (1e-3 - floor) * (1 + cos(pi * step / total)) / 2
        assert 1e-3 * schedule["scheduler"].lr_lambdas[0](step) == pytest.approx(keras)


def test_optimizer_and_schedule_of_an_experiment_can_be_replaced() -> None:
    with hydra.initialize_config_dir(str(CONF)):
        cfg = hydra.compose("train", ["experiment=reference/a2", "optimizer=rmsprop_keras", "scheduler=cosine"])
    assert cfg.optimizer.lr == 5e-4
    assert "patience" not in cfg.scheduler

"""Learning-rate schedules against their closed forms, and plateau against torch's own."""

from itertools import pairwise
from math import cos, pi

import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lightsweep.config.build import build
from lightsweep.core.errors import ConfigError

LR, EPOCHS, STEPS = 0.4, 8, 5


@pytest.fixture
def schedule(compose):
    """The schedule of a config over a fresh optimizer with a rate of `LR`."""

    def built(*overrides: str, epochs: int = EPOCHS, optimizer: SGD | None = None) -> dict:
        partial = build(compose(*overrides).scheduler, "scheduler")
        return partial(optimizer or SGD([torch.zeros(1, requires_grad=True)], lr=LR), epochs, STEPS)

    return built


def rates(schedule: dict, ticks: int) -> list[float]:
    scheduler, seen = schedule["scheduler"], []
    for _ in range(ticks):
        seen.append(scheduler.get_last_lr()[0])
        scheduler.optimizer.step()
        scheduler.step()
    return seen


def test_constant_stays(schedule) -> None:
    assert rates(schedule("scheduler=constant"), 20) == [LR] * 20


def test_step_multiplies_after_each_few_epochs(schedule) -> None:
    overrides = ["scheduler=step", "scheduler.every=3", "scheduler.factor=0.1"]
    assert rates(schedule(*overrides), 8) == pytest.approx([LR] * 3 + [LR * 0.1] * 3 + [LR * 0.01] * 2)


@pytest.mark.parametrize(("interval", "ticks"), [("epoch", 1), ("step", STEPS)])
@pytest.mark.parametrize("low", [0.0, 0.1])
def test_cosine_is_half_a_cosine(schedule, interval: str, ticks: int, low: float) -> None:
    total = EPOCHS * ticks
    expected = [low + (LR - low) * (1 + cos(pi * tick / total)) / 2 for tick in range(total + 3)]
    expected[total:] = [low] * 3  # and stays there
    made = schedule("scheduler=cosine", f"scheduler.interval={interval}", f"scheduler.min_lr={low}")
    assert rates(made, total + 3) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["constant", "step", "cosine"])
@pytest.mark.parametrize("warmup", [1, 2.4])
def test_warmup_rises_linearly_to_the_full_rate(schedule, name: str, warmup: float) -> None:
    seen = rates(schedule(f"scheduler={name}", f"scheduler.warmup={warmup}", "scheduler.interval=step"), 20)
    end = round(warmup * STEPS)  # the first tick after it
    rises = [second - first for first, second in pairwise(seen[:end])]
    assert seen[0] > 0
    assert rises == pytest.approx([seen[0]] * len(rises))
    assert seen[end] == pytest.approx(LR)


def test_cosine_after_warmup_ends_at_the_lowest_rate(schedule) -> None:
    made = schedule("scheduler=cosine", "scheduler.warmup=2", "scheduler.interval=epoch", "scheduler.min_lr=0.1")
    expected = [0.1 + 0.3 * (1 + cos(pi * tick / 6)) / 2 for tick in range(7)]
    assert rates(made, EPOCHS + 1)[2:] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("overrides", "settings"),
    [
        ([], {"mode": "max"}),
        (["patience=0", "factor=0.1"], {"mode": "max", "patience": 0, "factor": 0.1}),
        (["threshold=0.05", "threshold_mode=rel"], {"mode": "max", "threshold": 0.05, "threshold_mode": "rel"}),
        (["min_lr=0.15"], {"mode": "max", "min_lr": 0.15}),
        (["mode=min", "monitor=val/loss"], {"mode": "min"}),
    ],
)
def test_plateau_is_torchs(schedule, overrides: list[str], settings: dict) -> None:
    made = schedule("scheduler=plateau", *[f"scheduler.{override}" for override in overrides])
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=LR)
    defaults = {"factor": 0.5, "patience": 2, "threshold": 1e-4, "threshold_mode": "abs"}
    oracle = ReduceLROnPlateau(optimizer, **defaults | settings)
    for value in (0.1, 0.3, 0.301, 0.3, 0.3, 0.3, 0.31, 0.3, 0.2, 0.2, 0.2, 0.2, 0.2):
        made["scheduler"].step(value)
        oracle.step(value)
        assert made["scheduler"].get_last_lr() == oracle.get_last_lr()
    assert oracle.get_last_lr()[0] < LR


def test_plateau_follows_the_root_monitor_unless_it_names_its_own(schedule) -> None:
    root = ["monitor.metric=val/loss", "monitor.mode=min"]
    followed = schedule("scheduler=plateau", *root)
    own = schedule("scheduler=plateau", *root, "scheduler.monitor=train/acc", "scheduler.mode=max")
    assert (followed["monitor"], followed["scheduler"].mode) == ("val/loss", "min")
    assert (own["monitor"], own["scheduler"].mode) == ("train/acc", "max")


@pytest.mark.parametrize("name", ["constant", "step", "cosine"])
def test_the_interval_comes_from_the_config(schedule, name: str) -> None:
    assert schedule(f"scheduler={name}", "scheduler.interval=step")["interval"] == "step"
    assert schedule(f"scheduler={name}", "scheduler.interval=epoch")["interval"] == "epoch"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["scheduler=step", "scheduler.every=0"], "scheduler.every must be an integer >= 1, got 0"),
        (["scheduler=step", "scheduler.factor=1"], "scheduler.factor must be in (0, 1), got 1"),
        (["scheduler=cosine", "scheduler.min_lr=-1"], "scheduler.min_lr must be >= 0, got -1"),
        (["scheduler=cosine", "scheduler.warmup=8"], "scheduler.warmup must be in [0, 8), got 8"),
        (["scheduler=constant", "scheduler.warmup=-1"], "scheduler.warmup must be >= 0, got -1"),
        (["scheduler=constant", "scheduler.interval=day"], "scheduler.interval must be one of step, epoch, got 'day'"),
        (["scheduler=plateau", "scheduler.factor=0"], "scheduler.factor must be in (0, 1), got 0"),
        (["scheduler=plateau", "scheduler.patience=-1"], "scheduler.patience must be an integer >= 0, got -1"),
        (["scheduler=plateau", "scheduler.threshold=-1"], "scheduler.threshold must be >= 0, got -1"),
        (["scheduler=plateau", "scheduler.threshold_mode=x"], "scheduler.threshold_mode must be one of abs, rel,"),
        (["scheduler=plateau", "scheduler.min_lr=-1"], "scheduler.min_lr must be >= 0, got -1"),
    ],
)
def test_refuses_values_out_of_range(schedule, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        schedule(*overrides)
    assert str(refusal.value).startswith(message)


def test_cosine_needs_an_end(schedule) -> None:
    with pytest.raises(ConfigError, match=r"trainer.max_epochs must be a number of epochs .*, got -1"):
        schedule("scheduler=cosine", epochs=-1)

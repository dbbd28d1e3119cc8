"""A member's epochs are those of the run that Lightning trains from the same config."""

import pytest

from members import alone, difference, together

SCHEDULES = (
    ("optimizer.lr=0.01", "seed=1", "scheduler.warmup=1.5", "model.dropout=0.2"),
    ("optimizer.lr=0.004", "seed=2", "scheduler=cosine", "scheduler.warmup=0.5", "loss.label_smoothing=0.1"),
    ("optimizer.lr=0.002", "seed=3", "scheduler=step", "scheduler.every=1", "optimizer.weight_decay=0.05"),
    ("optimizer.lr=0.008", "seed=4", "scheduler=plateau", "scheduler.patience=0", "loss.l2=1e-3"),
)
ADAM = ("optimizer.eps=1e-4",)


def test_noise_of_rounding_is_all_that_differs_with_adams_own_eps() -> None:
    """The gradients of biases before BatchNorm are noise of rounding, which Adam turns into full steps: a run on two
    threads is up to 2.6e-3 from one on one thread in val/loss."""
    configs = [("optimizer=adamw", "model.bn=true", "model.depth=2", f"seed={seed}") for seed in (1, 2)]
    _, records = together(configs, 3)
    for overrides, own in zip(configs, records, strict=True):
        rows, _ = alone(overrides, 3)
        assert (
            max(abs(record.measured["val/loss"] - row["val/loss"]) for record, row in zip(own, rows, strict=True))
            < 3e-3
        )


def check(configs: list[tuple[str, ...]], epochs: int, update: str) -> None:
    _, records = together(configs, epochs, update)
    for overrides, own in zip(configs, records, strict=True):
        rows, _ = alone(overrides, epochs)
        assert len(rows) == len(own) == epochs
        assert max(difference(record, rows) for record in own) < 1e-5


@pytest.mark.parametrize(
    "optimizer",
    [
        ("optimizer=sgd", "model.bn=true"),
        ("optimizer=adam", *ADAM, "model.depth=2"),
        ("optimizer=adamw", *ADAM, "model.bn=true"),
        ("optimizer=rmsprop", *ADAM, "optimizer.momentum=0.5"),
        ("optimizer=rmsprop_keras", *ADAM),
    ],
    ids=lambda optimizer: optimizer[0].partition("=")[2],
)
def test_epochs_are_those_of_a_run_of_its_own(optimizer: tuple[str, ...]) -> None:
    for update in ("stacked", "each"):
        check([(*optimizer, *member) for member in SCHEDULES], 3, update)

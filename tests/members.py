"""Members of populations made from composed configs, and the runs of their own that they are compared with."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from lightning_fabric import Fabric

from digits_runs import composed
from lightsweep.app import steps, validation
from lightsweep.app.validation import RunConfig
from lightsweep.config.build import build
from lightsweep.data.module import ImageDataModule
from lightsweep.population.member import EpochRecord, Member, MemberSpec
from lightsweep.population.population import Population
from lightsweep.runs.data_record import Fingerprint
from lightsweep.runs.results import MetricsFile, Row
from lightsweep.training.callbacks import WeightAverage
from lightsweep.training.classifier import Classifier
from lightsweep.training.trainer import build_trainer, quiet_libraries

DIGITS = ("data.limit=300",)


@dataclass(frozen=True)
class Made:
    config: RunConfig
    data: ImageDataModule
    spec: MemberSpec


@cache
def read(overrides: tuple[str, ...]) -> tuple[RunConfig, ImageDataModule, Fingerprint]:
    config = validation.plain_config(composed(Path("nowhere"), *DIGITS, *overrides))
    data = steps.read_data(config)
    return config, data, data.fingerprint()


def made(*overrides: str) -> Made:
    """What a run with these overrides trains, with its initial weights."""
    config, data, fingerprint = read(overrides)
    built = [build(node, f"callbacks.{name}") for name, node in config.callbacks.items() if name == "ema"]
    spec = MemberSpec(
        classifier=steps.initial_classifier(config, data, fingerprint),
        seed=config.seed,
        data_seed=config.data["seed"],
        augment=data.augment,
        clip=config.trainer["gradient_clip_val"],
        average=next((each for each in built if isinstance(each, WeightAverage)), None),
    )
    return Made(config, data, spec)


def population(first: Made, *, places: int, update: str = "auto") -> Population:
    """An empty one, for members like this one."""
    trainer = first.config.trainer
    fabric = Fabric(accelerator=trainer["accelerator"], devices=1, precision=trainer["precision"])
    accumulate = trainer["accumulate_grad_batches"]
    return Population(first.spec, first.data, places=places, fabric=fabric, accumulate=accumulate, update=update)


def together(
    configs: Sequence[Sequence[str]], epochs: int, update: str = "auto"
) -> tuple[list[Member], list[list[EpochRecord]]]:
    """Train a member for each config, all from the first epoch on; the members, and their records by epoch."""
    all_made = [made(*overrides, f"trainer.max_epochs={epochs}") for overrides in configs]
    trained_now = population(all_made[0], places=len(configs), update=update)
    members = [trained_now.add(each.spec) for each in all_made]
    records: list[list[EpochRecord]] = [[] for _ in members]
    for _ in range(epochs):
        epoch = trained_now.train_epoch()
        for member, own in zip(members, records, strict=True):
            own.append(epoch[member])
    return members, records


@cache
def alone(overrides: tuple[str, ...], epochs: int) -> tuple[list[Row], Classifier]:
    """The rows of metrics.csv of the run that Lightning trains from the same config, and what it has trained."""
    quiet_libraries()
    each = made(*overrides, f"trainer.max_epochs={epochs}")
    callbacks = {name: node for name, node in each.config.callbacks.items() if name == "ema"}
    node, seed = each.config.trainer, each.config.seed
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        metrics = MetricsFile(folder / "metrics.csv")
        fitting = build_trainer(node, folder=folder, metrics=metrics, seed=seed, loggers={}, callbacks=callbacks)
        fitting.fit(each.spec.classifier, datamodule=each.data)
    return metrics.rows, each.spec.classifier


def difference(record: EpochRecord, rows: list[Row]) -> float:
    """The largest difference of an epoch's metrics from those of the run; its epoch and its rate are the same."""
    row = rows[record.epoch - 1]
    assert row["epoch"] == record.epoch
    assert abs(row["lr"] - record.lr) <= 1e-9 * record.lr
    return max(abs(value - row[name]) for name, value in record.measured.items())

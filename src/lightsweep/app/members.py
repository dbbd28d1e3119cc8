"""One trial as a member of a population: the steps of src/train.py, and between them epochs that the population trains.

Everything that a run of its own leaves in its folder is written here, except last.ckpt: a trial is not resumed.
"""

import logging
import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import numpy as np
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping

from lightsweep.app import steps
from lightsweep.app.jobs import Run
from lightsweep.app.shared import Shared
from lightsweep.app.validation import RunConfig
from lightsweep.data.module import ImageDataModule
from lightsweep.population.member import EpochRecord, Member, MemberSpec
from lightsweep.population.population import Population
from lightsweep.reports.scored_run import show_scored_run
from lightsweep.runs import data_record
from lightsweep.runs.results import MetricsFile, ResultWriter, Row
from lightsweep.runs.run_folder import BEST_CHECKPOINT
from lightsweep.sweeper.job import current_trial
from lightsweep.training import trainer
from lightsweep.training.callbacks import (
    LearningRateMonitor,
    ProgressLine,
    WeightAverage,
    check_finite,
    has_run_out,
)
from lightsweep.training.checkpoints import BestCheckpoint
from lightsweep.training.classifier import Classifier
from lightsweep.training.loggers import Trackers, tracking_run
from lightsweep.training.summary import StartSummary, count_parameters, describe_hardware
from lightsweep.training.weights_file import write_weights

log = logging.getLogger(__name__)

# It is sent the record of each epoch, and returns the best monitored value.
MemberRun = Generator[None, EpochRecord, float]
Enter = Callable[[MemberSpec, ImageDataModule], tuple[Population, Member]]


def train_member(config: RunConfig, opened: Run, shared: Shared, enter: Enter, *, fits: bool) -> MemberRun:
    """A whole run: everything before training, then what is to be done after each epoch, then the scores.

    Args:
        config: which `together.why_alone` finds nothing against.
        enter: makes it a member of a population.
        fits: as of `steps.build_classifier`.
    """
    with steps.new_record(config, opened) as record:
        data, fingerprint = shared.data(config)
        steps.check_data(fingerprint, opened.folder, allow_change=config.allow_changed_data)
        with torch.random.fork_rng(enabled=torch.cuda.is_initialized()):  # the other members draw from these generators
            classifier = steps.initial_classifier(config, data, fingerprint, fits=fits)
        trainer.check_batches(classifier, data)
        loggers = trainer.build_loggers(config.logger, opened.folder)
        callbacks = shared.callbacks(config, opened, has_logger=bool(loggers))
        population, member = enter(_describe(config, classifier, data, callbacks), data)
        record.hardware = partial(describe_hardware, population.device)
        record.add(**(counts := count_parameters(classifier.net)))
        record.metrics.reopen(0)
        data_record.write(opened.folder, fingerprint)
        _log_start(classifier, population, data, parameters=counts["params"])
        with tracking_run(loggers, vars(config), opened.overrides) as trackers:
            best = _BestWeights(config, member, callbacks, record.folder)
            with best.written_at_the_end():
                yield from _follow(config, record, best, trackers, callbacks)
            record.scored_epoch = best.epoch
            device, precision = population.device, population.fabric.autocast
            scores = steps.score_parts(
                classifier.net, record, data, test=config.test, device=device, precision=precision
            )
            trackers.scores(record.complete().scores)
            scored = steps.scored_run(record, scores, data, population.loaders[member], trackers)
            show_scored_run(scored, callbacks, report=config.report)
    return record.best_value


def _describe(
    config: RunConfig, classifier: Classifier, data: ImageDataModule, callbacks: Sequence[Callback]
) -> MemberSpec:
    return MemberSpec(
        classifier=classifier,
        seed=config.seed,
        data_seed=data.seed,
        augment=data.augment,
        clip=config.trainer["gradient_clip_val"],
        average=next((each for each in callbacks if isinstance(each, WeightAverage)), None),
    )


def _log_start(classifier: Classifier, population: Population, data: ImageDataModule, *, parameters: int) -> None:
    summary = StartSummary(data, network=type(classifier.net).__name__, parameters=parameters)
    summary.log_summary(population.device, batches=population.batches, steps=population.steps)
    log.info("a member of a population with %d places", population.places)


def _follow(
    config: RunConfig,
    record: ResultWriter,
    best: "_BestWeights",
    trackers: Trackers,
    callbacks: Sequence[Callback],
) -> Generator[None, EpochRecord, None]:
    """What is done after each epoch, in the order in which a Trainer calls its callbacks, until the last one.

    Raises:
        Diverged: the loss is NaN or infinite.
        optuna.TrialPruned: the pruner ends the trial.
    """
    most, least = config.trainer["max_epochs"], config.trainer.get("min_epochs") or 0
    stoppers = [each for each in callbacks if isinstance(each, EarlyStopping)]
    lines = [each for each in callbacks if isinstance(each, ProgressLine)]
    logs_rate = any(isinstance(each, LearningRateMonitor) for each in callbacks)
    is_over = should_stop = False
    while not is_over:
        epoch = yield
        row: Row = {"epoch": epoch.epoch, **epoch.measured, "lr": epoch.lr, "seconds": epoch.seconds}
        row["images_per_second"] = epoch.images_per_second
        _log_row(trackers, row, logs_rate=logs_rate)
        record.metrics.append(row)
        check_finite(row)
        for stopper in stoppers:
            should_stop |= _stops(stopper, row)
        for line in lines:
            line.log_epoch(epoch.epoch, epoch.measured, epoch.seconds)
        current_trial().report(row[config.monitor.metric], epoch.epoch)
        best.look(row)
        is_over = epoch.epoch == most or (should_stop and epoch.epoch >= least)
    if should_stop:
        _log_stop(stoppers, record.metrics)


def _log_row(trackers: Trackers, row: Row, *, logs_rate: bool) -> None:
    """Log an epoch as Lightning does: in float32, the rate first, then the validation, then the training."""
    parts = [{name: value for name, value in row.items() if name.startswith(f"{part}/")} for part in ("val", "train")]
    parts[1] |= {f"train/{name}": row[name] for name in ("seconds", "images_per_second")}
    values = [{name: float(np.float32(value)) for name, value in part.items()} for part in parts]
    trackers.epoch(([{"train/lr": row["lr"]}] if logs_rate else []) + values, int(row["epoch"]))


def _stops(stopper: EarlyStopping, row: Row) -> bool:
    """Whether early stopping wants to stop after this epoch, by Lightning's own rule and in its float32."""
    if stopper.monitor not in row and not stopper.strict:
        return False
    if stopper.monitor not in row:
        raise RuntimeError(f"early stopping: {stopper.monitor} is not measured; {', '.join(row)} are")
    stops, _ = stopper._evaluate_stopping_criteria(torch.tensor(row[stopper.monitor]))
    return stops


def _log_stop(stoppers: Sequence[EarlyStopping], metrics: MetricsFile) -> None:
    for stopper in stoppers:
        stopper._check_on_train_epoch_end = True  # what it counts are epochs
        if has_run_out(stopper, metrics):
            reason, _ = trainer.describe_early_stopping(stopper, metrics)
            log.info("%s; training ended after epoch %d", reason, metrics.rows[-1]["epoch"])


class _BestWeights:
    """A member's best.ckpt. The best weights stay on the device until its training ends.

    Args:
        callbacks: one of them is a `BestCheckpoint`, which says what the best is.
        folder: the run's.
    """

    def __init__(self, config: RunConfig, member: Member, callbacks: Sequence[Callback], folder: Path) -> None:
        rule = next(each for each in callbacks if isinstance(each, BestCheckpoint))
        self.monitor, self.is_max = str(rule.monitor), rule.mode == "max"
        self.member, self.path = member, folder / "checkpoints" / BEST_CHECKPOINT
        self.precision = str(config.trainer["precision"])
        self.epoch = 0  # that they are of; 0: none yet
        self._value = np.float32(-math.inf if self.is_max else math.inf)

    def look(self, row: Row) -> None:
        """Keep the weights of this epoch if it is better than all before, in float32 as Lightning compares."""
        value = np.float32(row[self.monitor])
        if self.epoch == 0 or (value > self._value if self.is_max else value < self._value):
            self.member.keep()
            self.epoch, self._value = int(row["epoch"]), value

    @contextmanager
    def written_at_the_end(self) -> Iterator[None]:
        """The file is written when the block ends, also where a trial is pruned in it or fails."""
        try:
            yield
        except BaseException:
            with suppress(Exception):  # the first error is the one that is reported
                self._write()
            raise
        self._write()

    def _write(self) -> None:
        """Write the weights, and leave them in the member's network."""
        if self.epoch == 0:
            return
        classifier = self.member.spec.classifier
        classifier.net.load_state_dict(self.member.kept())
        steps_trained = self.epoch * (self.member.steps // self.member.epochs)
        write_weights(self.path, classifier, epoch=self.epoch, steps=steps_trained, precision=self.precision)

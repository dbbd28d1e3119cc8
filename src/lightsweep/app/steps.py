"""The steps of a run, from a checked config to its scores, in the order in which src/train.py takes them."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, LambdaCallback
from torch import nn

from lightsweep.app.jobs import Run
from lightsweep.app.validation import RunConfig
from lightsweep.config.build import build
from lightsweep.core import signals
from lightsweep.core.errors import ConfigError, JobState
from lightsweep.core.files import is_inside
from lightsweep.data import user_data
from lightsweep.data.loader import seed_everything
from lightsweep.data.module import ImageDataModule, Traits
from lightsweep.nets import log_lightning_module
from lightsweep.reports.scored_run import ScoredRun, show_scored_run
from lightsweep.runs import data_record, run_folder
from lightsweep.runs.data_record import Fingerprint
from lightsweep.runs.results import MetricsFile, ResultWriter, RunResult
from lightsweep.sweeper.job import current_trial
from lightsweep.sweeper.lightning import pruning_callback
from lightsweep.training import checkpoints, trainer
from lightsweep.training.checkpoints import Description
from lightsweep.training.classifier import Classifier, Objective, Score, score_part
from lightsweep.training.loggers import Trackers
from lightsweep.training.summary import StartSummary, check_memory, describe_hardware
from lightsweep.training.threads import Threads


def new_record(config: RunConfig, opened: Run) -> ResultWriter:
    """What becomes the run's result.json, and in a sweep the facts of its trial."""
    return ResultWriter(
        opened.folder,
        MetricsFile(opened.folder / "metrics.csv"),
        monitor=config.monitor,
        config=config.saved,
        facts={
            "kind": opened.kind,
            "name": run_folder.name_run(config.name, opened.overrides) or None,
            "seed": config.seed,
            "overrides": opened.overrides,
        },
        publish=current_trial().record,
        hardware=describe_hardware,
    )


@contextmanager
def dropping_last(config: RunConfig, folder: Path) -> Iterator[None]:
    """Delete last.ckpt of a sweep's job that ends by itself in the block: no sweep resumes it, and it is three times as
    large as best.ckpt. The weights that were scored stay, and everything where ``callbacks.checkpoint`` says so or is
    not there."""
    state: JobState | None = None  # refused
    try:
        yield
        state = JobState.COMPLETED
    except BaseException as error:
        state = None if isinstance(error, ConfigError) else signals.state_of(error)
        raise
    finally:
        last = folder / "checkpoints" / run_folder.LAST_CHECKPOINT
        keep = current_trial().job is None or config.callbacks.get("checkpoint", {}).get("keep_last", True)
        is_scored = state == JobState.COMPLETED and _chosen_checkpoint(folder, config) == last
        if state not in (None, JobState.INTERRUPTED) and not (keep or is_scored) and is_inside(last, folder):
            with suppress(OSError):
                last.unlink(missing_ok=True)


def read_data(config: RunConfig) -> ImageDataModule:
    """The data module, set up; a network that cannot be built is refused before data is fetched."""
    data = user_data.build_data(config.data)
    if (traits := data.preview()) is not None:
        build_classifier(config, traits)
    data.setup()
    return data


def check_data(fingerprint: Fingerprint, folder: Path, *, resumed: bool = False, allow_change: bool) -> None:
    """Compare the data with those that the study, or the run that is resumed, was started with.

    Raises:
        DataChanged: the study was started with other data.
        ConfigError: the run was, and `allow_change` is false.
    """
    job = current_trial().job
    if job and job.data:
        digest, where = job.data
        data_record.check_study(fingerprint, digest, Path(where))
    data_record.check(folder, fingerprint, resumed=resumed, allow_change=allow_change)


def initial_classifier(
    config: RunConfig, data: ImageDataModule, fingerprint: Fingerprint, *, resumed: bool = False, fits: bool = False
) -> Classifier:
    """The classifier at the start of training: its weights follow from the seed, or are those of `init_from`.

    Args:
        fingerprint: of the data.
        resumed: the run has weights of its own, which are loaded later.
        fits: as of `build_classifier`.
    """
    seed_everything(config.seed)
    classifier = build_classifier(config, data, fits=fits)
    log_lightning_module(classifier.net)
    if config.init_from is not None and not resumed:
        checkpoints.load_initial_weights(config.init_from, classifier.net)
        data_record.warn_of_changes(config.init_from, fingerprint)
    return classifier


def build_classifier(config: RunConfig, data: ImageDataModule | Traits, *, fits: bool = False) -> Classifier:
    """The network for such data, with its loss, optimizer and schedule.

    Args:
        fits: it is known to fit into memory, from one with the same shapes.
    """
    description = Description(config.model, data.input_shape, data.class_names, data.normalization, data.resize)
    optimizer = build(config.optimizer, "optimizer")
    hardware = {"precision": config.trainer["precision"], "accelerator": config.trainer["accelerator"]}
    if not fits:
        check_memory(description, optimizer, batches=data.batches, **hardware)
    net = description.build_net()
    if config.compile:
        net.compile()
    return Classifier(
        net,
        objective=Objective(net, **config.loss, class_weights=data.class_weights),
        optimizer=optimizer,
        schedule=build(config.scheduler, "scheduler"),
        decay_all=config.decay_all,
        max_epochs=config.trainer["max_epochs"],
        description=description,
    )


def callbacks_of_every_run(
    config: RunConfig,
    data: ImageDataModule,
    classifier: Classifier,
    *,
    parameters: int,
    threads: Threads,
    on_start: Callable[[], None],
) -> list[Callback]:
    """What is called in a run whatever its config says: at its start, and in a trial the pruner after each epoch."""
    summary = StartSummary(data, network=type(classifier.net).__name__, parameters=parameters)
    measured = attrgetter("lightning_module.measured")  # to the digit
    pruning = [pruning_callback()(config.monitor.metric, measured)] if current_trial().reports else []
    return [threads, LambdaCallback(on_train_start=lambda *_: on_start()), summary, *pruning]


def save_start(opened: Run, record: ResultWriter, fingerprint: Fingerprint, threads: Threads) -> None:
    """Write what a later resume needs, once it is sure that training starts.

    Args:
        fingerprint: of the data.
        threads: has chosen their number, if that was left to it.
    """
    opened.save_changes(threads.chosen)
    data_record.write(opened.folder, fingerprint)
    if threads.chosen is not None:
        record.config = {**record.config, "threads": threads.chosen}


def build_trainer(config: RunConfig, opened: Run, record: ResultWriter, further: Sequence[Callback]) -> pl.Trainer:
    """Lightning's Trainer; the record learns which device it trains on."""
    built = trainer.build_trainer(
        config.trainer,
        folder=opened.folder,
        metrics=record.metrics,
        seed=config.seed,
        loggers=config.logger,
        callbacks=config.callbacks,
        further=further,
        in_trial=opened.is_trial,
    )
    record.hardware = partial(describe_hardware, built.strategy.root_device)
    return built


def score(
    config: RunConfig, record: ResultWriter, data: ImageDataModule, fitting: pl.Trainer, trackers: Trackers
) -> ScoredRun:
    """Score the best or the last weights on each part, without augmentation and in the precision of training."""
    trained = checkpoints.load(_chosen_checkpoint(record.folder, config))
    record.scored_epoch = trained.epoch
    device, precision = fitting.strategy.root_device, fitting.precision_plugin.forward_context
    scores = score_parts(trained.net, record, data, test=config.test, device=device, precision=precision)
    return scored_run(record, scores, data, fitting.train_dataloader, trackers)


def score_parts(
    net: nn.Module,
    record: ResultWriter,
    data: ImageDataModule,
    *,
    test: bool,
    device: torch.device,
    precision: Callable[[], AbstractContextManager],
) -> dict[str, Score]:
    """The scores of a network on train and val, and on test if wanted; the record keeps them.

    Args:
        net: moved to the device, and left in eval mode.
        precision: makes the context of a forward pass, as in training.
    """
    started, scores = time.perf_counter(), {}
    net.to(device)
    for part in data.scored_parts(test=test):
        scores[part] = score_part(
            net,
            data.eval_loader(part, device),
            device=device,
            num_classes=data.num_classes,
            precision=precision(),
            keep_probabilities=part != "train",
        )
        record.add_score(part, scores[part].metrics, scores[part].confusion, data.class_names)
    record.add(score_seconds=time.perf_counter() - started)
    return scores


def scored_run(
    record: ResultWriter, scores: dict[str, Score], data: ImageDataModule, train_loader: Any, trackers: Trackers
) -> ScoredRun:
    """What callbacks get of a run that was scored.

    Args:
        train_loader: the `TrainLoader` that it was trained with.
    """
    best = record.metrics.best(*record.monitor) or {"epoch": 0}
    return ScoredRun(record.folder, record.metrics.rows, best["epoch"], scores, data, train_loader, trackers)


def show(config: RunConfig, result: RunResult, scored: ScoredRun, callbacks: Sequence[Callback]) -> None:
    """Print the scores, and let callbacks draw pictures."""
    of_best = _chosen_checkpoint(scored.folder, config).name == run_folder.BEST_CHECKPOINT
    trainer.print_scores(result, scored.folder, of_best=of_best)
    show_scored_run(scored, callbacks, report=config.report)


def _chosen_checkpoint(folder: Path, config: RunConfig) -> Path:
    return run_folder.choose_checkpoint(folder / "checkpoints", config.score_with)

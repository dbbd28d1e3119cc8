"""Lightning's Trainer from the config, training with it, and what is printed at the end; messages of libraries."""

import logging
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, EarlyStopping, LearningRateMonitor, ModelCheckpoint, Timer
from pytorch_lightning.loggers import Logger
from pytorch_lightning.profilers import AdvancedProfiler, Profiler, PyTorchProfiler, SimpleProfiler
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import nn

from lightsweep.config.build import build, config_error
from lightsweep.core import checks, memory
from lightsweep.core.errors import ConfigError, Diverged, RunFailed
from lightsweep.core.metrics import FINAL, PARTS
from lightsweep.core.text import printable
from lightsweep.data.module import ImageDataModule
from lightsweep.runs.results import MetricsFile, RunResult
from lightsweep.training import lean
from lightsweep.training.callbacks import Recorder, has_run_out, passed_bound
from lightsweep.training.checkpoints import AtomicCheckpointIO, LastCheckpoint

log = logging.getLogger(__name__)
_Part = TypeVar("_Part")
_PROFILERS: dict[str, type[Any]] = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}
_PROFILE = "profile"  # a profiler's file is fit-profile.txt


def build_trainer(
    node: Mapping[str, Any],
    *,
    folder: Path,
    metrics: MetricsFile,
    seed: int,
    loggers: Mapping[str, Any],
    callbacks: Mapping[str, Any],
    further: Sequence[Callback] = (),
    in_trial: bool = False,
) -> pl.Trainer:
    """The Trainer of the run in `folder`.

    Args:
        node: the config's node `trainer`; `loggers` and `callbacks` are its nodes of nodes.
        further: callbacks that the config does not name.
        in_trial: without the callbacks that have `in_trials: false`.
    """
    built = build_loggers(loggers, folder)
    chosen = build_callbacks(callbacks, folder, has_logger=bool(built), in_trial=in_trial)
    typed = [Path(each.dirpath) for each in chosen if isinstance(each, ModelCheckpoint) and each.dirpath is not None]
    first = Recorder(metrics, seed=seed)
    last = LastCheckpoint(folder / "checkpoints")  # last: it saves the states of the others, the best score among them
    every = [first, *chosen, *further, last]
    lean.skip_unused_hooks(every)
    lean.hide_missing_gpus()
    return build(
        node,
        "trainer",
        folder=folder,
        logger=built,
        callbacks=every,
        plugins=[AtomicCheckpointIO([folder, *typed])],
        default_root_dir=str(folder),
        use_distributed_sampler=False,  # the loader shares the data out itself
        **_profile(node.get("profiler"), folder),
    )


def _profile(name: str | None, folder: Path) -> dict[str, Profiler]:
    """The argument of the Trainer; none for a name that is not ours, which the Trainer checks."""
    if name is None:
        return {"profiler": lean.NoProfiler()}
    kind = _PROFILERS.get(name)  # without a file it reports to Lightning's log, which is off
    return {"profiler": kind(dirpath=str(folder), filename=_PROFILE)} if kind else {}


def build_loggers(nodes: Mapping[str, Any], folder: Path) -> list[Logger]:
    """The loggers of the run in `folder`, from the config's node of nodes."""
    return _build_group(nodes, "logger", Logger, folder)  # type: ignore[type-abstract]


def build_callbacks(nodes: Mapping[str, Any], folder: Path, *, has_logger: bool, in_trial: bool) -> list[Callback]:
    """The callbacks of the run in `folder`, without those that do nothing in it.

    Args:
        has_logger: without one the learning rate is not monitored.
        in_trial: without the callbacks that have `in_trials: false`.
    """
    built = _build_group(nodes, "callbacks", Callback, folder)
    if in_trial:
        built = [callback for callback in built if getattr(callback, "in_trials", True)]
    return [callback for callback in built if has_logger or not isinstance(callback, LearningRateMonitor)]


def _build_group(nodes: Mapping[str, Any], group: str, kind: type[_Part], folder: Path) -> list[_Part]:
    """The objects that a group's nodes name. A node without ``_target_`` has keys for a choice that was replaced, as
    the patience that ``experiment=reference/a4 callbacks=none`` leaves."""
    parts = []
    for name, node in nodes.items():
        if "_target_" not in node:
            log.info("%s.%s skipped: it has no _target_", group, printable(str(name)))
            continue
        part = build(node, f"{group}.{name}", folder=folder)
        rule = f"be a {kind.__name__.lower()} of Lightning's"
        checks.require(isinstance(part, kind), f"{group}.{name}", rule, type(part).__name__)
        parts.append(part)
    return parts


def fit(trainer: pl.Trainer, classifier: pl.LightningModule, data: ImageDataModule, last: Path) -> None:
    """Train, from the checkpoint `last` on if it exists.

    Raises:
        ConfigError: the Trainer's arguments do not fit the data, which Lightning sees only now.
    """
    whole_epochs = isinstance(trainer.limit_train_batches, float) and trainer.limit_train_batches == 1.0
    check_batches(classifier, data, processes=trainer.world_size, whole_epochs=whole_epochs)
    try:
        trainer.fit(classifier, datamodule=data, ckpt_path=last if last.exists() else None, weights_only=True)
        _log_ending(trainer)
    except MisconfigurationException as error:
        raise config_error(error, "trainer") from error
    except (ConfigError, Diverged, RunFailed, OSError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, ValueError) and "val_check_interval" in str(error):  # seen only when batches are counted
            batches, interval = trainer.fit_loop.max_batches, trainer.val_check_interval
            rule = f"be at most {batches}, the batches of an epoch"
            raise ConfigError(f"trainer.val_check_interval must {rule}, got {interval}") from error
        # If no training started, it is the checkpoint that could not be restored, unless memory was exhausted.
        recorder = _find_recorder(trainer)
        started = recorder is not None and recorder.epochs_before is not None
        if last.exists() and not started and not memory.is_exhausted(error):
            raise ConfigError(f"{last} cannot be resumed ({config_error(error, type(error).__name__)})") from error
        raise


def check_batches(
    classifier: pl.LightningModule, data: ImageDataModule, *, processes: int = 1, whole_epochs: bool = True
) -> None:
    """Check that the network can be trained on the batches of an epoch.

    Raises:
        ConfigError: a process has no batch, or a batch has a single image, which BatchNorm cannot train on.
    """
    data.check_shares(processes)
    if whole_epochs and any(isinstance(each, nn.BatchNorm1d) for each in classifier.modules()):
        data.check_batches_of_one(processes)


def _log_ending(trainer: pl.Trainer) -> None:
    if isinstance(getattr(trainer, "profiler", None), tuple(_PROFILERS.values())):
        for profile in sorted(Path(trainer.default_root_dir).glob(f"fit-{_PROFILE}*.txt")):
            log.info("profile: %s", profile)
    recorder = _find_recorder(trainer)
    if recorder is None or not trainer.is_global_zero:
        return
    if line := _describe_ending(trainer, recorder):
        log.info("%s", line)


def _find_recorder(trainer: pl.Trainer) -> Recorder | None:
    """A learning-rate range test has none."""
    return next((each for each in trainer.callbacks if isinstance(each, Recorder)), None)  # type: ignore[attr-defined]


def _describe_ending(trainer: pl.Trainer, recorder: Recorder) -> str | None:
    """Which setting ended the run, and, if nothing was trained, what to type to continue it. None for a run that
    trained all its epochs in this process."""
    now = trainer.current_epoch
    reason = next(_list_reasons(trainer, recorder.metrics), None)
    if recorder.epochs_before is not None and now > recorder.epochs_before:
        return reason and f"{reason[0]}; training ended after epoch {now}"
    what, change = reason or (f"trainer.max_epochs={trainer.max_epochs}", f"trainer.max_epochs={now + 1} or more")
    return f"nothing was trained, the run had ended after epoch {now} ({what}); {change} continues it"


def _list_reasons(trainer: pl.Trainer, metrics: MetricsFile) -> Iterator[tuple[str, str]]:
    """Everything that could have ended the run by now, each with what to type to continue."""
    if trainer.should_stop:
        stoppers = [each for each in trainer.early_stopping_callbacks if has_run_out(each, metrics)]
        yield from (describe_early_stopping(each, metrics) for each in stoppers)
        for timer in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(timer, Timer) and (left := timer.time_remaining()) is not None and left <= 0:
                yield f"trainer.max_time: {timer.time_elapsed():.0f} s of training are over", "a longer max_time"
    if trainer.max_steps != -1 and trainer.global_step >= trainer.max_steps:
        yield f"trainer.max_steps={trainer.max_steps}", f"trainer.max_steps={trainer.max_steps + 1} or more"


def describe_early_stopping(stopper: EarlyStopping, metrics: MetricsFile) -> tuple[str, str]:
    """Why the callback ended the run, and what to type to continue it."""
    metric = stopper.monitor
    if (bound := passed_bound(stopper, metrics)) is not None:
        value = getattr(stopper, bound)
        return f"early stopping: {metric} passed {value:g}, its {bound}", f"another callbacks.early_stopping.{bound}"
    best = metrics.best(metric, stopper.mode)
    than = f" than {best[metric]:.4f} of epoch {best['epoch']}" if best else ""
    unit = "epoch" if stopper._check_on_train_epoch_end else "validation"
    count = f"{stopper.wait_count} {unit}{'s' * (stopper.wait_count != 1)}"
    patience = f"callbacks.early_stopping.patience={stopper.wait_count + 1} or more"
    return f"early stopping: no better {metric}{than} for {count}", patience


def print_scores(result: RunResult, folder: Path, *, of_best: bool) -> None:
    """Print scores, size, time and the folder of a run.

    Args:
        of_best: whether the weights kept as the best ones were scored.
    """
    monitored = result.monitor.partition("/")[2]
    shown = [metric for metric in FINAL if metric.is_main or metric.name == monitored]
    table = Table(box=None, header_style="bold")
    for column in ("", *(metric.title for metric in shown)):
        table.add_column(column, justify="left" if not column else "right")
    for part in PARTS:
        if f"{part}/{shown[0].name}" in result.scores:
            table.add_row(part, *(f"{result.scores[f'{part}/{metric.name}']:.4f}" for metric in shown))
    console = Console(highlight=False)
    console.print(table)
    which = "best" if of_best else "scored"
    size = f"{result.facts['params']:,} parameters, {result.seconds:.0f} s of training"
    console.print(f"{which} epoch {result.best_epoch} of {result.epochs}, {size}")
    if result.best_value is None:
        console.print(f"{result.monitor} was never measured, so no epoch is the best one")
    console.print(Text(f"run folder: {folder}"), soft_wrap=True)  # Text: a path is no markup


def quiet_libraries() -> None:
    """Show Lightning's warnings, without its information and the warnings that are wrong for our use of it."""
    import pytorch_lightning  # noqa: F401  # sets the levels of its messages, when it is first imported

    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # compile=true without a GPU
    for message in (
        r".*smaller than the logging interval.*",  # we log once an epoch, on purpose
        r".*Checkpoint directory .* exists and is not empty.*",  # last.ckpt is in it from the start
        r".*isinstance\(treespec, LeafSpec\).*",  # Lightning's use of torch
        r".*Please add the following callbacks: .*",  # resumed with other callbacks, as typed
        r".*sync_dist=True.*",  # what we log is already summed over the processes
        r".*does not have many workers.*",  # our loader needs none
        r".*The `srun` command is available.*",  # on a cluster's machine a run need not be a job
        r".*lr_scheduler.step\(\)` before `optimizer.step\(\).*",  # a resumed run
    ):
        warnings.filterwarnings("ignore", message=message)
    threading.excepthook = _handle_failed_thread


def _handle_failed_thread(failure: threading.ExceptHookArgs) -> None:
    """Print no traceback if TensorBoard cannot write a file: the next write raises the error, which the run reports."""
    if not (isinstance(failure.exc_value, OSError) and type(failure.thread).__name__ == "_AsyncWriterThread"):
        threading.__excepthook__(failure)

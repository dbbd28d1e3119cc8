"""The loggers of a run as one, callbacks that log a network, and the loggers of MLflow and Weights & Biases, which send
nothing to a server unasked."""

import hashlib
import importlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from html import escape
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from filelock import FileLock
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from torch import Tensor, nn

from lightsweep.core import checks
from lightsweep.core.errors import ConfigError, JobState
from lightsweep.core.signals import state_of
from lightsweep.training.classifier import Classifier
from lightsweep.training.tracking import (
    Column,
    TensorBoardTracker,
    Tracker,
    compared_scores,
    finite_values,
    flat_settings,
    outcome,
    table_columns,
)

log = logging.getLogger(__name__)


class Trackers:
    """All loggers of a run as one. What one of them cannot take costs a warning, not the run."""

    def __init__(self, loggers: Iterable[Logger]) -> None:
        self.trackers = [_make_tracker(logger) for logger in loggers]

    def start(self, params: Mapping[str, Any], columns: Mapping[str, Column]) -> None:
        """Log the settings, and which of them are columns of a table of runs."""
        for tracker in self.trackers:
            tracker.start(params, columns)

    def epoch(self, metrics: Sequence[Mapping[str, float]], epoch: int) -> None:
        """Log the metrics of an epoch by name, in parts that are known one after another."""
        for tracker in self.trackers:
            tracker.epoch(metrics, epoch)

    def scores(self, scores: Mapping[str, float]) -> None:
        """Log the final metrics by name, ``val/acc``."""
        self._try_all("the scores", lambda tracker: tracker.scores(scores))

    def figure(self, name: str, path: Path, epoch: int) -> None:
        """Log a PNG file."""
        self._try_all(name, lambda tracker: tracker.figure(name, path, epoch))

    def text(self, name: str, path: Path, epoch: int) -> None:
        """Log a text file."""
        self._try_all(name, lambda tracker: tracker.text(name, path, epoch))

    def histogram(self, name: str, values: Tensor, epoch: int) -> None:
        self._try_all(name, lambda tracker: tracker.histogram(name, values, epoch))

    def graph(self, net: nn.Module, images: Tensor) -> None:
        """Log the graph of a network in eval mode; the network itself is not changed."""
        # A copy is not compiled; a compiled network cannot be traced.
        self._try_all("the graph", lambda tracker: tracker.graph(deepcopy(net).eval(), images))

    def close(self, status: str) -> None:
        self._try_all("the end", lambda tracker: tracker.close(status))

    def _try_all(self, what: str, send: Callable[[Tracker], None]) -> None:
        for tracker in self.trackers:
            try:
                send(tracker)
            except Exception as error:  # a full disk, a server that does not answer: the run's own files are complete
                name = type(tracker.logger).__name__
                log.warning("%s did not take %s (%s)", name, what, " ".join(f"{type(error).__name__}: {error}".split()))


@contextmanager
def tracking_run(loggers: Iterable[Logger], config: Mapping[str, Any], overrides: Sequence[str]) -> Iterator[Trackers]:
    """Log the start of a run and its settings, and at the end of the block how it ended.

    Args:
        overrides: what was typed or searched, ``key=value`` each.
    """
    params = flat_settings(config, overrides)
    trackers = Trackers(loggers)
    trackers.start(params, table_columns(params, overrides))
    try:
        yield trackers
    except BaseException as error:
        trackers.close(state_of(error))
        raise
    trackers.close(JobState.COMPLETED)


def _make_tracker(logger: Logger) -> Tracker:
    kinds = {TensorBoardLogger: TensorBoardTracker, MLFlowLogger: MLFlowTracker, WandbLogger: WandbTracker}
    return next((make for kind, make in kinds.items() if isinstance(logger, kind)), Tracker)(logger)


class Histograms(Callback):
    """Each parameter's values, and its last gradient (after clipping), in the loggers that show histograms.

    Args:
        every: epochs from one to the next; the first epoch has one.
        in_trials: in the trials of a sweep too.
    """

    def __init__(self, *, every: int, in_trials: bool) -> None:
        checks.integer("callbacks.histograms.every", every, "[1, inf)")
        checks.flag("callbacks.histograms.in_trials", in_trials)
        self.every, self.in_trials = every, in_trials

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs, batch, index) -> None:
        # The epoch's last step: when the epoch ends, Lightning has cleared the gradients for the validation.
        is_due = trainer.current_epoch % self.every == 0 and index + 1 == trainer.num_training_batches
        if not (is_due and trainer.is_global_zero):
            return
        trackers = Trackers(trainer.loggers)
        epoch = trainer.current_epoch + 1
        for name, parameter in cast(Classifier, pl_module).net.named_parameters():
            trackers.histogram(f"weights/{name}", parameter, epoch)
            if parameter.grad is not None:
                trackers.histogram(f"gradients/{name}", parameter.grad, epoch)


class Graph(Callback):
    """The network's graph, in the loggers that show one.

    Args:
        in_trials: in the trials of a sweep too.
    """

    def __init__(self, *, in_trials: bool) -> None:
        checks.flag("callbacks.graph.in_trials", in_trials)
        self.in_trials = in_trials

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        classifier = cast(Classifier, pl_module)
        images = torch.zeros((1, *classifier.description.input_shape), device=classifier.device)
        Trackers(trainer.loggers).graph(classifier.net, images)


_DATABASE = "mlflow.db"


def mlflow_logger(*, store: str, experiment: str, name: str, run_dir: str) -> Any:
    """Lightning's MLFlowLogger. A resumed run continues its own run of MLflow.

    Args:
        store: a folder, created if missing, or the address of a server (or a database).
        experiment: created if missing.
        name: of the run.
        run_dir: the run's folder, which identifies it.

    Raises:
        ConfigError: MLflow is not installed.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    _require_package("mlflow")
    from mlflow.tracking import MlflowClient

    for name_of_logger in ("mlflow", "alembic"):  # they write a page about each table that they create
        logging.getLogger(name_of_logger).setLevel(logging.WARNING)
    checks.require(isinstance(store, str) and store != "", "logger.mlflow.store", "be a folder or an address", store)
    uri = store
    if "://" not in store:
        folder = Path(store).expanduser().absolute()
        folder.mkdir(parents=True, exist_ok=True)
        uri = f"sqlite:///{folder / _DATABASE}"
        with FileLock(folder / f".{_DATABASE}.lock"):  # MLflow does not create tables and experiments in one step
            client = MlflowClient(uri)
            if client.get_experiment_by_name(experiment) is None:
                client.create_experiment(experiment, artifact_location=(folder / "artifacts").as_uri())
    identity = _identity(run_dir)
    run_id = _find_mlflow_run(MlflowClient(uri), experiment, identity)
    return MLFlowLogger(experiment, name, uri, tags={"folder": run_dir, "lightsweep": identity}, run_id=run_id)


def wandb_logger(*, project: str, group: str, name: str, run_dir: str, offline: bool) -> Any:
    """Lightning's WandbLogger. A resumed run continues its own run of W&B.

    Args:
        offline: keep everything in `run_dir`/wandb; ``wandb sync`` uploads it.

    Raises:
        ConfigError: W&B is not installed.
    """
    checks.flag("logger.wandb.offline", offline)
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    os.environ.setdefault("WANDB_SILENT", "true")
    _require_package("wandb")
    settings = Path(run_dir) / "wandb" / "settings"  # W&B would read another server from it
    checks.require(not settings.exists(), "logger.wandb.run_dir", f"be a folder without {settings}", run_dir)
    identity = _identity(run_dir)
    logger = WandbLogger(name, save_dir=run_dir, offline=offline, id=identity, project=project, group=group)
    logger._wandb_init.pop("anonymous", None)  # Lightning always passes it, and W&B warns about it
    return logger


def _identity(run_dir: str) -> str:
    """An identifier of the run that stays the same when it is resumed."""
    return hashlib.sha256(run_dir.encode()).hexdigest()[:16]


def _find_mlflow_run(client: Any, experiment: str, identity: str) -> str | None:
    """The id of MLflow's run of a run that is resumed."""
    found = client.get_experiment_by_name(experiment)
    runs = found and client.search_runs([found.experiment_id], f"tags.lightsweep = '{identity}'", max_results=1)
    return runs[0].info.run_id if runs else None


def _require_package(package: str) -> None:
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise ConfigError(
            f"logger={package} needs the package {package} ({error}): pip install -e '.[{package}]'"
        ) from None


_MLFLOW_STATUS = {"success": "FINISHED", "stopped": "KILLED", "failure": "FAILED"}


class MLFlowTracker(Tracker):
    """MLflow never changes the value of a setting: what a resumed run changed becomes a tag."""

    logger: MLFlowLogger

    def start(self, params: Mapping[str, Any], columns: Mapping[str, Column]) -> None:
        client, run = self.logger.experiment, self.logger.run_id
        client.update_run(run, status="RUNNING")
        before = client.get_run(run).data.params
        self.logger.log_hyperparams({key: value for key, value in params.items() if key not in before})
        for key, value in params.items():
            if before.get(key, str(value)) != str(value):
                client.set_tag(run, f"resumed.{key}", str(value))

    def figure(self, name: str, path: Path, epoch: int) -> None:
        self.logger.experiment.log_artifact(self.logger.run_id, str(path), "figures")

    def text(self, name: str, path: Path, epoch: int) -> None:
        self.logger.experiment.log_artifact(self.logger.run_id, str(path))

    def close(self, status: str) -> None:
        client, run = self.logger.experiment, self.logger.run_id
        client.set_tag(run, "status", status)
        client.set_terminated(run, _MLFLOW_STATUS[outcome(status)])


_EXIT_CODES = {"success": 0, "stopped": 255, "failure": 1}  # 255 is what W&B calls killed


class WandbTracker(Tracker):
    """Closes its run of W&B: Lightning leaves it open, and the next run of the same process would continue it."""

    logger: WandbLogger

    def scores(self, scores: Mapping[str, float]) -> None:
        self.logger.experiment.summary.update(compared_scores(scores))

    def figure(self, name: str, path: Path, epoch: int) -> None:
        import wandb

        self.logger.experiment.log({name: wandb.Image(str(path)), "trainer/global_step": epoch})

    def text(self, name: str, path: Path, epoch: int) -> None:
        import wandb

        page = wandb.Html(f"<pre>{escape(path.read_text(encoding='utf-8'))}</pre>", inject=False)
        self.logger.experiment.log({name: page, "trainer/global_step": epoch})

    def histogram(self, name: str, values: Tensor, epoch: int) -> None:
        import wandb

        if len(finite := finite_values(values)):
            self.logger.experiment.log({name: wandb.Histogram(finite.tolist()), "trainer/global_step": epoch})

    def close(self, status: str) -> None:
        self.logger.experiment.summary["status"] = status
        self.logger.experiment.finish(exit_code=_EXIT_CODES[outcome(status)])

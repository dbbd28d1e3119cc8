"""The one place that hands a run's record to its loggers: settings, scores, pictures, reports, histograms, its end.

What an epoch measures goes to the loggers through Lightning. All else comes here once, and each logger gets it in its
own way.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from pytorch_lightning.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from torch import Tensor, nn

from lightsweep.core.job_state import JobState, state_of
from lightsweep.training import hparams
from lightsweep.training.hparams import Column
from lightsweep.training.tracker import Tracker

log = logging.getLogger(__name__)


class Trackers:
    """All loggers of a run as one. What one of them cannot take costs a warning, not the run."""

    def __init__(self, loggers: Iterable[Logger]) -> None:
        self.each = [_tracker(logger) for logger in loggers]

    def start(self, params: Mapping[str, Any], columns: Mapping[str, Column]) -> None:
        """Hand on the settings, and which of them are columns of a table of runs."""
        for tracker in self.each:
            tracker.start(params, columns)

    def scores(self, facts: Mapping[str, Any]) -> None:
        """Hand on the final scores among the facts of a result.json."""
        self._all("the scores", lambda tracker: tracker.scores(facts))

    def figure(self, name: str, path: Path, epoch: int) -> None:
        """Hand on a PNG file."""
        self._all(name, lambda tracker: tracker.figure(name, path, epoch))

    def text(self, name: str, path: Path, epoch: int) -> None:
        """Hand on a text file."""
        self._all(name, lambda tracker: tracker.text(name, path, epoch))

    def histogram(self, name: str, values: Tensor, epoch: int) -> None:
        self._all(name, lambda tracker: tracker.histogram(name, values, epoch))

    def graph(self, net: nn.Module, images: Tensor) -> None:
        """Hand on a network as it evaluates such images; it stays as it is."""
        # A copy is not compiled: what is compiled cannot be traced.
        self._all("the graph", lambda tracker: tracker.graph(deepcopy(net).eval(), images))

    def close(self, status: str) -> None:
        self._all("the end", lambda tracker: tracker.close(status))

    def _all(self, what: str, hand: Callable[[Tracker], None]) -> None:
        for tracker in self.each:
            try:
                hand(tracker)
            except Exception as error:  # a full disk, a server that is gone: the run's own record is whole
                name = type(tracker.logger).__name__
                log.warning("%s did not take %s (%s)", name, what, " ".join(f"{type(error).__name__}: {error}".split()))


@contextmanager
def following(loggers: Iterable[Logger], cfg: DictConfig, overrides: Sequence[str]) -> Iterator[Trackers]:
    """Tell the loggers of a run that begins, and how it ended when the block ends.

    Args:
        overrides: what was typed or searched, ``key=value`` each.
    """
    params = hparams.flat(cfg, overrides)
    trackers = Trackers(loggers)
    trackers.start(params, hparams.columns(params, overrides))
    try:
        yield trackers
    except BaseException as error:
        trackers.close(state_of(error))
        raise
    trackers.close(JobState.COMPLETED)


def _tracker(logger: Logger) -> Tracker:
    if isinstance(logger, TensorBoardLogger):
        from lightsweep.training.tensorboard import TensorBoardTracker

        return TensorBoardTracker(logger)
    if isinstance(logger, MLFlowLogger):
        from lightsweep.training.mlflow import MLFlowTracker

        return MLFlowTracker(logger)
    if isinstance(logger, WandbLogger):
        from lightsweep.training.wandb import WandbTracker

        return WandbTracker(logger)
    return Tracker(logger)

"""Today's names of what a config of an earlier version names, so that its runs, studies and files can be opened."""

from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf, flag_override

_TARGET = "_target_"

MOVED: Mapping[str, str] = {
    "lightsweep.averaging.WeightAverage": "lightsweep.training.callbacks.WeightAverage",
    "lightsweep.checkpoints.BestCheckpoint": "lightsweep.training.checkpoints.BestCheckpoint",
    "lightsweep.data.augment.Augment": "lightsweep.data.transforms.Augment",
    "lightsweep.data.cifar10.CIFAR10DataModule": "lightsweep.data.datasets.CIFAR10DataModule",
    "lightsweep.data.cifar100.CIFAR100DataModule": "lightsweep.data.datasets.CIFAR100DataModule",
    "lightsweep.data.digits.DigitsDataModule": "lightsweep.data.datasets.DigitsDataModule",
    "lightsweep.data.fake.FakeDataModule": "lightsweep.data.datasets.FakeDataModule",
    "lightsweep.insight.layers.Graph": "lightsweep.training.loggers.Graph",
    "lightsweep.insight.layers.Histograms": "lightsweep.training.loggers.Histograms",
    "lightsweep.insight.run_figures.RunFigures": "lightsweep.reports.scored_run.RunFigures",
    "lightsweep.keras_rmsprop.KerasRMSprop": "lightsweep.training.optimization.KerasRMSprop",
    "lightsweep.lr_monitor.LearningRateMonitor": "lightsweep.training.callbacks.LearningRateMonitor",
    "lightsweep.progress.ProgressLine": "lightsweep.training.callbacks.ProgressLine",
    "lightsweep.run_folder.ConfigFirst": "lightsweep.runs.saved_config.ConfigFirst",
    "lightsweep.schedules.constant": "lightsweep.training.optimization.constant",
    "lightsweep.schedules.cosine": "lightsweep.training.optimization.cosine",
    "lightsweep.schedules.plateau": "lightsweep.training.optimization.plateau",
    "lightsweep.schedules.step": "lightsweep.training.optimization.step",
    "lightsweep.tracking.loggers.mlflow": "lightsweep.training.loggers.mlflow_logger",
    "lightsweep.tracking.loggers.wandb": "lightsweep.training.loggers.wandb_logger",
}


def with_new_names(node: Any) -> Any:
    """A copy of plain dicts and lists in which each ``_target_``, or flat ``data._target_``, has today's name."""
    if isinstance(node, Mapping):
        return {
            key: current_name(value) if str(key).endswith(_TARGET) else with_new_names(value)
            for key, value in node.items()
        }
    if isinstance(node, list | tuple):
        return [with_new_names(value) for value in node]
    return node


def rename_moved(config: DictConfig) -> Any:
    """Give each ``_target_`` of a config, in place, today's name. Nothing is resolved.

    Returns:
        The config in plain dicts and lists, an interpolation as its text.
    """
    plain: Any = OmegaConf.to_container(config, resolve=False)
    with flag_override(config, "readonly", False):
        for path in list(_moved_below(plain)):
            node, copy = config, plain
            for key in path:
                node, copy = node[key], copy[key]
            node[_TARGET] = copy[_TARGET] = current_name(copy[_TARGET])
    return plain


def _moved_below(plain: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of the nodes whose ``_target_`` has another name today."""
    for key, value in plain.items() if isinstance(plain, dict) else enumerate(plain):
        if isinstance(value, dict | list):
            yield from _moved_below(value, (*path, key))
        elif key == _TARGET and value != current_name(value):
            yield path


def current_name(name: Any) -> Any:
    """Today's name of what a ``_target_`` names; the same where it was not moved or is not a text."""
    return MOVED.get(name, name) if isinstance(name, str) else name

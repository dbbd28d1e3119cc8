"""What a logger gets of a run: its settings and final scores. TensorBoard's tracker; the others are in `loggers`."""

import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import indent
from typing import Any, NamedTuple

import numpy as np
import torch
from google.protobuf.message import DecodeError
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.summary.writer.record_writer import RecordWriter
from torch import Tensor, nn
from torch.utils.tensorboard.summary import hparams

from lightsweep.core.files import replace_atomically
from lightsweep.core.metrics import PARTS, compared_names


class Column(NamedTuple):
    """A column of a table of runs: whether it holds texts (or numbers), and whether it is among the first."""

    text: bool
    first: bool


# The final metrics by which runs are compared: hp/val_acc of val/acc.
COMPARED = {f"hp/{name.replace('/', '_')}": name for part in PARTS for name in compared_names(part)}


def compared_scores(scores: Mapping[str, float]) -> dict[str, float]:
    """A run's final metrics by their names in `COMPARED`."""
    return {name: scores[metric] for name, metric in COMPARED.items() if metric in scores}


class Tracker:
    """Hands settings and numbers to a logger that takes no pictures, such as a CSV file.

    Args:
        logger: one of Lightning's.
    """

    def __init__(self, logger: Any) -> None:
        self.logger: Any = logger

    def start(self, params: Mapping[str, Any], columns: Mapping[str, Column]) -> None:
        self.logger.log_hyperparams(dict(params))

    def epoch(self, metrics: Sequence[Mapping[str, float]], epoch: int) -> None:
        """The metrics of an epoch without a Trainer, which logs them itself."""
        for part in metrics:
            self.logger.log_metrics(dict(part), step=epoch)
        self.logger.save()

    def scores(self, scores: Mapping[str, float]) -> None:
        self.logger.log_metrics(compared_scores(scores), step=1)

    def figure(self, name: str, path: Path, epoch: int) -> None:
        """A PNG file."""

    def text(self, name: str, path: Path, epoch: int) -> None:
        """A text file."""

    def histogram(self, name: str, values: Tensor, epoch: int) -> None:
        """The values of a tensor."""

    def graph(self, net: nn.Module, images: Tensor) -> None:
        """The network's graph for images ``float [B, C, H, W]``."""

    def close(self, status: str) -> None:
        """The run has ended with this `JobState`."""
        self.logger.finalize("success" if status == "completed" else "failed")


def finite_values(values: Tensor) -> np.ndarray:
    """The finite values of a tensor, as ``float32 [n]``."""
    flat = values.detach().float().flatten()
    return flat[flat.isfinite()].cpu().numpy()


def outcome(status: str) -> str:
    """A run's end for loggers that know three only: success, stopped (by a person or a pruner) or failure."""
    return {"completed": "success", "interrupted": "stopped", "pruned": "stopped"}.get(status, "failure")


_KEYS = ("seed", "data.batch_size", "data.normalize", "trainer.max_epochs", "trainer.precision")
_GROUPS = ("model", "optimizer", "scheduler", "loss", "data.augment")
_CHOICES = ("data", "model", "optimizer", "scheduler")
_TYPED = ("data.", "model.", "optimizer.", "scheduler.", "loss.", "callbacks.", "trainer.", "monitor.", "decay_all")

# TensorBoard takes the columns of its table from one run: they are the same for every run, whatever its optimizer or
# network, with the typed and searched keys on top.
_NUMBERS = (
    *("optimizer.lr", "optimizer.weight_decay", "optimizer.momentum", "scheduler.warmup"),
    *("model.width", "model.depth", "model.taper", "model.bn", "model.dropout"),
    *("data.batch_size", "data.augment.flip", "data.augment.crop", "data.augment.cutout", "data.augment.noise"),
    *("loss.label_smoothing", "loss.l2", "trainer.max_epochs", "seed"),
)
_ALWAYS_FIRST = ("model", "data")
_FIRST = ("optimizer.lr", "model.width", "model.dropout", "optimizer", "seed")  # as long as fewer than five are typed
_TEXTS = ("data", "model", "optimizer", "scheduler", "model.hidden", "model.activation", "model.init", "data.normalize")


def flat_settings(config: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """The main settings and those that were typed, as numbers, booleans and short texts.

    Args:
        overrides: what was typed or searched, ``key=value`` each.
    """
    params = {group: str(config[group]["_target_"]).rpartition(".")[2] for group in _CHOICES}
    typed = (key for key in _typed_keys(overrides) if key not in _CHOICES)
    params |= {key: _select(config, key) for key in (*_KEYS, *typed)}
    for group in _GROUPS:
        node = _select(config, group) or {}  # a user data module has no data.augment
        params |= {f"{group}.{key}": value for key, value in node.items() if not str(key).startswith("_")}
    given = {key: value for key, value in params.items() if value is not None}
    return {key: value if isinstance(value, int | float | str) else str(value) for key, value in given.items()}


def table_columns(params: dict[str, Any], overrides: Sequence[str]) -> dict[str, Column]:
    """The columns of a table of runs by key; what was typed or searched comes first, with model and data."""
    typed = [key for key in _typed_keys(overrides) if key in params]
    kinds = dict.fromkeys(_TEXTS, True) | dict.fromkeys(_NUMBERS, False)
    kinds |= {key: isinstance(params[key], str) for key in typed}
    first = {*typed, *_ALWAYS_FIRST}
    others = [key for key in _FIRST if key not in first]
    first |= set(others[: max(0, 5 - len(first))])  # the tab opens with five
    return {key: Column(text, key in first) for key, text in kinds.items()}


def _typed_keys(overrides: Sequence[str]) -> list[str]:
    keys = (override.partition("=")[0].lstrip("+") for override in overrides if "=" in override)
    return [key for key in keys if key in _CHOICES or key.startswith(_TYPED)]


def _select(config: Mapping[str, Any], key: str) -> Any:
    """The value of ``model.dropout``; None where there is none."""
    node: Any = config
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


_BINS = 60  # of a histogram; TensorBoard shows 30
_STATUS = {
    "success": api_pb2.STATUS_SUCCESS,
    "stopped": api_pb2.STATUS_UNKNOWN,
    "failure": api_pb2.STATUS_FAILURE,
}


class TensorBoardTracker(Tracker):
    """A run is a row of the HParams tab from its start on, with scores once it was scored."""

    logger: TensorBoardLogger

    def start(self, params: Mapping[str, Any], columns: Mapping[str, Column]) -> None:
        remove_settings(Path(self.logger.log_dir))
        self.logger.log_hyperparams(dict(params))  # without metrics: into hparams.yaml only
        self.logger.save()
        _, session_start, _ = hparams(dict(params), {})
        self._add(_tagged(metadata.EXPERIMENT_TAG, experiment=_experiment(columns)))
        self._add(session_start)

    def epoch(self, metrics: Sequence[Mapping[str, float]], epoch: int) -> None:
        """In one event: one for each number would take a tenth of a small network's time."""
        values = [Summary.Value(tag=tag, simple_value=value) for part in metrics for tag, value in part.items()]
        self._add(Summary(value=values), epoch)

    def scores(self, scores: Mapping[str, float]) -> None:
        self.logger.log_metrics({_tag(name): score for name, score in compared_scores(scores).items()}, step=1)

    def figure(self, name: str, path: Path, epoch: int) -> None:
        png = path.read_bytes()
        width, height = (int.from_bytes(png[start : start + 4], "big") for start in (16, 20))  # of a PNG file's header
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
        self._add(Summary(value=[Summary.Value(tag=_tag(name), image=image)]), epoch)

    def text(self, name: str, path: Path, epoch: int) -> None:
        verbatim = indent(path.read_text(encoding="utf-8"), "    ")  # the text is Markdown to TensorBoard
        self.logger.experiment.add_text(name, verbatim, epoch)

    def histogram(self, name: str, values: Tensor, epoch: int) -> None:
        if len(finite := finite_values(values)):
            self.logger.experiment.add_histogram(_tag(name), finite, epoch, bins=_BINS)

    def graph(self, net: nn.Module, images: Tensor) -> None:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning)  # of torch.jit.trace, which torch's writer uses
            self.logger.experiment.add_graph(net, images)

    def close(self, status: str) -> None:
        ended = plugin_data_pb2.SessionEndInfo(status=_STATUS[outcome(status)], end_time_secs=time.time())
        self._add(_tagged(metadata.SESSION_END_INFO_TAG, session_end_info=ended))
        super().close(status)

    def _add(self, summary: Summary, step: int | None = None) -> None:
        self.logger.experiment._get_file_writer().add_summary(summary, step)


def _experiment(columns: Mapping[str, Column]) -> api_pb2.Experiment:
    settings = [
        api_pb2.HParamInfo(
            name=key,
            type=api_pb2.DATA_TYPE_STRING if column.text else api_pb2.DATA_TYPE_FLOAT64,
            differs=column.first,  # sorts them: the tab opens with the first five
        )
        for key, column in columns.items()
    ]
    scores = [
        api_pb2.MetricInfo(name=api_pb2.MetricName(tag=_tag(name)), display_name=key) for name, key in COMPARED.items()
    ]
    return api_pb2.Experiment(hparam_infos=settings, metric_infos=scores)


def _tag(name: str) -> str:
    return f"z_{name}"  # TensorBoard sorts tags by name: the curves of `train` and `val` come first


def _tagged(tag: str, **content: Any) -> Summary:
    """A message for the HParams tab, by the field that it fills."""
    data = plugin_data_pb2.HParamsPluginData(**content, version=metadata.PLUGIN_DATA_VERSION)
    return Summary(value=[Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(data))])


_SETTINGS = (metadata.EXPERIMENT_TAG, metadata.SESSION_START_INFO_TAG, metadata.SESSION_END_INFO_TAG)


def remove_settings(folder: Path) -> None:
    """Remove what the run wrote for the HParams tab before it was resumed: TensorBoard shows the first settings and the
    first end that it finds."""
    for file in folder.glob("events.out.tfevents.*"):
        if not file.is_file():  # reading a pipe would block
            continue
        records = list(RawEventFileLoader(str(file)).Load())
        kept = [record for record in records if not _is_setting(record)]
        if len(kept) == len(records):
            continue
        with replace_atomically(file) as temporary, temporary.open("wb") as stream:
            writer = RecordWriter(stream)
            for record in kept:
                writer.write(record)
            writer.flush()


def _is_setting(record: bytes) -> bool:
    try:
        event = Event.FromString(record)
    except DecodeError:  # not written by TensorBoard
        return False
    return any(value.tag in _SETTINGS for value in event.summary.value)

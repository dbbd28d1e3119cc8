"""TensorBoard: HParams with the end of the run, pictures as they were drawn, histograms, the graph."""

import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from textwrap import indent
from typing import Any

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
from lightsweep.training.tracking import COMPARED, Column, Tracker, compared_scores, finite_values, outcome

# TensorBoard sorts groups of tags by name. Curves are what a person opens it for: all else follows `train` and `val`.
_AFTER_CURVES = "z_"
_BINS = 60  # of a histogram; TensorBoard shows 30
_STATUS = {
    "success": api_pb2.STATUS_SUCCESS,
    "stopped": api_pb2.STATUS_UNKNOWN,
    "failure": api_pb2.STATUS_FAILURE,
}


class TensorBoardTracker(Tracker):
    """A run is one row in the HParams tab from its start on, and has no scores there before it was scored."""

    logger: TensorBoardLogger

    def start(self, params: Mapping[str, Any], columns: Mapping[str, Column]) -> None:
        forget_settings(Path(self.logger.log_dir))
        self.logger.log_hyperparams(dict(params))  # without metrics: into hparams.yaml only
        _, session_start, _ = hparams(dict(params), {})
        self._add(_tagged(metadata.EXPERIMENT_TAG, experiment=_experiment(columns)))
        self._add(session_start)

    def scores(self, scores: Mapping[str, float]) -> None:
        self.logger.log_metrics({_tag(name): score for name, score in compared_scores(scores).items()}, step=1)

    def figure(self, name: str, path: Path, epoch: int) -> None:
        width, height = _size(png := path.read_bytes())
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
    return _AFTER_CURVES + name


def _tagged(tag: str, **content: Any) -> Summary:
    """A message for the HParams tab, by the field that it fills."""
    data = plugin_data_pb2.HParamsPluginData(**content, version=metadata.PLUGIN_DATA_VERSION)
    return Summary(value=[Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(data))])


def _size(png: bytes) -> tuple[int, int]:
    """Width and height, as the head of a PNG file says."""
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


_SETTINGS = (metadata.EXPERIMENT_TAG, metadata.SESSION_START_INFO_TAG, metadata.SESSION_END_INFO_TAG)


def forget_settings(folder: Path) -> None:
    """Remove the settings that an earlier part of the run wrote for the HParams tab: TensorBoard keeps the first ones,
    and would show the old settings and the old end for ever."""
    for file in folder.glob("events.out.tfevents.*"):
        if not file.is_file():  # a pipe would be waited for
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
    except DecodeError:  # none of ours
        return False
    return any(value.tag in _SETTINGS for value in event.summary.value)

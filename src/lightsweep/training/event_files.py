"""TensorBoard's event files of a run that is gone on with."""

from pathlib import Path

from google.protobuf.message import DecodeError
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.plugins.hparams import metadata
from tensorboard.summary.writer.record_writer import RecordWriter

from lightsweep.core.files import replacing

_SETTINGS = (metadata.EXPERIMENT_TAG, metadata.SESSION_START_INFO_TAG, metadata.SESSION_END_INFO_TAG)


def forget_settings(folder: Path) -> None:
    """Take out what the HParams tab was told by an earlier part of the run: TensorBoard believes what it reads first,
    and would show the old settings and the old end for ever."""
    for file in folder.glob("events.out.tfevents.*"):
        if not file.is_file():  # a pipe would be waited for
            continue
        records = list(RawEventFileLoader(str(file)).Load())
        kept = [record for record in records if not _is_setting(record)]
        if len(kept) == len(records):
            continue
        with replacing(file) as temporary, temporary.open("wb") as stream:
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

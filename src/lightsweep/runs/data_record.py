"""data.json in a run's folder: what its data were made of when it began, and what is said where they changed."""

import json
import logging
from pathlib import Path
from typing import Any

from lightsweep.core.errors import ConfigError, DataChanged
from lightsweep.core.files import read_json, write_whole
from lightsweep.runs import fingerprint, run_folder
from lightsweep.runs.checkpoint_files import to_start_from
from lightsweep.runs.fingerprint import Fingerprint

log = logging.getLogger(__name__)

FILE = "data.json"
ALLOW = "allow_changed_data=true"
_MOST = 2**25  # bytes


def read(folder: Path) -> Fingerprint | None:
    """The record in a folder, perhaps from somebody else; None where there is none, as in those of earlier versions.

    Raises:
        ConfigError: it is damaged.
    """
    path = folder / FILE
    try:
        if not path.exists():
            return None
        if path.stat().st_size > _MOST:
            raise ValueError(f"it is larger than {_MOST >> 20} MiB")
        return fingerprint.from_json(read_json(path))
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ConfigError(f"{path} is no record of a run's data ({said}): remove it to go on without") from error


def read_if_sound(folder: Path) -> Fingerprint | None:
    """As `read`; None where it is damaged."""
    try:
        return read(folder)
    except ConfigError:
        return None


def keep(folder: Path, now: Fingerprint) -> None:
    """Write the record, unless it is there."""
    if not run_folder.is_follower() and read_if_sound(folder) != now:
        write_whole(folder / FILE, json.dumps(now.as_json(), separators=(",", ":")) + "\n")


def check(folder: Path, now: Fingerprint, *, resumed: bool, allow_change: bool) -> None:
    """Compare a run's data with those that it began with; nothing is written.

    Raises:
        ConfigError: they changed, and `allow_change` is false. Says what changed.
    """
    before = read(folder)
    if before is None:
        if resumed:
            log.info("this run began before runs kept a record of their data: whether they changed cannot be told")
        return
    changes = now.changes(before)
    if changes and not allow_change:
        raise ConfigError(f"the data changed since this run began: {'; '.join(changes)}. {ALLOW} goes on with them")
    if changes:
        log.warning("the data changed since this run began: %s", "; ".join(changes))


def check_study(now: Fingerprint, digest: str, folder: Path) -> None:
    """Compare a job's data with those that its study was begun with.

    Args:
        digest: of the study's data.
        folder: where the record of them is, perhaps.

    Raises:
        DataChanged: they differ; says what changed, where that is known here.
    """
    if now.digest == digest:
        return
    before = read_if_sound(folder)
    known = before is not None and before.digest == digest
    changes = now.changes(before) if before is not None and known else ["they are others"]
    raise DataChanged(
        f"the data changed since this study was begun: {'; '.join(changes)}. Trials on them cannot be compared with"
        f" earlier ones: take another hydra.sweeper.study_name, or go on anyway with {ALLOW}"
    )


def tell_of_start(source: Any, now: Fingerprint) -> None:
    """Say of a run whose weights are taken, ``init_from``, how the same data set changed since it was trained."""
    before = read_if_sound(to_start_from(source).parent.parent)
    if before is not None and before.source == now.source and (lines := told(before, now)):
        log.warning("init_from: %s", "; ".join(lines))


def told(before: Fingerprint, now: Fingerprint) -> list[str]:
    """Of weights that were trained on a data set: how it changed, and which scores are too good for it."""
    changes = now.changes(before)
    said = [f"the data changed since those weights were trained: {'; '.join(changes)}"] if changes else []
    for part in ("val", "test"):
        if seen := now.seen_in_training(part, before):
            count = sum(now.counts[part].values())
            were = "was" if seen == 1 else "were"
            said.append(f"of the {count:,} images of {part}, {seen:,} {were} trained on: its score says less")
    return said

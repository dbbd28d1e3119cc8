"""Which job of a scheduler is at work in a folder: `job.json`, by which a sweeper finds the jobs of one that is gone.

The mark is there before the job is submitted. A job begins only where the mark is its own.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightsweep.core.files import read_json, write_atomic

FILE = "job.json"


@dataclass(frozen=True)
class Mark:
    """A job.

    Args:
        cluster: the scheduler's name.
        job_id: None until it is known.
        log: its file, relative to the sweep's folder if it is in it.
        overrides: the job's; of whatever kind where the file is somebody else's.
        token: which only this job knows.
    """

    cluster: str
    job_id: str | None
    log: str
    overrides: Any
    token: str


def write(mark: Mark, folder: Path) -> None:
    content = {"cluster": mark.cluster, "id": mark.job_id, "log": mark.log, "overrides": mark.overrides}
    write_atomic(folder / FILE, json.dumps({**content, "token": mark.token}) + "\n")


def read(folder: Path) -> Mark | None:
    """The mark of a folder; None where there is none, or it is none of ours."""
    try:
        content = read_json(folder / FILE)
        mark = Mark(
            content["cluster"], content["id"], content["log"], content.get("overrides"), content.get("token", "")
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    texts = all(isinstance(text, str) for text in (mark.cluster, mark.log, mark.token))
    return mark if texts and isinstance(mark.job_id, str | None) else None


def remove(folder: Path) -> None:
    (folder / FILE).unlink(missing_ok=True)


def withdraw(folder: Path) -> None:
    """Take away the mark of a job without a number: it may have been submitted, and will not begin."""
    mark = read(folder)
    if mark is not None and mark.job_id is None:
        with suppress(OSError):
            remove(folder)


def sign(folder: Path, token: str, job_id: Callable[[], str]) -> bool:
    """Write a job's number into its mark, which its sweeper may have been killed before. Called by the job itself;
    false where the folder is another job's by now."""
    mark = read(folder)
    if mark is None or mark.token != token:
        return False
    if mark.job_id is None:
        write(Mark(mark.cluster, job_id(), mark.log, mark.overrides, token), folder)
    return True

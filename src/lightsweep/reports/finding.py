"""Every result.json below some folders."""

import gc
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lightsweep.core.errors import ConfigError
from lightsweep.reports.runs import FILE, Run, read
from lightsweep.reports.text import plain
from lightsweep.runs.run_folder import LR_FIND, is_set_aside

_NOT_RUNS = {"checkpoints", "figures", "lightning_logs", "tensorboard", "mlruns", "wandb", "__pycache__"}
_OF_A_RUN = "csv"  # below a run what a logger wrote, elsewhere a name like any other


@dataclass
class Found:
    """What lies below some paths.

    Args:
        broken: why a result.json could not be read, by its path.
        unfinished: folders of runs that have none: still running, or killed.
    """

    runs: list[Run] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)
    unfinished: list[str] = field(default_factory=list)


def find(paths: Sequence[Path]) -> Found:
    """Read every result.json below these folders.

    Raises:
        ConfigError: a path is no folder, or there is no run at all.
    """
    with _without_collector():
        return _find(paths)


def _find(paths: Sequence[Path]) -> Found:
    found = Found()
    seen: set[str] = set()
    for root in paths:
        if not root.is_dir():
            raise ConfigError(f"{root}: there is no such folder")
        for folder, has_result in _folders(str(root)):
            if folder in seen:
                continue
            seen.add(folder)
            name = _name(folder, str(root), several=len(paths) > 1)
            if has_result:
                _read(Path(folder), name, found)
            else:
                found.unfinished.append(name)
    if not (found.runs or found.broken or found.unfinished):
        named = ", ".join(str(path) for path in paths)
        raise ConfigError(f"{named}: no run lies there (a run's folder holds {FILE})")
    return found


@contextmanager
def _without_collector() -> Iterator[None]:
    """Millions of small objects are made and kept; looking for garbage among them takes as long as reading them."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _folders(root: str) -> Iterator[tuple[str, bool]]:
    """Folders of runs and whether each has its result.json, in the order of their names."""
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        below, files = [], set()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        if entry.name not in _NOT_RUNS and not entry.name.startswith("."):
                            below.append(entry.name)
                    elif entry.name in (FILE, "config.yaml", "metrics.csv", LR_FIND) and entry.is_file():
                        files.add(entry.name)  # a pipe would be waited for
        except OSError:  # not ours to read, or gone meanwhile
            continue
        if files and _OF_A_RUN in below:
            below.remove(_OF_A_RUN)
        waiting += [os.path.join(folder, name) for name in sorted(below, reverse=True) if not is_set_aside(name)]  # noqa: PTH118  # 10,000 of them
        if files and (LR_FIND not in files or FILE in files):  # a learning-rate range test is no run
            yield folder, FILE in files


def _name(folder: str, root: str, *, several: bool) -> str:
    return folder if several or folder == root else folder[len(root) :].lstrip(os.sep)


def _read(folder: Path, name: str, found: Found) -> None:
    try:
        found.runs.append(read(folder, name))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        found.broken[os.path.join(name, FILE)] = plain(reason or type(error).__name__)  # noqa: PTH118

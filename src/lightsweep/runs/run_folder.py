"""What lies in a run's folder, and which folder a name on the command line means.

It is imported at every start, so it imports neither torch nor Lightning.
"""

import os
import re
from pathlib import Path
from typing import Any

from lightsweep.core.errors import ConfigError
from lightsweep.core.files import JOURNAL, OUTPUTS

CONFIG = "config.yaml"
_JOB = re.compile(r"\d+(-(?!\d\d-\d\d).*)?")  # 0, 12-lr0.1; not 2026-11-21_10-52-37-957b
LR_FIND = "lr_find.csv"  # what a learning-rate range test leaves, which is no run


def is_run(folder: Path) -> bool:
    return (folder / CONFIG).is_file() and not (folder / LR_FIND).exists()


def was_trained(folder: Path) -> bool:
    """Does the folder hold what a run leaves once it has begun?"""
    return any((folder / name).exists() for name in ("metrics.csv", "result.json", "checkpoints"))


def is_follower() -> bool:
    """Is this one of the further processes that Lightning starts for distributed training?"""
    return os.environ.get("LOCAL_RANK", "0") != "0"


def newest_run(runs: Path) -> Path:
    """The newest run below `runs`.

    Raises:
        ConfigError: there is none.
    """
    folders = [folder for folder in sorted(runs.glob("*"), key=_created) if is_run(folder)]
    if not folders:
        raise ConfigError(f"{LATEST}: there is no run in {runs}")
    return folders[-1]


def kind_of_run(folder: Path) -> str:
    """What a run that lies there was started as: run, job (of a grid), trial, seed (of a trial) or confirmation."""
    if folder.parent.name == "confirm":
        return "confirmation"
    for name, meaning in ((folder.name, "trial"), (folder.parent.name, "seed")):
        if re.fullmatch(r"trial-\d+", name):
            return meaning
    # Hydra's grid leaves a multirun.yaml, the official Optuna sweeper does not; both number their jobs.
    return "job" if (folder.parent / "multirun.yaml").is_file() or _JOB.fullmatch(folder.name) else "run"


def split_name(folder: str) -> tuple[str, str]:
    """The name of the sweep or grid that a run's folder belongs to, or runs, and the run's name in it."""
    parts = Path(folder).parts
    for index, part in enumerate(parts[1:], start=1):
        if re.fullmatch(r"trial-\d+|confirm", part):
            return parts[index - 1], "/".join(parts[index:])
    return (parts[-2], parts[-1]) if len(parts) > 1 and _JOB.fullmatch(parts[-1]) else ("runs", parts[-1])


def _created(folder: Path) -> tuple[float, str]:
    config = folder / CONFIG
    return (config.stat().st_mtime if config.is_file() else 0.0), folder.name


LATEST = "latest"
_BELOW = ("runs", "sweeps", "grids", "")  # of the outputs' folder, in this order
_LISTED = 10  # names in an error


def find_path(name: str) -> Path:
    """The folder or file that NAME means. A path that is there counts first, and stays as it was typed.

    Raises:
        ConfigError: it means nothing.
    """
    if name == LATEST:
        return newest_run(OUTPUTS / "runs")
    typed = Path(name).expanduser()
    try:
        if typed.exists():
            return typed
        if not typed.is_absolute() and ".." not in typed.parts:  # below the outputs' folder, and nowhere else
            return next(place for each in _BELOW if (place := OUTPUTS / each / typed).exists())
    except (OSError, StopIteration):
        pass
    raise ConfigError(
        f"{name}: there is no such file or folder, and no run, sweep or grid of this name in {OUTPUTS}"
        f" (sweeps: {_join_names(list_sweeps())}; {LATEST} means the newest run)"
    )


def find_folder(name: str) -> Path:
    """The same, and of a checkpoint file the folder of its run.

    Raises:
        ConfigError: it means nothing.
    """
    found = find_path(name)
    of_a_run = found.is_file() and is_run(found.parent.parent)
    return found.parent.parent if of_a_run else found


def find_resumable(name: str) -> Path:
    """The folder of the run that ``resume=NAME`` means, found as `find_folder` does.

    Raises:
        ConfigError: there is no such run, or its folder cannot be written.
    """
    try:
        folder = find_folder(name).resolve()
    except ConfigError as error:
        raise ConfigError(f"resume={error}") from error
    if not is_run(folder):
        raise ConfigError(f"resume must be a run's folder (one that holds {CONFIG}) or {LATEST}, got {name!r}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"resume: {folder} cannot be written, and a run goes on in its own folder")
    return folder


def list_sweeps() -> list[str]:
    """The names of the sweeps, the newest last."""
    below = OUTPUTS / "sweeps"
    found = [each for each in below.glob("*") if each.is_dir()] if below.is_dir() else []
    return [each.name for each in sorted(found, key=lambda each: (each.stat().st_mtime, each.name))]


def find_journal(name: str | None) -> Path:
    """The journal of a sweep, that NAME or without one the newest.

    Raises:
        ConfigError: there is none.
    """
    known = list_sweeps()
    wanted = name or (known[-1] if known else None)
    if wanted is None:
        raise ConfigError(f"there is no sweep in {OUTPUTS / 'sweeps'}")
    try:
        file = find_path(f"sweeps/{wanted}" if wanted in known else wanted) / JOURNAL
    except ConfigError as error:
        raise ConfigError(f"there is no sweep {wanted!r}; there is {_join_names(known)}") from error
    if not file.is_file():
        raise ConfigError(f"{file} is not there: if the study is in a database, STORAGE names its URL")
    return file


def _join_names(names: list[str]) -> str:
    return ", ".join(names[-_LISTED:]) or "none"


LAST_CHECKPOINT = "last.ckpt"
BEST_CHECKPOINT = "best.ckpt"


def choose_checkpoint(folder: Path, score_with: str) -> Path:
    """Which checkpoint of a run is scored: the best one, or the last where that is asked for or no best was kept."""
    best = folder / BEST_CHECKPOINT
    return best if score_with == "best" and best.exists() else folder / LAST_CHECKPOINT


def find_initial_weights(source: Any) -> Path:
    """The checkpoint file that ``init_from=SOURCE`` means: itself, or the best one of a run's folder.

    Raises:
        ConfigError: there is none.
    """
    path = Path(str(source)).expanduser()
    try:
        return _find_initial_weights(path)
    except OSError as error:
        raise ConfigError(f"init_from: {path} cannot be read ({error.strerror})") from error


def _find_initial_weights(path: Path) -> Path:
    if path.is_file():
        return path
    if not is_run(path):
        rule = f"a run's folder (one that holds {CONFIG}) or a checkpoint file"
        raise ConfigError(f"init_from must be {rule}, got {str(path)!r}")
    chosen = choose_checkpoint(path / "checkpoints", "best")
    if not chosen.is_file():
        raise ConfigError(f"init_from: no epoch of {path} was finished, it has no checkpoint")
    return chosen

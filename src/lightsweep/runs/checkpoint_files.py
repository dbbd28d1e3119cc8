"""Which file holds which weights. Nothing is opened here, so neither torch nor Lightning is imported."""

from pathlib import Path
from typing import Any

from lightsweep.core.errors import ConfigError
from lightsweep.runs import run_folder

LAST = "last.ckpt"
BEST = "best.ckpt"


def choose(folder: Path, score_with: str) -> Path:
    """Which checkpoint of a run is scored: the best one, or the last where that is asked for or no best was kept."""
    best = folder / BEST
    return best if score_with == "best" and best.exists() else folder / LAST


def to_start_from(source: Any) -> Path:
    """The checkpoint file that ``init_from=SOURCE`` means: itself, or the best one of a run's folder.

    Raises:
        ConfigError: there is none.
    """
    path = Path(str(source)).expanduser()
    try:
        return _to_start_from(path)
    except OSError as error:
        raise ConfigError(f"init_from: {path} cannot be read ({error.strerror})") from error


def _to_start_from(path: Path) -> Path:
    if path.is_file():
        return path
    if not run_folder.is_run(path):
        rule = f"a run's folder (one that holds {run_folder.CONFIG}) or a checkpoint file"
        raise ConfigError(f"init_from must be {rule}, got {str(path)!r}")
    chosen = choose(path / "checkpoints", "best")
    if not chosen.is_file():
        raise ConfigError(f"init_from: no epoch of {path} was finished, it has no checkpoint")
    return chosen

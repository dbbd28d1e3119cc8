"""What NAME means where a command takes a run or a sweep: a path, ``latest``, or a name below the outputs' folder.

Imports neither torch nor Lightning: a name that means nothing is refused at once.
"""

from pathlib import Path

from lightsweep.core.errors import ConfigError
from lightsweep.core.paths import OUTPUTS
from lightsweep.runs import run_folder

LATEST = "latest"
JOURNAL = "study.journal"  # of a sweep without a database, in its folder
_BELOW = ("runs", "sweeps", "grids", "")  # of the outputs' folder, in this order
_LISTED = 10  # names in an error


def path(name: str) -> Path:
    """The folder or file that NAME means. A path that is there counts first, and stays as it was typed.

    Raises:
        ConfigError: it means nothing.
    """
    if name == LATEST:
        return run_folder.newest(OUTPUTS / "runs")
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
        f" (sweeps: {_named(sweeps())}; {LATEST} means the newest run)"
    )


def folder(name: str) -> Path:
    """The same, and of a checkpoint file the folder of its run.

    Raises:
        ConfigError: it means nothing.
    """
    found = path(name)
    of_a_run = found.is_file() and run_folder.is_run(found.parent.parent)
    return found.parent.parent if of_a_run else found


def sweeps() -> list[str]:
    """The names of the sweeps, the newest last."""
    below = OUTPUTS / "sweeps"
    found = [each for each in below.glob("*") if each.is_dir()] if below.is_dir() else []
    return [each.name for each in sorted(found, key=lambda each: (each.stat().st_mtime, each.name))]


def journal(name: str | None) -> Path:
    """The journal of a sweep, that NAME or without one the newest.

    Raises:
        ConfigError: there is none.
    """
    known = sweeps()
    wanted = name or (known[-1] if known else None)
    if wanted is None:
        raise ConfigError(f"there is no sweep in {OUTPUTS / 'sweeps'}")
    try:
        file = path(f"sweeps/{wanted}" if wanted in known else wanted) / JOURNAL
    except ConfigError as error:
        raise ConfigError(f"there is no sweep {wanted!r}; there is {_named(known)}") from error
    if not file.is_file():
        raise ConfigError(f"{file} is not there: if the study is in a database, STORAGE names its URL")
    return file


def _named(names: list[str]) -> str:
    return ", ".join(names[-_LISTED:]) or "none"
